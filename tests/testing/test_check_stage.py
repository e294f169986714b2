"""The kit finds the stage that breaks a law, and lets pass the one that keeps them all."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar

import anyio
import pytest
import sniffio
from anyio.lowlevel import checkpoint

from streamkit import (
    AsyncStage,
    Emit,
    Event,
    Extract,
    Finish,
    Parse,
    PipelineError,
    Stage,
    StreamEnd,
    TextDelta,
    ToolCallDelta,
    stage,
)
from streamkit.sse import Encode, Lines
from streamkit.testing import LAWS, Scripted, check_stage, joined, running
from streamkit.testing.laws import outcome

EVENTS: list[Event] = [
    TextDelta("one tw"),
    TextDelta("o "),
    TextDelta("other", 1),
    ToolCallDelta(0, "call_1", "f", '{"a"'),
    ToolCallDelta(0, arguments=": 1}"),
    TextDelta("three"),
    Finish("stop"),
    Finish("stop", 1),
    StreamEnd("completed", saw_done=True),
]
BODY = b'data: {"choices": [{"index": 0, "delta": {"content": "h\xc3\xa9"}}]}\r\n\r\n: ping\n\ndata: [DONE]\n\n'


@stage
def shout(delta: TextDelta) -> TextDelta:
    return TextDelta(delta.text.upper(), delta.index)


@stage
async def slowly(delta: TextDelta) -> TextDelta:
    await anyio.lowlevel.checkpoint()
    return delta


@dataclass
class Words(Stage[Event, Event]):
    """Release text word by word; what is left comes before the choice's end."""

    _rest: dict[int, str] = field(default_factory=dict[int, str], init=False, repr=False)

    def feed(self, item: Event) -> Iterable[Event]:
        match item:
            case TextDelta(text=text, index=index):
                head, space, self._rest[index] = (self._rest.get(index, "") + text).rpartition(" ")
                if space:
                    yield TextDelta(head + space, index)
            case Finish(index=index) if rest := self._rest.pop(index, ""):
                yield TextDelta(rest, index)
                yield item
            case _:
                yield item

    def flush(self) -> Iterable[Event]:
        return [TextDelta(rest, index) for index, rest in self._rest.items() if rest]


@pytest.mark.parametrize(
    ("candidate", "items"),
    [
        (shout, EVENTS),
        (slowly, EVENTS),
        (Words(), EVENTS),
        (shout | Words(), EVENTS),
        (Lines(), [BODY]),
        (Lines() | Parse() | Extract(), [BODY]),
        (Lines() | Parse() | Extract() | slowly, [BODY]),
    ],
    ids=["function", "async function", "class", "pipeline", "Lines", "Extract", "async pipeline"],
)
def test_a_good_stage_keeps_all_the_laws(candidate: Stage[Any, Any], items: list[Any]) -> None:
    check_stage(candidate, items)


def test_what_must_be_the_same_can_be_said() -> None:
    def text(items: list[Any]) -> str:
        events = list((Parse() | Extract()).run(b"".join(items)))
        return "".join(event.text for event in events if isinstance(event, TextDelta))

    check_stage(Emit() | Encode(), EVENTS, read=text, skip=["unknown_events"])


# Stages that break a law, each in one way


class Bad(Stage[Event, Event]):
    """Base of the stages that violate a law."""


@dataclass
class Shared(Bad):
    seen: ClassVar[list[Event]] = []

    def feed(self, item: Event) -> Iterable[Event]:
        self.seen.append(item)
        return (item, Finish(str(len(self.seen))))


@dataclass
class ByBurst(Bad):
    def feed(self, item: Event) -> Iterable[Event]:
        return (item,)

    def feed_all(self, items: list[Event]) -> Iterable[Event]:
        return items[:1]


@dataclass
class ByDelta(Bad):
    def feed(self, item: Event) -> Iterable[Event]:
        return (TextDelta(item.text.strip() or "-"),) if isinstance(item, TextDelta) else (item,)


@dataclass
class Swallows(Bad):
    def feed(self, item: Event) -> Iterable[Event]:
        return (item,) if isinstance(item, TextDelta | ToolCallDelta | Finish | StreamEnd) else ()


@dataclass
class AfterTheEnd(Bad):
    _kept: list[Event] = field(default_factory=list[Event], init=False)

    def feed(self, item: Event) -> Iterable[Event]:
        if isinstance(item, StreamEnd | TextDelta | ToolCallDelta | Finish):
            return (item,)
        self._kept.append(item)
        return ()

    def flush(self) -> Iterable[Event]:
        return self._kept


@dataclass
class Unpicklable(Bad):
    choose: Callable[[Event], Event] = field(default_factory=lambda: lambda event: event)

    def feed(self, item: Event) -> Iterable[Event]:
        return (self.choose(item),)


@dataclass
class Forgetful(Bad):
    def __post_init__(self) -> None:
        self.number = 0

    def feed(self, item: Event) -> Iterable[Event]:
        self.number += isinstance(item, Finish)
        return (Finish(str(self.number)),) if isinstance(item, Finish) else (item,)


@dataclass
class Quadratic(Bad):
    _text: str = field(default="", init=False, repr=False)

    def feed(self, item: Event) -> Iterable[Event]:
        if isinstance(item, TextDelta):
            self._text += item.text
            sum(1 for character in self._text if character == "x")
        return (item,)


@dataclass
class OnlyInBursts(Bad):
    def feed(self, item: Event) -> Iterable[Event]:
        return (item,)

    def feed_all(self, items: list[Event]) -> Iterable[Event]:
        return [part for item in items for part in ((Finish("stop"), item) if isinstance(item, StreamEnd) else (item,))]


@dataclass
class Clinging(AsyncStage[Event, Event]):
    opened: ClassVar[list[Any]] = []

    async def feed(self, item: Event) -> Iterable[Event]:
        return (item,)

    async def close(self) -> None:
        self.opened.append(open(__file__, "rb"))  # noqa: SIM115


@dataclass
class LeavesTasks(AsyncStage[Event, Event]):
    tasks: ClassVar[list[Any]] = []

    async def feed(self, item: Event) -> Iterable[Event]:
        await checkpoint()
        if sniffio.current_async_library() == "asyncio":
            self.tasks.append(asyncio.get_running_loop().create_task(asyncio.sleep(60)))
        return (item,)


@dataclass
class SwallowsCancellation(AsyncStage[Event, Event]):
    async def feed(self, item: Event) -> Iterable[Event]:
        with suppress(BaseException):
            await checkpoint()
        return (item,)


@dataclass
class NeverEnds(AsyncStage[Event, Event]):
    async def feed(self, item: Event) -> Iterable[Event]:
        if isinstance(item, Finish):
            await anyio.sleep_forever()
        return (item,)


@dataclass
class Patient(AsyncStage[Event, Event]):
    """Breaks none."""

    async def feed(self, item: Event) -> Iterable[Event]:
        await checkpoint()
        with anyio.CancelScope(shield=True):
            await checkpoint()
        return (item,)

    async def flush(self) -> Iterable[Event]:
        await checkpoint()
        return ()


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    for file in Clinging.opened:
        file.close()


@pytest.mark.parametrize(
    ("candidate", "law", "message"),
    [
        (Shared(), "fresh_state", "fresh state: a second run"),
        (ByBurst(), "bursts", "bursts: all items in one feed_all"),
        (ByDelta(), "split_invariance", "split invariance: "),
        (Swallows(), "unknown_events", "unknown events: expected .* to pass"),
        (AfterTheEnd(), "unknown_events", "unknown events: expected StreamEnd once and last"),
        (Unpicklable(), "pickling", "pickling: "),
        (Forgetful(), "checkpoints", "checkpoints: handed over after"),
        (Quadratic(), "linear_time", "linear time: 8 times the input"),
        (OnlyInBursts(), "composition", "composition: in a Switch, it gives .*; alone, "),
        (Clinging(), "cancellation", "left behind: "),
        (LeavesTasks(), "cancellation", "cancellation: [0-9]+ tasks were left behind when the block had ended"),
        (SwallowsCancellation(), "cancellation", "the stage has swallowed CancelledError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Stage | AsyncStage) else "",
)
def test_a_stage_that_breaks_a_law_is_found(candidate: Stage[Any, Any], law: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        LAWS[law](candidate, EVENTS, joined)
    with pytest.raises(AssertionError):
        check_stage(candidate, EVENTS)


def test_a_stage_that_never_ends_fails_and_does_not_stop_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "HANGS", 0.3)

    with pytest.raises(AssertionError, match=r"the stream with it has not ended after 0\.3 s"):
        check_stage(NeverEnds(), EVENTS)


def test_an_async_stage_that_waits_keeps_all_the_laws() -> None:
    check_stage(Patient(), EVENTS)


def test_a_stage_that_differs_in_a_wrapper_breaks_no_other_law() -> None:
    check_stage(OnlyInBursts(), EVENTS, skip=["composition"])


def test_a_stage_that_an_observer_changes_is_found() -> None:
    @dataclass
    class InRun(Stage[Event, Event]):
        """It does in `run` what only `feed` does in a pipeline."""

        def feed(self, item: Event) -> Iterable[Event]:
            return (item,)

        def run(self, items: Any, **options: Any) -> Any:
            return super().run([TextDelta("zero "), *items], **options)

    with pytest.raises(AssertionError, match="composition: with a Tap after 0 of its 1 stages, it gives"):
        LAWS["composition"](InRun(), EVENTS, joined)


def test_a_stage_that_ends_as_if_complete_when_the_source_fails_is_found() -> None:
    @dataclass
    class Hides(AsyncStage[Event, Event]):
        async def feed(self, item: Event) -> Iterable[Event]:
            return (item,)

        def open(self, source: Any, *, checkpoint: Any = None) -> Any:
            steps = [step for step in getattr(source, "left", ()) if not isinstance(step, Exception)]
            return super().open(Scripted(*steps) if steps else source)

    with pytest.raises(AssertionError, match="source failure: expected the source's error, found None"):
        LAWS["source_failure"](Hides(), EVENTS, joined)


def test_a_law_that_a_stage_does_not_promise_is_left_out_by_name() -> None:
    check_stage(ByDelta(), EVENTS, skip=["split_invariance"])

    with pytest.raises(PipelineError, match=r"expected names of fresh_state, .*; found split"):
        check_stage(ByDelta(), EVENTS, skip=["split"])


def test_a_stage_that_is_done_early_is_held_to_what_it_takes() -> None:
    @dataclass
    class Two(Stage[Event, Event]):
        _count: int = field(default=0, init=False, repr=False)

        def feed(self, item: Event) -> Iterable[Event]:
            self._count += 1
            self.done = self._count == 2
            return (item,)

    assert outcome(Two(), EVENTS) == EVENTS[:2]
    check_stage(Two(), EVENTS, skip=["split_invariance", "unknown_events", "pickling"])


class NoDataclass(Stage[Event, Event]):
    def feed(self, item: Event) -> Iterable[Event]:
        return (item,)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (NoDataclass(), "^NoDataclass is not a dataclass: decorate it with @dataclass"),
        (Parse, r"^expected a stage, found the class Parse: write Parse\(\)$"),
        (lambda item: item, "^expected a stage, found the function <lambda>: decorate it with @streamkit.stage$"),
        (5, "^expected a stage, found an object of type int$"),
    ],
)
def test_what_is_no_valid_stage_is_rejected(wrong: Any, message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        check_stage(wrong, EVENTS)
