"""The pipeline before a hop, as the source of the pipeline after it.

A stream with a hop consists of two engines and a task boundary. A task of the hop drives the part before the hop and stores its
items; the part after the hop reads them. The task group belongs to the hop's context, which the stream's `async with` enters and
exits, so that no task group is ever open inside `read` or `open`.
"""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

import msgspec

from streamkit.core.buffers import Buffer
from streamkit.core.source import Source, adapters, refuse
from streamkit.core.wrong_input import kind_of
from streamkit.errors import PipelineError

if TYPE_CHECKING:
    from types import TracebackType

T = TypeVar("T", covariant=True)
Given = TypeVar("Given", covariant=True)


class Upstream(AsyncIterable[Any], Protocol):
    """The stream before the hop."""

    @property
    def source(self) -> Source[Any]: ...
    async def enter_hops(self, stack: AsyncExitStack) -> None: ...
    async def aclose(self) -> None: ...


class Joined(Source[T]):
    """The items of a hop's context as a source. `make` is called once; `upstream` is the stream before the hop, if any."""

    def __init__(
        self,
        make: Callable[[], AbstractAsyncContextManager[AsyncIterable[T]]],
        name: str,
        upstream: Upstream | None = None,
    ) -> None:
        self._make = make
        self._name = name
        self._items: AsyncIterator[T] | None = None
        self._at_once: Callable[[], list[T]] | None = None
        self.upstream = upstream
        if upstream is not None:
            self.timed, self.now = upstream.source.timed, upstream.source.now  # type: ignore[method-assign] # one clock

    async def enter(self, stack: AsyncExitStack) -> None:
        """Enter the contexts of the earlier hops, then that of this one."""
        if self.upstream is not None:
            await self.upstream.enter_hops(stack)
        items = await stack.enter_async_context(self._make())
        if not isinstance(items, AsyncIterable):
            raise PipelineError(f"{self._name} gives {kind_of(items)}, which is not an async iterable")
        self._items = aiter(items)
        self._at_once = getattr(self._items, "at_once", None)

    async def open(self) -> None:
        if self._items is None:
            raise PipelineError(
                f"this stream has a hop, {self._name}, whose tasks need a block: "
                "write `async with … as events` and read inside it"
            )

    async def read(self) -> Sequence[T]:
        assert self._items is not None, "read before open"
        if self._at_once and (items := self._at_once()):
            return items
        try:
            return (await self._items.__anext__(),)
        except StopAsyncIteration:
            return ()

    def buffers(self) -> list[Buffer]:
        """The items that the hop's tasks have produced and the consumer has not read; empty if the hop does not report them."""
        report = getattr(self._items, "buffers", None)
        return [msgspec.structs.replace(buffer, stage=self._name) for buffer in report()] if report else []

    async def close(self) -> None:
        """Stop the hop's tasks and close their input. The context itself is exited by the code that entered it."""
        if aclose := getattr(self._items, "aclose", None):
            await aclose()
        if self.upstream is not None:
            await self.upstream.aclose()


class EnteredOnce(AbstractAsyncContextManager[Given], Generic[Given]):
    """A context of tasks for one `async with`. Entered again it raises `PipelineError`."""

    def __init__(self, context: AbstractAsyncContextManager[Given], name: str) -> None:
        self._context = context
        self._entered = False
        self.name = name

    def __repr__(self) -> str:
        return f"{self.name}(…)"

    async def __aenter__(self) -> Given:
        if self._entered:
            raise PipelineError(f"hops.{self.name}(…) was entered before: call hops.{self.name} for each `async with`")
        self._entered = True
        return await self._context.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: "TracebackType | None"
    ) -> None:
        await self._context.__aexit__(kind, error, traceback)


class HopContext(EnteredOnce[Given], Generic[Given]):
    """The result of the functions of `streamkit.hops`: `async with race(a, b) as events`, or `race(a, b) | Emit()`.

    On the left of `|` it is entered once, by the `async with` of the stream.
    """


# Set outside the class, where type checkers would use its return type for `hop | stage`.
setattr(HopContext, "__or__", refuse)  # noqa: B010


def _adapt(value: object) -> Source[Any] | None:
    if not isinstance(value, HopContext):
        return None
    context = cast("HopContext[Any]", value)
    return Joined(lambda: context, context.name)


adapters.append(_adapt)
