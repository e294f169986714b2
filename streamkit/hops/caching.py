"""A cache of complete responses, stored as recordings and replayed as streams. It needs no task."""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, Generic, TypeVar, cast

from streamkit.core.source import Source
from streamkit.core.stream import Stream
from streamkit.core.wrong_input import kind_of
from streamkit.dialects.finish_reasons import meaning
from streamkit.errors import PipelineError
from streamkit.events import Blocked, EndReason, Finish, ProviderNotice, StreamEnd
from streamkit.hops.channel import at_least_one
from streamkit.hops.keys import check_functions, digest
from streamkit.hops.stores import AnswerStore
from streamkit.sources.record import MemoryRecording
from streamkit.sources.recording import is_whole
from streamkit.sources.replay import Recorded

T = TypeVar("T")
Request = TypeVar("Request")
_COMPLETE: Final[frozenset[EndReason]] = frozenset({"completed", "tool_calls"})
_log = logging.getLogger("streamkit.hops")


def cache(
    store: AnswerStore,
    key: Callable[[Request], object],
    open: Callable[[Request], Stream[T]],
    *,
    max_bytes: int = 8 * 2**20,
) -> "AnswerCache[Request, T]":
    """Replay stored responses for equal requests: `answers = cache(store, key, open)`, then `answers(request) | Emit()`.

    `open` returns an unopened stream (`source | pipeline`) over bytes. `key` returns JSON-compatible data, whose hash is the
    name of the response in `store`. On a hit, the stored bytes run through the pipeline and the source is never opened, so
    moderation and counts are those of the current pipeline. On a miss, the response is recorded while it is read, and stored
    when it is complete, before its `StreamEnd` is released.

    A response is stored only if it ended as `completed` or with `tool_calls`, and not if it was truncated, blocked, cut by a
    limit or a filter, failed, cancelled or left early. It is also not stored if a single choice was blocked or cut, if a chunk
    was malformed, or if the recording exceeds `max_bytes`. A replay does not wait; its clock is that of the recording.

    An exception of the store is logged and treated as a miss, as is a damaged recording; the request is still answered.
    """
    at_least_one(max_bytes=max_bytes)
    check_functions(key=key, open=open)
    methods = (getattr(store, "get", None), getattr(store, "put", None))
    if isinstance(store, type) or not all(map(callable, methods)):
        raise PipelineError(f"store: expected an object with the methods get and put, found {kind_of(store)}")
    return AnswerCache(store, key, open, max_bytes)


class AnswerCache(Generic[Request, T]):
    """Called with a request, returns a source of the response's events. Created by `cache`."""

    def __init__(
        self,
        store: AnswerStore,
        key: Callable[[Request], object],
        open: Callable[[Request], Stream[T]],
        max_bytes: int,
    ) -> None:
        self.hits = 0
        """Number of requests answered from the store."""
        self.misses = 0
        """Number of requests not found in the store."""
        self._store = store
        self._key = key
        self._open = open
        self._max_bytes = max_bytes

    def __call__(self, request: Request) -> "CachedAnswer[T]":
        """Return the response to a request, as a source. Nothing is looked up or opened before the stream is opened."""
        return CachedAnswer(self, request)

    async def begin(self, request: Request) -> "tuple[Stream[T], str, MemoryRecording | None]":
        """Return the stream, the name of the response in the store, and on a miss the recording of the source."""
        stream = self._open(request)
        if not isinstance(cast(object, stream), Stream):
            raise PipelineError(f"open: expected a stream (source | pipeline), found {kind_of(stream)}")
        if stream.joins:
            raise PipelineError("a stream with a hop can't be cached: put the hop behind it, answers(request) | …")
        name = digest(self._key(request))
        if content := await self._get(name):
            self.hits += 1
            return Stream[T](Recorded(content, "a cached answer"), stream.stages), name, None
        self.misses += 1
        recording = MemoryRecording(stream.source, max_bytes=self._max_bytes)
        return Stream[T](recording, stream.stages), name, recording

    async def _get(self, name: str) -> bytes | None:
        try:
            content = await self._store.get(name)
        except Exception:
            _log.exception("the store of answers could not be read")
            return None
        if content and not is_whole(content):
            _log.warning("a stored answer is damaged, or of another version; it counts as not there")
            return None
        return content

    async def put(self, name: str, recording: bytes) -> None:
        """Store a complete response."""
        try:
            await self._store.put(name, recording)
        except Exception:
            _log.exception("an answer could not be stored")


class CachedAnswer(Source[T], Generic[T]):
    """The response to one request. Created by `AnswerCache`."""

    def __init__(self, cache: AnswerCache[Any, T], request: Any) -> None:
        self.hit: bool | None = None
        """Whether the response is from the store; `None` before the lookup."""
        self._cache = cache
        self._request = request
        self._name = ""
        self._stream: Stream[T] | None = None
        self._items: AsyncIterator[T | StreamEnd] | None = None
        self._recording: MemoryRecording | None = None
        self._whole = True

    def now(self) -> float:
        return self._stream.source.now() if self._stream is not None else super().now()

    async def open(self) -> None:
        self._stream, self._name, self._recording = await self._cache.begin(self._request)
        self.hit = self._recording is None
        await self._stream.__aenter__()
        self.timed = self._stream.source.timed
        self._items = aiter(self._stream)

    async def read(self) -> Sequence[T]:
        assert self._items is not None and self._stream is not None, "read before open"  # noqa: PT018
        try:
            item = await anext(self._items)
        except StopAsyncIteration:
            if self._stream.end is not None:
                await self._keep(self._stream.end)
            return ()
        match item:
            case Blocked():
                self._whole = False
            case Finish(finish_reason=word) if meaning(word) not in _COMPLETE:
                self._whole = False
            case ProviderNotice(kind="malformed"):
                self._whole = False
            case StreamEnd():
                await self._keep(item)
            case _:
                pass
        return (cast("T", item),)

    async def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.aclose()

    async def _keep(self, end: StreamEnd) -> None:
        recording, self._recording = self._recording, None
        if recording is None or not self._whole or end.reason not in _COMPLETE:
            return
        if content := recording.content():
            await self._cache.put(self._name, content)
