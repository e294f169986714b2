"""Typed views: one kind of thing of a stream of events, such as its texts or its tool calls.

What a view needs to know of providers or of JSON is a reader of a room above this one, found by name: `READERS`.
"""

from abc import abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Final, Generic, Protocol, TypeVar, cast

from streamkit.core.lazy import attribute
from streamkit.events import Event, ReasoningDelta, TextDelta, ToolCall, ToolCallDelta, Usage

T = TypeVar("T")
Seen = TypeVar("Seen", covariant=True)

READERS: Final = {
    "objects": "streamkit.stages.structured:Objects",
    "tool_calls": "streamkit.dialects.complete_calls:CompleteCalls",
    "usage": "streamkit.tokens.responses:UsageSum",
}


class Reader(Protocol[Seen]):
    """Turns events into the items of a view: a stage's two methods. `flush` is called on the natural end only."""

    def feed(self, item: Any) -> Iterable[Seen]: ...
    def flush(self) -> Iterable[Seen]: ...


class ReadsCalls(Protocol):
    """Makes the reader of `Views.tool_calls`."""

    def __call__(self, index: int | None) -> Reader[ToolCall]: ...


class ReadsObjects(Protocol):
    """Makes the reader of `Views.objects`."""

    def __call__(self, kind: "type[T] | Callable[[Any], T]", index: int | None) -> Reader[T]: ...


class ReadsUsage(Protocol):
    """Makes the reader of `Views.usage`."""

    def __call__(self) -> Reader[Usage]: ...


class View(AsyncIterator[T], Generic[T]):
    """One kind of thing of a stream. It is the stream's one consumer; how the stream ended is in `stream.end`.

    What a reader returned before it failed is delivered before its error, which is raised again whenever an item is asked for.
    """

    def __init__(self, items: AsyncIterator[Any], reader: Reader[T]) -> None:
        self._items = items
        self._reader = reader
        self._ready: deque[T] = deque()
        self._failure: Exception | None = None
        self._ended = False

    async def __anext__(self) -> T:
        while not self._ready:
            if self._failure:
                raise self._failure
            if self._ended:
                raise StopAsyncIteration
            await self._read()
        return self._ready.popleft()

    async def aclose(self) -> None:
        """Close the stream. Does nothing the second time."""
        self._ended = True
        self._ready.clear()
        if aclose := getattr(self._items, "aclose", None):
            await aclose()

    async def _read(self) -> None:
        try:
            item = await self._items.__anext__()
        except StopAsyncIteration:
            self._ended = True
            self._take(self._reader.flush)
        else:
            self._take(lambda: self._reader.feed(item))
        if self._failure and not self._ended:
            ready = self._ready.copy()
            await self.aclose()
            self._ready = ready

    def _take(self, work: Callable[[], Iterable[T]]) -> None:
        try:
            self._ready.extend(work())
        except Exception as error:
            self._failure = error


class Views:
    """The views that streams, and the branches of hops, have of their events.

    Each is the one consumer of what it is called on; for several at once see `streamkit.hops.broadcast` and `tee`. A view ends
    where the stream ends, for whatever reason: `Stream.end` says whether the answer is complete. With `index=None` a view has
    all choices of an answer with several.
    """

    @abstractmethod
    def __aiter__(self) -> AsyncIterator[Any]: ...

    def _needs(self, kind: type, what: str) -> None:
        """Raise `PipelineError` if it is known that no event of that class comes."""

    def _whole(self) -> AbstractAsyncContextManager[object]:
        """The block to read it to its end in."""
        return nullcontext()

    def texts(self, index: int | None = 0) -> View[str]:
        """The pieces of the text, as they arrive."""
        return self._view(TextDelta, "texts()", _Pieces(TextDelta, index))

    def reasoning(self, index: int | None = 0) -> View[str]:
        """The pieces of the visible reasoning, as they arrive."""
        return self._view(ReasoningDelta, "reasoning()", _Pieces(ReasoningDelta, index))

    def tool_calls(self, index: int | None = 0) -> View[ToolCall]:
        """The tool calls, each when its choice has ended properly. None of an answer that was cut short is returned.

        `ToolCall.arguments` are verbatim; `Structured(tools=…)` in the pipeline, and `hops.converse`, validate them.
        """
        reads = cast("ReadsCalls", _reader("tool_calls"))
        return self._view(ToolCallDelta, "tool_calls()", reads(index))

    def objects(self, kind: "type[T] | Callable[[Any], T]", index: int | None = 0) -> View[T]:
        """The text of each choice as an object of that type, when it is complete: structured output, JSON mode.

        `kind` is what `Structured` takes as `output`. `OutputError` is raised for text that is cut short or does not fit; an
        answer that calls tools has no object.
        """
        reads = cast("ReadsObjects", _reader("objects"))
        return self._view(TextDelta, "objects()", reads(kind, index))

    async def text(self, index: int = 0) -> str:
        """Read to the end, and return the text of one choice: all that came. `end` says whether it is complete.

        A pipeline that returns no events raises `PipelineError` before anything is sent.
        """
        self._needs(TextDelta, "text()")
        async with self._whole():
            return "".join([piece async for piece in self.texts(index)])

    async def usage(self) -> Usage | None:
        """Read to the end, and return what it cost as the provider reports it; `None` where it reports nothing.

        Of several responses in one stream it is the sum.
        """
        self._needs(Usage, "usage()")
        reads = cast("ReadsUsage", _reader("usage"))
        usage: Usage | None = None
        async with self._whole():
            async for found in self._view(Usage, "usage()", reads()):
                usage = found
        return usage

    def _view(self, kind: type, what: str, reader: Reader[T]) -> View[T]:
        self._needs(kind, what)
        return View(self.__aiter__(), reader)


class _Pieces:
    def __init__(self, kind: type[TextDelta | ReasoningDelta], index: int | None) -> None:
        self._kind = kind
        self._index = index

    def feed(self, item: Event) -> Iterable[str]:
        if isinstance(item, self._kind) and (self._index is None or item.index == self._index):
            return (item.text,)
        return ()

    def flush(self) -> Iterable[str]:
        return ()


def _reader(name: str) -> Any:
    return attribute(__name__, name, READERS)
