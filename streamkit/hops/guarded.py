"""A check of the input beside the answer: the answer is read already while the check runs, and released when it has passed."""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import anyio
import msgspec

from streamkit.core.buffers import Buffer
from streamkit.core.views import Views
from streamkit.errors import PipelineError, StreamInterrupted
from streamkit.events import Event, Finish, ModerationReport, StreamEnd, TextDelta
from streamkit.hops.channel import LEFT, Branch, Readable, at_least_one, pump, reading
from streamkit.hops.context import hop
from streamkit.hops.tasks import beside
from streamkit.moderation.classifiers.chunking import Window
from streamkit.moderation.classifiers.classifier import Decision, FailurePolicy, Failures, Outcome, as_failures
from streamkit.moderation.classifiers.classifier import check as checked
from streamkit.moderation.classifiers.windows import record
from streamkit.moderation.report import Cost, verdict

InputCheck: TypeAlias = Callable[[], Awaitable[Decision]]


@hop
async def guarded(
    events: Readable[Event],
    check: InputCheck,
    *,
    choices: int = 1,
    failures: Failures | FailurePolicy = "closed",
    deadline: float | None = None,
    ahead: int = 64,
) -> AsyncGenerator["Guarded", None]:
    """Call `check` for the input while the answer is read: nothing is released before the decision, and the first token
    arrives with the later of the two.

        async with hops.guarded(answer, lambda: classifier(Window(0, prompt, channel="prompt"))) as events: ...

    `Checked` comes first. `annotate` is reported by `Flagged`. Any stricter action blocks, since an input that was sent can't
    be changed: `events` is closed, and then `Blocked`, the decision's message, `Finish("content_filter")` for each of
    `choices` (the request's `n`), and `StreamEnd("moderated")` are delivered; nothing of the answer is.

    At most `ahead` events are buffered; then reading stops until the decision. `failures` and `deadline` are those of
    `classify`. An error of `events` is raised after the decision, and after what came before it. Leaving the block cancels the
    check and closes `events`; if that fails and nothing else has, it raises. A read after that raises `StreamInterrupted`, unless
    all had arrived.
    """
    if not callable(check):
        raise PipelineError(f"expected an async function, found an object of type {type(check).__name__}")
    at_least_one(ahead=ahead, choices=choices)
    guard = Guarded(reading(events), check, as_failures(failures), deadline, choices, ahead)
    async with beside(guard.read, guard.check, unclosed=guard.unclosed, left=[guard.leave]):
        yield guard


class Guarded(AsyncIterator[Event], Views):
    """The events of an answer whose input is checked. Created by `guarded`.

    A read may be cancelled and repeated: no event is lost.
    """

    def __init__(
        self,
        events: AsyncIterator[Event],
        check: InputCheck,
        failures: Failures,
        deadline: float | None,
        choices: int,
        ahead: int,
    ) -> None:
        self.unclosed: list[Exception] = []
        self._events = events
        self._check = check
        self._failures = failures
        self._deadline = deadline
        self._choices = choices
        self._answer = Branch[Event](ahead)
        self._reading = anyio.CancelScope()
        self._closed = anyio.Event()
        self._decided = anyio.Event()
        self._first: deque[Event] = deque()
        self._passed = self._blocked = self._interrupted = False
        self._cost = Cost()

    @property
    def report(self) -> ModerationReport:
        """The metrics and decisions of the check."""
        return self._cost.report(stopped=self._blocked, tokens_saved=None if self._blocked else 0)

    async def __anext__(self) -> Event:
        if not self._decided.is_set():
            await self._decided.wait()
        if self._first:
            return self._first.popleft()
        if self._passed:
            return await anext(self._answer)
        if self._interrupted:
            raise StreamInterrupted(LEFT)
        raise StopAsyncIteration

    def buffers(self) -> list[Buffer]:
        """The events that were read, for `Stream.buffers`."""
        reason = "read ahead of the consumer" if self._decided.is_set() else "the check of the input has not decided"
        return [Buffer("", self._answer.waiting, "items", reason)]

    async def aclose(self) -> None:
        """Stop reading, and wait until `events` is closed; buffered events are discarded."""
        self._passed = False
        self._first.clear()
        self._decided.set()
        await self._answer.aclose()
        self._reading.cancel()
        await self._closed.wait()

    async def read(self) -> None:
        """Read ahead. Run by `guarded` in a task."""
        try:
            with self._reading:
                await pump(self._events, [self._answer], self.unclosed)
        finally:
            self._closed.set()

    async def check(self) -> None:
        """Call the check. Run by `guarded` in a task."""
        window = Window(0, "", channel="prompt")
        outcome = await checked(window, self._call, self._failures, self._deadline)
        first = await self._carry_out(window, outcome)
        # Not after `aclose`.
        if not self._decided.is_set():
            self._first.extend(first)
            self._passed = not self._blocked
            self._decided.set()

    def leave(self) -> None:
        """End what is not read to its end, since the tasks have ended. Called by `guarded`."""
        self._interrupted = not self._decided.is_set()
        self._decided.set()
        self._answer.leave()

    async def _call(self, window: Window) -> Decision:
        return await self._check()

    async def _carry_out(self, window: Window, outcome: Outcome) -> list[Event]:
        # Returns what comes first.
        decision = outcome.decision
        first: list[Event] = [record(window, outcome, self._cost, outcome.seconds)]
        self._cost.verdicts += decision.action != "allow"
        match decision.action:
            case "allow":
                pass
            case "annotate":
                first.append(verdict(decision, (0, 0, "prompt", 0), "classifier"))
            case _:
                self._blocked = True
                self._reading.cancel()
                await self._closed.wait()
                first += self._blocking(decision)
        return first

    def _blocking(self, decision: Decision) -> list[Event]:
        by = decision if decision.action == "stop" else msgspec.structs.replace(decision, action="block")
        events: list[Event] = []
        for index in range(self._choices):
            events.append(verdict(by, (0, 0, "prompt", index), "classifier"))
            events += (TextDelta(by.message, index),) if by.message else ()
            events.append(Finish("content_filter", index))
        return [*events, StreamEnd("moderated")]
