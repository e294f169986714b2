"""Many concurrent streams in one process: each has its own end, and no resources remain."""

import gc
import weakref
from collections.abc import Sequence

import anyio
import pytest
from anyio import wait_all_tasks_blocked

import streamkit as sk

NUMBER = 2_000
PIPELINE = sk.Parse() | sk.Extract() | sk.ops.Smooth() | sk.Accumulate()


def chunk(text: str, finish: str = "null") -> bytes:
    return f'data: {{"choices":[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":{finish}}}]}}\n\n'.encode()


class Gated(sk.Source[bytes]):
    """Half an answer, then the rest once the gate is open."""

    def __init__(self, number: int, gate: anyio.Event, open_now: set[int]) -> None:
        self.number, self.gate, self.open_now = number, gate, open_now
        self.halves = [chunk(f"stream {number}, "), chunk("the end", '"stop"') + b"data: [DONE]\n\n"]

    async def open(self) -> None:
        self.open_now.add(self.number)

    async def read(self) -> Sequence[bytes]:
        if len(self.halves) == 1:
            await self.gate.wait()
        return [self.halves.pop(0)] if self.halves else ()

    async def close(self) -> None:
        self.open_now.discard(self.number)  # `close` may be called twice


@pytest.mark.anyio
async def test_two_thousand_streams_wait_and_end_each_by_itself_and_nothing_is_left() -> None:
    gate, texts, made = anyio.Event(), dict[int, str](), list[weakref.ref[object]]()
    open_now: set[int] = set()

    async def read(number: int) -> None:
        stream = Gated(number, gate, open_now) | PIPELINE
        made.extend(map(weakref.ref, (stream, stream.source, stream.stage(sk.Accumulate))))
        texts[number] = (await stream.final()).text
        assert stream.end == sk.StreamEnd("completed", True)

    async with anyio.create_task_group() as group:
        for number in range(NUMBER):
            group.start_soon(read, number)
        await wait_all_tasks_blocked()
        idle = (len(open_now), sum(one() is not None for one in made), len(texts))
        gate.set()

    gc.collect()
    assert idle == (NUMBER, 3 * NUMBER, 0)
    assert texts == {number: f"stream {number}, the end" for number in range(NUMBER)}
    assert [one() for one in made if one() is not None] == []
    assert open_now == set()
