"""Sentences as audio, by espeak-ng where it is installed: in order, and the first before the answer has ended."""

import io
import shutil
import stat
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

import streamkit as sk
from streamkit import hops, ops
from streamkit.testing import no_leaks

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed"),
]
SENTENCES = ["One. ", "This is a much longer sentence, with many more words in it. ", "Three words here."]


async def speak(sentence: sk.TextDelta) -> bytes:
    return (await anyio.run_process(["espeak-ng", "--stdout"], input=sentence.text.encode())).stdout


def length(chunk: bytes) -> int:
    with wave.open(io.BytesIO(chunk)) as audio:
        return len(audio.readframes(audio.getnframes()))


VOICE = ops.Sentences() | hops.ConcurrentMap(speak, concurrency=2)


async def test_audio_comes_in_order_and_the_first_before_the_answer_ends() -> None:
    heard = anyio.Event()

    async def answer() -> AsyncIterator[Any]:
        yield sk.TextDelta(SENTENCES[0] + SENTENCES[1])
        yield sk.TextDelta(SENTENCES[2][:5])
        await heard.wait()  # the rest is only written when the first sentence was heard
        yield sk.TextDelta(SENTENCES[2][5:])
        yield sk.StreamEnd("completed")

    found: list[int] = []
    with anyio.fail_after(30):
        async with answer() | VOICE as chunks:
            async for chunk in chunks:
                if isinstance(chunk, bytes):
                    found.append(length(chunk))
                    heard.set()

    assert found == [length(await speak(sk.TextDelta(sentence))) for sentence in SENTENCES]
    assert chunks.end == sk.StreamEnd("completed")


def pipes() -> int:
    """The pipes that this process has open; 0 where the system does not show them."""
    if not Path("/proc/self/fd").is_dir():
        return 0
    return sum(stat.S_ISFIFO(path.stat().st_mode) for path in Path("/proc/self/fd").iterdir() if path.exists())


async def test_interrupting_the_voice_leaves_no_process() -> None:
    async def answer() -> AsyncIterator[Any]:
        for _ in range(20):
            yield sk.TextDelta(SENTENCES[1])
        await anyio.sleep_forever()

    before = pipes()
    with no_leaks(), anyio.fail_after(30):
        async with answer() | VOICE as chunks:
            assert isinstance(await anext(chunks), bytes)
            await wait_all_tasks_blocked()
        # A process that was killed while asyncio started it is reaped by asyncio, which closes its pipes some turns later.
        while pipes() > before:
            await checkpoint()
