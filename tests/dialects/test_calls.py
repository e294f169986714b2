"""Tool calls in OpenAI's wire format: the call of each piece, and the identity and final arguments of each call."""

import json
from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import streamkit as sk
from tests.dialects.streams import Result, read, sse

DONE = "[DONE]"


def chunk(*calls: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    delta = {"tool_calls": list(calls)} if calls else {}
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


END = chunk(finish="tool_calls")


def piece(
    arguments: Any = None, *, index: int | None = 0, id: str | None = None, name: str | None = None
) -> dict[str, Any]:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    call = {"index": index, "id": id, "type": "function" if id else None, "function": function}
    return {key: value for key, value in call.items() if value is not None}


def result(*calls: dict[str, Any], end: dict[str, Any] = END) -> Result:
    return read(sse(*(chunk(call) for call in calls), end, DONE))


def calls_of(*calls: dict[str, Any]) -> list[tuple[str | None, str | None, str]]:
    found = result(*calls)
    assert found.completion.conflicts == {}
    return [(call.id, call.name, call.arguments) for call in found.choice.tool_calls]


def cut(text: str, places: set[int]) -> list[str]:
    ends = sorted({0, len(text), *(place for place in places if place < len(text))})
    return [text[start:end] for start, end in pairwise(ends)]


NAMES = st.text(st.sampled_from("abgo_"), min_size=1, max_size=12)
PLACES = st.sets(st.integers(1, 11), max_size=6)


def could_be_repeated(pieces: list[str]) -> bool:
    """Whether a piece equals all text before it, which can't be distinguished from a repeated name."""
    return any(piece == known for known, piece in zip(accumulate(pieces), pieces[1:], strict=False))


# Identity


@given(NAMES, PLACES, st.booleans(), st.booleans())
def test_a_name_in_pieces_is_joined_however_it_is_split(
    name: str, places: set[int], with_arguments: bool, with_id: bool
) -> None:
    pieces = cut(name, places)
    assume(not could_be_repeated(pieces))
    # If the id is in every chunk, a name that begins with the known name replaces it.
    assume(
        not with_id
        or not any(new.startswith(known) for known, new in zip(accumulate(pieces), pieces[1:], strict=False))
    )
    first, *rest = pieces
    empty = "" if with_arguments else None

    found = calls_of(
        piece("", id="t1", name=first),
        *(piece(empty, name=more, id="t1" if with_id else None) for more in rest),
        piece('{"a":'),
        piece("1}"),
    )

    assert found == [("t1", name, '{"a":1}')]


@given(NAMES, st.lists(st.sampled_from(["", "{", '"a":', "1", "}"]), min_size=1, max_size=6), st.booleans())
def test_a_whole_name_in_every_chunk_is_not_duplicated(name: str, pieces: list[str], with_id: bool) -> None:
    id = "t1" if with_id else None

    found = calls_of(piece(pieces[0], id="t1", name=name), *(piece(more, id=id, name=name) for more in pieces[1:]))

    assert [call[:2] for call in found] == [("t1", name)]


@given(NAMES, PLACES)
def test_a_name_that_grows_with_the_id_in_every_chunk_is_the_last_one(name: str, places: set[int]) -> None:
    grown = [name[:end] for end in sorted({*(place for place in places if place < len(name)), len(name)})]

    assert calls_of(*(piece("", id="t1", name=known) for known in grown), piece("{}")) == [("t1", name, "{}")]


@given(NAMES, PLACES)
def test_an_id_in_pieces_is_joined(id: str, places: set[int]) -> None:
    pieces = cut(id, places)
    assume(not could_be_repeated(pieces))

    found = calls_of(*({"index": 0, "id": more} for more in pieces), piece(name="f"), piece('{"a":1}'))

    assert found == [(id, "f", '{"a":1}')]


@pytest.mark.parametrize(
    ("calls", "found"),
    [
        (
            [piece("", id="t1", name="edit_ex"), piece(name="isting_file"), piece("{}")],
            [("t1", "edit_existing_file", "{}")],
        ),
        (
            [piece("{", id="t1", name="edit_ex"), piece('"a":', name="isting_"), piece("1}", name="file")],
            [("t1", "edit_existing_file", '{"a":1}')],
        ),
        ([piece('{"a":', id="t1"), piece("1}", name="f")], [("t1", "f", '{"a":1}')]),
        ([piece("{", id="t1", name="f"), piece("}", id="t2")], [("t1", "f", "{}")]),
        ([piece("{}", id="t1", name="f"), piece("{}", id="t2", name="f")], [("t1", "f", "{}"), ("t2", "f", "{}")]),
        (
            [piece('{"a":1}', id="", name="f"), piece('{"a":2}', id="", name="f"), piece('{"b":1}', name="g")],
            [("", "f", '{"a":1}'), (None, "f", '{"a":2}'), (None, "g", '{"b":1}')],
        ),
        (
            [piece('{"a":1}', index=None, name="f"), piece('{"b":1}', index=None, name="g")],
            [(None, "f", '{"a":1}'), (None, "g", '{"b":1}')],
        ),
        (
            [piece('{"a":1}', id="t1", name="f"), piece('{"a":1}', id="t1", name="f")],
            [("t1", "f", '{"a":1}')],
        ),
        (
            [piece("{", id="t1", name="f"), piece('"a":1}'), piece('{"a":1}', id="t1", name="f")],
            [("t1", "f", '{"a":1}')],
        ),
    ],
    ids=[
        "a name in pieces (Gemini)",
        "a name in pieces, beside arguments",
        "a name after arguments have begun",
        "each piece with an id of its own",
        "two calls with one index, by their ids",
        "whole calls with one index and no ids",
        "whole calls without index and id",
        "a whole call that comes twice",
        "a call that comes again whole, after its pieces",
    ],
)  # fmt: skip
def test_the_identity_of_a_call(calls: list[dict[str, Any]], found: list[Any]) -> None:
    known = [(id or None, name, arguments) for id, name, arguments in calls_of_any(calls)]
    assert known == [(id or None, name, arguments) for id, name, arguments in found]


def calls_of_any(calls: list[dict[str, Any]]) -> list[tuple[str | None, str | None, str]]:
    return [(call.id, call.name, call.arguments) for call in result(*calls).choice.tool_calls]


def test_another_name_of_a_known_call_is_a_conflict() -> None:
    events = [sk.ToolCallDelta(0, "t1", "f", "{"), sk.ToolCallDelta(0, "t1", "g", "}"), sk.StreamEnd("completed")]

    *_, completion, _ = sk.Accumulate().run(events)

    assert isinstance(completion, sk.Completion)
    assert completion.choices[0].tool_calls == (sk.events.ToolCall("t1", "f", "{}"),)
    assert completion.conflicts == {"choices[0].tool_calls[0].name": "g"}


@given(NAMES, PLACES)
def test_a_name_in_pieces_is_whole_for_every_stage(name: str, places: set[int]) -> None:
    pieces = cut(name, places)
    assume(not could_be_repeated(pieces))
    body = sse(chunk(piece("", id="t1", name=pieces[0])), *(chunk(piece(name=more)) for more in pieces[1:]), END, DONE)
    pipeline = sk.sse.Lines() | sk.Parse() | sk.Extract()

    structured = [*(pipeline | sk.Structured(tools={name: dict})).run([body])]
    written = b"".join((pipeline | sk.Emit() | sk.sse.Encode()).run([body]))

    assert sk.StructuredOutput({}, 0, "t1", name) in structured
    assert [(call.id, call.name) for call in read(written).choice.tool_calls] == [("t1", name)]


# Arguments


@pytest.mark.parametrize(
    ("calls", "arguments"),
    [
        ([piece({}, id="t1", name="f"), piece('{"a":'), piece("1}")], '{"a":1}'),
        ([piece("{}", id="t1", name="f"), piece('{"a":'), piece("1}")], '{"a":1}'),
        ([piece("{}", id="t1", name="f"), piece(""), piece(' {"a":1}')], ' {"a":1}'),
        ([piece({}, id="t1", name="f")], "{}"),
        ([piece("{}", id="t1", name="f")], "{}"),
        ([piece({"a": 1}, id="t1", name="f")], '{"a":1}'),
        ([piece("", id="t1", name="f")], "{}"),
        ([piece(id="t1", name="f")], "{}"),
        ([{"index": 0, "id": "t1", "type": "function", "function": {"name": "f", "arguments": None}}], "{}"),
        ([piece(id="t1", name="f"), piece(""), piece("")], "{}"),
        ([piece(id="t1", name="f"), piece("not json")], "not json"),
    ],
    ids=[
        "an empty object before strings",
        "the string of one before strings (Bedrock)",
        "with nothing between them",
        "an empty object alone",
        "the string of one alone",
        "an object",
        "an empty string",
        "none",
        "null",
        "empty pieces",
        "what is no JSON",
    ],
)  # fmt: skip
@pytest.mark.parametrize("end", [[END], [chunk(finish="stop")], []], ids=["tool_calls", "stop", "the marker alone"])
def test_the_arguments_of_a_call(calls: list[dict[str, Any]], arguments: str, end: list[Any]) -> None:
    found = read(sse(*(chunk(call) for call in calls), *end, DONE))

    assert [call.arguments for call in found.choice.tool_calls] == [arguments]
    assert "".join(event.arguments for event in found.of(sk.ToolCallDelta)) == arguments


@pytest.mark.parametrize("form", ["delta", "message"])
@pytest.mark.parametrize("arguments", [None, "", {}, "{}"], ids=json.dumps)
def test_a_call_without_arguments_has_an_empty_object_streamed_or_not(form: str, arguments: Any) -> None:
    call = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    body = {"choices": [{"index": 0, form: {"role": "assistant", "tool_calls": [call]}, "finish_reason": "tool_calls"}]}

    found = read(sse(body, DONE))

    assert [call.arguments for call in found.choice.tool_calls] == ["{}"]
    assert found.completion.to_openai()["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == "{}"


def test_a_legacy_function_call_without_arguments_has_an_empty_object() -> None:
    delta = {"choices": [{"index": 0, "delta": {"function_call": {"name": "f"}}}]}

    found = read(sse(delta, chunk(finish="function_call"), DONE))

    assert found.completion.to_openai()["choices"][0]["message"]["function_call"] == {"name": "f", "arguments": "{}"}


@pytest.mark.parametrize(
    ("body", "arguments"),
    [
        ([chunk(piece("", id="t1", name="f"))], ""),
        ([chunk(piece("{}", id="t1", name="f"))], "{}"),
        ([chunk(piece("", id="t1", name="f")), chunk(finish="length"), DONE], ""),
        ([chunk(piece("{}", id="t1", name="f")), "{broken"], "{}"),
        ([chunk({"index": 0, "id": "t1", "type": "custom", "custom": {"name": "py", "input": ""}}), END, DONE], ""),
    ],
    ids=["a stream that is cut", "cut after an empty object", "too long", "damaged", "a custom tool"],
)
def test_possibly_incomplete_arguments_are_not_changed(body: list[Any], arguments: str) -> None:
    found = read(sse(*body))

    deltas = [event for event in found.events if isinstance(event, sk.ToolCallDelta)]
    assert "".join(event.arguments for event in deltas) == arguments


def test_interleaved_calls_keep_their_own_arguments() -> None:
    calls = [
        piece("{}", id="a", name="f"),
        piece("", index=1, id="b", name="g"),
        piece('{"x":1}'),
        piece("[]", index=1),
    ]

    assert calls_of(*calls) == [("a", "f", '{"x":1}'), ("b", "g", "[]")]
