"""Classifiers beside the stream: windows are judged while it is read on."""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from streamkit.events import Channel, Event
from streamkit.hops.beside import beside
from streamkit.hops.channel import at_least_one, close, reading
from streamkit.moderation.checking import Classifier, Failures, Outcome, Policy, as_failures, check
from streamkit.moderation.deltas import Mode
from streamkit.moderation.gate import Gate, Report
from streamkit.moderation.lanes import CHANNELS
from streamkit.moderation.windows import Window, Windows
from streamkit.stream import CLOSE_SECONDS


@asynccontextmanager
async def classify(
    events: AsyncIterable[Event],
    classifier: Classifier,
    *,
    windows: Windows = Windows(sentences=1, overlap=200),  # noqa: B008 # it is frozen
    mode: Mode = "hold",
    channels: tuple[Channel, ...] = CHANNELS,
    choices: int = 1,
    failures: Failures | Policy = "closed",
    deadline: float | None = None,
    concurrency: int = 4,
    merge: int = 2000,
    ahead: int = 64,
) -> "AsyncGenerator[Classified, None]":
    """Have a classifier judge the text of each choice while the stream is read on. All else is as in `Classify`.

    At most `concurrency` windows are judged at once; events leave in their order, whichever verdict comes first. Windows of
    one channel that come while all places are taken are judged together, up to `merge` characters; 0 judges each by itself.
    Reading stops while `ahead` events wait for the consumer or as many windows for their verdicts.

    When the stream is blocked, the checks under way are cancelled and `events` is closed before the end is delivered. An
    error of `events` is raised after what came before it and was judged. Leaving the block cancels everything and closes
    `events`; if that fails and nothing else has, it raises.
    """
    at_least_one(concurrency=concurrency, ahead=ahead)
    gate = Gate(windows, mode, channels, choices)
    checks = _Checks(classifier, as_failures(failures), deadline, concurrency, merge, windows.seconds is not None)
    classified = Classified(reading(events), gate, checks, ahead)
    async with beside(classified.work):
        yield classified
    if classified.unclosed:
        raise classified.unclosed[0]


@dataclass(frozen=True)
class _Checks:
    classifier: Classifier
    failures: Failures
    deadline: float | None
    concurrency: int
    merge: int
    timed: bool

    async def __call__(self, window: Window) -> Outcome:
        return await check(window, self.classifier, self.failures, self.deadline)


class Classified(AsyncIterator[Event]):
    """The events that may leave. Made by `classify`.

    A read may be cancelled and asked again: no event is lost.
    """

    def __init__(self, events: AsyncIterator[Event], gate: Gate, checks: _Checks, ahead: int) -> None:
        self.unclosed: list[Exception] = []
        self._events = events
        self._gate = gate
        self._checks = checks
        self._ahead = ahead
        self._ready: deque[Event] = deque()
        self._last: list[Event] = []  # delivered when all is closed
        self._running = 0
        self._stopped = False
        self._ended = False
        self._failure: Exception | None = None
        self._changed = anyio.Event()
        self._group: TaskGroup | None = None

    @property
    def report(self) -> Report:
        """What it has cost so far, and what it found."""
        return self._gate.report

    async def aclose(self) -> None:
        """Want no more: cancel what is under way, and wait until `events` is closed."""
        self._stopped = True
        if self._group:
            self._group.cancel_scope.cancel()
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            while not self._ended:
                await self._change()
        self._ready.clear()

    async def __anext__(self) -> Event:
        while not self._ready:
            if self._ended:
                raise self._failure or StopAsyncIteration
            await self._change()
        event = self._ready.popleft()
        self._tell()
        return event

    async def work(self) -> None:
        """Read, and judge. Run by `classify` in a task."""
        try:
            async with anyio.create_task_group() as self._group:
                await self._read(self._group)
        except Exception as error:
            self._failure = error
        finally:
            self._ready.extend(self._last)
            self._ended = True
            self._tell()

    async def _read(self, group: TaskGroup) -> None:
        watch = anyio.CancelScope()
        try:
            # Nothing is opened for a block that was cancelled before it began.
            await anyio.lowlevel.checkpoint()
            if self._stopped:
                return
            if self._checks.timed:
                group.start_soon(self._watch, watch)
            async for event in self._events:
                self._gate.tick(anyio.current_time())
                self._give(self._gate.feed(event))
                while self._gate.reading and self._full():
                    await self._change()
                if not self._gate.reading:
                    break
            else:
                self._give(self._gate.end())
        except Exception as error:
            self._failure = error
        finally:
            watch.cancel()
            await close(self._events, self.unclosed)

    def _full(self) -> bool:
        return len(self._ready) >= self._ahead or self._gate.undecided >= self._ahead

    async def _watch(self, scope: anyio.CancelScope) -> None:
        # Ends the windows whose time has come while nothing is read.
        with scope:
            while True:
                if (due := self._gate.due) is None:
                    await self._change()
                else:
                    await anyio.sleep_until(due)
                    self._gate.tick(anyio.current_time())
                    self._give([])

    def _give(self, released: list[Event]) -> None:
        if self._gate.done and self._group:
            self._last += released
            self._group.cancel_scope.cancel()
        else:
            self._ready.extend(released)
            self._start()
        self._tell()

    def _start(self) -> None:
        while self._group and self._running < self._checks.concurrency:
            if (window := self._gate.take(self._checks.merge)) is None:
                return
            self._running += 1
            self._group.start_soon(self._judge, window)

    async def _judge(self, window: Window) -> None:
        try:
            outcome = await self._checks(window)
        finally:
            self._running -= 1
        self._give(self._gate.decide(window.id, outcome))

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def _change(self) -> None:
        await self._changed.wait()
