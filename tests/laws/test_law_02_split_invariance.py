"""Law 2: the events, text, snapshot and counts do not depend on how the input bytes are cut."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamkit as sk

PIPELINE: sk.Stage[str, sk.Event] = (
    sk.Parse() | sk.Extract() | sk.Moderate(sk.Rule("secret", ("hunter2",), ("pass\\w+",))) | sk.Accumulate()
)


class Pieces(sk.Source[bytes]):
    """Bursts of pieces, as returned by a network."""

    def __init__(self, bursts: Iterable[Sequence[bytes]]) -> None:
        self.bursts: Iterator[Sequence[bytes]] = iter(bursts)

    async def read(self) -> Sequence[bytes]:
        return next(self.bursts, ())


def outcome(run: Iterable[object]) -> list[object]:
    """The items, and last the way in which the run ended."""
    seen: list[object] = []
    try:
        seen.extend(run)
    except sk.StreamkitError as error:
        return [*seen, type(error), str(error), error.__notes__]
    return seen


def cut(body: bytes, at: Iterable[int]) -> list[bytes]:
    return [body[start:end] for start, end in pairwise([0, *sorted(at), len(body)])]


@pytest.fixture(
    scope="session", params=["lf", "crlf", "cr", "mixed", "bom", "cut off", "bad event", "json", "ndjson", "empty"]
)
def body(request: pytest.FixtureRequest, chat: bytes) -> bytes:
    lines = chat.split(b"\n")
    events = chat.split(b"\n\n")
    match request.param:
        case "lf":
            return chat
        case "crlf":
            return b"\r\n".join(lines)
        case "cr":
            return b"\r".join(lines)
        case "mixed":
            ends = [b"\r", b"\n", b"\r\n"]
            return b"".join(line + ends[number % 3] for number, line in enumerate(lines))
        case "bom":
            return b"\xef\xbb\xbf" + chat
        case "cut off":
            return chat[: chat.index("👋".encode()) + 2]
        case "bad event":
            return b"\n\n".join([*events[:4], b"data: <html>", *events[4:]])
        case "json":
            return b'\n{"choices": [{"index": 0,\n"message": {"content": "hi"}, "finish_reason": "stop"}]}\n'
        case "ndjson":
            return b'{"choices": [{"delta": {"content": "a"}}]}\n' * 3
        case _:
            return b""


def test_every_cutting_of_the_bytes_gives_the_same_events(body: bytes) -> None:
    whole = outcome(PIPELINE.run(body))

    @settings(max_examples=60, deadline=None, database=None)
    @given(st.sets(st.integers(0, len(body)), max_size=40))
    def recut(at: set[int]) -> None:
        assert outcome(PIPELINE.run(cut(body, at))) == whole

    recut()


def test_one_cut_at_every_place_gives_the_same_events(body: bytes) -> None:
    whole = outcome(PIPELINE.run(body))

    different = [at for at in range(len(body) + 1) if outcome(PIPELINE.run(iter(cut(body, [at])))) != whole]

    assert different == []


@pytest.mark.parametrize("burst", [1, 7, 100_000])
@pytest.mark.parametrize("size", [1, 2, 3, 64])
@pytest.mark.anyio
async def test_a_stream_gives_what_run_gives_for_any_pieces_and_bursts(chat: bytes, size: int, burst: int) -> None:
    pieces = cut(chat, range(size, len(chat), size))
    bursts = [pieces[at : at + burst] for at in range(0, len(pieces), burst)]

    events = [event async for event in Pieces(bursts) | PIPELINE]

    assert events == list(PIPELINE.run(chat))


def test_the_snapshot_is_the_same_for_every_cutting(chat: bytes) -> None:
    def snapshot(pieces: Iterable[bytes]) -> dict[str, Any]:
        run = PIPELINE.run(pieces)
        assert any(isinstance(event, sk.Completion) for event in run)
        return run.stage(sk.Accumulate).snapshot.to_dict()

    whole = snapshot([chat])

    assert snapshot(cut(chat, range(1, len(chat)))) == whole
    assert whole["choices"][0]["message"]["content"].startswith("Hello, 안녕하세요 👋🏽 line\u2028separator")
    assert "password" not in str(whole)


def test_lines_with_their_ends_are_the_bytes_they_came_from(chat: bytes) -> None:
    # Like the lines of an iteration over a file.
    text = chat.decode()
    lines = [line + "\n" for line in text.split("\n")][:-1]

    assert list(PIPELINE.run(lines)) == list(PIPELINE.run(text)) == list(PIPELINE.run(chat))


def test_lines_without_their_ends_are_the_bytes_they_came_from(chat: bytes) -> None:
    assert list(PIPELINE.run(chat.decode().split("\n"))) == list(PIPELINE.run(chat))


def test_bytes_of_every_kind_are_bytes(chat: bytes) -> None:
    whole = list(PIPELINE.run(chat))

    assert list(PIPELINE.run([bytearray(chat)])) == whole
    assert list(PIPELINE.run([memoryview(chat)[:99], memoryview(chat)[99:]])) == whole
