"""Complete answers, stored as recordings and replayed as streams. It needs no task."""

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
from streamkit.hops.keys import digest
from streamkit.hops.stores import AnswerStore
from streamkit.sources.record import MemoryRecording
from streamkit.sources.recording import is_recording
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
    """Replay stored answers for equal requests: `answers = cache(store, key, open)`, then `answers(request) | Emit()`.

    `open` returns a stream (`source | pipeline`) that is not open, of bytes. If `store` has an answer for what `key` returns,
    JSON-compatible data, its bytes run through the same pipeline in place of the source, which is then never opened: moderation,
    counts and verdicts are those of now. If not, the answer is recorded as it comes, and stored when it is complete, before its
    `StreamEnd` is released. Its name in the store is a hash of the key.

    Never stored is an answer that ended otherwise than `completed` or with `tool_calls`: truncated, blocked, cut by a limit or
    a filter, failed, cancelled or left early; nor one of which a choice was blocked or cut, or with a damaged chunk, or of more
    than `max_bytes` of recording. A replay has no waits; its clock is the recording's.

    An exception of the store is logged and counts as an answer that is not there; the request is answered.
    """
    at_least_one(max_bytes=max_bytes)
    return AnswerCache(store, key, open, max_bytes)


class AnswerCache(Generic[Request, T]):
    """Called with a request, it gives a source of its answer's events. Made by `cache`."""

    def __init__(
        self,
        store: AnswerStore,
        key: Callable[[Request], object],
        open: Callable[[Request], Stream[T]],
        max_bytes: int,
    ) -> None:
        self.hits = 0
        """How many requests were answered from the store."""
        self.misses = 0
        """How many requests were not."""
        self._store = store
        self._key = key
        self._open = open
        self._max_bytes = max_bytes

    def __call__(self, request: Request) -> "CachedAnswer[T]":
        """The answer to that request, left of `|`; nothing is opened or looked up before the stream is."""
        return CachedAnswer(self, request)

    async def begin(self, request: Request) -> "tuple[Stream[T], str, MemoryRecording | None]":
        """The stream, the name of its answer in the store, and its recording if it is not from there."""
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
        return content if content and is_recording(content.partition(b"\n")[0]) else None

    async def put(self, name: str, recording: bytes) -> None:
        """Store a complete answer."""
        try:
            await self._store.put(name, recording)
        except Exception:
            _log.exception("an answer could not be stored")


class CachedAnswer(Source[T], Generic[T]):
    """The answer to one request. Made by `AnswerCache`."""

    def __init__(self, cache: AnswerCache[Any, T], request: Any) -> None:
        self.hit: bool | None = None
        """Whether the answer is from the store; `None` before it was looked up."""
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
