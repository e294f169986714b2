"""Content is heard of: a stage that knows it says so, and those after it are told, each time and before it comes to them."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

import streamkit as sk

pytestmark = pytest.mark.anyio


@dataclass
class Knows(sk.Stage[str, str]):
    """Knows that upper case is content."""

    heard = False

    def feed(self, item: str) -> Iterable[str]:
        return self.feed_all([item])

    def feed_all(self, items: list[str]) -> Iterable[str]:
        self.heard = any(item.isupper() for item in items)
        return items


@dataclass
class KnowsLate(sk.Stage[str, str]):
    """Knows it when its generator has run, which is when its items are taken."""

    def feed(self, item: str) -> Iterable[str]:
        yield item
        self.heard = item.isupper()


@dataclass
class Notes(sk.Stage[str, str]):
    """Notes what it is told and what it is fed."""

    notes: list[str] = field(default_factory=list[str], init=False)

    def heard_content(self) -> None:
        self.notes.append("content")

    def feed(self, item: str) -> Iterable[str]:
        self.notes.append(item)
        return (item,)


@dataclass
class Keeps(sk.Stage[str, str]):
    """Holds everything back."""

    def feed(self, item: str) -> Iterable[str]:
        return ()


@dataclass
class Waits(sk.AsyncStage[str, str]):
    """A stage between two levels."""

    async def feed(self, item: str) -> Iterable[str]:
        return (item,)


@dataclass
class Around(sk.Stage[str, str]):
    """Holds a pipeline of its own, as a stage of somebody's may."""

    inner: sk.Stage[str, str]

    def heard_content(self) -> None:
        self.inner.heard_content()

    def feed(self, item: str) -> Iterable[str]:
        return self.inner.feed(item)


ITEMS = ["a", "B", "c", "D"]


@pytest.mark.parametrize("knows", [Knows(), KnowsLate()], ids=["at once", "late"])
def test_it_is_told_for_each_burst_that_holds_some_and_before_that_is_fed(knows: sk.Stage[str, str]) -> None:
    run = (knows | Notes()).run(iter(ITEMS))

    assert list(run) == ITEMS
    assert run.stage(Notes).notes == ["a", "content", "B", "c", "content", "D"]


def test_it_is_told_of_what_never_comes() -> None:
    run = (Knows() | Keeps() | Notes()).run(iter(ITEMS))

    assert list(run) == []
    assert run.stage(Notes).notes == ["content", "content"]


def test_who_comes_before_is_not_told() -> None:
    run = (Notes() | Knows()).run(iter(ITEMS))

    assert list(run) == ITEMS
    assert run.stage(Notes).notes == ITEMS


def test_a_pipeline_in_a_stage_passes_it_on() -> None:
    notes = Notes()
    run = (Knows() | Around(Keeps() | notes)).run(iter(["B"]))
    inner = run.stage(Around).inner
    assert isinstance(inner, sk.Pipeline)

    assert list(run) == []
    assert [part.notes for part in inner.parts() if isinstance(part, Notes)] == [["content"]]


async def test_stages_behind_one_that_waits_are_told() -> None:
    async with (Knows() | Waits() | Notes()).open(iter(ITEMS)) as stream:
        assert [item async for item in stream] == ITEMS
        assert stream.stage(Notes).notes == ["a", "content", "B", "c", "content", "D"]


async def test_a_pipeline_that_waits_tells_its_own_stages_too() -> None:
    pipeline = (Knows() | Waits() | Keeps() | Notes()).fresh()
    for item in ITEMS:
        assert list(await pipeline.feed(item)) == []
    pipeline.heard_content()

    (notes,) = [part.notes for part in pipeline.parts() if isinstance(part, Notes)]
    assert notes == ["content", "content", "content"]
