"""Amazon's binary event stream: botocore reads the same events, and each fault raises a typed error."""

from struct import pack
from typing import Any
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given, settings
from hypothesis import strategies as st

import streamkit as sk
from streamkit.errors import LimitExceeded, ProtocolError
from streamkit.sse import AmazonEvent, UnfinishedEvent
from tests.amazon import chunk, event, failure, frame, header, headers, text_header
from tests.kit import cut

TWO = event("messageStart", {"role": "assistant"}) + event("contentBlockDelta", {"delta": {"text": "Hé☃"}})


def read(*pieces: bytes, **options: Any) -> tuple[list[Any], Exception | None]:
    """The events, and the error raised after them."""
    events = list[Any]()
    try:
        events.extend(sk.Parse(**options).run(pieces))
    except sk.StreamkitError as error:
        return events, error
    return events, None


def by_botocore(body: bytes) -> list[tuple[dict[str, Any], bytes]]:
    buffer = EventStreamBuffer()
    buffer.add_data(body)
    return [(message.headers, message.payload) for message in buffer]


# Frames


def test_a_frame_is_an_event_with_its_name_and_its_payload() -> None:
    events, error = read(event("contentBlockDelta", {"delta": {"text": "Hi"}}))

    assert error is None
    (found,) = events
    assert isinstance(found, AmazonEvent)
    assert (found.event, found.data, found.message_type) == (
        "contentBlockDelta",
        '{"delta": {"text": "Hi"}}',
        "event",
    )
    assert found.headers == {
        ":event-type": "contentBlockDelta",
        ":content-type": "application/json",
        ":message-type": "event",
    }
    assert found.reason is None


def test_an_exception_names_itself_and_has_the_providers_words() -> None:
    (found,), error = read(failure("throttlingException", "Too many requests"))

    assert error is None
    assert (found.event, found.message_type) == ("throttlingException", "exception")
    assert found.reason == {"throttlingException": {"message": "Too many requests"}}


def test_an_error_has_its_words_in_headers() -> None:
    said = headers(error_code="InternalFailure", error_message="It broke", message_type="error")

    (found,), _ = read(frame(b"", said))

    assert (found.event, found.message_type) == ("InternalFailure", "error")
    assert found.reason == {"error": {"code": "InternalFailure", "message": "It broke"}}


def test_an_exception_whose_payload_is_no_json_is_one() -> None:
    (found,), _ = read(frame(b"oops", headers(exception_type="odd", message_type="exception")))

    assert found.reason == {"odd": {"message": "oops"}}


def test_the_payload_of_a_chunk_is_the_models_own_chunk() -> None:
    (found,), _ = read(chunk({"type": "message_stop"}))

    assert (found.event, found.payload) == ("chunk", b'{"type": "message_stop"}')


@pytest.mark.parametrize("payload", [b"", b"Hello", b'{"bytes": 1}', b'{"bytes": "%"}', b'{"text": "a"}', b"[]"])
def test_a_chunk_that_wraps_nothing_stays_as_it_is(payload: bytes) -> None:
    (found,), _ = read(frame(payload, headers(event_type="chunk", message_type="event")))

    assert found.payload == payload


def test_a_frame_without_headers_is_a_message() -> None:
    (found,), _ = read(frame(b"{}"))

    assert (found.event, found.payload, found.headers) == ("message", b"{}", {})


VALUES = {
    "true": (0, b"", True),
    "false": (1, b"", False),
    "byte": (2, pack(">b", -3), -3),
    "short": (3, pack(">h", -300), -300),
    "integer": (4, pack(">i", -70000), -70000),
    "long": (5, pack(">q", -(2**40)), -(2**40)),
    "bytes": (6, pack(">H", 2) + b"\x00\xff", b"\x00\xff"),
    "text": (7, pack(">H", 5) + "é☃".encode(), "é☃"),
    "timestamp": (8, pack(">q", 1700000000123), 1700000000123),
    "uuid": (9, bytes(range(16)), bytes(range(16))),
}


@pytest.mark.parametrize(("kind", "raw", "value"), VALUES.values(), ids=VALUES)
def test_a_header_of_every_type_has_its_value(kind: int, raw: bytes, value: object) -> None:
    body = frame(b"x", header("a", kind, raw) + text_header("b", "after"))

    (found,), _ = read(body)

    assert found.headers == {"a": value, "b": "after"}
    assert by_botocore(body) == [(found.headers, b"x")]


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    values = st.sampled_from(list(VALUES.values()))
    names = st.text(st.characters(codec="utf-8"), max_size=20).filter(lambda name: len(name.encode()) < 256)
    found = b""
    for _ in range(draw(st.integers(0, 4))):
        said = draw(st.dictionaries(names, values, max_size=4))
        found += frame(draw(st.binary(max_size=60)), b"".join(header(n, k, raw) for n, (k, raw, _) in said.items()))
    return found


@settings(max_examples=200, deadline=None)
@given(body=bodies(), at=st.sets(st.integers(0, 800), max_size=12))
def test_any_frames_in_any_pieces_are_those_that_botocore_reads(body: bytes, at: set[int]) -> None:
    events, error = read(*cut(body, at))

    assert error is None
    assert [(found.headers, found.payload) for found in events] == by_botocore(body)


def test_however_the_body_is_cut_the_events_are_the_same() -> None:
    whole = read(TWO)

    for place in range(len(TWO)):
        assert read(TWO[:place], TWO[place:]) == whole
    assert read(*(TWO[at : at + 1] for at in range(len(TWO)))) == whole


def test_a_run_that_is_resumed_in_a_frame_reads_the_rest_of_it() -> None:
    for place in range(1, len(TWO), 7):
        first, second = sk.Parse(), sk.Parse()
        events = list(first.feed(TWO[:place]))
        second.restore(first.state())
        events += [*second.feed(TWO[place:]), *second.flush()]
        assert events == read(TWO)[0]


# Faults


def test_a_changed_bit_anywhere_is_an_error_behind_the_frames_before_it() -> None:
    size = len(event("messageStart", {"role": "assistant"}))
    whole, _ = read(TWO)
    for place in range(size, len(TWO)):
        for bit in range(8):
            body = bytearray(TWO + TWO)
            body[place] ^= 1 << bit
            events, error = read(bytes(body))
            assert type(error) is ProtocolError, (place, bit)
            assert error.offset == size
            assert "checksum" in str(error)
            assert events == whole[:1]
            assert read(*(bytes(body)[at : at + 7] for at in range(0, len(body), 7)))[0] == events


def test_a_changed_bit_in_the_first_frame_is_an_error_of_the_format() -> None:
    for place in range(len(event("messageStart", {"role": "assistant"}))):
        for bit in range(8):
            body = bytearray(TWO)
            body[place] ^= 1 << bit
            events, error = read(bytes(body))
            assert (events, type(error)) == ([], ProtocolError), (place, bit)


@pytest.mark.parametrize("size", [1, 5, 11, 12, 13, 40, len(TWO) // 2])
def test_a_frame_that_the_end_cuts_off_is_unfinished_and_has_no_data(size: int) -> None:
    events, error = read(TWO + TWO[:size])

    assert error is None
    assert events[:2] == read(TWO)[0]
    assert events[-1] == UnfinishedEvent()


def test_an_answer_that_the_end_cuts_off_is_truncated() -> None:
    *_, end = (sk.Parse() | sk.Extract()).run([TWO[:-5]])

    assert end == sk.StreamEnd("truncated", open_choices=(0,))


def checked(total: int, length: int) -> bytes:
    # A prelude with a correct checksum and wrong lengths.
    prelude = pack(">II", total, length)
    return prelude + pack(">I", crc32(prelude))


@pytest.mark.parametrize(("total", "length"), [(0, 0), (15, 0), (16, 1), (40, 25), (0xFFFFFF, 200_000)])
def test_lengths_that_no_frame_has_are_an_error(total: int, length: int) -> None:
    events, error = read(TWO, checked(total, length))

    assert len(events) == 2
    assert type(error) is ProtocolError
    assert str(error) == (
        f"byte {len(TWO)} of Amazon's event stream: expected the lengths of a frame, found {total} bytes with {length} of headers"
    )


@pytest.mark.parametrize(
    "said",
    [
        b"\x05ab",
        b"\x01a",
        b"\x01a\x0a",
        b"\x01a\x02",
        b"\x01a\x04\x00",
        b"\x01a\x07\x00",
        b"\x01a\x07\x00\x05ab",
        b"\x01a\x09abc",
        b"\x01a\x07\x00\x01\xff",
        b"\x01\xff\x00",
        text_header("a", "1") + text_header("a", "2"),
    ],
    ids=[
        "name", "type", "unknown type", "byte", "integer", "length", "text", "uuid", "value in UTF-8", "name in UTF-8", "twice",
    ],
)  # fmt: skip
def test_headers_that_the_format_does_not_have_are_an_error(said: bytes) -> None:
    events, error = read(TWO + frame(b"secret", said))

    assert len(events) == 2
    assert type(error) is ProtocolError
    assert "headers" in str(error)
    assert "secret" not in str(error)


def test_a_frame_over_the_limit_is_an_error_before_it_is_received() -> None:
    payload = b"x" * 101
    assert read(frame(payload), max_event_bytes=101)[1] is None

    events, error = read(TWO, frame(payload)[:12], max_event_bytes=100)

    assert len(events) == 2
    assert isinstance(error, LimitExceeded)
    assert "max_event_bytes" in str(error)


# Bodies of other formats that begin with a zero byte


def test_strictly_a_body_is_never_of_frames() -> None:
    assert read(TWO, strict=True) == ([], None)


def test_zeros_behind_the_beginning_are_text() -> None:
    events, _ = read(b"data: a\n\n", b"\0data: b\n\n", b"data: c\n\n")

    assert [found.data for found in events] == ["a", "c"]


def test_the_time_is_linear_for_the_smallest_pieces() -> None:
    # A copy of the frame for each piece would be 25 GB here.
    body = frame(b"x" * 1_000_000)

    (found,), _ = read(*(body[at : at + 20] for at in range(0, len(body), 20)))

    assert len(found.payload) == 1_000_000
