"""Inputs after public bug reports, each with the correct result. They lie beside the checkout."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import streamkit as sk
from streamkit.completion import SUCCESSES
from tests.conftest import SHARED, needs_shared
from tests.dialects.streams import Result, cuts, read

CASES = SHARED / "cases"


def text_of(result: Result) -> str:
    return "".join(event.text for event in result.of(sk.TextDelta))


def ends(reason: str, text: str) -> Callable[[Result], bool]:
    return lambda result: (result.end.reason, result.completion.end, text_of(result)) == (reason, reason, text)


def not_a_success(result: Result) -> bool:
    return result.end.reason not in SUCCESSES and text_of(result).startswith("The answer")


def refuses(kind: type[sk.StreamkitError]) -> Callable[[Result], bool]:
    return lambda result: isinstance(result.error, kind)


def never_calls_t1(result: Result) -> bool:
    calls = {
        call.id
        for completion in result.of(sk.Completion)
        for choice in completion.choices
        for call in choice.tool_calls
    }
    return "t1" not in calls and (result.error is not None or bool(result.of(sk.events.Reset)))


def is_read_or_refused(result: Result) -> bool:
    said = text_of(result) == "Blue sky" and result.end.reason in ("completed", "length", "truncated")
    return said or isinstance(result.error, sk.errors.UnknownDialect)


RIGHT: dict[str, Callable[[Result], bool]] = {
    "finish_abort.sse": not_a_success,
    "finish_network_error.sse": ends("provider_error", "The answer is"),
    "finish_model_length.sse": ends("length", "The answer is"),
    "gemini_finish_other.sse": not_a_success,
    "anthropic_two_messages_spliced.sse": never_calls_t1,
    "error_type_error_message.sse": refuses(sk.ProviderError),
    "unknown_wire_with_done.sse": is_read_or_refused,
    "tgi_generate_stream.sse": is_read_or_refused,
    "gemini_array_cut.json": ends("truncated", "Blue sky"),
}


@needs_shared
@pytest.mark.parametrize("name", RIGHT)
def test_a_case_gives_the_correct_result_for_any_cuts(name: str) -> None:
    body = (CASES / name).read_bytes()

    assert RIGHT[name](read(body))
    for pieces in cuts(body):
        assert RIGHT[name](read(*pieces))


@needs_shared
def test_the_elements_of_an_array_come_as_they_are_sent() -> None:
    body = (CASES / "gemini_array_cut.json").read_bytes()
    taken: list[int] = []

    def pieces() -> Any:
        for at in range(len(body)):
            taken.append(at)
            yield body[at : at + 1]

    run = (sk.Parse() | sk.Extract()).run(pieces())
    texts = [(event.text, len(taken)) for event in run if isinstance(event, sk.TextDelta)]

    ends = [body.index(b"}, {") + 1, body.index(b"}, {", body.index(b"}, {") + 1) + 1]
    assert texts == [("Blue ", ends[0]), ("sky", ends[1])]


@needs_shared
@pytest.mark.parametrize("name", ["lent_session_close_after_done.py"])
def test_a_case_that_is_a_program_prints_ok(name: str) -> None:
    run = subprocess.run(
        [sys.executable, CASES / name], capture_output=True, text=True, check=True, cwd=Path(sk.__file__).parents[1]
    )

    assert run.stdout.split() == ["own", "OK", "lent", "OK"]
