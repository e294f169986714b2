"""A replay can be re-split and have faults; everything before a fault is delivered before it."""

import math
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from random import Random

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamkit as sk
from streamkit.sources.faults import GARBAGE, Cut, Drip, Duplicate, Fault, Garbage, Pause
from streamkit.sources.recording import Piece, read_recording
from streamkit.sources.replay import recut, replay

HELLO = b'data: {"choices":[{"index":0,"delta":{"content":"Hello"}}]}\n\n'
WORLD = b'data: {"choices":[{"index":0,"delta":{"content":", world"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
PIPELINE = sk.Parse() | sk.Extract() | sk.Timing()

ABC = [(1.0, b"abcd"), (2.0, b"efgh"), (3.0, b"")]
"""Two pieces, and the end one second later."""


def given_by(pieces: Iterator[Piece]) -> tuple[list[Piece], type[Exception] | None]:
    """Return the pieces, and the error raised after them."""
    came: list[Piece] = []
    try:
        for piece in pieces:
            came.append(piece)
    except sk.StreamkitError as error:
        return came, type(error)
    return came, None


async def outcome(source: sk.Source[bytes]) -> tuple[list[sk.Event], type[Exception] | None]:
    """Return all events, and the error raised after them."""
    seen: list[sk.Event] = []
    try:
        await read_into(seen, source | PIPELINE)
    except sk.StreamkitError as error:
        return seen, type(error)
    return seen, None


async def read_into(seen: list[sk.Event], stream: sk.Stream[sk.Event]) -> None:
    async with stream as events:
        async for event in events:
            seen.append(event)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A recording of two deltas and the end marker, one second apart."""
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"streamkit": "recording/1"}\n'
        '{"t": 1.0, "text": "data: {\\"choices\\":[{\\"index\\":0,\\"delta\\":{\\"content\\":\\"Hello\\"}}]}\\n\\n"}\n'
        '{"t": 2.0, "text": "data: {\\"choices\\":[{\\"index\\":0,\\"delta\\":{\\"content\\":\\", world\\"}}]}\\n\\n"}\n'
        '{"t": 3.0, "text": "data: [DONE]\\n\\n"}\n'
        '{"t": 3.5, "end": "eof"}\n',
        encoding="utf-8",
    )
    return path


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The requested waits; none of them takes time."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr(anyio, "sleep", sleep)
    return waits


# The end in a recording


@pytest.mark.anyio
async def test_a_recorded_error_is_a_disconnection_after_everything_that_came(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"streamkit":"recording/1"}\n'
        '{"t":0.5,"text":"data: {\\"choices\\":[{\\"delta\\":{\\"content\\":\\"Hel\\"}}]}\\n\\n"}\n'
        '{"t":9.0,"end":"error","error":"DeadlineExceeded"}\n',
        encoding="utf-8",
    )
    seen: list[sk.Event] = []
    stream = replay(path) | PIPELINE

    with pytest.raises(sk.errors.Disconnected, match="the recorded stream ended with DeadlineExceeded"):
        await read_into(seen, stream)

    assert seen == [sk.TextDelta("Hel")]
    assert stream.end == sk.StreamEnd("truncated")


@pytest.mark.parametrize("end", ["eof", "closed"])
def test_nothing_comes_after_a_recorded_end_which_has_its_time(end: str) -> None:
    content = (
        b'{"streamkit":"recording/1"}\n{"t":1,"text":"a"}\n{"t":2,"end":"%b"}\n{"t":3,"text":"b"}\n' % end.encode()
    )

    assert list(read_recording(content)) == [(1.0, b"a"), (2.0, b"")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"t": 1}', "Expected one of `text`, `b64` and `end`"),
        (b'{"t": 1, "b64": "%"}', "Invalid base64 encoded string"),
        (b'{"t": 1, "end": "perhaps"}', "Invalid enum value 'perhaps'"),
        (b'{"t": 1, "text": "\xff"}', "can't decode byte 0xff"),
        (b'{"text": "no time"}', "missing required field `t`"),
        (b'{"t": 1, "text": "a", "more": ' + b"[" * 100_000, "recursion depth"),
    ],
    ids=["nothing", "base64", "end", "utf-8", "time", "nesting"],
)
def test_a_line_that_is_no_piece_is_named_after_the_pieces_before_it(line: bytes, message: str) -> None:
    pieces = read_recording(b'{"streamkit": "recording/1"}\n{"t": 0, "text": "a"}\n\n' + line + b"\n")

    assert next(pieces) == (0.0, b"a")
    with pytest.raises(sk.errors.ProtocolError, match=f"line 4: expected a recorded piece: .*{message}") as raised:
        next(pieces)
    assert raised.value.line == 4


@pytest.mark.parametrize(
    "time",
    ["1e308", "1e999", "-1e308", "-1", "-1e-9", "31622401", "1" * 400, "NaN", "Infinity", '"1"', "null", "true", "[1]"],
)
@pytest.mark.parametrize("entry", ['"text": "b"', '"end": "eof"', '"end": "error"'], ids=["piece", "end", "error"])
def test_a_time_that_no_recording_has_is_an_error_after_the_pieces_before_it(time: str, entry: str) -> None:
    pieces = read_recording(
        b'{"streamkit": "recording/1"}\n{"t": 0, "text": "a"}\n' + f'{{"t": {time}, {entry}}}\n'.encode()
    )

    assert next(pieces) == (0.0, b"a")
    with pytest.raises(
        sk.errors.ProtocolError, match=r"^line 3: expected (t from 0 to 31622400 seconds|a recorded piece)"
    ):
        next(pieces)


@pytest.mark.anyio
async def test_a_piece_that_comes_very_late_is_not_waited_for_that_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamkit.sources.replay.LONGEST_WAIT", 0.01)
    path = tmp_path / "late.jsonl"
    path.write_bytes(b'{"streamkit":"recording/1"}\n{"t":0,"text":"data: x\\n"}\n{"t":31622400,"text":"\\n"}\n')

    source = sk.replay(path, pace=1)
    with anyio.fail_after(10):
        async with source | sk.Parse() as events:
            assert [event async for event in events] == [sk.sse.ServerSentEvent.of("x")]
    assert source.now() == 31622400


def test_a_recording_of_another_version_is_not_guessed_at() -> None:
    with pytest.raises(sk.errors.ProtocolError, match="line 1: expected 'recording/1', found 'recording/2'"):
        next(read_recording(b'{"streamkit": "recording/2"}\n'))


@pytest.mark.parametrize(
    "body",
    [b"", b"data: one\n\n", b'{"id": "c1"}\n{"id": "c2"}\n', b"\xff\xfe\n", b'{"a": ' + b"[" * 100_000],
    ids=["empty", "events", "json", "no text", "nesting"],
)
def test_any_other_file_is_a_body_in_one_piece(body: bytes) -> None:
    assert list(read_recording(body)) == [(0.0, body)]


# Re-splitting


@pytest.mark.parametrize(
    ("cut", "pieces"),
    [
        (3, [(1.0, b"abc"), (2.0, b"def"), (2.0, b"gh"), (3.0, b"")]),
        (4, ABC),
        (99, [(2.0, b"abcdefgh"), (3.0, b"")]),
        (lambda body: [body[:4], body[4:5], body[5:]], [(1.0, b"abcd"), (2.0, b"e"), (2.0, b"fgh"), (3.0, b"")]),
        (lambda body: (bytes([byte]) for byte in body[:8]),
         [(1.0, b"a"), (1.0, b"b"), (1.0, b"c"), (1.0, b"d"), (2.0, b"e"), (2.0, b"f"), (2.0, b"g"), (2.0, b"h"), (3.0, b"")]),
    ],
    ids=["3 bytes", "as it is", "whole", "a function", "a generator"],
)  # fmt: skip
def test_a_piece_that_is_cut_anew_comes_when_its_last_byte_came(
    cut: int | Callable[[bytes], Iterable[bytes]], pieces: list[Piece]
) -> None:
    assert list(recut(ABC, cut)) == pieces


@pytest.mark.anyio
async def test_a_replay_can_be_cut_at_random_and_gives_the_same_text(recording: Path) -> None:
    def anywhere(body: bytes) -> Iterator[bytes]:
        random = Random(7)
        while body:
            size = random.randint(1, 9)
            yield body[:size]
            body = body[size:]

    seen, error = await outcome(replay(recording, cut=anywhere))

    assert error is None
    assert [event for event in seen if not isinstance(event, sk.Timings)] == [
        sk.TextDelta("Hello"),
        sk.TextDelta(", world"),
        sk.StreamEnd("completed", saw_done=True, open_choices=(0,)),
    ]


def test_a_body_that_is_cut_anew_still_ends_as_it_ended() -> None:
    def broken() -> Iterator[Piece]:
        yield 1.0, b"abc"
        yield 2.0, b"de"
        raise sk.errors.Disconnected("broke")

    assert given_by(recut(broken(), 2)) == ([(1.0, b"ab"), (2.0, b"cd"), (2.0, b"e")], sk.errors.Disconnected)


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (lambda body: [body[:3], body[4:]], "expected pieces of the body, found another one at byte 3"),
        (lambda body: [body[:3]], "expected pieces of all 8 bytes, found only 3"),
        (lambda body: [body, b"more"], "expected pieces of the body, found another one at byte 8"),
    ],
    ids=["left out", "cut off", "added"],
)
def test_cutting_anew_may_not_change_the_body(cut: Callable[[bytes], Iterable[bytes]], message: str) -> None:
    with pytest.raises(sk.PipelineError, match=f"cut: {message}"):
        list(recut(ABC, cut))


# Faults, each on two pieces of four bytes


FAULTS: list[tuple[Fault, list[Piece], type[Exception] | None]] = [
    (Cut(0), [], sk.errors.Disconnected),
    (Cut(3), [(1.0, b"abc")], sk.errors.Disconnected),
    (Cut(4), [(1.0, b"abcd")], sk.errors.Disconnected),
    (Cut(8), [(1.0, b"abcd"), (2.0, b"efgh")], sk.errors.Disconnected),
    (Cut(5, clean=True), [(1.0, b"abcd"), (2.0, b"e")], None),
    (Pause(0, seconds=5), [(5.0, b""), (6.0, b"abcd"), (7.0, b"efgh"), (8.0, b"")], None),
    (Pause(3, seconds=5), [(1.0, b"abc"), (6.0, b""), (6.0, b"d"), (7.0, b"efgh"), (8.0, b"")], None),
    (Pause(8, seconds=5), [*ABC[:2], (7.0, b""), (8.0, b"")], None),
    (Pause(4), [(1.0, b"abcd"), (math.inf, b""), (math.inf, b"efgh"), (math.inf, b"")], None),
    (Garbage(0, b"!"), [(0.0, b"!"), *ABC], None),
    (Garbage(3, b"!"), [(1.0, b"abc"), (1.0, b"!"), (1.0, b"d"), *ABC[1:]], None),
    (Garbage(8), [*ABC[:2], (2.0, GARBAGE), (3.0, b"")], None),
    (Duplicate(6, 3), [(1.0, b"abc"), (1.0, b"d"), (2.0, b"ef"), (2.0, b"def"), (2.0, b"gh"), (3.0, b"")], None),
    (Duplicate(2, 3), [(1.0, b"ab"), (1.0, b"ab"), (1.0, b"cd"), *ABC[1:]], None),
    (Duplicate(8, 8), [*ABC[:2], (2.0, b"abcdefgh"), (3.0, b"")], None),
    (Drip(3, 0.25), [(1.0, b"abc"), (1.25, b"d"), (2.0, b"efg"), (2.25, b"h"), (3.0, b"")], None),
    (Drip(2, 1.5), [(1.0, b"ab"), (2.5, b"cd"), (4.0, b"ef"), (5.5, b"gh"), (5.5, b"")], None),
]


@pytest.mark.parametrize(("fault", "pieces", "error"), FAULTS, ids=[repr(fault) for fault, _, _ in FAULTS])
def test_a_fault_gives_these_pieces_at_these_times(
    fault: Fault, pieces: list[Piece], error: type[Exception] | None
) -> None:
    assert given_by(fault(iter(ABC))) == (pieces, error)


@pytest.mark.parametrize("fault", [Cut(9), Pause(9), Garbage(9), Duplicate(9, 2)], ids=repr)
def test_a_fault_behind_the_end_does_nothing(fault: Fault) -> None:
    came, error = given_by(fault(iter(ABC)))

    assert (b"".join(data for _, data in came), came[-1], error) == (b"abcdefgh", (3.0, b""), None)


@settings(deadline=None)
@given(
    body=st.binary(max_size=40),
    cuts=st.lists(st.integers(1, 9), max_size=40),
    at=st.integers(0, 45),
    length=st.integers(1, 9),
)
def test_a_fault_is_at_the_same_byte_however_the_body_is_cut(
    body: bytes, cuts: list[int], at: int, length: int
) -> None:
    def pieces() -> Iterator[Piece]:
        position = 0
        for size in [*cuts, 99]:
            yield 0.0, body[position : position + size]
            position += size

    def bytes_of(fault: Fault) -> bytes:
        return b"".join(data for _, data in given_by(fault(pieces()))[0])

    reached = at <= len(body)
    assert bytes_of(Cut(at)) == body[:at]
    assert (given_by(Cut(at)(pieces()))[1] is sk.errors.Disconnected) == reached
    assert bytes_of(Pause(at, seconds=1)) == bytes_of(Drip(length, 1)) == body
    assert bytes_of(Garbage(at, b"!")) == (body[:at] + b"!" + body[at:] if reached else body)
    again = body[max(0, at - length) : at]
    assert bytes_of(Duplicate(at, length)) == (body[:at] + again + body[at:] if reached else body)


@pytest.mark.parametrize("fault", [Cut(6), Pause(6), Garbage(6), Duplicate(6, 3), Drip(3, 1)], ids=repr)
def test_what_came_before_a_failure_goes_through_every_fault(fault: Fault) -> None:
    def broken() -> Iterator[Piece]:
        yield 1.0, b"abcd"
        raise sk.errors.Disconnected("broke")

    came, error = given_by(fault(broken()))

    assert (b"".join(data for _, data in came), error) == (b"abcd", sk.errors.Disconnected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Cut(-1), "Cut: expected after_bytes of at least 0, found -1"),
        (lambda: Pause(-1), "Pause: expected after_bytes of at least 0, found -1"),
        (lambda: Pause(1, seconds=-0.5), "Pause: expected seconds of at least 0, found -0.5"),
        (lambda: Garbage(-1), "Garbage: expected after_bytes of at least 0, found -1"),
        (lambda: Duplicate(-1, 1), "Duplicate: expected after_bytes of at least 0, found -1"),
        (lambda: Duplicate(1, 0), "Duplicate: expected length of at least 1, found 0"),
        (lambda: Drip(0, 1), "Drip: expected bytes_per_piece of at least 1, found 0"),
        (lambda: Drip(1, math.nan), "Drip: expected seconds of at least 0, found nan"),
        (lambda: replay("a", pace=0), "pace: expected more than 0, or None for no waiting; found 0"),
        (lambda: replay("a", pace=-1), "pace: expected more than 0, or None for no waiting; found -1"),
        (lambda: replay("a", cut=0), "cut: expected pieces of at least 1 byte, found 0"),
    ],
)  # fmt: skip
def test_a_value_that_makes_no_sense_is_refused_when_it_is_given(make: Callable[[], object], message: str) -> None:
    with pytest.raises(sk.PipelineError) as raised:
        make()
    assert str(raised.value) == message


# Faults in a replay


@pytest.mark.anyio
async def test_text_before_a_cut_is_delivered_before_the_disconnection(recording: Path) -> None:
    seen, error = await outcome(replay(recording, faults=[Cut(len(HELLO) + 20)]))

    assert (seen, error) == ([sk.TextDelta("Hello")], sk.errors.Disconnected)


@pytest.mark.anyio
async def test_a_clean_cut_leaves_a_truncated_stream(recording: Path) -> None:
    seen, error = await outcome(replay(recording, faults=[Cut(len(HELLO), clean=True)]))

    assert (seen[0], seen[-1], error) == (sk.TextDelta("Hello"), sk.StreamEnd("truncated", open_choices=(0,)), None)


@pytest.mark.anyio
async def test_garbage_in_an_event_is_a_protocol_error_after_the_events_before_it(recording: Path) -> None:
    seen, error = await outcome(replay(recording, faults=[Garbage(len(HELLO) + 20)]))

    assert (seen, error) == ([sk.TextDelta("Hello")], sk.errors.ProtocolError)


@pytest.mark.anyio
async def test_a_repeated_event_is_an_event(recording: Path) -> None:
    seen, error = await outcome(replay(recording, faults=[Duplicate(len(HELLO), len(HELLO))]))

    assert (seen[:3], error) == ([sk.TextDelta("Hello"), sk.TextDelta("Hello"), sk.TextDelta(", world")], None)


@pytest.mark.anyio
async def test_without_a_pace_a_stall_takes_virtual_time_alone(recording: Path, slept: list[float]) -> None:
    seen, _ = await outcome(replay(recording, faults=[Pause(len(HELLO), seconds=60)]))

    assert slept == []
    assert [event for event in seen if isinstance(event, sk.Timings)] == [
        sk.Timings(first_byte=1.0, first_content=1.0, deltas=(1.0, 62.0), total=63.0)
    ]


@pytest.mark.anyio
async def test_at_a_pace_the_waits_are_those_of_the_recording_and_its_faults(
    recording: Path, slept: list[float]
) -> None:
    await outcome(replay(recording, pace=2, cut=len(HELLO), faults=[Pause(len(HELLO), seconds=60)]))

    assert slept == [0.5, 30.0, 0.5, 0.5]


@pytest.mark.anyio
async def test_faults_are_applied_in_their_order_and_after_the_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.sse"
    path.write_bytes(b"abcdefgh")
    faults: list[Fault] = [Garbage(2, b"!!"), Duplicate(4, 2), Cut(9, clean=True)]

    source = replay(path, cut=3, faults=iter(faults))
    await source.open()
    pieces: list[bytes] = []
    while burst := await source.read():
        pieces += burst

    assert pieces == [b"ab", b"!!", b"!!", b"c", b"de"]


@pytest.mark.parametrize("pace", [None, 1.0])
@pytest.mark.anyio
async def test_a_stall_for_ever_is_ended_by_a_cancellation(tmp_path: Path, pace: float | None) -> None:
    path = tmp_path / "a.sse"
    path.write_bytes(HELLO + WORLD)
    source = replay(path, pace=pace, faults=[Pause(len(HELLO))])
    seen: list[object] = []

    async with source | sk.Parse() | sk.Extract() as events, anyio.create_task_group() as tasks:

        async def cancel() -> None:
            await anyio.wait_all_tasks_blocked()
            events.cancel()

        tasks.start_soon(cancel)
        async for event in events:
            seen.append(event)

    assert seen == [sk.TextDelta("Hello"), sk.StreamEnd("cancelled")]


@pytest.mark.anyio
async def test_a_fault_of_ones_own_is_a_function(recording: Path) -> None:
    def shouted(pieces: Iterator[Piece]) -> Iterator[Piece]:
        for at, data in pieces:
            yield at, data.replace(b"Hello", b"HELLO")

    seen, _ = await outcome(replay(recording, faults=[shouted]))

    assert seen[0] == sk.TextDelta("HELLO")


@pytest.mark.anyio
async def test_a_replay_with_faults_can_be_recorded_and_then_replays_with_them(recording: Path, tmp_path: Path) -> None:
    faulty = tmp_path / "faulty.jsonl"
    live = await outcome(sk.record(replay(recording, faults=[Drip(20, 0.25), Cut(100)]), faulty))

    assert live[1] is sk.errors.Disconnected
    assert await outcome(replay(faulty)) == live


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(deadline=None)
@given(size=st.integers(1, 200), at=st.integers(0, len(HELLO + WORLD + DONE)))
def test_what_is_delivered_before_a_cut_does_not_depend_on_the_pieces(backend: str, size: int, at: int) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.sse"
            await anyio.Path(path).write_bytes(HELLO + WORLD + DONE)
            assert await outcome(replay(path, cut=size, faults=[Cut(at)])) == await outcome(
                replay(path, faults=[Cut(at)])
            )

    anyio.run(run, backend=backend)
