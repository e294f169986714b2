"""Waits that another task or a deadline can end without cancelling the waiting task.

On asyncio this uses the task's `cancel` and `uncancel`: a cancel scope around every read would cost more than parsing the event
that the read returns, and a scope entered only when a read has to wait would be nested wrongly inside a scope of the read itself.
"""

from collections.abc import Awaitable, Generator, Sequence
from types import coroutine
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

if TYPE_CHECKING:
    import asyncio

    import anyio

T = TypeVar("T")
AT_ONCE = 100
"""How many tasks are woken in one turn of asyncio's loop."""


class Interrupted(Exception):
    """`interrupt` was called during a wait."""


class Expired(Exception):
    """A wait exceeded its timeout."""


class Waiting(Protocol):
    """Waits for one awaitable at a time."""

    steps: bool
    """Whether `resume` is supported: the caller may advance a coroutine itself before it awaits the rest."""

    async def run(self, work: Awaitable[T], seconds: float | None = None) -> T:
        """Await `work`. Raises `Interrupted` after `interrupt`, `Expired` after `seconds`; any other cancellation propagates."""
        ...

    def resume(self, steps: Generator[Any, Any, None], yielded: Any, *, interrupted: bool) -> Awaitable[Sequence[Any]]:
        """The same for a generator that the caller has advanced and that has yielded an object for the event loop.

        Returns the next list or tuple that it yields. `interrupted`: end the generator at this wait, since it must not be
        dropped.
        """
        ...

    def interrupt(self) -> None:
        """End the current wait, if there is one."""
        ...


def waiting() -> Waiting:
    """Create the implementation for the running event loop."""
    from sniffio import current_async_library

    return TaskWaiting() if current_async_library() == "asyncio" else ScopeWaiting()


class TaskWaiting:
    """Waits that are ended by cancelling the asyncio task."""

    steps = True

    def __init__(self) -> None:
        import asyncio

        self._loop = asyncio.get_running_loop()
        self._current_task, self._sleep, self._cancelled = asyncio.current_task, asyncio.sleep, asyncio.CancelledError
        self._task: asyncio.Task[Any] | None = None
        self._cause: type[Exception] | None = None

    def interrupt(self) -> None:
        self._end(Interrupted)

    async def run(self, work: Awaitable[T], seconds: float | None = None) -> T:
        task = self._task = self._current_task(self._loop)
        assert task is not None, "an event loop runs this in a task"
        cancelling = task.cancelling()
        timer = None if seconds is None else task.get_loop().call_later(seconds, self._end, Expired)
        try:
            returned = await work
        except self._cancelled:
            if (cause := self._cause) is None or not await self._is_ours(task, cancelling):
                raise
            raise cause from None
        except Exception:
            if self._cause is not None:
                await self._absorb(task, cancelling)
            raise
        else:
            if self._cause is not None:
                await self._absorb(task, cancelling)
            return returned
        finally:
            if timer:
                timer.cancel()
            if self._cause is not None:
                self._uncancel(task)
            self._task = None

    @coroutine
    def resume(
        self, steps: Generator[Any, Any, None], yielded: Any, *, interrupted: bool
    ) -> Generator[Any, Any, Sequence[Any]]:
        # `run` with the loop over the steps inlined: one frame instead of three between the consumer and its source.
        task = self._task = self._current_task(self._loop)
        assert task is not None, "an event loop runs this in a task"
        cancelling = task.cancelling()
        if interrupted:
            self._end(Interrupted)
        try:
            while yielded.__class__ is not list and yielded.__class__ is not tuple:
                try:
                    sent = yield yielded
                except BaseException as error:
                    yielded = steps.throw(error)
                else:
                    yielded = steps.send(sent)
        except self._cancelled:
            if (cause := self._cause) is None or not (yield from self._is_ours(task, cancelling).__await__()):
                raise
            raise cause from None
        except Exception:
            if self._cause is not None:
                yield from self._absorb(task, cancelling).__await__()
            raise
        else:
            if self._cause is not None:
                yield from self._absorb(task, cancelling).__await__()
            return cast("Sequence[Any]", yielded)
        finally:
            if self._cause is not None:
                self._uncancel(task)
            self._task = None

    async def _is_ours(self, task: "asyncio.Task[Any]", cancelling: int) -> bool:
        """Whether only `_end` cancelled the task."""
        self._uncancel(task)
        # Other code may have cancelled this task in the same iteration of the loop, which raises one error for both. A cancel
        # scope of anyio recognizes only its own error, and a checkpoint inside a cancelled scope raises that error.
        await _checkpoint_if_cancelled()
        return task.cancelling() <= cancelling

    async def _absorb(self, task: "asyncio.Task[Any]", cancelling: int) -> None:
        # The work itself called `interrupt` and did not wait afterwards. Wait for the cancellation here, since otherwise it
        # would end the consumer's next wait.
        try:
            await self._sleep(0)
        except self._cancelled:
            if task.cancelling() > cancelling + 1:
                raise

    def _end(self, cause: type[Exception]) -> None:
        if self._task is not None and self._cause is None:
            self._cause = cause
            self._task.cancel()

    def _uncancel(self, task: "asyncio.Task[Any]") -> None:
        self._cause = None
        task.uncancel()


async def _checkpoint_if_cancelled() -> None:
    import anyio.lowlevel

    await anyio.lowlevel.checkpoint_if_cancelled()


class ScopeWaiting:
    """Waits that are ended by a cancel scope, for trio."""

    steps = False

    def __init__(self) -> None:
        self._scope: anyio.CancelScope | None = None
        self._interrupted = False

    def interrupt(self) -> None:
        if self._scope is not None:
            self._interrupted = True
            self._scope.cancel()

    async def run(self, work: Awaitable[T], seconds: float | None = None) -> T:
        import anyio

        self._interrupted = False
        try:
            with anyio.move_on_after(seconds) as self._scope:
                return await work
        finally:
            self._scope = None
        raise Interrupted if self._interrupted else Expired

    def resume(self, steps: Generator[Any, Any, None], yielded: Any, *, interrupted: bool) -> Awaitable[Sequence[Any]]:
        raise NotImplementedError("not supported on trio")


class Wakeup(Protocol):
    """Wakes the single task that waits for it."""

    def set(self) -> None:
        """Wake the task, if it is waiting."""
        ...

    async def wait(self) -> None:
        """Wait for the next `set`."""
        ...


def wakeup() -> Wakeup:
    """Create the implementation for the running event loop."""
    from sniffio import current_async_library

    return FutureWakeup() if current_async_library() == "asyncio" else EventWakeup()


class FutureWakeup:
    """An asyncio future. An anyio event would cost four times as much, and this is most of the cost of a hop."""

    def __init__(self) -> None:
        import asyncio

        self._create_future = asyncio.get_running_loop().create_future
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        self._waiter = self._create_future()
        await self._waiter


class EventWakeup:
    """An anyio event, for trio."""

    def __init__(self) -> None:
        self._event: anyio.Event | None = None

    def set(self) -> None:
        if self._event is not None:
            self._event.set()

    async def wait(self) -> None:
        import anyio

        self._event = anyio.Event()
        await self._event.wait()


class TaskWaker(Protocol):
    """Wakes all tasks that are waiting for it."""

    def set(self) -> None:
        """Wake the tasks that are waiting now."""
        ...

    def wait(self) -> Awaitable[Any]:
        """Wait for the next `set`."""
        ...


def task_waker() -> TaskWaker:
    """Create the implementation for the running event loop."""
    from sniffio import current_async_library

    return FutureWaker() if current_async_library() == "asyncio" else EventWaker()


class FutureWaker:
    """One asyncio future per task, which is awaited directly without a coroutine.

    Tasks are woken in the order in which they began to wait, some in each turn of the event loop. A future and the loop's handle
    for it are freed as soon as the task has run, so a thousand tasks do not keep a thousand of them alive at once: that many
    new objects would start Python's garbage collector, which traverses all objects that the waiting tasks hold.
    """

    def __init__(self) -> None:
        import asyncio

        loop = asyncio.get_running_loop()
        self._create_future = loop.create_future
        self._call_soon = loop.call_soon
        self._waiters: list[asyncio.Future[None]] = []

    def set(self) -> None:
        waiters, self._waiters = self._waiters, []
        waiters.reverse()
        self._wake(waiters)

    def _wake(self, waiters: "list[asyncio.Future[None]]") -> None:
        for _ in range(min(AT_ONCE, len(waiters))):
            waiter = waiters.pop()
            if not waiter.done():
                waiter.set_result(None)
        if waiters:
            self._call_soon(self._wake, waiters)

    def wait(self) -> "asyncio.Future[None]":
        waiter = self._create_future()
        self._waiters.append(waiter)
        return waiter


class EventWaker:
    """One anyio event for all tasks, for trio."""

    def __init__(self) -> None:
        import anyio

        self._event = anyio.Event()

    def set(self) -> None:
        import anyio

        event, self._event = self._event, anyio.Event()
        event.set()

    def wait(self) -> Awaitable[None]:
        return self._event.wait()
