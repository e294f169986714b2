"""Random requests of the official types: every lost value is reported, and translations are valid for the target's types."""

import copy
import json
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit.errors import ProtocolError
from streamkit.requests import translate
from streamkit.requests.fields import KINDS
from tests.requests.bodies import check, places
from tests.requests.front_end_types import FRONT_ENDS
from tests.requests.official import OFFICIAL, body_of

TARGETS = ("openai", "anthropic", "responses", "gemini")
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "4000")) // 100
TYPES = OFFICIAL | FRONT_ENDS
PAIRS = [(source, target) for source in TYPES for target in TARGETS if source != target]
IDS = ("id", "messageId", "threadId", "runId")
"""Ids of earlier items, a chat or a run, which no model needs."""
SO_WITHOUT_IT = {
    # Defaults
    "background=False",
    "candidateCount=1",
    "disable_parallel_tool_use=False",
    "enabled=False",
    "detail=auto",
    "display=omitted",
    "display=summarized",
    "function_call=auto",
    "include_obfuscation=False",
    "include_usage=False",
    "is_error=False",
    "logprobs=False",
    "includeThoughts=False",
    "mode=AUTO",
    "mode=auto",
    "n=1",
    "parallel_tool_calls=True",
    "responseLogprobs=False",
    "responseMimeType=text/plain",
    "responseModalities=TEXT",
    "role=model",
    "role=user",
    "status=completed",
    "thinkingBudget=-1",
    "store=False",
    "strict=False",
    "tool_choice=auto",
    "truncation=disabled",
    # Always so in the target.
    "include_usage=True",
    "strict=True",
    # Without calls none are parallel; a duplicate adds nothing; an effort implies thinking.
    "parallel_tool_calls=False",
    "message.output_text.logprobs",
    "effort=high",
    "type=adaptive",
    "responseMimeType=application/json",
    # State of the chat, or of how a part arrived.
    "approved=True",
    "providerExecuted=False",
    "state=done",
    "state=streaming",
    "trigger=regenerate-message",
    "trigger=submit-message",
    # The default kind
    "modalities=text",
    "media_type=application/pdf",
    "mimeType=application/pdf",
    "mimeType=image/png",
    "type=OBJECT",
    "type=custom",
    "type=function",
    "type=grammar",
    "type=message",
    "type=text",
}
IN_THE_ADDRESS = ("model", "stream", "stream_options.include_usage")
"""Options in the URL of Gemini's API."""
seeds = st.integers(0, 2**32)


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=lambda name: name)
@settings(max_examples=EXAMPLES)
@given(seed=seeds)
def test_every_leaf_is_in_the_translation_or_among_the_losses(source: str, target: str, seed: int) -> None:
    body = body_of(TYPES[source], seed)

    found, losses = translate(body, source=source, target=target)

    if target != "gemini":
        check(target, {"model": "in Gemini's address", **found})
    written = json.dumps(found)
    lost = [loss.path for loss in losses]
    for path, value in leaves(body):
        place = shown(path)
        if any(place == loss or place.startswith((f"{loss}.", f"{loss}[")) for loss in lost):
            continue
        if (target == "gemini" and place in IN_THE_ADDRESS) or place == "systemInstruction.role":
            continue
        if isinstance(value, str) and re.fullmatch(r"w\d+w", value):
            assert value in written or path[-1] in IDS, (place, body)
        elif translated(without(body, path), source, target) == (found, losses):
            names = [step for step in path if isinstance(step, str)]
            assert {f"{names[-1]}={value}", value} & SO_WITHOUT_IT, (place, body)


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=lambda name: name)
@settings(max_examples=EXAMPLES)
@given(
    seed=seeds, value=st.sampled_from([None, True, 7, 1.5, "", "x", [], ["x"], [[]], {}, {"type": "x"}, {7: 7}, b"x"])
)
def test_any_other_value_anywhere_is_translated_or_reported_with_its_path(
    source: str, target: str, seed: int, value: Any
) -> None:
    body = body_of(TYPES[source], seed)
    every = [*places(body)]
    path = every[seed % len(every)]
    parent: Any = body
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = value

    try:
        translate(body, source=source, target=target)
    except ProtocolError as error:
        place, _, expected = str(error).partition(": expected ")
        assert expected
        assert place.startswith(shown(path[:-1]) or shown(path))


@pytest.mark.parametrize(
    "name", [name for name in KINDS if name not in ("top_k", "include_usage", "include_obfuscation")]
)
@pytest.mark.parametrize("value", [["secret"], {"secret": 1}, True, 1.5, "secret"], ids=repr)
def test_an_option_of_another_type_raises_with_its_path_and_without_its_text(name: str, value: Any) -> None:
    kinds = {list: "array", dict: "object", bool: "boolean", float: "number", str: "string"}
    body = {"model": "m", "messages": [], name: value}
    if kinds[type(value)] == KINDS[name]:
        translate(body, source="openai", target="anthropic")
        return

    with pytest.raises(ProtocolError) as caught:
        translate(body, source="openai", target="anthropic")

    article = "an" if KINDS[name][0] in "ao" else "a"
    assert str(caught.value) == f"{name}: expected {article} {KINDS[name]}, found {kinds[type(value)]}"


def leaves(body: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield the values that are neither lists nor objects, with their paths."""
    for path in places(body):
        value = body
        for step in path:
            value = value[step]
        if not isinstance(value, dict | list):
            yield path, value


def without(body: dict[str, Any], path: tuple[Any, ...]) -> dict[str, Any]:
    """Return the body without the value at a path."""
    found = copy.deepcopy(body)
    parent: Any = found
    for step in path[:-1]:
        parent = parent[step]
    del parent[path[-1]]
    return found


def translated(body: dict[str, Any], source: str, target: str) -> Any:
    """Return the translation; `None` for an invalid request."""
    try:
        return translate(body, source=source, target=target)
    except ProtocolError:
        return None


def shown(path: tuple[Any, ...]) -> str:
    """Return a path in the form of losses and errors."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
