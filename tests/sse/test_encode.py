"""Encoding: `Parse` reads the encoded events back unchanged, and no value can inject lines."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamkit as sk
from streamkit.sse.encode import Encode, encode, encode_comment
from streamkit.sse.events import Comment, JsonBody, UnfinishedEvent

READER = sk.Parse(comments=True)

# Text as a reader returns it: no line ends, and lone surrogates only as `Lines` decodes invalid UTF-8.
LINE = st.text(
    st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])
    | st.sampled_from(": \ufeff\0\x85\u2028\x0b\x0cé👋🏽\udcff\udce9"),
    max_size=8,
)
FIELDS = st.fixed_dictionaries(
    {
        "event": LINE.map(lambda name: name or "message"),
        "data": st.lists(LINE, min_size=1, max_size=4).map("\n".join),
        "id": LINE.map(lambda text: text.replace("\0", "")),
        "retry": st.none() | st.integers(0, 10**19 - 1),
    }
)
EVENT = st.builds(lambda fields: sk.sse.ServerSentEvent.of(**fields), FIELDS)
COMMENT = st.builds(Comment, event=st.just("comment"), id=FIELDS.map(lambda fields: fields["id"]), text=LINE)
LAST = st.builds(lambda fields: UnfinishedEvent.of(**fields), FIELDS)
EVENTS = st.builds(lambda events, last: events + last, st.lists(EVENT | COMMENT), st.lists(LAST, max_size=1))
PIECE = st.sampled_from(
    [
        *(b"data", b"event", b"id", b"retry", b":", b": ", b" ", b"\n", b"\r", b"\r\n", b"\n\n", b"data: x\n\n"),
        *(b"\0", b"\xef\xbb\xbf", b"\xff", "é👋🏽\u2028\x85".encode(), b"7", b"{}", b"[1,\n2]", b"[DONE]", b"message"),
    ]
)
BODY = st.lists(PIECE | st.binary(max_size=3), max_size=30).map(b"".join)


def read(pieces: Iterable[bytes], parse: sk.Parse = READER) -> list[sk.sse.ServerSentEvent]:
    return list((sk.sse.Lines(errors="surrogateescape") | parse).run(list(pieces)))


def written(events: Iterable[sk.sse.ServerSentEvent]) -> bytes:
    return b"".join(Encode().run(list(events)))


def cut(body: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(body) + 1) for place in places} | {0, len(body)})
    return [body[start:end] for start, end in pairwise(ends)]


@given(EVENTS, st.lists(st.integers(0, 10_000)))
def test_what_a_reader_can_give_is_read_back_the_same_under_any_cuts(
    events: list[sk.sse.ServerSentEvent], places: list[int]
) -> None:
    assert read(cut(written(events), places)) == events


@given(st.sampled_from([b"data: x\n\n", b"{", b":\n"]), BODY)
def test_any_body_written_again_reads_as_before(begins: bytes, body: bytes) -> None:
    events = read([begins + body])
    again = read([written(events)])
    # The documents of a JSON body are encoded as events.
    assert [(event.event, event.payload, event.id) for event in again] == [
        (event.event, event.payload, event.id) for event in events
    ]


@given(BODY)
def test_any_body_written_again_is_the_same_to_an_event_source(body: bytes) -> None:
    reader = sk.Parse(strict=True)
    events = read([body], reader)
    assert read([written(events)], reader) == events


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (sk.sse.ServerSentEvent(), b"data: \n\n"),
        (sk.sse.ServerSentEvent.of("x"), b"data: x\n\n"),
        (sk.sse.ServerSentEvent.of("x", ""), b"data: x\n\n"),
        (sk.sse.ServerSentEvent.of("x", "ping"), b"event: ping\ndata: x\n\n"),
        (sk.sse.ServerSentEvent.of("x", "ping", id="7", retry=100), b"id: 7\nevent: ping\nretry: 100\ndata: x\n\n"),
        (sk.sse.ServerSentEvent.of(" x"), b"data:  x\n\n"),
        (sk.sse.ServerSentEvent.of("a\nb\n"), b"data: a\ndata: b\ndata: \n\n"),
        (sk.sse.ServerSentEvent.of("a\rb\r\nc"), b"data: a\ndata: b\ndata: c\n\n"),
        (sk.sse.ServerSentEvent.of("a\n\nevent: evil"), b"data: a\ndata: \ndata: event: evil\n\n"),
        (sk.sse.ServerSentEvent.of("a\u2028b\x85c\x0bd"), "data: a\u2028b\x85c\x0bd\n\n".encode()),
        (sk.sse.ServerSentEvent.of("\udcff"), b"data: \xff\n\n"),
        (JsonBody.of('{"a":\n1}'), b'data: {"a":\ndata: 1}\n\n'),
        (UnfinishedEvent.of("x"), b"data: x\n"),
        (Comment(text=" ping"), b": ping\n"),
        (Comment(text="a\ndata: evil"), b":a\n:data: evil\n"),
    ],
    ids=[
        *("no data", "data alone", "no name", "a name", "all fields", "a leading space"),
        *("lines", "CR and CRLF", "a line that looks like a field", "what ends no line", "malformed bytes"),
        *("a JSON body", "a cut event", "a comment", "a comment in lines"),
    ],
)
def test_an_event_has_exactly_the_fields_that_it_needs(event: sk.sse.ServerSentEvent, expected: bytes) -> None:
    assert encode(event) == expected


def test_an_id_is_written_where_it_changes_and_empty_where_it_is_reset() -> None:
    events = [sk.sse.ServerSentEvent.of(data, id=id) for data, id in (("a", ""), ("b", "1"), ("c", "1"), ("d", ""))]
    assert list(Encode().run(events)) == [b"data: a\n\n", b"id: 1\ndata: b\n\n", b"data: c\n\n", b"id: \ndata: d\n\n"]


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (sk.sse.ServerSentEvent("a\ndata: evil"), r"event: expected one line of text, found '\n' at position 1"),
        (sk.sse.ServerSentEvent("a\rb"), r"event: expected one line of text, found '\r' at position 1"),
        (sk.sse.ServerSentEvent(id="1\n\ndata: evil"), r"id: expected one line of text, found '\n' at position 1"),
        (sk.sse.ServerSentEvent(id="\r"), r"id: expected one line of text, found '\r' at position 0"),
        (sk.sse.ServerSentEvent(id="12\0"), r"id: expected one line of text, found '\x00' at position 2"),
        (sk.sse.ServerSentEvent(retry=-1), "retry: expected milliseconds, 0 or more, found -1"),
    ],
    ids=["LF in event", "CR in event", "LF in id", "CR in id", "NUL in id", "negative retry"],
)
def test_a_field_that_would_break_out_of_its_line_is_refused_by_name(
    event: sk.sse.ServerSentEvent, message: str
) -> None:
    with pytest.raises(sk.PipelineError) as caught:
        encode(event)
    assert str(caught.value) == message


def test_events_before_one_that_is_refused_are_written() -> None:
    run = Encode().run([sk.sse.ServerSentEvent.of("a"), sk.sse.ServerSentEvent("\n")])
    assert next(run) == b"data: a\n\n"
    with pytest.raises(sk.PipelineError):
        next(run)


@given(st.text())
def test_no_text_breaks_out_of_a_comment(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    assert read([encode_comment(text)], sk.Parse()) == []
    assert read([encode_comment(text, alone=False), b"data: x\n\n"], sk.Parse()) == [sk.sse.ServerSentEvent.of("x")]


def test_a_comment_is_a_block_of_its_own_unless_it_shall_not() -> None:
    assert encode_comment("ping") == b": ping\n\n"
    assert encode_comment("a\r\nb", alone=False) == b": a\n: b\n"
