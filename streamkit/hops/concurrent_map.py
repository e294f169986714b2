"""An async function applied to items with bounded concurrency: a fixed number of workers and a bounded queue of results."""

import inspect
import random
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, Generic, Literal, TypeAlias, TypeVar, cast, get_args

import anyio
import anyio.lowlevel
import msgspec
from anyio.abc import TaskGroup

from streamkit.core.buffers import Buffer
from streamkit.core.function import parameter_classes, short_name
from streamkit.core.hints import Classes
from streamkit.core.stray import stray_cancellation_fails
from streamkit.core.wrong_input import kind_of, shown
from streamkit.dialects.complete_calls import CompleteCalls
from streamkit.errors import PipelineError
from streamkit.events import Skipped, StreamEnd, ToolCall
from streamkit.hops.channel import Output, Readable, at_least_one, check_classes, close, entered, reading
from streamkit.hops.context import hop
from streamkit.hops.tasks import beside

A = TypeVar("A")
B = TypeVar("B")
Decides: TypeAlias = Literal["raise", "skip", "retry"]
OnError: TypeAlias = Decides | Callable[[Exception, Any], Decides]
"""The action when the function raises: one of the words, or a function of the exception and the item that returns one."""
Of: TypeAlias = type | tuple[type, ...]


def backoff(attempt: int) -> float:
    """Return the seconds to wait after an attempt: 0.1, 0.2, 0.4, … up to 5, reduced by a random part of up to a half."""
    return min(5.0, 0.1 * 2.0 ** (attempt - 1)) * random.uniform(0.5, 1.0)


class Plan(msgspec.Struct, frozen=True):
    """The options of a `concurrent_map`."""

    function: Callable[[Any], Awaitable[Any]]
    concurrency: int = 8
    ordered: bool = True
    of: Of | None = None
    on_error: OnError = "raise"
    attempts: int = 3
    wait: Callable[[int], float] = backoff
    ahead: int = 64

    def check(self) -> "Plan":
        """Return the plan. Raises `PipelineError` for invalid options."""
        if not callable(cast(object, self.function)):
            raise PipelineError(f"expected an async function, found {kind_of(self.function)}")
        if not callable(self.on_error) and self.on_error not in ("raise", "skip", "retry"):
            raise PipelineError(f"on_error: expected 'raise', 'skip', 'retry' or a function, found {self.on_error!r}")
        if not callable(cast(object, self.wait)):
            raise PipelineError(f"wait: expected a function of the number of the attempt, found {kind_of(self.wait)}")
        if not isinstance(cast(object, self.ordered), bool):
            raise PipelineError(f"ordered: expected True or False, found {kind_of(self.ordered)}")
        check_classes(self.of)
        at_least_one(concurrency=self.concurrency, number_of_attempts=self.attempts, number_ahead=self.ahead)
        return self


@hop
async def concurrent_map(
    items: Readable[A],
    function: Callable[[Any], Awaitable[B]],
    *,
    concurrency: int = 8,
    ordered: bool = True,
    of: Of | None = None,
    on_error: OnError = "raise",
    attempts: int = 3,
    wait: Callable[[int], float] = backoff,
    ahead: int = 64,
) -> AsyncGenerator["Mapped[A | B]", None]:
    """Call an async `function` with each item, at most `concurrency` calls at a time, and replace the item by its result.

    `of`: the classes of the items that `function` is called with; the default is the class in the annotation of its parameter,
    or else all items but a `StreamEnd`. Items of other classes pass through. With `of=ToolCall` it is called with the complete
    tool calls, and the results are emitted before the event that ended their choice.

    `ordered`: results are emitted in the order of their items, and all other items keep their position. Otherwise results are
    emitted as they are ready; other items keep their own order and do not wait for results, except a `StreamEnd`.

    `on_error`: `raise` cancels all other calls and closes `items`; the exception is raised after the results that are ready (with
    `ordered`, those before the first pending one). `skip` emits a `Skipped` in place of the item, with the item's position in
    `items`. `retry` calls again after `wait(attempt)` seconds, up to `attempts` calls in total, and then raises. A function of
    the exception and the item returns one of these words. An error of `items` is raised after the results of all items before it.

    At most `ahead` items are read ahead of the consumer. Leaving the block cancels the calls and closes `items`.
    """
    plan = Plan(function, concurrency, ordered, of, on_error, attempts, wait, ahead).check()
    mapped = Mapped[A | B](reading(items), plan)
    async with beside(mapped.work, unclosed=mapped.unclosed):
        yield mapped


@hop
async def concurrent_stage(
    items: AsyncIterable[Any],
    function: Callable[[Any], Awaitable[Any]],
    *,
    of: Classes,
    concurrency: int,
    ordered: bool,
    spread: Callable[[Any], Iterable[Any]],
) -> AsyncGenerator["Mapped[Any]", None]:
    """Call a stage's function with several items at a time; `spread` turns a result into the items to emit."""
    mapped = Mapped[Any](reading(items), Plan(function, concurrency, ordered, of).check(), spread)
    async with beside(mapped.work, unclosed=mapped.unclosed):
        yield mapped


def _not_async(function: Callable[..., Any], returned: object) -> PipelineError:
    name = short_name(function)
    return PipelineError(
        f"expected an async function; {name} returned {kind_of(returned)}: use ops.Map for one that is not async"
    )


class _Slot:
    """The place of one item in the order of results. `position` is the item's number in the input, from 0."""

    __slots__ = ("done", "position", "value")

    def __init__(self, value: Any, position: int, *, done: bool) -> None:
        self.value = value
        self.position = position
        self.done = done


class Mapped(Output[B], Generic[B]):
    """The results, and the items that pass through. Created by `concurrent_map`.

    A read may be cancelled and repeated without losing an item.
    """

    def __init__(
        self, items: AsyncIterator[Any], plan: Plan, spread: Callable[[Any], Iterable[Any]] | None = None
    ) -> None:
        super().__init__()
        self._spread = spread
        self._items = items
        self._plan = plan
        self._takes = parameter_classes(plan.function) if plan.of is None else plan.of
        of = self._takes if isinstance(self._takes, tuple) else (self._takes,)
        self._calls = CompleteCalls(None) if ToolCall in of else None
        self._line: deque[_Slot] = deque()  # ordered results, from the first one that is pending
        self._last: list[Any] = []  # unordered: items to emit after all results
        self._jobs: deque[_Slot] = deque()
        self._position = -1  # of the item that was read last
        self._open = 0  # jobs without a result
        self._workers = 0
        self._idle: list[anyio.Event] = []
        self._read_all = False

    def buffers(self) -> list[Buffer]:
        waiting = len(self._line) if self._plan.ordered else self._open
        found = Buffer(
            "", waiting, "items", "results are awaited, in order" if self._plan.ordered else "results are awaited"
        )
        return [*super().buffers(), found]

    # The reader

    async def run(self, group: TaskGroup) -> None:
        try:
            # A block cancelled before it began must not open anything.
            await anyio.lowlevel.checkpoint()
            async with entered(self._items) as items:
                async for item in items:
                    self._take(item)
                    await self.room(self._plan.ahead, self._under_way)
        except Exception as error:
            self._failure = error
        finally:
            await close(self._items, self.unclosed)
            self._read_all = True
            while self._idle:
                self._idle.pop().set()

    def last(self) -> Sequence[B]:
        return self._last

    def _under_way(self) -> int:
        return self._open + len(self._line)

    def _take(self, item: Any) -> None:
        self._position += 1
        for call in self._calls.feed(item) if self._calls else ():
            self._put(call)
        if isinstance(item, StreamEnd) or (self._takes is not None and not isinstance(item, self._takes)):
            self._pass(item)
        else:
            self._put(item)

    def _pass(self, item: Any) -> None:
        if self._plan.ordered and self._line:
            self._line.append(_Slot([item], self._position, done=True))
        elif isinstance(item, StreamEnd):
            self._last.append(item)
        else:
            self.put(item)

    def _put(self, item: Any) -> None:
        slot = _Slot(item, self._position, done=False)
        self._jobs.append(slot)
        if self._plan.ordered:
            self._line.append(slot)
        else:
            self._open += 1
        if self._idle:
            self._idle.pop().set()
        elif self._workers < self._plan.concurrency and self._group:
            self._workers += 1
            self._group.start_soon(self._serve)

    # The workers

    async def _serve(self) -> None:
        while True:
            while self._jobs:
                await self._do(self._jobs.popleft())
            if self._read_all:
                return
            wakeup = anyio.Event()
            self._idle.append(wakeup)
            await wakeup.wait()

    async def _do(self, slot: _Slot) -> None:
        item, attempt = slot.value, 0
        while True:
            attempt += 1
            results: list[Any] = []
            try:
                call = cast(object, self._plan.function(item))
                if not inspect.isawaitable(call):
                    return self.fail(_not_async(self._plan.function, call))
                with stray_cancellation_fails:
                    result: Any = await call
                if self._spread is None:
                    results.append(result)
                else:
                    results.extend(self._spread(result))
            except Exception as error:
                match self._decide(error, item, attempt):
                    case "retry":
                        await anyio.sleep(self._plan.wait(attempt))
                        continue
                    case "skip":
                        results = [Skipped(type(item).__name__, type(error).__name__, attempt, slot.position)]
                    case Exception() as failure:
                        return self.fail(failure, f"in concurrent_map: {short_name(self._plan.function)}")
            return self._answer(slot, results)

    def _decide(self, error: Exception, item: Any, attempt: int) -> Literal["retry", "skip"] | Exception:
        decision = self._plan.on_error
        if callable(decision):
            try:
                decision = decision(error, item)
            except Exception as failed:
                return failed
            if decision not in get_args(Decides):
                return PipelineError(f"on_error: expected it to return raise, skip or retry, found {shown(decision)}")
        if decision == "skip" or (decision == "retry" and attempt < self._plan.attempts):
            return decision
        return error

    def _answer(self, slot: _Slot, results: list[Any]) -> None:
        slot.value, slot.done = results, True
        if self._plan.ordered:
            while self._line and self._line[0].done:
                self.put(*self._line.popleft().value)
        else:
            self._open -= 1
            self.put(*results)
        # A call that returned no item makes room as well.
        self._release_blocked()
