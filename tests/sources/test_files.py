"""A file that a worker thread opens or reads is closed, even after the waiting task was cancelled."""

import asyncio
import io
import os
import threading
import time
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

import streamkit as sk
from streamkit.sources.adapters import File
from streamkit.sources.files import Handle
from tests.fire.server import DONE, FINISH, TEXT

BODY = TEXT + FINISH + DONE
needs_fifo = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are counted in /proc")


class Slow(io.BytesIO):
    """A file whose opening and reads each wait for an event; it records the operation in progress."""

    def __init__(self, at: str) -> None:
        super().__init__(BODY)
        self.at = at
        self.reached, self.go_on, self.closed_by = threading.Event(), threading.Event(), threading.Event()

    def step(self, name: str) -> None:
        if name == self.at:
            self.reached.set()
            assert self.go_on.wait(30)

    def open(self) -> "Slow":
        self.step("open")
        return self

    def read1(self, size: int | None = -1, /) -> bytes:
        self.step("read")
        return super().read1(-1 if size is None else size)

    def close(self) -> None:
        super().close()
        self.closed_by.set()


def source_of(file: Slow) -> File:
    source = File(Path("answer.sse"))
    source._handle = Handle[bytes](file.open)  # pyright: ignore[reportPrivateUsage]
    return source


async def reached(file: Slow) -> None:
    assert await anyio.to_thread.run_sync(file.reached.wait, 30)


async def read_all(source: sk.Source[bytes]) -> None:
    async with source | sk.Parse() | sk.Extract() as events:
        async for _ in events:
            pass


@pytest.mark.anyio
@pytest.mark.parametrize("at", ["open", "read"])
async def test_a_file_is_closed_by_the_thread_that_is_left_with_it(at: str) -> None:
    file = Slow(at)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read_all, source_of(file))
        await reached(file)
        tasks.cancel_scope.cancel()
    # The consumer is cancelled, and the thread is still in the operation.
    assert not file.closed
    file.go_on.set()
    assert await anyio.to_thread.run_sync(file.closed_by.wait, 30)


@pytest.mark.asyncio
@pytest.mark.parametrize("at", ["open", "read"])
async def test_a_task_that_is_cancelled_by_asyncio_itself_leaves_no_file_open(at: str) -> None:
    file = Slow(at)
    task = asyncio.create_task(read_all(source_of(file)))
    await reached(file)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    file.go_on.set()
    assert await asyncio.to_thread(file.closed_by.wait, 30)


def use(file: Any) -> bytes:
    data: bytes = file.read()
    return data


@pytest.mark.anyio
async def test_a_file_that_was_closed_is_not_opened_any_more() -> None:
    file = Slow("never")
    handle = Handle[bytes](file.open)
    handle.close()
    assert await handle.run(use) is None
    assert not file.closed


@pytest.mark.anyio
async def test_what_opening_raises_is_raised_and_nothing_is_left_to_close(tmp_path: Path) -> None:
    with pytest.raises(sk.errors.RecordingError):
        await read_all(File(tmp_path / "none.sse"))


def open_files() -> list[str]:
    numbers = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return [os.readlink(number) for number in numbers if os.path.lexists(number)]


def wait_until_closed(path: str) -> None:
    while path in open_files():
        time.sleep(0.001)


def write_nothing(pipe: Path) -> None:
    # Blocks until the pipe is opened for reading.
    pipe.open("wb").close()


@needs_fifo
@pytest.mark.anyio
@pytest.mark.parametrize("source", [lambda path: path, sk.replay], ids=["a path", "a replay"])
async def test_a_named_pipe_that_nobody_writes_to_can_be_left(source: Any, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    # Opening the pipe blocks until there is a writer; the consumer must not wait for that.
    with anyio.move_on_after(0.05) as scope:
        async with sk.Parse().open(source(pipe)) as events:
            await anext(events)
    assert scope.cancelled_caught
    with anyio.fail_after(10):
        await anyio.to_thread.run_sync(write_nothing, pipe)
        await anyio.to_thread.run_sync(wait_until_closed, str(pipe), abandon_on_cancel=True)


@pytest.mark.anyio
async def test_a_recording_is_closed_when_the_opening_of_its_source_is_cancelled(tmp_path: Path) -> None:
    class Waiting(sk.Source[bytes]):
        async def open(self) -> None:
            await anyio.sleep_forever()

        async def read(self) -> list[bytes]:
            return []

    tap = sk.record(Waiting(), tmp_path / "answer.jsonl")
    with anyio.move_on_after(0.02):
        await read_all(tap)
    assert tap._file is None  # pyright: ignore[reportPrivateUsage]
    assert (tmp_path / "answer.jsonl").read_text().splitlines()[-1].endswith('"end":"closed"}')
