"""Each object of a body that is a JSON array is returned as soon as it is complete."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamkit as sk
from streamkit.sse.json_array import JsonArray

PIPELINE: Any = sk.Parse()
GEMINI = sk.Parse() | sk.Extract()


def chunk(text: str, **more: Any) -> dict[str, Any]:
    return {"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": text}]}, **more}]}


def pieces(body: bytes, at: set[int] | range) -> list[bytes]:
    places = sorted({0, len(body), *(place for place in at if place < len(body))})
    return [body[start:end] for start, end in pairwise(places)]


def parsed(*received: bytes | str) -> tuple[list[sk.sse.ServerSentEvent], str]:
    events: list[sk.sse.ServerSentEvent] = []
    try:
        events.extend(PIPELINE.run(iter(received)))
    except sk.StreamkitError as error:
        return events, str(error).splitlines()[0]
    return events, ""


# When objects are returned


@pytest.mark.parametrize("separator", [b",", b", ", b",\r\n", b"\n,\n"], ids=repr)
def test_an_element_is_given_with_the_byte_that_ends_it(separator: bytes) -> None:
    first, second = (json.dumps(chunk(text), indent=1).encode() for text in ("Blue ", "sky"))
    run = GEMINI.run(iter([b"[" + first[:-1], b"}", separator + second[:-1], b"}", b"]"]))
    texts = [next(event for event in run if isinstance(event, sk.TextDelta)) for _ in range(2)]

    assert [event.text for event in texts] == ["Blue ", "sky"]


def test_nothing_more_is_read_for_an_element_that_is_whole() -> None:
    def body() -> Any:
        yield b"[" + json.dumps(chunk("Blue ")).encode()
        raise AssertionError("read on")

    assert next(event for event in GEMINI.run(body()) if isinstance(event, sk.TextDelta)).text == "Blue "


@pytest.mark.anyio
async def test_a_source_of_bytes_without_lines_gives_them_as_they_come() -> None:
    received: list[bytes] = []

    async def body() -> Any:
        for piece in (b"[" + json.dumps(chunk("Blue ")).encode(), b"," + json.dumps(chunk("sky")).encode(), b"]"):
            received.append(piece)
            yield piece

    seen = [
        (event.text, len(received))
        async for event in body() | (sk.Parse() | sk.Extract())
        if isinstance(event, sk.TextDelta)
    ]

    assert seen == [("Blue ", 1), ("sky", 2)]


def test_what_was_received_is_the_raw_of_the_events() -> None:
    elements = [chunk("Blue "), chunk("sky", finishReason="STOP")]

    events = list(GEMINI.run([json.dumps(elements).encode()]))

    assert [event.raw for event in events if isinstance(event, sk.TextDelta)] == elements


# The end of the array


@pytest.mark.parametrize("indent", [None, 2])
def test_wherever_an_array_is_cut_it_is_truncated(indent: int | None) -> None:
    body = json.dumps([chunk("Blue "), chunk("sky"), chunk("!")], indent=indent).encode()

    for cut in range(1, len(body)):
        *_, end = GEMINI.run([body[:cut]])
        assert isinstance(end, sk.StreamEnd)
        assert end.reason == "truncated"


def test_an_array_that_is_cut_behind_the_finish_reason_is_complete() -> None:
    body = json.dumps(
        [chunk("Blue "), chunk("sky", finishReason="STOP"), {"usageMetadata": {"promptTokenCount": 3}}]
    ).encode()
    finished = body.index(b"}, {", body.index(b"STOP")) + 1

    for cut in range(finished, len(body) + 1):
        *_, end = GEMINI.run([body[:cut]])
        assert end == sk.StreamEnd("completed")


def test_an_error_in_an_array_is_the_providers() -> None:
    body = json.dumps(
        [chunk("Blue "), {"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}}]
    ).encode()
    seen: list[object] = []

    with pytest.raises(sk.ProviderError) as caught:
        seen.extend(GEMINI.run([body]))

    assert caught.value.code == 429
    assert any(isinstance(event, sk.TextDelta) for event in seen)


@pytest.mark.parametrize(
    ("body", "documents", "problem"),
    [
        (b'[{"a":1},oops]', ['{"a":1}'], "line 1: expected an object after a comma"),
        (b'[{"a":1},,{"b":2}]', ['{"a":1}'], "line 1: expected an object after a comma"),
        (b'[{"a":1},\n]', ['{"a":1}'], "line 2: expected an object after a comma"),
        (b'[{"a":1}{"b":2}]', ['{"a":1}'], "line 1: expected ',' or ']' after an element"),
        (b'[{"a":1}]\n[,{"b":2}]', ['{"a":1}'], "line 2: expected an object or ']' after the start"),
        (b'[{"a":1}],[{"b":2}]', ['{"a":1}'], "line 1: expected nothing or another array after"),
        (b'[\n{"a":1}\n"b"\n]', ['{"a":1}'], "line 3: expected ',' or ']' after an element"),
        (b'[{"a":1}] more', ['{"a":1}'], "line 1: expected nothing or another array after"),
        (b'[{"a":1}}', ['{"a":1}'], "line 1: expected ',' or ']' after an element"),
        (b'[{"a":1}\0', ['{"a":1}'], "line 1: expected ',' or ']' after an element"),
        (b'[{"a":1}data: {}\n\n', ['{"a":1}'], "line 1: expected ',' or ']' after an element"),
    ],
    ids=[
        "words",
        "two commas",
        "a comma before the end",
        "no comma",
        "a comma at the start",
        "a comma between two arrays",
        "a text without a comma",
        "words behind it",
        "a bracket too many",
        "the first byte of a binary event stream",
        "an event",
    ],
)
def test_what_is_no_element_is_an_error_after_the_elements(body: bytes, documents: list[str], problem: str) -> None:
    for cut in (pieces(body, set()), pieces(body, range(len(body)))):
        events, error = parsed(*cut)
        assert [event.data for event in events] == documents
        assert error.startswith(problem)
        assert "oops" not in error


def test_the_limit_of_an_event_holds_for_an_element_and_not_for_the_array() -> None:
    element = b'{"a": "' + b"x" * 30 + b'"}'
    pipeline: Any = sk.Parse(max_event_bytes=50)

    assert len(list(pipeline.run([b"[" + b",".join([element] * 100) + b"]"]))) == 100
    with pytest.raises(sk.errors.LimitExceeded, match=r"^line 1: expected at most 50 "):
        list(pipeline.run(iter([b'[{"a":"', *[b"x" * 10 + b"}"] * 10])))


# Bodies that are not arrays of objects


@pytest.mark.parametrize(
    ("body", "documents"),
    [
        (b"[]", ["[]"]),
        (b"[1, 2]\n", ["[1, 2]"]),
        (b'["a}", "b"]\n[3]\n', ['["a}", "b"]', "[3]"]),
        (b'[[{"a": 1}]]', ['[[{"a": 1}]]']),
        (b"[DONE]\n", ["[DONE]"]),
        (b"[ERROR] a } broke\n", ["[ERROR] a } broke"]),
        (b'{"a": [{"b": 1}]}', ['{"a": [{"b": 1}]}']),
    ],
    ids=["nothing", "numbers", "texts, one a line", "arrays", "the end marker", "words", "an object"],
)
def test_what_is_no_array_of_objects_is_read_as_before(body: bytes, documents: list[str]) -> None:
    assert parsed(body) == (list(map(document, documents)), "")
    assert parsed(*pieces(body, range(len(body)))) == (list(map(document, documents)), "")


def document(data: str) -> sk.sse.JsonBody:
    return sk.sse.JsonBody.of(data)


def test_arrays_one_a_line_are_all_read() -> None:
    assert parsed(b'[{"a": 1}]\n[{"b": 2}, {"c": 3}]\n')[0] == [*map(document, ['{"a": 1}', '{"b": 2}', '{"c": 3}'])]


def test_to_an_event_source_it_is_unknown_fields() -> None:
    body = b'[{"a": 1}]\n\ndata: x\n\n'

    for cut in (pieces(body, set()), pieces(body, range(len(body)))):
        assert list(sk.Parse(strict=True).run(iter(cut))) == [sk.sse.ServerSentEvent.of("x")]


def test_lines_alone_give_lines() -> None:
    assert list(sk.sse.Lines().run(iter([b'[{"a": 1}', b", {}]\n[x"]))) == ['[{"a": 1}, {}]', "[x"]


@given(st.lists(st.sampled_from(['{"b": "]}"}', '{"a": [1]}', ' {"c": {}} ']), min_size=1, max_size=5))
def test_lines_of_an_array_give_what_its_bytes_give(elements: list[str]) -> None:
    body = "[\n" + "\n,\n".join(elements) + "\n]\n"

    assert (
        parsed(*sk.sse.Lines().run([body])) == parsed(body.encode()) == ([*map(document, map(str.strip, elements))], "")
    )


# Any array, cut anywhere

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('ab"\\{}[],: é漢😀\n'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('a"\\{}é', max_size=3), inner, max_size=3),
    max_leaves=12,
)
ELEMENTS = st.lists(st.dictionaries(st.text('a"\\{}]é', max_size=3), JSON, max_size=3), min_size=1, max_size=4)
CUTS = st.sets(st.integers(0, 400), max_size=12)


@given(ELEMENTS, CUTS, st.sampled_from([None, 1]), st.booleans(), st.sampled_from([b"", "\ufeff".encode(), b" \r\n"]))
def test_any_array_gives_its_elements_for_any_cuts(
    elements: list[Any], at: set[int], indent: int | None, ascii_only: bool, before: bytes
) -> None:
    body = before + json.dumps(elements, indent=indent, ensure_ascii=ascii_only).encode()

    events, error = parsed(*pieces(body, at))

    assert error == ""
    assert [json.loads(event.data) for event in events] == elements
    assert all(type(event) is sk.sse.JsonBody for event in events)
    assert parsed(body) == (events, "")


@given(ELEMENTS, CUTS, st.integers(0, 400))
def test_any_cut_array_gives_the_elements_that_are_whole_and_says_that_it_is_cut(
    elements: list[Any], at: set[int], end: int
) -> None:
    body = json.dumps(elements).encode()
    body = body[: end % len(body)]

    events, error = parsed(*pieces(body, at))

    assert (events, error) == parsed(body)
    if len(body) > 1:
        *whole, last = events
        assert type(last) is sk.sse.UnfinishedEvent
        assert [json.loads(event.data) for event in whole] == elements[: len(whole)]


@given(st.binary(max_size=60), CUTS)
def test_any_bytes_behind_a_bracket_give_the_same_for_any_cuts(rest: bytes, at: set[int]) -> None:
    assert parsed(*pieces(b"[" + rest, at)) == parsed(b"[" + rest)
    assert parsed(*pieces(b"[{" + rest, at)) == parsed(b"[{" + rest)


@given(ELEMENTS, st.integers(0, 200))
def test_a_run_goes_on_from_a_checkpoint_anywhere(elements: list[Any], cut: int) -> None:
    body = json.dumps(elements).encode()
    cut %= len(body)
    whole = [event for event in parsed(body[:cut])[0] if event.data.startswith("{") and type(event) is sk.sse.JsonBody]
    run = PIPELINE.run(iter([body[:cut], b""]))
    first = [next(run) for _ in whole]

    checkpoint = json.loads(json.dumps(run.checkpoint()))

    rest = PIPELINE.run(iter([body[checkpoint["received"] :]]), checkpoint=checkpoint)

    assert [json.loads(event.data) for event in [*first, *rest]] == elements


def test_each_character_is_looked_at_once() -> None:
    class Counted(bytes):
        looked = 0

        def __getitem__(self, place: Any) -> Any:
            if isinstance(place, slice):
                Counted.looked += len(range(*place.indices(len(self))))
            return super().__getitem__(place)

    array, text = JsonArray(lead=None), Counted(b'{"a": "' + b"x" * 1000 + b'"},')
    for character in range(0, len(text), 7):
        array.feed(Counted(bytes.__getitem__(text, slice(character, character + 7))))

    assert Counted.looked <= 2 * len(text)
