"""Gemini's function calls: arguments streamed value by value, and repeated calls."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamkit as sk
from streamkit.dialects.gemini_arguments import PartialArguments
from tests.dialects.streams import Result, cuts, read, sse


def chunk(*parts: dict[str, Any], finish: str | None = None, index: int = 0) -> dict[str, Any]:
    ended = {"finishReason": finish} if finish else {}
    return {"candidates": [{"index": index, "content": {"role": "model", "parts": list(parts)}, **ended}]}


def call(**fields: Any) -> dict[str, Any]:
    return {"functionCall": fields}


def pieces(*partial: dict[str, Any], goes_on: bool = True, **fields: Any) -> dict[str, Any]:
    return call(partialArgs=list(partial), **({"willContinue": True} if goes_on else {}), **fields)


def at(path: str, value: Any = None, *, goes_on: bool = False) -> dict[str, Any]:
    kinds = {str: "stringValue", float: "numberValue", int: "numberValue", bool: "boolValue"}
    said = {"nullValue": None} if value is None else {kinds[type(value)]: value}
    return {"jsonPath": path, **said, **({"willContinue": True} if goes_on else {})}


BEGIN = call(name="write", id="q1", willContinue=True)
END = chunk({"text": "."}, finish="STOP")


def result(*parts: dict[str, Any]) -> Result:
    return read(sse(*(chunk(part) for part in parts), END))


def calls_of(*parts: dict[str, Any]) -> list[tuple[str | None, str | None, str]]:
    return [(c.id, c.name, c.arguments) for c in result(*parts).choice.tool_calls]


@pytest.mark.parametrize(
    ("parts", "arguments"),
    [
        ([pieces(at("$.path", "a.t", goes_on=True)), pieces(at("$.path", "xt")), call()], '{"path":"a.txt"}'),
        (
            [pieces(at("$.a", 1), at("$.b", True), at("$.c"), at("$.d", 1.5)), call()],
            '{"a":1,"b":true,"c":null,"d":1.5}',
        ),
        ([pieces(at("$.a", 'x\n"😀')), call()], '{"a":"x\\n\\"😀"}'),
        (
            [
                pieces(at("$.a.b", "x")),
                pieces(at("$.a.c[0].d", 1)),
                pieces(at("$.a.c[0].e", 2)),
                pieces(at("$.a.c[1].d", 3)),
                pieces(at("$.f", 4)),
                call(),
            ],
            '{"a":{"b":"x","c":[{"d":1,"e":2},{"d":3}]},"f":4}',
        ),
        (
            [pieces(at("$.l[0]", "a")), pieces(at("$.l[1]", "b")), pieces({"jsonPath": "$.l[]"}), call()],
            '{"l":["a","b"]}',
        ),
        ([pieces({"jsonPath": "$.l[]"}, {"jsonPath": "$.o"}, at("$.n", 1)), call()], '{"l":[],"o":{},"n":1}'),
        ([pieces({"jsonPath": "$.s", "willContinue": True}), pieces(at("$.s", "a")), call()], '{"s":"a"}'),
        ([pieces(at("$['a b']", 1), at('$["c.d"]', 2), at("$['it\\'s']", 3)), call()], '{"a b":1,"c.d":2,"it\'s":3}'),
        (
            [pieces(at("$.a", "x", goes_on=True)), pieces({"jsonPath": "$.a"}), pieces(at("$.b", 1)), call()],
            '{"a":"x","b":1}',
        ),
        ([pieces(at("$.a", "")), pieces(at("$.a", "x"), goes_on=False)], '{"a":"x"}'),
        ([call()], "{}"),
        ([], "{}"),
    ],
    ids=[
        "a string in pieces",
        "numbers, Booleans, null",
        "escapes",
        "objects and arrays within each other",
        "the end of an array",
        "empty containers",
        "a string that is announced",
        "quoted names",
        "the end of a string",
        "without a last empty part",
        "no arguments",
        "no arguments and no last part",
    ],
)
def test_streamed_arguments_are_one_json_document(parts: list[dict[str, Any]], arguments: str) -> None:
    found = result(BEGIN, *parts)

    assert [(c.id, c.name, c.arguments) for c in found.choice.tool_calls] == [("q1", "write", arguments)]
    (part, *_) = found.completion.to_dict()["candidates"][0]["content"]["parts"]
    assert part == {"functionCall": {"name": "write", "id": "q1", "args": json.loads(arguments)}}
    assert found.end.reason == "tool_calls"


NAMES = st.text("ab'. \"[é", min_size=1, max_size=3)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(-9, 9).filter(lambda f: not f.is_integer())
    | st.text('ab"\\\n😀', max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


def streamed(value: Any, path: str, size: int) -> list[dict[str, Any]]:
    """Return a value as pieces in order, with strings split."""
    match value:
        case dict():
            found = [p for name, inner in value.items() for p in streamed(inner, f"{path}[{json.dumps(name)}]", size)]
            return found or [{"jsonPath": path}]
        case list():
            found = [p for number, inner in enumerate(value) for p in streamed(inner, f"{path}[{number}]", size)]
            return [*found, {"jsonPath": f"{path}[]"}]
        case str() if value:
            return [at(path, value[start : start + size], goes_on=True) for start in range(0, len(value), size)]
        case _:
            return [at(path, value)]


@given(st.dictionaries(NAMES, VALUES, max_size=4), st.integers(1, 3))
def test_any_arguments_are_reassembled_however_they_are_split(arguments: dict[str, Any], size: int) -> None:
    found = [piece for name, value in arguments.items() for piece in streamed(value, f"$[{json.dumps(name)}]", size)]

    ((_, _, whole),) = calls_of(BEGIN, *(pieces(piece) for piece in found), call())

    assert json.loads(whole) == arguments
    assert calls_of(BEGIN, pieces(*found), call()) == [("q1", "write", whole)]


def test_moderation_sees_the_arguments() -> None:
    rule = sk.Rule("file", ("a.txt",), replacement="[file]")
    body = sse(
        *(
            chunk(part)
            for part in (BEGIN, pieces(at("$.path", "a.t", goes_on=True)), pieces(at("$.path", "xt")), call())
        ),
        END,
    )

    events = list((sk.sse.Lines() | sk.Parse() | sk.Extract() | sk.Moderate(rule) | sk.Accumulate()).run([body]))

    (completion,) = (event for event in events if isinstance(event, sk.Completion))
    assert completion.choices[0].tool_calls[0].arguments == '{"path":"[file]"}'
    assert not any("a.t" in repr(event) for event in events)


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        (
            [
                call(name="f", id="1", willContinue=True),
                pieces(at("$.a", 1)),
                call(name="g", id="2", willContinue=True),
                pieces(at("$.b", 2)),
                call(),
            ],
            [("1", "f", '{"a":1}'), ("2", "g", '{"b":2}')],
        ),
        (
            [
                call(name="f", id="1", willContinue=True),
                call(name="g", id="2", args={"b": 2}),
                pieces(at("$.a", 1), goes_on=False),
            ],
            [("1", "f", "{}"), ("2", "g", '{"b":2}'), (None, None, '{"a":1}')],
        ),
        ([call(name="f", args={"a": 1}), call(name="f", args={"a": 1})], [(None, "f", '{"a":1}')] * 2),
        ([call(name="f", id="1", args={"a": 1}), call(name="f", id="1", args={"a": 1})], [("1", "f", '{"a":1}')]),
        (
            [call(name="f", willContinue=True), pieces(at("$.a", 1)), call(), call(name="f", args={"a": 1})],
            [(None, "f", '{"a":1}')],
        ),
        (
            [
                call(name="f", willContinue=True),
                pieces(at("$.a", "x", goes_on=True)),
                call(name="f", args={"a": "xyz"}),
            ],
            [(None, "f", '{"a":"xyz"}')],
        ),
        (
            [call(name="f", id="1", willContinue=True), call(name="f", id="1", args={"a": 1}), call()],
            [("1", "f", '{"a":1}')],
        ),
        ([call(name="f", id="1", args={"a": 1}), call()], [("1", "f", '{"a":1}')]),
        (
            [call(name="f", id="1", willContinue=True), call(id="1", partialArgs=[at("$.a", 1)])],
            [("1", "f", '{"a":1}')],
        ),
        ([pieces(at("$.a", 1), goes_on=False)], [(None, None, '{"a":1}')]),
    ],
    ids=[
        "one after the other",
        "another call in between",
        "the same call twice, without ids",
        "twice, by its id",
        "in pieces, and again whole",
        "in pieces, and then whole before it has ended",
        "announced, and then whole",
        "an end of nothing",
        "a piece with its id",
        "a piece of a call that has not begun",
    ],
)
def test_a_part_is_assigned_to_its_call(parts: list[dict[str, Any]], found: list[Any]) -> None:
    assert calls_of(*parts) == found


def test_a_signature_is_in_the_part_of_its_call() -> None:
    found = result({**BEGIN, "thoughtSignature": "c2ln"}, pieces(at("$.a", 1)), call())

    assert found.completion.to_dict()["candidates"][0]["content"]["parts"][0]["thoughtSignature"] == "c2ln"


def test_arguments_of_a_cut_answer_are_not_completed() -> None:
    body = sse(*(chunk(part) for part in (BEGIN, pieces(at("$.path", "a.t", goes_on=True)))))

    found = read(body)

    assert [c.arguments for c in found.choice.tool_calls] == ['{"path":"a.t']
    assert found.end.reason == "truncated"
    assert read(body, sse(chunk(finish="MAX_TOKENS"))).choice.tool_calls[0].arguments == '{"path":"a.t'


@pytest.mark.parametrize(
    "partial",
    [
        [at("$.a.x", 1), at("$.b", 2), at("$.a.y", 3)],
        [at("$.a", "x"), at("$.b", 2), at("$.a", "y")],
        [at("$.a", 1), at("$.a", 2)],
        [at("$.a[1]", 1)],
        [at("$.a[0]", 1), at("$.a.b", 1)],
        [at("a.b", 1)],
        [at("$..a", 1)],
        [at("$.a[*]", 1)],
    ],
    ids=lambda partial: " ".join(piece["jsonPath"] for piece in partial),
)
def test_a_piece_without_a_valid_path_is_an_error_after_all_events_before_it(partial: list[dict[str, Any]]) -> None:
    found = read(sse(chunk({"text": "Hi"}), chunk(BEGIN), *(chunk(pieces(piece)) for piece in partial), END))

    assert isinstance(found.error, sk.errors.ProtocolError)
    assert sk.TextDelta("Hi") in found.events


def test_with_errors_emit_it_ends_the_stream() -> None:
    found = read(sse(chunk({"text": "Hi"}), chunk(BEGIN), chunk(pieces(at("$.a[1]", 1))), END), errors="emit")

    assert (found.error, found.end.reason, found.completion.text) == (None, "error", "Hi")
    assert len(found.notices("protocol_error")) == 1


def test_a_body_with_streamed_arguments_is_read_the_same_however_it_is_split() -> None:
    body = sse(
        *(chunk(part) for part in (BEGIN, pieces(at("$.a", "é😀", goes_on=True)), pieces(at("$.a", "b")), call())), END
    )

    for pieces_ in cuts(body):
        assert read(*pieces_).events == read(body).events


def test_the_text_so_far_is_always_a_prefix_of_the_whole() -> None:
    writer, written = PartialArguments(), ""
    for piece in (
        at("$.a", "x", goes_on=True),
        at("$.a", "y"),
        at("$.b[0]", 1),
        {"jsonPath": "$.b[]"},
        at("$.c", True),
    ):
        written += writer.piece(piece)

    assert (written, writer.end()) == ('{"a":"xy","b":[1],"c":true', "}")
