"""Classifiers beside the stream: windows are classified while it is read on."""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Literal

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from streamkit.core.buffers import Buffer
from streamkit.core.reading import CLOSE_SECONDS
from streamkit.core.views import Views
from streamkit.events import Channel, Event, ModerationReport
from streamkit.hops.channel import Readable, at_least_one, close, entered, reading
from streamkit.hops.context import hop
from streamkit.hops.tasks import beside
from streamkit.moderation.channels import CLASSIFIED, Mode
from streamkit.moderation.classifiers.chunking import Window, Windows
from streamkit.moderation.classifiers.classifier import Classifier, FailurePolicy, Failures, Outcome, as_failures, check
from streamkit.moderation.classifiers.windows import Classifying
from streamkit.moderation.policy import MAX_HOLD_CHARS, Policy


@hop
async def classify(
    events: Readable[Event],
    classifier: Classifier,
    *,
    windows: Windows = Windows(sentences=1, overlap=200),  # noqa: B008 # it is frozen
    mode: Mode = "hold",
    channels: tuple[Channel, ...] = CLASSIFIED,
    choices: int = 1,
    failures: Failures | FailurePolicy = "closed",
    deadline: float | None = None,
    max_hold_chars: int | None = MAX_HOLD_CHARS,
    max_hold_seconds: float | None = None,
    on_max_hold: Literal["block", "release"] = "block",
    max_tokens: int | None = None,
    reports: bool = False,
    concurrency: int = 4,
    merge: int = 2000,
    ahead: int = 64,
) -> "AsyncGenerator[Classified, None]":
    """Call a classifier for the text of each choice while the stream is read on.

    The other options are those of `Classify`.

    At most `concurrency` calls run at once; events are released in their order, whichever decision arrives first. Windows of
    one channel that are complete while all calls are taken are classified together, up to `merge` characters; 0 classifies
    each by itself. Reading stops while `ahead` events are buffered for the consumer, or as many windows are undecided.

    When the stream is blocked, the calls under way are cancelled and `events` is closed before the end is delivered. An error
    of `events` is raised after what came before it and was decided. Leaving the block cancels everything and closes `events`;
    if that fails and nothing else has, it raises.
    """
    at_least_one(concurrency=concurrency, ahead=ahead)
    policy = Policy(mode, True, choices, max_hold_chars, max_hold_seconds, on_max_hold, max_tokens, reports)
    checks = _Checks(classifier, as_failures(failures), deadline, concurrency, merge, windows.seconds is not None)
    classified = Classified(reading(events), Classifying(windows, policy, channels), checks, ahead)
    async with beside(classified.work, unclosed=classified.unclosed):
        yield classified


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


class Classified(AsyncIterator[Event], Views):
    """The events that are released. Created by `classify`.

    A read may be cancelled and repeated: no event is lost.
    """

    def __init__(self, events: AsyncIterator[Event], classifying: Classifying, checks: _Checks, ahead: int) -> None:
        self.unclosed: list[Exception] = []
        self._events = events
        self._classifying = classifying
        self._checks = checks
        self._ahead = ahead
        self._ready: deque[Event] = deque()
        self._last: list[Event] = []  # delivered when all is closed
        self._running = 0
        self._stopped = False
        self._read_all = False
        self._ended = False
        self._failure: Exception | None = None
        self._changed = anyio.Event()
        self._group: TaskGroup | None = None

    @property
    def report(self) -> ModerationReport:
        """The metrics of moderation so far."""
        return self._classifying.report

    def buffers(self) -> list[Buffer]:
        """The characters that no decision has released, and the events that the consumer has not read, for `Stream.buffers`."""
        unread = Buffer("", len(self._ready), "items", "released, and not read by the consumer")
        return [*self._classifying.buffers(""), unread]

    async def aclose(self) -> None:
        """Cancel what is under way, and wait until `events` is closed; buffered events are discarded."""
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
        self._notify()
        return event

    async def work(self) -> None:
        """Read, and call the classifier. Run by `classify` in a task."""
        try:
            async with anyio.create_task_group() as self._group:
                await self._read(self._group)
        except Exception as error:
            self._failure = error
        finally:
            self._ready.extend(self._last)
            self._ended = True
            self._notify()

    async def _read(self, group: TaskGroup) -> None:
        watch = anyio.CancelScope()
        try:
            # Nothing is opened for a block that was cancelled before it began.
            await anyio.lowlevel.checkpoint()
            if self._stopped:
                return
            if self._checks.timed:
                group.start_soon(self._watch, watch)
            async with entered(self._events) as events:
                async for event in events:
                    self._classifying.tick(anyio.current_time())
                    for number, piece in enumerate(self._classifying.slices(event)):
                        if number:
                            await anyio.lowlevel.checkpoint()
                        self._put(self._classifying.feed(piece))
                    while self._classifying.reading and self._full():
                        await self._change()
                    if not self._classifying.reading:
                        break
                else:
                    self._put(self._classifying.end())
            self._read_all = True
        except Exception as error:
            self._failure = error
        finally:
            watch.cancel()
            await close(self._events, self.unclosed)
            if self._classifying.ended:
                group.cancel_scope.cancel()

    def _full(self) -> bool:
        return len(self._ready) >= self._ahead or self._classifying.undecided >= self._ahead

    async def _watch(self, scope: anyio.CancelScope) -> None:
        # Ends the windows whose time has come while nothing is read.
        with scope:
            while True:
                if (due := self._classifying.due) is None:
                    await self._change()
                else:
                    await anyio.sleep_until(due)
                    self._classifying.tick(anyio.current_time())
                    self._put(self._classifying.expire())

    def _put(self, released: list[Event]) -> None:
        done = self._classifying.done
        (self._last if done else self._ready).extend(released)
        if self._group and (done or (self._classifying.ended and self._read_all)):
            # Calls whose decision does not matter any more may still be under way.
            self._group.cancel_scope.cancel()
        else:
            self._start()
        self._notify()

    def _start(self) -> None:
        while self._group and self._running < self._checks.concurrency:
            if (window := self._classifying.take(self._checks.merge)) is None:
                return
            self._running += 1
            self._group.start_soon(self._check, window)

    async def _check(self, window: Window) -> None:
        try:
            outcome = await self._checks(window)
        finally:
            self._running -= 1
        self._classifying.tick(anyio.current_time())
        self._put(self._classifying.decide(window.id, outcome))

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def _change(self) -> None:
        await self._changed.wait()
