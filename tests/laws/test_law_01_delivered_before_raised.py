"""Law 1: everything produced before a failure is delivered before the failure is raised."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

import pytest

import streamkit as sk


class Broken(Exception):
    """The error that the stages of this module raise."""


@dataclass
class Same(sk.Stage[int, int]):
    def feed(self, item: int) -> Iterable[int]:
        yield item


@dataclass
class FailAt(sk.Stage[int, int]):
    """Yield half of the item at which it fails."""

    at: int

    def feed(self, item: int) -> Iterable[int]:
        yield item
        if item == self.at:
            raise Broken(item)
        yield -item


@dataclass
class FailAtInBurst(sk.Stage[int, int]):
    """The same with a list."""

    at: int

    def feed_all(self, items: list[int]) -> Iterable[int]:
        given: list[int] = []
        for item in items:
            given.append(item)
            if item == self.at:
                return sk.core.cut_short(given, Broken(item))
            given.append(-item)
        return given


@dataclass
class AsyncFailAt(sk.AsyncStage[int, int]):
    """The same with a generator that a coroutine returns."""

    at: int

    async def feed(self, item: int) -> Iterable[int]:
        return FailAt(self.at).feed(item)


@dataclass
class AsyncSame(sk.AsyncStage[int, int]):
    async def feed(self, item: int) -> Iterable[int]:
        return [item]


@dataclass
class FailInFlush(sk.Stage[int, int]):
    held: list[int] = field(default_factory=list, init=False)

    def feed(self, item: int) -> Iterable[int]:
        self.held.append(item)
        return ()

    def flush(self) -> Iterable[int]:
        yield from self.held
        raise Broken("flush")


@dataclass
class AsyncFailInFlush(sk.AsyncStage[int, int]):
    held: list[int] = field(default_factory=list, init=False)

    async def feed(self, item: int) -> Iterable[int]:
        self.held.append(item)
        return ()

    async def flush(self) -> Iterable[int]:
        return sk.core.cut_short(self.held, Broken("flush"))


async def one_by_one(*items: int | Exception) -> AsyncIterator[int]:
    for item in items:
        if isinstance(item, Exception):
            raise item
        yield item


async def outcome(stream: sk.Stream[object]) -> tuple[list[object], str]:
    delivered: list[object] = []
    try:
        async for item in stream:
            delivered.append(item)
    except Exception as error:
        return delivered, f"{type(error).__name__}: {error}"
    return delivered, "no failure"


SYNC = {
    "first": FailAt(3) | Same() | Same(),
    "middle": Same() | FailAt(3) | Same(),
    "last": Same() | Same() | FailAt(3),
    "alone": FailAt(3),
    "in a burst": Same() | FailAtInBurst(3) | Same(),
}
ASYNC = {
    "async first": AsyncFailAt(3) | Same(),
    "async middle": Same() | AsyncFailAt(3) | Same(),
    "async last": Same() | AsyncFailAt(3),
    "async alone": AsyncFailAt(3),
    "before async": FailAt(3) | AsyncSame() | Same(),
    "after async": Same() | AsyncSame() | FailAt(3),
    "between async": AsyncSame() | FailAt(3) | AsyncSame(),
}


@pytest.mark.anyio
@pytest.mark.parametrize("in_bursts", [True, False], ids=["one burst", "one by one"])
@pytest.mark.parametrize("pipeline", (SYNC | ASYNC).values(), ids=(SYNC | ASYNC).keys())
async def test_all_that_was_produced_before_a_failure_is_delivered_before_it(
    pipeline: sk.Stage[int, int] | sk.AsyncStage[int, int], in_bursts: bool
) -> None:
    source = [1, 2, 3, 4, 5] if in_bursts else one_by_one(1, 2, 3, 4, 5)

    delivered, error = await outcome(pipeline.open(source))

    assert delivered == [1, -1, 2, -2, 3]
    assert error == "Broken: 3"


@pytest.mark.parametrize("in_bursts", [True, False], ids=["one burst", "one by one"])
@pytest.mark.parametrize("pipeline", SYNC.values(), ids=SYNC.keys())
def test_run_delivers_before_it_raises(pipeline: sk.Stage[int, int], in_bursts: bool) -> None:
    items = [1, 2, 3, 4, 5]
    run = pipeline.run(items if in_bursts else iter(items))

    assert [next(run) for _ in range(5)] == [1, -1, 2, -2, 3]
    with pytest.raises(Broken, match="3"):
        next(run)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "pipeline",
    [Same() | FailInFlush(), FailInFlush() | Same(), Same() | AsyncFailInFlush() | Same(), AsyncFailInFlush()],
    ids=str,
)
async def test_a_flush_that_fails_delivers_what_it_gave_before(
    pipeline: sk.Stage[int, int] | sk.AsyncStage[int, int],
) -> None:
    assert await outcome(pipeline.open([1, 2])) == ([1, 2], "Broken: flush")


def test_run_delivers_what_a_flush_gave_before_it_failed() -> None:
    run = (FailInFlush() | Same()).run([1, 2])

    assert [next(run), next(run)] == [1, 2]
    with pytest.raises(Broken, match="flush"):
        next(run)


@pytest.mark.anyio
@pytest.mark.parametrize("pipeline", [Same(), AsyncSame(), Same() | AsyncSame() | Same()], ids=str)
async def test_what_was_read_before_the_source_failed_is_delivered(
    pipeline: sk.Stage[int, int] | sk.AsyncStage[int, int],
) -> None:
    assert await outcome(pipeline.open(one_by_one(1, 2, Broken("wire")))) == ([1, 2], "Broken: wire")


def test_run_delivers_what_came_before_its_iterable_failed() -> None:
    def items() -> Iterable[int]:
        yield 1
        raise Broken("file")

    run = Same().run(items())

    assert next(run) == 1
    with pytest.raises(Broken, match="file"):
        next(run)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "pipeline",
    [FailAt(4) | FailAt(2), AsyncFailAt(4) | FailAt(2), FailAt(4) | AsyncFailAt(2), AsyncFailAt(4) | AsyncFailAt(2)],
    ids=str,
)
async def test_of_two_failures_the_one_at_the_earlier_item_is_raised(
    pipeline: sk.Stage[int, int] | sk.AsyncStage[int, int],
) -> None:
    assert await outcome(pipeline.open([1, 2, 3, 4])) == ([1, -1, -1, 1, 2], "Broken: 2")


@pytest.mark.anyio
async def test_a_pipeline_of_async_stages_fed_by_hand_gives_before_it_raises() -> None:
    pipeline = (Same() | AsyncFailAt(3) | Same()).fresh()
    given: list[int] = []

    with pytest.raises(Broken, match="3"):
        given.extend(await pipeline.feed(3))

    assert given == [3]


CHAT = b"""\
data: {"choices":[{"index":0,"delta":{"content":"Hel"}}]}

data: {"choices":[{"index":0,"delta":{"content":"lo"}}]}

data: <html>

data: {"choices":[{"index":0,"delta":{"content":"never"}}]}

"""


@pytest.mark.anyio
@pytest.mark.parametrize("size", [1, 10, len(CHAT)])
async def test_text_before_a_bad_event_is_still_delivered(size: int) -> None:
    pipeline = sk.Parse() | sk.Extract() | sk.Accumulate()
    pieces = [CHAT[at : at + size] for at in range(0, len(CHAT), size)]

    delivered, error = await outcome(pipeline.open(pieces))

    assert delivered == [sk.TextDelta("Hel"), sk.TextDelta("lo")]
    assert error == "ProtocolError: event 3: expected JSON or [DONE] after 'data:', found '<html>'"


def test_text_before_an_error_of_the_provider_is_delivered_with_the_end_of_the_stream() -> None:
    body = CHAT.replace(b"<html>", b'{"error":{"message":"overloaded","code":529}}')
    run = (sk.Parse() | sk.Extract()).run(body)

    assert [next(run) for _ in range(3)] == [
        sk.TextDelta("Hel"),
        sk.TextDelta("lo"),
        sk.StreamEnd("provider_error", open_choices=(0,)),
    ]
    with pytest.raises(sk.ProviderError, match="code 529"):
        next(run)
