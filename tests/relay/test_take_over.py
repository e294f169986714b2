"""Streams whose producers die, and what others make of them."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

import streamkit as sk
from streamkit.core.source import Source
from streamkit.relay import Job, Log, Publication, Relay
from streamkit.relay.relay import Factory
from tests.relay.answers import SECONDS, TEXTS, Gated, seen, text

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def worker(log: Log, factory: Factory) -> AsyncGenerator[Relay, None]:
    async with Relay(log, flush=0, lease=0.05, tick=0.01) as streams, anyio.create_task_group() as group:
        group.start_soon(lambda: streams.take_over(factory, poll=0.005))
        yield streams
        group.cancel_scope.cancel()


def none(job: Job) -> Any:
    raise AssertionError("this stream is not opened again")


def die(publication: Publication) -> None:
    """Append nothing more, as after `kill -9`."""
    publication.abandon(sk.errors.LeaseLost("as if the process had died"))


async def test_by_default_a_stream_whose_producer_has_died_is_truncated(log: Log) -> None:
    gated = Gated()
    async with Relay(log, flush=0, lease=0.05) as here, worker(log, none) as there:
        publication = await here.publish("k", gated.stream, request={"prompt": "?"})
        await gated.waiting.wait()
        assert await first(there, 5) == list(TEXTS[:5])
        die(publication)
        assert await seen(there, "k") == [*map(sk.TextDelta, TEXTS[:5]), sk.StreamEnd("truncated")]


async def first(streams: Relay, count: int) -> list[str]:
    with anyio.fail_after(SECONDS):
        async with streams.follow("k") | sk.ops.Map(lambda event: event) as events:
            return [text([await anext(events)]) for _ in range(count)]


async def test_with_reset_a_new_answer_follows_a_reset(log: Log) -> None:
    gated, jobs = Gated(), list[Job]()

    def again(job: Job) -> Any:
        jobs.append(job)
        return [sk.TextDelta("new"), sk.StreamEnd("completed")] | sk.ops.Map(lambda event: event)

    async with Relay(log, flush=0, lease=0.05) as here, worker(log, again) as there:
        publication = await here.publish("k", gated.stream, request={"prompt": "?"}, takeover="reset")
        assert await first(there, 5) == list(TEXTS[:5])
        die(publication)
        with anyio.fail_after(SECONDS):
            async with there.follow("k") | sk.ops.Map(lambda event: event) as events:
                live = [event async for event in events]
        # Whether the viewer came before or after the reset.
        assert [event for event in live if not isinstance(event, sk.events.Reset)][-2:] == [
            sk.TextDelta("new"),
            sk.StreamEnd("completed"),
        ]
        assert text(live) == "new"
        assert jobs == [Job("k", {"prompt": "?"})]
        reset, *rest = await seen(there, "k")
        assert isinstance(reset, sk.events.Reset)
        assert rest == [sk.TextDelta("new"), sk.StreamEnd("completed")]


async def test_a_stop_survives_the_producer(log: Log) -> None:
    gated = Gated()
    async with Relay(log, flush=0, lease=0.05) as here:
        publication = await here.publish("k", gated.stream, takeover="reset")
        assert await first(here, 5) == list(TEXTS[:5])
        die(publication)
        assert await here.stop("k")
        async with worker(log, none) as there:
            assert await seen(there, "k") == [*map(sk.TextDelta, TEXTS[:5]), sk.StreamEnd("cancelled")]


async def test_a_released_stream_is_taken_over_at_once(log: Log) -> None:
    gated = Gated()
    async with Relay(log, flush=0, lease=3600) as here:
        await here.publish("k", gated.stream)
        assert await first(here, 5) == list(TEXTS[:5])
    async with worker(log, none) as there:
        assert (await seen(there, "k"))[-1] == sk.StreamEnd("truncated")


async def test_two_workers_take_a_stream_over_once(log: Log) -> None:
    opened = list[Job]()

    def again(job: Job) -> Any:
        opened.append(job)
        return [sk.TextDelta("new"), sk.StreamEnd("completed")] | sk.ops.Map(lambda event: event)

    async with Relay(log, flush=0, lease=3600) as here:
        await here.publish("k", Gated().stream, takeover="reset")
        assert await first(here, 5) == list(TEXTS[:5])
    async with worker(log, again) as one, worker(log, again):
        assert text(await seen(one, "k")) == "new"
    assert len(opened) == 1


async def test_a_stream_that_ends_every_process_is_truncated(log: Log) -> None:
    opened = list[Job]()
    async with Relay(log, flush=0, lease=3600) as here:
        await here.publish("k", Gated().stream, takeover="reset")
    with anyio.fail_after(SECONDS):
        for _ in range(5):
            gated = Gated()

            def again(job: Job, gated: Gated = gated) -> Any:
                opened.append(job)
                return gated.stream()

            async with worker(log, again) as streams:
                while True:
                    state = await streams.state("k")
                    assert state is not None
                    if state.ended or gated.waiting.is_set():
                        break
                    await anyio.sleep(0.005)
        async with Relay(log) as streams:
            assert (await seen(streams, "k"))[-1] == sk.StreamEnd("truncated")
    assert len(opened) == 3


# Continuing


class Provider(Source[sk.Event]):
    """A provider that can continue: its cursor is the number of the next text. It is silent behind `until`."""

    def __init__(self, begin: int = 0, until: int = len(TEXTS) + 1) -> None:
        self.cursor = begin
        self.silent = anyio.Event()
        self._until = until

    async def read(self) -> list[sk.Event]:
        if self.cursor >= self._until:
            self.silent.set()
            await anyio.sleep_forever()
        self.cursor += 1
        if self.cursor <= len(TEXTS):
            return [sk.TextDelta(TEXTS[self.cursor - 1])]
        return [sk.StreamEnd("completed")] if self.cursor == len(TEXTS) + 1 else []


# It holds text back, so that the position in the provider's stream is ahead of the log.
PIPELINE = sk.ops.Map[sk.Event, sk.Event](lambda event: event) | sk.Moderate(
    [sk.Rule("a", phrases=("4 5 6 7 8 9 x",)), sk.Rule("b", phrases=("12 13 14",))]
)
MODERATED = text(list(PIPELINE.run([*map(sk.TextDelta, TEXTS), sk.StreamEnd("completed")])))


@pytest.mark.parametrize("until", [0, 1, 2, 7, 9, 12, 13, 14, 15, 29, 30])
async def test_a_stream_continues_where_its_log_ends_with_what_its_stages_held_back(log: Log, until: int) -> None:
    provider, shown = Provider(until=until), list[sk.Event]()

    def rest(job: Job) -> Any:
        return PIPELINE.open(Provider(job.cursor or 0), checkpoint=job.checkpoint)

    async def view() -> None:
        shown.extend(await seen(there, "k"))

    assert "[redacted]" in MODERATED
    async with Relay(log, tick=0.01) as there, anyio.create_task_group() as group:
        async with Relay(log, flush=0, lease=3600) as here:
            await here.publish("k", lambda: provider | PIPELINE, takeover="reset", checkpoints=True)
            group.start_soon(view)
            with anyio.fail_after(SECONDS):
                await provider.silent.wait()
        async with worker(log, rest) as streams:
            whole = await seen(streams, "k")
    assert text(shown) == text(whole) == MODERATED
    resets = [event for event in shown if isinstance(event, sk.events.Reset)]
    assert bool(resets) == (until == 0)  # nothing was in the log, and so no checkpoint
    if until:
        assert shown == whole


async def test_an_answer_that_began_anew_continues_from_its_own_checkpoints(log: Log) -> None:
    first, second = Provider(until=0), Provider(until=12)
    async with Relay(log, flush=0, lease=3600) as here:
        await here.publish("k", lambda: first | PIPELINE, takeover="reset", checkpoints=True)
        with anyio.fail_after(SECONDS):
            await first.silent.wait()
    async with worker(log, lambda job: second | PIPELINE):
        with anyio.fail_after(SECONDS):
            await second.silent.wait()
    async with worker(log, lambda job: PIPELINE.open(Provider(job.cursor), checkpoint=job.checkpoint)) as streams:
        reset, *whole = await seen(streams, "k")
    assert isinstance(reset, sk.events.Reset)
    assert not any(isinstance(event, sk.events.Reset) for event in whole)
    assert text(whole) == MODERATED


@pytest.mark.parametrize("takeover", ["truncate", "reset"])
async def test_a_stream_that_can_t_continue_ends_as_its_takeover_says(log: Log, takeover: Any) -> None:
    def changed(job: Job) -> Any:
        if job.checkpoint is None:
            return Provider() | PIPELINE
        other = sk.ops.Map[sk.Event, sk.Event](lambda event: event) | sk.Moderate(
            sk.Rule("c", phrases=("other rules",))
        )
        return other.open(Provider(job.cursor), checkpoint=job.checkpoint)

    provider = Provider(until=12)
    async with Relay(log, flush=0, lease=3600) as here:
        await here.publish("k", lambda: provider | PIPELINE, takeover=takeover, checkpoints=True)
        await provider.silent.wait()
    async with worker(log, changed) as streams:
        whole = await seen(streams, "k")
    assert whole[-1] == sk.StreamEnd("completed" if takeover == "reset" else "truncated")
    assert text(whole) == (MODERATED if takeover == "reset" else text(whole))
    assert MODERATED.startswith(text(whole))


async def test_what_fails_after_it_has_continued_is_the_end(log: Log) -> None:
    class Broken(Provider):
        async def read(self) -> list[sk.Event]:
            if self.cursor == 20:
                raise sk.errors.Disconnected("the connection broke")
            return await super().read()

    provider = Provider(until=12)
    async with Relay(log, flush=0, lease=3600) as here:
        await here.publish("k", lambda: provider | PIPELINE, takeover="reset", checkpoints=True)
        await provider.silent.wait()
    async with worker(log, lambda job: PIPELINE.open(Broken(job.cursor), checkpoint=job.checkpoint)) as streams:
        whole = await seen(streams, "k")
    assert whole[-1] == sk.StreamEnd("truncated")
    assert MODERATED.startswith(text(whole))
    assert "11 " in text(whole)


async def test_a_reset_within_a_continued_stream_is_in_its_place(log: Log) -> None:
    class Restarting(Source[sk.Event]):
        cursor = 0
        silent = anyio.Event()

        async def read(self) -> list[sk.Event]:
            self.cursor += 1
            if self.cursor > 1:
                self.silent.set()
                await anyio.sleep_forever()
            return [sk.TextDelta("void"), sk.events.Reset("x"), sk.TextDelta("a")]

    source, pipeline = Restarting(), sk.ops.Map[sk.Event, sk.Event](lambda event: event)
    end: list[sk.Event] = [sk.TextDelta("b"), sk.StreamEnd("completed")]
    async with Relay(log, flush=0, lease=3600) as here:
        await here.publish("k", lambda: source | pipeline, checkpoints=True)
        await source.silent.wait()
    async with worker(log, lambda job: pipeline.open(end, checkpoint=job.checkpoint)) as streams:
        assert await seen(streams, "k") == [sk.events.Reset("x"), sk.TextDelta("a"), *end]


async def test_checkpoints_need_a_pipeline_over_a_source(log: Log) -> None:
    async with Relay(log) as streams:
        for key, stream in {"1": lambda: sk.hops.prefetch(Gated().events()), "2": lambda: Gated().events()}.items():
            publication = await streams.publish(key, stream, checkpoints=True)  # type: ignore[arg-type]
            with pytest.raises(sk.PipelineError, match="checkpoints need a pipeline over a source"):
                await publication.wait()
