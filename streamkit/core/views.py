"""Typed views: iterators over one kind of content of an event stream, such as its text or its tool calls.

Readers that depend on providers or JSON are in packages of a higher layer and are imported by name (`READERS`).
"""

from abc import abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Final, Generic, Protocol, TypeVar, cast

from streamkit.core.lazy import attribute
from streamkit.core.wrong_input import shown
from streamkit.errors import PipelineError
from streamkit.events import Event, ReasoningDelta, Reset, TextDelta, ToolCall, ToolCallDelta, Usage

T = TypeVar("T")
Seen = TypeVar("Seen", covariant=True)

READERS: Final = {
    "objects": "streamkit.stages.structured:Objects",
    "tool_calls": "streamkit.dialects.complete_calls:CompleteCalls",
    "usage": "streamkit.tokens.responses:UsageSum",
}


class Reader(Protocol[Seen]):
    """Converts events to the items of a view, with the two methods of a stage. `flush` is called only at the natural end."""

    def feed(self, item: Any) -> Iterable[Seen]: ...
    def flush(self) -> Iterable[Seen]: ...


class ReadsCalls(Protocol):
    """Creates the reader of `Views.tool_calls`."""

    def __call__(self, index: int | None) -> Reader[ToolCall]: ...


class ReadsObjects(Protocol):
    """Creates the reader of `Views.objects`."""

    def __call__(self, kind: "type[T] | Callable[[Any], T]", index: int | None) -> Reader[T]: ...


class ReadsUsage(Protocol):
    """Creates the reader of `Views.usage`."""

    def __call__(self) -> Reader[Usage]: ...


class View(AsyncIterator[T], Generic[T]):
    """An async iterator over one kind of content of a stream. It is the stream's only consumer; `stream.end` has the end reason.

    If a reader fails, the items that it returned before are delivered first; then every request for an item raises its error.
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
        """Close the stream. A second call does nothing."""
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
    """The views of streams and of the branches of hops.

    A view is the only consumer of its stream; for several consumers see `streamkit.hops.broadcast` and `tee`. A view ends when
    the stream ends, for any reason: `Stream.end` shows whether the answer is complete. With `index=None` a view contains all
    choices of an answer with several; an index that is not a whole number from 0 raises `PipelineError`.
    """

    @abstractmethod
    def __aiter__(self) -> AsyncIterator[Any]: ...

    def _needs(self, kind: type, what: str) -> None:
        """Raise `PipelineError` if the pipeline is known not to return events of that class."""

    def _whole(self) -> AbstractAsyncContextManager[object]:
        """The context in which to read the stream to its end."""
        return nullcontext()

    def texts(self, index: int | None = 0) -> View[str]:
        """The pieces of the text, as they arrive."""
        return self._view(TextDelta, "texts()", _Pieces(TextDelta, _checked(index)))

    def reasoning(self, index: int | None = 0) -> View[str]:
        """The pieces of the visible reasoning, as they arrive."""
        return self._view(ReasoningDelta, "reasoning()", _Pieces(ReasoningDelta, _checked(index)))

    def tool_calls(self, index: int | None = 0) -> View[ToolCall]:
        """The tool calls, emitted when their choice has ended normally. An answer that was cut short has none.

        `ToolCall.arguments` are verbatim; `Structured(tools=…)` in the pipeline, and `hops.converse`, validate them.
        """
        reads = cast("ReadsCalls", _reader("tool_calls"))
        return self._view(ToolCallDelta, "tool_calls()", reads(_checked(index)))

    def objects(self, kind: "type[T] | Callable[[Any], T]", index: int | None = 0) -> View[T]:
        """The text of each choice as an object of that type, when it is complete: structured output, JSON mode.

        `kind` is the same as the `output` of `Structured`. Raises `OutputError` for text that is cut short or does not fit. An
        answer that calls tools has no object.
        """
        if cast("object", kind) is None:
            raise PipelineError("objects(): expected a type or a function, found None")
        reads = cast("ReadsObjects", _reader("objects"))
        return self._view(TextDelta, "objects()", reads(kind, _checked(index)))

    async def text(self, index: int = 0) -> str:
        """Read to the end, and return the text of one choice, without text before a `Reset`. `end` shows whether it is complete.

        Raises `PipelineError` before anything is sent if the pipeline does not return events.
        """
        self._needs(TextDelta, "text()")
        async with self._whole():
            async for text in self._view(TextDelta, "text()", _JoinedText(_checked(index))):
                return text
        return ""

    async def usage(self) -> Usage | None:
        """Read to the end, and return the usage that the provider reported; `None` if it reported none.

        For several responses in one stream it is the sum.
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


class _JoinedText:
    def __init__(self, index: int | None) -> None:
        self._index = index
        self._pieces: list[str] = []

    def feed(self, item: Event) -> Iterable[str]:
        if isinstance(item, Reset):
            self._pieces.clear()
        elif isinstance(item, TextDelta) and self._index in (None, item.index):
            self._pieces.append(item.text)
        return ()

    def flush(self) -> Iterable[str]:
        return ("".join(self._pieces),)


def _checked(index: int | None) -> int | None:
    """Return the index of a choice. An index that no choice can have would make an answer look empty."""
    given = cast("object", index)
    if given is not None and (not isinstance(given, int) or isinstance(given, bool) or given < 0):
        raise PipelineError(f"index: expected the number of a choice, from 0, or None for all; found {shown(given)}")
    return index


def _reader(name: str) -> Any:
    return attribute(__name__, name, READERS)
