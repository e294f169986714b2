"""One stream that this process publishes: it reads the answer, and knows what of it the log has acknowledged."""

import logging
from collections import deque
from collections.abc import AsyncIterable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Protocol, TypeAlias, cast

import anyio
import msgspec

from streamkit.completion import EndReason
from streamkit.core.reading import CLOSE_SECONDS
from streamkit.core.source import Source
from streamkit.core.stream import Stream
from streamkit.core.wrong_input import kind_of
from streamkit.errors import LeaseLost, LogLost, PipelineError
from streamkit.events import Event, Reset, StreamEnd
from streamkit.hops.channel import Signal, close
from streamkit.relay.batches import encode, join
from streamkit.relay.log import Append, Appended, Claim, Claimed, Log, Restore

Opened: TypeAlias = AsyncIterable[Any] | AbstractAsyncContextManager[AsyncIterable[Any]]
Open: TypeAlias = Callable[[], Opened]
"""Makes the stream: a pipeline over a source, a hop, or any async iterable of events. Called when the key was claimed."""
_log = logging.getLogger("streamkit.relay")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a `Relay` that its publications share; its docstring describes each."""

    flush: float
    lease: float
    keep: float
    unfinished: float
    buffer: int
    resend_bytes: int

    @property
    def heartbeat(self) -> float:
        """Seconds without an append after which the lease is renewed, and the stop flag looked at."""
        return min(self.lease / 3, 1.0)


class Attempt(msgspec.Struct, frozen=True):
    """The events to publish first, and then a stream, if there is one.

    `resumes`: it continues from a checkpoint; if it fails before its first event, the next attempt follows.
    """

    open: Open | None = None
    first: Sequence[Event] = ()
    resumes: bool = False


class HasCursor(Protocol):
    """A source that knows its position in the provider's stream."""

    @property
    def cursor(self) -> Any: ...


class _Batch(msgspec.Struct):
    data: bytes
    reset: bool
    events: int


class Publication:
    """A stream that is being published. Created by `Relay.publish`."""

    def __init__(
        self,
        log: Log,
        key: str,
        claim: Claim,
        claimed: Claimed,
        attempts: Sequence[Attempt],
        limits: Limits,
        *,
        claimed_at: float,
        wake: "Callable[[Publication], None]",
    ) -> None:
        self.key = key
        self.end: StreamEnd | None = None
        """Why the stream ended; `None` while the log has not acknowledged it."""
        self.flushed_at = claimed_at
        """When the latest append that the log has acknowledged was sent."""
        self.done = False
        """Whether nothing is left to be appended."""
        self.refused = False
        """Whether the log has refused the latest append, which may pass."""
        self._log = log
        self._claim = claim
        self._claimed = claimed
        self._attempts = deque(attempts)
        self._limits = limits
        self._checkpoints = claimed.checkpoints
        self._wake: Callable[[], None] = partial(wake, self)
        self._acknowledged = claimed.position
        self._events: list[bytes] = []  # of the batch that is being filled
        self._resets = False  # whether that begins with a Reset
        self._unmarked: list[_Batch] = []  # complete, but behind the latest checkpoint
        self._sealed: deque[_Batch] = deque()  # to be appended
        self._sending: list[_Batch] = []  # in the append under way, or in one whose result is unknown
        self._kept: deque[_Batch] = deque()  # acknowledged, for a store that loses them
        self._kept_bytes = 0
        self._backlog = 0
        self._state = (b"", b"")  # checkpoint and cursor at the end of the sealed batches
        self._sent_state = (b"", b"")
        self._room = Signal()
        self._ending: StreamEnd | None = None
        self._added = 0
        self._stream: Stream[Any] | None = None
        self._scope = anyio.CancelScope()
        self._finished = anyio.Event()
        self._closed = anyio.Event()
        self._stopped = self._releasing = False
        self._failure: Exception | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._claimed.position}, {self.end.reason if self.end else 'active'}>"

    @property
    def owner(self) -> str:
        """Who appends: the fencing token of this publication's claim."""
        return self._claim.owner

    @property
    def source(self) -> Source[Any] | None:
        """The source of the stream that is published; `None` before it was opened, and of another iterable."""
        return self._stream.source if self._stream is not None else None

    async def settled(self) -> None:
        """Wait until nothing is left to be done, whatever the end is."""
        await self._finished.wait()
        await self._closed.wait()

    async def wait(self) -> StreamEnd | None:
        """Wait until the log has the end, and return it; `None` if this process has released the stream to another one.

        Raises what the stream raised, after its end was stored, and `LeaseLost` if another process has taken over.
        """
        await self.settled()
        if self._failure:
            raise self._failure
        return self.end

    # The task that reads

    async def run(self) -> None:
        """Read the stream to its end. Raises nothing but a cancellation."""
        try:
            with self._scope:
                await self._run()
            await self._cancel_response()
            if self._stopped and self._ending is None and not self._releasing and self._failure is None:
                self._finish(StreamEnd("cancelled"))
        finally:
            self._closed.set()

    async def _cancel_response(self) -> None:
        """Let the provider stop what it would generate in the background, which closing the connection does not."""
        cancel = getattr(self._stream.source, "cancel_response", None) if self._stopped and self._stream else None
        if cancel is not None:
            with anyio.move_on_after(CLOSE_SECONDS):
                try:
                    await cancel()
                except Exception as error:
                    _log.warning("a response was not cancelled at its provider: %s", type(error).__name__)

    async def _run(self) -> None:
        while self._attempts:
            attempt = self._attempts.popleft()
            for event in attempt.first:
                self._add(event)
            self._added = 0
            try:
                await self._read(attempt.open)
            except Exception as error:
                if attempt.resumes and not self._added and self._attempts and not self._stopped:
                    _log.warning("a stream can't continue: %s", type(error).__name__)
                    continue
                if attempt.resumes and not self._added and self._stopped:
                    return  # `run` ends it as cancelled
                self._fail(error)
            else:
                if self._ending is None:
                    # Without a StreamEnd nothing proves that the answer is complete. (Law 5)
                    self._finish(StreamEnd("truncated"))
            return

    async def _read(self, open: Open | None) -> None:
        if open is None:
            return
        opened = open()
        if isinstance(opened, AbstractAsyncContextManager):
            async with opened as items:
                await self._read_all(items)
            return
        unclosed: list[Exception] = []
        try:
            await self._read_all(opened)
        finally:
            await close(opened, unclosed)
        if unclosed:
            raise unclosed[0]

    async def _read_all(self, items: AsyncIterable[Any]) -> None:
        if not isinstance(cast("object", items), AsyncIterable):
            raise PipelineError(f"expected a stream or another async iterable of events, found {kind_of(items)}")
        stream = self._stream = cast("Stream[Any]", items) if isinstance(items, Stream) else None
        if self._checkpoints and (stream is None or stream.joins):
            raise PipelineError(
                "checkpoints need a pipeline over a source, without a hop: a hop's tasks have no checkpoint"
            )
        if self._stopped and stream:
            stream.cancel()
        async for event in items:
            if self._ending is None:
                self._add(event)
            if self._checkpoints and stream and self._ending is None:
                self._checkpoint(stream)
            # With checkpoints what was read since the last one can't be appended yet, however much it is.
            while self._backlog > self._limits.buffer and self.pending and self._ending is None:
                await self._room.wait()

    def _add(self, event: Event) -> None:
        if isinstance(event, StreamEnd):
            self._finish(event)
            return
        data = encode(event)
        if isinstance(event, Reset):
            self._seal()
            self._resets = True
        self._events.append(data)
        self._backlog += 1
        self._added += 1
        if not self._checkpoints:
            self._wake()

    def _finish(self, end: StreamEnd) -> None:
        self._ending = end
        self._events.append(encode(end))
        self._seal()
        self._mark()
        self._wake()

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        _log.warning("a published stream failed: %s", type(error).__name__)
        if self._ending is None:
            self._finish(StreamEnd(cast("EndReason", getattr(error, "end_reason", "error"))))

    def _checkpoint(self, stream: Stream[Any]) -> None:
        # Between two reads all that was produced has been consumed, and the source's cursor is behind exactly that.
        if not stream.drained:
            return
        source: Any = stream.source
        cursor = msgspec.json.encode(getattr(source, "cursor", None))
        self._state = msgspec.json.encode(stream.checkpoint()), cursor
        self._seal()
        self._mark()
        self._wake()

    def _seal(self) -> None:
        if self._events:
            self._unmarked.append(_Batch(join(self._events), self._resets, len(self._events)))
            self._events, self._resets = [], False

    def _mark(self) -> None:
        self._sealed.extend(self._unmarked)
        self._unmarked.clear()

    # Ends from outside

    def stop(self) -> None:
        """End the stream early; its `StreamEnd` is `cancelled`."""
        if self._ending is None and not self._stopped:
            self._stopped = True
            if self._stream is not None:
                self._stream.cancel()
            else:
                self._scope.cancel()

    def release(self) -> None:
        """Stop reading, without an end: another process may take over."""
        self._releasing = True
        self._scope.cancel()

    async def closed(self) -> None:
        """Wait until the stream is closed."""
        await self._closed.wait()

    def abandon(self, error: Exception) -> None:
        """Stop at once: nothing more can be appended."""
        self._failure = error
        self._scope.cancel()
        self._sealed.clear()
        self._events, self._sending = [], []
        self._complete()

    def _complete(self) -> None:
        self.done = True
        self._finished.set()

    def give_up(self) -> None:
        """Called after `release`, when what was read is appended or can't be."""
        self._complete()

    # Appending, by the one task that flushes for all

    @property
    def pending(self) -> bool:
        """Whether there are batches to append."""
        return bool(self._sending or self._sealed or ((self._events or self._unmarked) and not self._checkpoints))

    def idle(self, now: float) -> bool:
        """Whether the lease is to be renewed."""
        return now - self.flushed_at >= self._limits.heartbeat

    def take(self) -> Append:
        """The next append; the same again while the result of the latest is unknown."""
        if not self._checkpoints:
            self._seal()
            self._mark()
        if not self._sending:
            self._sending, self._sealed = list(self._sealed), deque()
            self._sent_state = self._state
        ends = self._ending is not None and not self._sealed
        checkpoint, cursor = self._sent_state if self._sending and not ends else (b"", b"")
        return Append(
            key=self.key,
            owner=self._claim.owner,
            after=self._acknowledged,
            batches=[batch.data for batch in self._sending],
            lease=self._limits.lease,
            keep=self._limits.keep if ends else self._limits.unfinished,
            resets=[number for number, batch in enumerate(self._sending) if batch.reset],
            ends=ends,
            checkpoint=checkpoint,
            cursor=cursor,
        )

    async def acknowledge(self, append: Append, reply: Appended, sent_at: float) -> None:
        """Take the log's reply to an append."""
        match reply.result:
            case "appended":
                self._appended(append, sent_at)
                if reply.stopped:
                    self.stop()
            case "fenced":
                self.abandon(LeaseLost("another process has taken over this stream"))
            case "behind" | "lost":
                await self._repair(reply)
            case "refused" if reply.failure:
                self.abandon(reply.failure)
            case "refused":
                self.refused = True
                self.expire(sent_at)

    def _appended(self, append: Append, sent_at: float) -> None:
        self.flushed_at = sent_at
        self.refused = False
        for batch in self._sending:
            self._backlog -= batch.events
            self._keep(batch)
        self._acknowledged = self._acknowledged.next(len(self._sending))
        self._sending = []
        self._room.set()
        if append.ends:
            self.end = self._ending
            self._kept.clear()
            self._complete()

    def _keep(self, batch: _Batch) -> None:
        self._kept.append(batch)
        self._kept_bytes += len(batch.data)
        while self._kept_bytes > self._limits.resend_bytes and self._kept:
            self._kept_bytes -= len(self._kept.popleft().data)

    def expire(self, now: float, cause: Exception | None = None) -> None:
        """Stop if the store has appended nothing for as long as the lease."""
        lease = self._limits.lease
        if now - self.flushed_at > lease:
            lost = LeaseLost(f"the log has appended nothing for {lease:g} seconds, the length of the lease")
            lost.__cause__ = cause
            self.abandon(lost)

    async def _repair(self, reply: Appended) -> None:
        """The store has lost what it had acknowledged: append it again under the same positions, or end honestly."""
        last, epoch = reply.last, self._claimed.position.epoch
        whole = len(self._kept) == self._acknowledged.sequence
        if last is not None and last.epoch == epoch:
            missing = self._acknowledged.sequence - last.sequence
            if missing <= len(self._kept):
                again = list(self._kept)[len(self._kept) - missing :]
                for _ in again:
                    self._kept_bytes -= len(self._kept.pop().data)
                self._sending = again + self._sending
                self._backlog += sum(batch.events for batch in again)
                self._acknowledged = last
                return
        elif whole and await self._restored():
            return
        await self._end_epoch()

    async def _restored(self) -> bool:
        batches = [batch.data for batch in self._kept]
        resets = [number for number, batch in enumerate(self._kept) if batch.reset]
        claim = self._claim
        return await self._log.restore(
            Restore(key=self.key, claim=claim, claimed=self._claimed, batches=batches, resets=resets)
        )

    async def _end_epoch(self) -> None:
        """Give up the answer, since some of it is lost, and let the log say so: a new epoch with `truncated` alone."""
        owner = f"{self._claim.owner}-again"
        again = msgspec.structs.replace(self._claim, owner=owner, new=False, instead_of=self._claim.owner)
        claimed = await self._log.claim(self.key, again)
        if claimed.result == "unknown":
            claimed = await self._log.claim(self.key, msgspec.structs.replace(again, new=True))
        if claimed.result == "claimed":
            await end_log(self._log, self.key, again, claimed, StreamEnd("truncated"), self._limits.keep)
        self.abandon(LogLost("the store has lost a part of this stream that can't be appended again", cause="lost"))


async def end_log(log: Log, key: str, claim: Claim, claimed: Claimed, end: StreamEnd, keep: float) -> Appended:
    """Append the end alone behind a claim."""
    append = Append(
        key=key,
        owner=claim.owner,
        after=claimed.position,
        batches=[join([encode(end)])],
        lease=claim.lease,
        keep=keep,
        ends=True,
    )
    return (await log.append([append]))[0]
