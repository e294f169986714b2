"""Extract(cumulative=True): providers that resend the whole text with every chunk."""

from collections.abc import Callable
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamkit as sk
from tests.dialects.streams import named_events, sse

DONE = "[DONE]"


def chunk(finish: str | None = None, index: int = 0, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def read(*payloads: Any, **options: Any) -> tuple[list[sk.Event], sk.StreamkitError | None]:
    found = list[sk.Event]()
    try:
        found.extend(
            (sk.sse.Lines() | sk.Parse() | sk.Extract(**{"cumulative": True, **options})).run([sse(*payloads)])
        )
    except sk.StreamkitError as error:
        return found, error
    return found, None


def texts(events: list[sk.Event], kind: type[Any] = sk.TextDelta) -> list[str]:
    return [event.text for event in events if isinstance(event, kind)]


@pytest.mark.parametrize(
    ("contents", "pieces"),
    [
        (["Blue", "Blue sky", "Blue sky."], ["Blue", " sky", "."]),
        (["Blue", "Blue", "Blue sky"], ["Blue", " sky"]),
        (["Blue", "", "Blue sky"], ["Blue", " sky"]),
        (["Blue sky ", "Blue sky"], ["Blue sky "]),
        (["Blue\ufffd", "Blue\ufffd\ufffd", "Blue 😀"], ["Blue", " 😀"]),
        (["Blue\ufffd"], ["Blue", "\ufffd"]),
        (["a", "aa", "aaa"], ["a", "a", "a"]),
    ],
    ids=["grows", "stays", "empty", "shorter", "a character that is cut by bytes", "to the end", "alike"],
)
def test_only_new_text_is_emitted(contents: list[str], pieces: list[str]) -> None:
    found, error = read(*(chunk(content=content) for content in contents), chunk("stop"), DONE)

    assert error is None
    assert texts(found) == pieces
    assert found[-1] == sk.StreamEnd("completed", saw_done=True)


KINDS: dict[str, tuple[Callable[[str], dict[str, Any]], type[Any]]] = {
    "content": (lambda text: {"content": text}, sk.TextDelta),
    "reasoning_content": (lambda text: {"reasoning_content": text}, sk.ReasoningDelta),
    "refusal": (lambda text: {"refusal": text}, sk.RefusalDelta),
}


@pytest.mark.parametrize("kind", KINDS)
@given(st.lists(st.text("ab 😀", max_size=3), max_size=6), st.lists(st.text("cd", max_size=2), max_size=6))
def test_every_text_of_every_choice_is_tracked_separately(kind: str, first: list[str], second: list[str]) -> None:
    make, event = KINDS[kind]
    both = [(0, text) for text in accumulate(first)] + [(1, text) for text in accumulate(second)]
    ends = [chunk("stop", 0), chunk("stop", 1)]

    found, error = read(*(chunk(index=index, **make(text)) for index, text in both), *ends, DONE)

    assert error is None
    for index, pieces in enumerate((first, second)):
        assert "".join(e.text for e in found if isinstance(e, event) and e.index == index) == "".join(pieces)


def test_arguments_and_names_grow_too() -> None:
    def call(name: str, arguments: str, id: str | None = "t1") -> dict[str, Any]:
        return chunk(tool_calls=[{"index": 0, "id": id, "function": {"name": name, "arguments": arguments}}])

    body = sse(
        call("edit", ""), call("edit_file", "", None), call("edit_file", '{"a"'), call("edit_file", '{"a":1}'), DONE
    )

    *_, completion, _ = (sk.sse.Lines() | sk.Parse() | sk.Extract(cumulative=True) | sk.Accumulate()).run([body])

    assert isinstance(completion, sk.Completion)
    assert completion.choices[0].tool_calls == (sk.events.ToolCall("t1", "edit_file", '{"a":1}'),)


def test_a_full_message_at_the_end_is_one_more_whole() -> None:
    end = {"choices": [{"index": 0, "message": {"content": "Blue sky"}, "finish_reason": "stop"}]}

    found, _ = read(chunk(content="Blue"), chunk(content="Blue s"), end, DONE)

    assert texts(found) == ["Blue", " s", "ky"]


@pytest.mark.parametrize(
    ("last", "channel"),
    [({"content": "Red sky"}, "content"), ({"reasoning_content": "Ah, no"}, "reasoning")],
    ids=["text", "reasoning"],
)
def test_a_text_that_differs_from_before_is_an_error_after_all_events_before_it(
    last: dict[str, Any], channel: str
) -> None:
    found, error = read(chunk(content="Blue", reasoning_content="Hm"), chunk(content="Blue sky"), chunk(**last), DONE)

    assert (texts(found), texts(found, sk.ReasoningDelta)) == (["Blue", " sky"], ["Hm"])
    assert isinstance(error, sk.errors.ProtocolError)
    assert f"choice 0: expected {channel} that begins with the" in str(error)
    assert not any(word in f"{error} {error!r}" for word in ("Blue", "Red", "Hm", "Ah"))


def test_it_holds_for_every_dialect() -> None:
    start = {"type": "message_start", "message": {"id": "m", "role": "assistant", "content": []}}
    deltas = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
        for text in ("a", "ab", "abc")
    ]
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    body = named_events(start, *deltas, end, {"type": "message_stop"})

    *_, completion, _ = (sk.sse.Lines() | sk.Parse() | sk.Extract(cumulative=True) | sk.Accumulate()).run([body])

    assert isinstance(completion, sk.Completion)
    assert completion.text == completion.choices[0].parts[0].text == "abc"


def test_tags_are_found_in_the_text_as_it_grows() -> None:
    contents = ["<thi", "<think>Hm</th", "<think>Hm</think>Four"]

    found, _ = read(
        *(chunk(content=text) for text in contents), chunk("stop"), DONE, reasoning_tags=("<think>", "</think>")
    )

    assert (texts(found, sk.ReasoningDelta), texts(found)) == (["Hm"], ["Four"])


def test_without_the_option_every_chunk_is_a_delta() -> None:
    found, _ = read(chunk(content="a"), chunk(content="ab"), DONE, cumulative=None)

    assert texts(found) == ["a", "ab"]
