"""Waiting that another task, or a deadline, can end, without cancelling the task that waits.

On asyncio it is done with the task's own `cancel` and `uncancel`: a cancel scope around every read would cost more than parsing
the event that it returns, and one that is entered only once a read waits would nest wrongly inside a scope of the read's own.
"""

from collections.abc import Awaitable, Generator, Sequence
from types import coroutine
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

if TYPE_CHECKING:
    import asyncio

    import anyio

T = TypeVar("T")


class Interrupted(Exception):
    """`interrupt` was called during a wait."""


class Expired(Exception):
    """A wait took longer than it was allowed to."""


class Waiting(Protocol):
    """One wait at a time."""

    steps: bool
    """Whether a coroutine may be advanced by hand before it is waited for."""

    async def run(self, work: Awaitable[T], seconds: float | None = None) -> T:
        """Await `work`; raise `Interrupted` or `Expired` if it was ended early. Any other cancellation propagates."""
        ...

    def resume(self, steps: Generator[Any, Any, None], yielded: Any, *, interrupted: bool) -> Awaitable[Sequence[Any]]:
        """The same for a generator that was advanced by hand and has yielded what the event loop is to wait for.

        The result is the next list or tuple that it yields. `interrupted`: end it at this wait, since it must not be dropped.
        """
        ...

    def interrupt(self) -> None:
        """End the wait that is under way, if one is."""
        ...


def waiting() -> Waiting:
    """For the event loop that runs."""
    from sniffio import current_async_library

    return TaskWaiting() if current_async_library() == "asyncio" else ScopeWaiting()


class TaskWaiting:
    """By the cancellation of asyncio's task."""

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
            if (cause := self._cause) is None or not await self._own(task, cancelling):
                raise
            raise cause from None
        except Exception:
            if self._cause is not None:
                await self._let_arrive(task, cancelling)
            raise
        else:
            if self._cause is not None:
                await self._let_arrive(task, cancelling)
            return returned
        finally:
            if timer:
                timer.cancel()
            if self._cause is not None:
                self._take_back(task)
            self._task = None

    @coroutine
    def resume(
        self, steps: Generator[Any, Any, None], yielded: Any, *, interrupted: bool
    ) -> Generator[Any, Any, Sequence[Any]]:
        # `run` with the loop of the steps in its middle: one frame instead of three between the consumer and its source.
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
            if (cause := self._cause) is None or not (yield from self._own(task, cancelling).__await__()):
                raise
            raise cause from None
        except Exception:
            if self._cause is not None:
                yield from self._let_arrive(task, cancelling).__await__()
            raise
        else:
            if self._cause is not None:
                yield from self._let_arrive(task, cancelling).__await__()
            return cast("Sequence[Any]", yielded)
        finally:
            if self._cause is not None:
                self._take_back(task)
            self._task = None

    async def _own(self, task: "asyncio.Task[Any]", cancelling: int) -> bool:
        """Whether a cancellation was `_end`'s alone."""
        self._take_back(task)
        # Other code may have cancelled this task too in the same turn of the loop, which delivers one error for both.
        # A cancel scope of anyio's recognizes its own error only, and a checkpoint inside of a cancelled one raises that.
        await _checkpoint_if_cancelled()
        return task.cancelling() <= cancelling

    async def _let_arrive(self, task: "asyncio.Task[Any]", cancelling: int) -> None:
        # The work itself called `interrupt`, and did not wait after that. Now it would be the consumer's next wait that is ended.
        try:
            await self._sleep(0)
        except self._cancelled:
            if task.cancelling() > cancelling + 1:
                raise

    def _end(self, cause: type[Exception]) -> None:
        if self._task is not None and self._cause is None:
            self._cause = cause
            self._task.cancel()

    def _take_back(self, task: "asyncio.Task[Any]") -> None:
        self._cause = None
        task.uncancel()


async def _checkpoint_if_cancelled() -> None:
    import anyio.lowlevel

    await anyio.lowlevel.checkpoint_if_cancelled()


class ScopeWaiting:
    """By a cancel scope, for trio."""

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
        raise NotImplementedError("on trio nothing is advanced by hand")


class Wakeup(Protocol):
    """Wakes the one task that waits for it."""

    def set(self) -> None:
        """Wake the task, if one waits."""
        ...

    async def wait(self) -> None:
        """Wait for the next `set`."""
        ...


def wakeup() -> Wakeup:
    """For the event loop that runs."""
    from sniffio import current_async_library

    return FutureWakeup() if current_async_library() == "asyncio" else EventWakeup()


class FutureWakeup:
    """By a future of asyncio: an event of anyio's would cost four times as much, which is most of what a hop costs."""

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
    """By an event of anyio's, for trio."""

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
    """Wakes all tasks that wait for it."""

    def set(self) -> None:
        """Wake those that wait now."""
        ...

    def wait(self) -> Awaitable[Any]:
        """Wait for the next `set`."""
        ...


def task_waker() -> TaskWaker:
    """For the event loop that runs."""
    from sniffio import current_async_library

    return FutureWaker() if current_async_library() == "asyncio" else EventWaker()


class FutureWaker:
    """By a future of asyncio for each task, which is awaited without a coroutine between."""

    def __init__(self) -> None:
        import asyncio

        self._create_future = asyncio.get_running_loop().create_future
        self._waiters: list[asyncio.Future[None]] = []

    def set(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def wait(self) -> "asyncio.Future[None]":
        waiter = self._create_future()
        self._waiters.append(waiter)
        return waiter


class EventWaker:
    """By an event of anyio's that all of them share, for trio."""

    def __init__(self) -> None:
        import anyio

        self._event = anyio.Event()

    def set(self) -> None:
        import anyio

        event, self._event = self._event, anyio.Event()
        event.set()

    def wait(self) -> Awaitable[None]:
        return self._event.wait()
