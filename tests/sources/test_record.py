"""A recording has the received data, its arrival times and no secrets, and does not affect the consumer."""

import errno
import io
import json
import os
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path

import anyio
import pytest
from aiohttp import web
from hypothesis import example, given, settings
from hypothesis import strategies as st

import streamkit as sk
from streamkit.sources.record import RecordingSource, record
from streamkit.sources.recording import read_recording
from streamkit.sources.retry import Retry

HELLO = b'data: {"choices":[{"index":0,"delta":{"content":"Hello"}}]}\n\n'
WORLD = b'data: {"choices":[{"index":0,"delta":{"content":", world"}}]}\n\n'
FINISH = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
PIPELINE = sk.Parse() | sk.Extract() | sk.Accumulate() | sk.Timing()


class Scripted(sk.Source[bytes]):
    """Returns each read at its time on the source's own clock; an error in the script is raised."""

    def __init__(self, *reads: tuple[float, Sequence[bytes] | Exception], clock: float = 1000.0) -> None:
        self.opened = self.closed = self.drained = False
        self._reads = iter(reads)
        self._began = self._now = clock

    def now(self) -> float:
        return self._now

    async def open(self) -> None:
        self.opened = True

    async def read(self) -> Sequence[bytes]:
        await anyio.lowlevel.checkpoint()
        at, came = next(self._reads, (self._now - self._began, ()))
        self._now = self._began + at
        if isinstance(came, Exception):
            raise came
        return came

    async def drain(self) -> None:
        self.drained = True

    async def close(self) -> None:
        self.closed = True


async def read_all(source: sk.Source[bytes]) -> list[bytes]:
    """Read all pieces and close the source."""
    pieces: list[bytes] = []
    try:
        await source.open()
        while burst := await source.read():
            pieces += burst
    finally:
        await source.close()
    return pieces


async def events_of(source: sk.Source[bytes]) -> list[sk.Event]:
    async with source | PIPELINE as events:
        return [event async for event in events]


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# Content of the file


@pytest.mark.anyio
async def test_a_recording_has_one_line_for_what_is_known_one_for_each_piece_and_one_for_the_end(
    tmp_path: Path,
) -> None:
    source = Scripted((0.25, [b"data: caf\xc3", b"\xa9\n"]), (0.5, [b"\n"]), (0.75, ()))

    assert await read_all(record(source, tmp_path / "a.jsonl")) == [b"data: caf\xc3", b"\xa9\n", b"\n"]

    assert (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines() == [
        '{"streamkit":"recording/1"}',
        '{"t":0.25,"b64":"ZGF0YTogY2Fmww=="}',
        '{"t":0.25,"b64":"qQo="}',
        '{"t":0.5,"text":"\\n"}',
        '{"t":0.75,"end":"eof"}',
    ]


@pytest.mark.anyio
async def test_a_piece_is_in_the_file_before_it_is_handed_on(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    tap = record([b"one", b"two"], path)
    await tap.open()
    assert lines(path) == [{"streamkit": "recording/1"}]

    await tap.read()
    assert [line.get("text") for line in lines(path)] == [None, "one", "two"]
    await tap.close()


@pytest.mark.anyio
async def test_an_error_of_the_source_is_recorded_by_its_class_alone(tmp_path: Path) -> None:
    source = Scripted((1.0, [HELLO]), (2.0, sk.errors.Disconnected("the key sk-secret was revoked")))

    with pytest.raises(sk.errors.Disconnected, match="revoked"):
        await read_all(record(source, tmp_path / "a.jsonl"))

    assert lines(tmp_path / "a.jsonl")[-1] == {"t": 2.0, "end": "error", "error": "Disconnected"}


@pytest.mark.anyio
async def test_a_source_that_can_not_be_opened_leaves_a_recording_that_says_so(tmp_path: Path) -> None:
    class Refused(Scripted):
        status = 429

        async def open(self) -> None:
            raise sk.StatusError("no", status=429)

    with pytest.raises(sk.StatusError):
        await read_all(record(Refused(), tmp_path / "a.jsonl"))

    assert lines(tmp_path / "a.jsonl") == [
        {"streamkit": "recording/1", "status": 429},
        {"t": 0.0, "end": "error", "error": "StatusError"},
    ]


@pytest.mark.anyio
async def test_a_reader_that_has_enough_leaves_a_recording_that_was_closed(tmp_path: Path) -> None:
    source = Scripted((1.0, [HELLO]), (2.0, [WORLD]))
    async with record(source, tmp_path / "a.jsonl") | PIPELINE as events:
        async for _ in events:
            break

    assert source.closed
    assert lines(tmp_path / "a.jsonl")[1:] == [
        {"t": 1.0, "text": HELLO.decode()},
        {"t": 1.0, "end": "closed"},
    ]


@pytest.mark.anyio
async def test_a_cancelled_read_is_no_error_of_the_source(tmp_path: Path) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield HELLO
        await anyio.sleep_forever()

    async with record(pieces(), tmp_path / "a.jsonl") | PIPELINE as events:
        async for _ in events:
            events.cancel()

    assert [line.get("end") for line in lines(tmp_path / "a.jsonl")] == [None, None, "closed"]


@pytest.mark.anyio
async def test_a_recording_that_was_never_finished_has_no_end(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    tap = record([HELLO, WORLD], path)
    await tap.open()
    await tap.read()
    # The file after a crash, in the worst case in the middle of the next line.
    (tmp_path / "crashed.jsonl").write_bytes(path.read_bytes() + b'{"t":3.1,"te')
    await tap.close()

    replayed = read_recording((tmp_path / "crashed.jsonl").read_bytes())
    assert [next(replayed)[1], next(replayed)[1]] == [HELLO, WORLD]
    with pytest.raises(sk.errors.ProtocolError, match="line 4: expected a recorded piece"):
        next(replayed)


@pytest.mark.anyio
async def test_only_the_attempt_that_was_delivered_is_recorded(tmp_path: Path) -> None:
    class TwoAttempts(Scripted):
        async def again(self, error: Exception) -> bool:
            return isinstance(error, sk.errors.Disconnected)

    source = TwoAttempts((1.0, [b": ping of the first attempt, longer than all that follows\n\n" * 20]),
                         (2.0, sk.errors.Disconnected("broke")), (5.0, [HELLO]), (6.0, [DONE]))  # fmt: skip

    assert sk.TextDelta("Hello") in await events_of(record(source, tmp_path / "a.jsonl"))

    assert lines(tmp_path / "a.jsonl") == [
        {"streamkit": "recording/1"},
        {"t": 5.0, "text": HELLO.decode()},
        {"t": 6.0, "text": DONE.decode()},
        {"t": 6.0, "end": "closed"},
    ]


# Recording and replaying


@st.composite
def bodies(draw: st.DrawFn) -> list[tuple[float, bytes]]:
    """Bodies with many kinds of content, split anywhere, with an arrival time for each piece."""
    body = "".join(
        draw(st.lists(st.sampled_from([HELLO, WORLD, ": ☃ ping\r\n\r\n".encode(), FINISH, DONE]).map(bytes.decode)))
    ).encode() + draw(st.binary(max_size=20))
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(body) - 1)), max_size=12)))
    pieces = [body[i:j] for i, j in zip([0, *cuts], [*cuts, len(body)], strict=True) if body[i:j]]
    gaps = draw(st.lists(st.floats(0, 60), min_size=len(pieces), max_size=len(pieces)))
    return [(sum(gaps[: number + 1]), piece) for number, piece in enumerate(pieces)]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(deadline=None)
@given(came=bodies(), clock=st.floats(-1e6, 1e6))
@example(came=[(0.1, b"data: \xe2"), (0.30000000000000004, b"\x98\x83\n\n")], clock=0.1)
def test_a_replay_gives_the_pieces_the_times_and_the_events_that_were_recorded(
    backend: str, came: list[tuple[float, bytes]], clock: float
) -> None:
    reads = [(at, [piece]) for at, piece in came]

    async def outcome(source: sk.Source[bytes]) -> list[object]:
        seen: list[object] = []
        try:
            async with source | PIPELINE as events:
                async for event in events:
                    seen.append(event)
        except sk.StreamkitError as error:
            seen.append((type(error), str(error)))
        return seen

    async def run(path: str) -> None:
        recorded = Scripted(*reads, clock=clock)
        taken = await read_all(record(recorded, path))
        times = [recorded._began + at - recorded._began for at, _ in came]
        assert taken == [piece for _, piece in came]
        content = await anyio.Path(path).read_bytes()
        assert [(at, data) for at, data in read_recording(content) if data] == list(zip(times, taken, strict=True))
        assert await read_all(sk.replay(path)) == taken

        live = await outcome(record(Scripted(*reads, clock=clock), path))
        assert await outcome(sk.replay(path)) == live

    with tempfile.TemporaryDirectory() as folder:
        anyio.run(run, os.path.join(folder, "a.jsonl"), backend=backend)


@pytest.mark.anyio
async def test_a_recording_of_a_replay_is_the_same_recording(tmp_path: Path) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    await read_all(record(Scripted((0.1, [HELLO]), (0.7, [b"\xff"]), (0.9, ())), first))

    await read_all(record(sk.replay(first), second))

    assert second.read_bytes() == first.read_bytes()


# No effect on the consumer


@pytest.mark.anyio
async def test_what_came_is_handed_on_as_it_is(tmp_path: Path) -> None:
    burst = [HELLO, b"", bytes(bytearray(WORLD))]
    tap = record(Scripted((0.0, burst)), tmp_path / "a.jsonl")
    await tap.open()

    assert await tap.read() is burst
    await tap.close()


async def asynchronous() -> AsyncIterator[bytes]:
    yield HELLO
    yield DONE


@pytest.mark.parametrize(
    "pieces", [asynchronous, lambda: [HELLO, DONE], lambda: iter([HELLO, DONE])], ids=["async", "list", "iterator"]
)
@pytest.mark.anyio
async def test_any_iterable_of_bytes_can_be_recorded(
    tmp_path: Path, pieces: Callable[[], AsyncIterable[bytes] | Iterable[bytes]]
) -> None:
    assert await read_all(record(pieces(), tmp_path / "a.jsonl")) == [HELLO, DONE]

    assert await read_all(sk.replay(tmp_path / "a.jsonl")) == [HELLO, DONE]


@pytest.mark.anyio
async def test_a_tap_tells_its_source_all_that_it_is_told(tmp_path: Path) -> None:
    source = Scripted((0.0, [HELLO]), (0.0, [DONE]))
    source.deadlines = sk.http.Deadlines(idle_content=5.0)

    tap = record(source, tmp_path / "a.jsonl")
    await events_of(tap)

    assert tap.deadlines == source.deadlines
    assert (source.opened, source.drained, source.closed) == (True, True, True)


def test_a_tap_answers_for_its_source_in_everything_that_a_source_can_do() -> None:
    asked = {name for name, member in vars(sk.Source).items() if callable(member) and not name.startswith("_")}
    asked -= {"items"}  # a stream must not bypass the recording

    assert asked <= set(vars(RecordingSource))


@pytest.mark.anyio
async def test_a_source_that_was_used_is_refused(tmp_path: Path) -> None:
    source = Scripted((0.0, [HELLO]))
    await events_of(source)

    with pytest.raises(sk.PipelineError, match="opened before"):
        await events_of(record(source, tmp_path / "a.jsonl"))


@pytest.mark.anyio
async def test_a_source_that_is_recorded_can_not_be_read_beside_the_tap(tmp_path: Path) -> None:
    source = Scripted((0.0, [HELLO]))
    async with record(source, tmp_path / "a.jsonl") | PIPELINE:
        with pytest.raises(sk.PipelineError, match="already opened"):
            await events_of(source)


@pytest.mark.anyio
async def test_lines_are_refused_since_they_are_no_body(tmp_path: Path) -> None:
    source: list[bytes] = ["data: text"]  # type: ignore[list-item]

    with pytest.raises(sk.PipelineError, match="expected pieces of bytes to record, found str"):
        await read_all(record(source, tmp_path / "a.jsonl"))


# Disks that fail


class FullDisk(io.BytesIO):
    """Accepts some bytes, then fails."""

    room = 0

    def write(self, data: object, /) -> int:
        if self.tell() + len(data) > self.room:  # type: ignore[arg-type]
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("room", "delivered"),
    [(0, 0), (40, 1), (40 + 110, 2), (40 + 2 * 110, 3)],
    ids=["at the first line", "at the first piece", "at the second", "at the end"],
)
@pytest.mark.anyio
async def test_everything_that_was_read_is_delivered_before_the_failure_of_the_disk(
    monkeypatch: pytest.MonkeyPatch, room: int, delivered: int
) -> None:
    disk = FullDisk()
    disk.room = room
    monkeypatch.setattr(Path, "open", lambda *_: disk)
    source = Scripted((0.1, [HELLO]), (0.2, [WORLD]), (0.3, ()))
    seen: list[sk.Event] = []

    async def read() -> None:
        async with record(source, "a.jsonl") | sk.Parse() | sk.Extract() | sk.Accumulate() as events:
            async for event in events:
                seen.append(event)

    with pytest.raises(
        sk.SourceError, match=r"a\.jsonl: the recording can't be written: No space left on device"
    ) as raised:
        await read()

    texts = [event.text for event in seen if isinstance(event, sk.TextDelta)]
    assert texts == ["Hello", ", world"][:delivered]
    # A disk failure at the end does not affect the response, which is complete.
    assert any(isinstance(event, sk.Completion) for event in seen) == (delivered == 3)
    assert isinstance(raised.value.__cause__, OSError)
    assert (source.closed, disk.closed) == (True, True)


@pytest.mark.parametrize("operation", ["truncate", "close"])
@pytest.mark.anyio
async def test_a_disk_that_fails_at_anything_else_is_told_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, operation: str
) -> None:
    class Broken(io.FileIO):
        def truncate(self, size: int | None = None, /) -> int:
            raise OSError(errno.EIO, "Input/output error")

        def close(self) -> None:
            was_open = not self.closed
            super().close()
            if was_open and operation == "close":
                raise OSError(errno.EIO, "Input/output error")

    class TwoAttempts(Scripted):
        async def again(self, error: Exception) -> bool:
            return operation == "truncate"

    monkeypatch.setattr(Path, "open", lambda *_: Broken(tmp_path / "a.jsonl", "w"))
    tap = record(TwoAttempts((1.0, [HELLO]), (2.0, [DONE])), "a.jsonl")
    await tap.open()
    await tap.again(sk.errors.Disconnected("broke"))

    with pytest.raises(sk.SourceError, match=r"a\.jsonl: the recording can't be written: Input/output error"):
        await tap.close()


@pytest.mark.anyio
async def test_a_file_that_can_not_be_made_is_told_before_the_source_is_opened(tmp_path: Path) -> None:
    source = Scripted((0.0, [HELLO]))

    with pytest.raises(sk.SourceError, match=r"a\.jsonl: the recording can't be written: No such file or directory"):
        await events_of(record(source, tmp_path / "missing" / "a.jsonl"))

    assert (source.opened, source.closed) == (False, True)


@pytest.mark.anyio
async def test_a_failure_of_the_disk_does_not_hide_that_of_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FullDisk()
    disk.room = 40
    monkeypatch.setattr(Path, "open", lambda *_: disk)

    with pytest.raises(sk.errors.Disconnected, match="broke") as raised:
        await events_of(record(Scripted((0.0, sk.errors.Disconnected("broke"))), "a.jsonl"))

    assert "can't be written" in "".join(raised.value.__notes__)


# Keys


@pytest.mark.parametrize(
    "name",
    [
        "Authorization", "Proxy-Authorization", "X-Forwarded-Authorization", "WWW-Authenticate", "api-key", "API_KEY",
        "apikey", "x-api-key", "x-goog-api-key", "Ocp-Apim-Subscription-Key", "x-auth-token", "x-amz-security-token",
        "x-csrf-token", "x-client-secret", "x-session", "x-hub-signature", "Cookie", "Set-Cookie", "Set-Cookie2",
        "openai-organization", "openai-project", "anthropic-organization-id", "x-account-id", "Location", "Referer",
    ],
)  # fmt: skip
@pytest.mark.anyio
async def test_a_header_that_may_hold_a_key_is_recorded_without_its_value(tmp_path: Path, name: str) -> None:
    about = {"headers": {name: "sk-secret"}}

    await read_all(record([b""], tmp_path / "redacted.jsonl", about=about))
    await read_all(record([b""], tmp_path / "kept.jsonl", about=about, keep_headers=[name.upper()]))

    assert lines(tmp_path / "redacted.jsonl")[0]["headers"] == {name: "[redacted]"}
    assert lines(tmp_path / "kept.jsonl")[0]["headers"] == {name: "sk-secret"}


@pytest.mark.parametrize(
    "name",
    ["Content-Type", "Date", "openai-processing-ms", "x-request-id", "x-ratelimit-remaining-tokens", "x-keyboard"],
)
@pytest.mark.anyio
async def test_any_other_header_is_recorded_as_it_is(tmp_path: Path, name: str) -> None:
    await read_all(record([b""], tmp_path / "a.jsonl", about={"headers": [(name, "42")]}))

    assert lines(tmp_path / "a.jsonl")[0]["headers"] == {name: "42"}


@pytest.mark.parametrize(
    ("url", "written"),
    [
        ("https://api.example/v1/chat?key=sk-secret#sk-secret", "https://api.example/v1/chat"),
        ("https://me:sk-secret@api.example:8443/v1", "https://api.example:8443/v1"),
        ("http://sk-secret@[::1]:80/", "http://[::1]:80/"),
    ],
)
@pytest.mark.anyio
async def test_a_url_is_recorded_without_its_query_and_user_part(tmp_path: Path, url: str, written: str) -> None:
    await read_all(record([b""], tmp_path / "a.jsonl", about={"url": url}))

    assert lines(tmp_path / "a.jsonl")[0]["url"] == written


@pytest.mark.anyio
async def test_what_is_said_about_a_recording_stands_in_its_first_line(tmp_path: Path) -> None:
    about = {"request": {"model": "gpt-4o"}, "method": "PUT"}
    tap = record([b""], tmp_path / "a.jsonl", about=about)
    about["method"] = "changed since"
    await read_all(tap)

    assert lines(tmp_path / "a.jsonl")[0] == {
        "streamkit": "recording/1",
        "request": {"model": "gpt-4o"},
        "method": "PUT",
    }


def test_what_can_not_be_written_about_a_recording_is_refused_at_once() -> None:
    with pytest.raises(TypeError):
        record([], "a.jsonl", about={"session": object()})


@pytest.mark.asyncio
async def test_no_key_of_a_request_over_http_and_no_prompt_is_in_its_recording(tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.Response:
        assert (request.headers["authorization"], request.query["key"]) == ("Bearer sk-secret-1", "sk-secret-2")
        headers = {"set-cookie": "session=sk-secret-3", "x-request-id": "req_1", "content-type": "text/event-stream"}
        return web.Response(body=HELLO + DONE, headers=headers)

    app = web.Application()
    app.router.add_post("/v1/chat", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        source = sk.http.post(
            f"{site.name}/v1/chat?key=sk-secret-2",
            json={"prompt": "secret prompt"},
            headers={"authorization": "Bearer sk-secret-1"},
        )
        live = await events_of(record(source, tmp_path / "a.jsonl"))
    finally:
        await runner.cleanup()

    head = lines(tmp_path / "a.jsonl")[0]
    assert (head["method"], head["url"], head["status"]) == ("POST", f"{site.name}/v1/chat", 200)
    assert isinstance(head["headers"], dict)
    headers = {name.lower(): value for name, value in head["headers"].items()}
    assert (headers["set-cookie"], headers["x-request-id"]) == ("[redacted]", "req_1")
    assert "secret" not in (tmp_path / "a.jsonl").read_text(encoding="utf-8")
    assert [type(event) for event in await events_of(sk.replay(tmp_path / "a.jsonl"))] == [
        type(event) for event in live
    ]


@pytest.mark.asyncio
async def test_a_request_that_is_tried_again_is_recorded_from_the_beginning(tmp_path: Path) -> None:
    attempts = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            return web.Response(status=503, headers={"retry-after": "0"})
        return web.Response(body=HELLO + DONE, headers={"content-type": "text/event-stream"})

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        await events_of(record(sk.http.get(site.name, retry=Retry(attempts=2)), tmp_path / "a.jsonl"))
    finally:
        await runner.cleanup()

    recorded = lines(tmp_path / "a.jsonl")
    assert (recorded[0]["status"], [line.get("end") for line in recorded]) == (200, [None, None, "closed"])


def test_a_tap_shows_what_is_recorded_and_where_but_no_key() -> None:
    tap = record(sk.http.get("https://me:sk-secret@api.example/v1?key=sk-secret"), "a.jsonl")

    assert repr(tap) == "<<GET https://api.example/v1> recorded to a.jsonl>"


@pytest.mark.anyio
async def test_a_recording_that_fails_is_an_error_and_no_cut_answer(tmp_path: Path) -> None:
    stream = record(Scripted((0, [HELLO])), tmp_path / "no" / "such" / "folder") | PIPELINE

    with pytest.raises(sk.errors.RecordingError, match="can't be written"):
        async with stream as events:
            await anext(events)

    assert stream.end == sk.StreamEnd("error")
