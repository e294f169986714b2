"""Law 4: two runs share nothing."""

import copy
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import streamkit as sk


@dataclass
class Numbered(sk.Stage[str, str]):
    """A correct stage: its state is `init=False`."""

    prefix: str = ""
    count: int = field(default=0, init=False)
    seen: list[str] = field(default_factory=list, init=False)

    def feed(self, item: str) -> Iterable[str]:
        self.count += 1
        self.seen.append(item)
        yield f"{self.prefix}{self.count}:{item}"

    def flush(self) -> Iterable[str]:
        yield "".join(self.seen)


@dataclass
class Remembers(sk.Stage[str, str]):
    """A stage whose author forgot `init=False`."""

    seen: list[str] = field(default_factory=list)

    def feed(self, item: str) -> Iterable[str]:
        self.seen.append(item)
        yield "".join(self.seen)


@dataclass
class AsyncRemembers(sk.AsyncStage[str, str]):
    """The same, async."""

    seen: list[str] = field(default_factory=list)

    async def feed(self, item: str) -> Iterable[str]:
        self.seen.append(item)
        await anyio.lowlevel.checkpoint()
        return ["".join(self.seen)]


async def letters(*items: str) -> AsyncIterator[str]:
    for item in items:
        await anyio.lowlevel.checkpoint()
        yield item


def test_two_runs_of_one_pipeline_share_nothing() -> None:
    pipeline = Numbered() | Remembers()
    one, two = pipeline.run(iter("abc")), pipeline.run(iter("xy"))

    assert [next(one), next(two), next(one), next(two)] == ["1:a", "1:x", "1:a2:b", "1:x2:y"]
    assert list(two) == ["1:x2:yxy"]
    assert list(one) == ["1:a2:b3:c", "1:a2:b3:cabc"]
    assert list(pipeline.run("")) == ["1:", "1:"]


@pytest.mark.anyio
async def test_streams_of_one_pipeline_at_the_same_time_share_nothing() -> None:
    pipeline = Remembers() | AsyncRemembers() | Remembers()
    results: dict[str, list[object]] = {}

    async def consume(name: str) -> None:
        results[name] = [item async for item in letters(*name) | pipeline]

    async with anyio.create_task_group() as group:
        for name in ("ab", "xy", "12"):
            group.start_soon(consume, name)

    assert results == {name: [a, f"{a}{a}{a}{b}"] for name in ("ab", "xy", "12") for a, b in [name]}


@pytest.mark.anyio
async def test_a_run_leaves_the_pipeline_as_it_was() -> None:
    pipeline = Numbered("#") | Remembers() | AsyncRemembers()
    before = copy.deepcopy(pipeline)

    items = [item async for item in ["a", "b"] | pipeline]

    assert items[-1] == "#1:a#1:a#2:b#1:a#2:bab"
    assert pipeline == before


def test_a_stage_in_two_places_of_a_pipeline_is_two_stages() -> None:
    numbered = Numbered()

    assert list((numbered | numbered).run(["a"])) == ["1:1:a", "2:a", "1:aa"]


@pytest.mark.parametrize(
    "container",
    [
        [],
        {},
        set(),
        bytearray(),
        deque(maxlen=2),
        defaultdict(int),
        Counter(),
        OrderedDict(),
    ],
    ids=lambda container: type(container).__name__,
)
def test_what_an_author_forgot_to_mark_as_state_is_not_shared(container: Any) -> None:
    @dataclass
    class Forgetful(sk.Stage[int, int]):
        kept: Any

        def feed(self, item: int) -> Iterable[int]:
            if isinstance(self.kept, dict):
                self.kept[item] = item
            elif isinstance(self.kept, set):
                self.kept.add(item)
            else:
                self.kept.append(item)
            yield len(self.kept)

    stage = Forgetful(container)

    last = 2 if isinstance(container, deque) else 3
    assert list(stage.run([1, 2, 3])) == [1, 2, last]
    assert list(stage.run([1, 2, 3])) == [1, 2, last]
    assert len(container) == 0


def test_a_stage_of_the_authors_own_that_is_frozen_or_has_slots_is_copied_too() -> None:
    @dataclass(frozen=True)
    class Frozen(sk.Stage[int, int]):
        seen: list[int] = field(default_factory=list)

        def feed(self, item: int) -> Iterable[int]:
            self.seen.append(item)
            yield len(self.seen)

    @dataclass(slots=True)
    class Slots(sk.Stage[int, int]):
        seen: list[int] = field(default_factory=list)

        def feed(self, item: int) -> Iterable[int]:
            self.seen.append(item)
            yield len(self.seen)

    pipeline = Frozen() | Slots()

    assert list(pipeline.run([7, 8])) == list(pipeline.run([7, 8])) == [1, 2]


def test_configuration_is_the_same_in_every_run() -> None:
    @dataclass
    class Configured(sk.Stage[int, object]):
        client: object

        def feed(self, item: int) -> Iterable[object]:
            yield self.client

    client = object()
    stage = Configured(client)

    assert list(stage.run([1])) == list(stage.run([2])) == [client]


def test_the_stages_that_come_with_streamkit_share_nothing(chat: bytes) -> None:
    rule = sk.Rule("secret", patterns=("hunter2",))
    pipeline = sk.Parse() | sk.Extract() | sk.Moderate(rule) | sk.Accumulate() | sk.Timing()
    alone = list(pipeline.run([chat], clock=lambda: 0.0))
    one, two = (pipeline.run([chat[:900], chat[900:]], clock=lambda: 0.0) for _ in range(2))

    together = [event for pair in zip(one, two, strict=True) for event in pair]

    assert together[::2] == together[1::2] == alone
    assert one.stage(sk.Accumulate) is not two.stage(sk.Accumulate)
    assert one.stage(sk.Accumulate).snapshot == two.stage(sk.Accumulate).snapshot
