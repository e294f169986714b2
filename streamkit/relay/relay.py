"""Streams in a log: published by one process, followed by any number of viewers in any process."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar, cast
from uuid import uuid4

import anyio
import msgspec

from streamkit.core.options import NamedOptions
from streamkit.core.stage import Stage
from streamkit.core.stream import Stream
from streamkit.core.wrong_input import kind_of, shown
from streamkit.emitters.emit import Emit
from streamkit.emitters.emitter import MakeEmitter
from streamkit.errors import LogLost, PipelineError, StreamExists
from streamkit.events import Event, Reset, StreamEnd
from streamkit.relay.appender import Appender
from streamkit.relay.frames import ViewerFrames
from streamkit.relay.log import Claim, Claimed, EventId, Log, LogState, Position, Takeover
from streamkit.relay.publication import Attempt, Limits, Open, Opened, Publication, end_log
from streamkit.relay.tail import Tail
from streamkit.relay.viewing import NOWHERE, Batches, Followed
from streamkit.sse.events import ServerSentEvent

if TYPE_CHECKING:
    from types import TracebackType

T = TypeVar("T")
EXIT_SECONDS = 10.0
"""How long leaving a `Relay` may take, beyond its `drain`."""
_log = logging.getLogger("streamkit.relay")
ADOPTIONS = 3
"""How many times a stream is taken over. One that has ended that many processes is truncated."""


class Job(msgspec.Struct, frozen=True):
    """The stream `key`, whose producer has died, for the factory of `Relay.take_over`.

    `request` is what `publish` was given. With a `checkpoint` the stream can continue: open the same pipeline with it, over a
    source that begins behind `cursor`, the source's own position in the provider's stream. Without, it begins anew.
    """

    key: str
    """The stream's."""
    request: Any = None
    checkpoint: dict[str, Any] | None = None
    cursor: Any = None


Factory: TypeAlias = Callable[[Job], Opened]
"""Rebuilds the stream of a job, with this process's own credentials."""


class Relay(NamedOptions):
    """Publishes and follows streams in a log. Use it with `async with`: it owns one task that appends and one that reads.

    The log stays open; who made it closes it.

        async with relay.Relay(relay.MemoryLog()) as streams:
            await streams.publish("answer-1", lambda: sk.http.post(url, json=body, headers=headers) | pipeline)
            async with streams.follow("answer-1") | sk.Accumulate() as events: ...

    Times are in seconds. `flush`: how long after an append events of all streams are gathered for the next one; the first event
    after a pause is appended at once. `lease`: after how long without
    a sign of its producer a stream may be taken over. `keep` and `unfinished`: how long a log is kept after its end, or after
    its latest append. `buffer`: how many events the log may be behind before the source is not read any further.
    `resend_bytes` of each stream stay in memory, to be appended again to a store that lost them. `window`: how many batches of
    a stream its viewers share in memory; who is further behind reads the log. `patience`: how long viewers wait for a producer
    that has died before one of them truncates the stream, and for a store that does not answer; after a `tick` without news
    they look whether it is so. `drain`: how long leaving the
    block waits for streams under way; what has not ended then is released, so that another process can take over at once.
    """

    def __init__(
        self,
        log: Log,
        *,
        flush: float = 0.015,
        lease: float = 10.0,
        keep: float = 3600.0,
        unfinished: float = 86400.0,
        buffer: int = 1000,
        resend_bytes: int = 1024 * 1024,
        window: int = 256,
        patience: float = 30.0,
        tick: float = 1.0,
        drain: float = 0.0,
    ) -> None:
        if not isinstance(cast("object", log), Log):
            raise PipelineError(f"expected a log, such as relay.MemoryLog(), found {kind_of(log)}")
        for name, value in {
            "lease": lease,
            "keep": keep,
            "unfinished": unfinished,
            "buffer": buffer,
            "window": window,
        }.items():
            if not value > 0:
                raise PipelineError(f"expected a {name} of more than 0, found {value}")
        self._log = log
        self._limits = Limits(
            flush=flush, lease=lease, keep=keep, unfinished=unfinished, buffer=buffer, resend_bytes=resend_bytes
        )
        self._drain = drain
        self._appender = Appender(log, self._limits)
        self._tail = Tail(log, size=window, patience=patience, tick=tick, abandoned=self._truncate)
        self._tasks: anyio.abc.TaskGroup | None = None
        self._contexts: AsyncExitStack | None = None
        self._leaving = False

    async def __aenter__(self) -> Self:
        if self._contexts is not None:
            raise PipelineError("this Relay was entered before; make another one")
        async with AsyncExitStack() as stack:
            self._tasks = await stack.enter_async_context(anyio.create_task_group())
            self._tasks.start_soon(self._appender.run)
            self._tasks.start_soon(self._tail.run)
            self._contexts = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: "TracebackType | None"
    ) -> None:
        assert self._contexts is not None, "left before it was entered"
        assert self._tasks is not None
        self._leaving = True
        try:
            if error is None:
                with anyio.move_on_after(self._drain):
                    for publication in self._active():
                        await publication.settled()
        finally:
            # Also if this task is cancelled, as a server's is on SIGTERM.
            try:
                with anyio.move_on_after(EXIT_SECONDS, shield=True):
                    await self._release()
            finally:
                self._tasks.cancel_scope.cancel()
                await self._contexts.__aexit__(None, None, None)

    def _active(self) -> list[Publication]:
        return list(self._appender.publications.values())

    async def _release(self) -> None:
        active = self._active()
        for publication in active:
            publication.release()
        for publication in active:
            await publication.closed()
        await self._appender.finish()
        await self._appender.release([publication for publication in active if not publication.done])

    # Publishing

    async def publish(
        self,
        key: str,
        open: Open,
        *,
        request: Any = None,
        takeover: Takeover = "truncate",
        checkpoints: bool = False,
    ) -> Publication:
        """Begin to publish the stream that `open` makes, and return when its key is claimed. No viewer is needed.

        `open` is called once, in a task of this `Relay`, and returns a stream of events: `source | pipeline`, a hop, or any
        async iterable. What it raises ends the stream with `StreamEnd(error.end_reason)`, and is raised by
        `Publication.wait`. A key that is used already raises `StreamExists`, and a log that can't be reached `LogUnreachable`.

        If this process dies, a process that runs `take_over` continues: with `checkpoints` from where the log ends, if its
        factory and the provider can, and else as `takeover` says: `truncate` ends the stream, `reset` voids it by a `Reset` and
        publishes a new answer. `request`, JSON data, is stored for that factory until the end; leave credentials out.
        Checkpoints are stored with each append, contain what stages buffer, and need a source with a `cursor`.
        """
        tasks = self._running()
        claim = self._claim(new=True, request=_json(request), takeover=takeover, checkpoints=checkpoints)
        claimed_at = anyio.current_time()
        claimed = await self._log.claim(_key(key), claim)
        if claimed.result != "claimed":
            ended = claimed.result == "ended"
            found = "has ended" if ended else "is active"
            raise StreamExists(f"a stream with this key {found} already: a key is used once", ended=ended)
        await self._check_running(key, claim)
        publication = self._publication(key, claim, claimed, [Attempt(open)], claimed_at)
        tasks.start_soon(publication.run)
        return publication

    def _running(self) -> "anyio.abc.TaskGroup":
        if self._tasks is None:
            raise PipelineError("this Relay is not running: write `async with Relay(log) as streams`")
        if self._leaving:
            raise PipelineError("this Relay was left; make another one")
        return self._tasks

    async def _check_running(self, key: str, claim: Claim) -> None:
        # The block may have been left while the log was claimed.
        if self._leaving:
            with anyio.move_on_after(EXIT_SECONDS, shield=True):
                await self._log.release(key, claim.owner)
        self._running()

    def _claim(self, *, new: bool, **stored: Any) -> Claim:
        limits = self._limits
        return Claim(owner=uuid4().hex, lease=limits.lease, keep=limits.unfinished, new=new, **stored)

    def _publication(
        self,
        key: str,
        claim: Claim,
        claimed: Claimed,
        attempts: Sequence[Attempt],
        claimed_at: float,
    ) -> Publication:
        publication = Publication(
            self._log,
            key,
            claim,
            claimed,
            attempts,
            self._limits,
            claimed_at=claimed_at,
            wake=self._appender.wake,
        )
        self._appender.add(publication)
        return publication

    async def stop(self, key: str) -> bool:
        """End a stream early, in whatever process it is published; its `StreamEnd` is `cancelled`.

        The producer closes its source within a second. If it has died, the next one ends the stream without opening it. False
        if there is no such stream, or it has ended.
        """
        found = await self._log.stop(_key(key))
        if publication := self._appender.publications.get(key):
            publication.stop()
        return found

    async def state(self, key: str) -> LogState | None:
        """The state of a stream's log; `None` if there is none. One that can't be read raises its error."""
        (state,) = await self._log.states([_key(key)])
        if isinstance(state, Exception):
            raise state
        return state

    # Following

    def follow(self, key: str, *, after: str | None = None) -> Followed:
        """The events of a stream as a source: `streams.follow(key) | sk.Accumulate()`. First what was missed, then live.

        `after` is the id of an event, `<epoch>-<sequence>-<n>`, behind which it begins (`Followed.id`); without, it begins at
        the latest `Reset` or the beginning. Every viewer receives each event once and in order, or a `Reset` with everything
        behind it where the log does not have what the viewer has seen. `LogLost` is raised for an unknown key, and for a log
        that was lost or trimmed; `LogUnreachable` if the store does not answer. It never waits without an end.
        """
        self._running()
        id = EventId.parse(after) if after else None
        if after and id is None:
            raise PipelineError(
                f"after: expected the id of an event, such as 1760000000000000-3-1, found {shown(after)}"
            )
        return Followed(self._log, self._tail, _key(key), id)

    def frames(
        self,
        key: str,
        emit: "Stage[Event, ServerSentEvent] | str | MakeEmitter" = "openai",
        *,
        last_event_id: str | None = None,
    ) -> Stream[ServerSentEvent]:
        """The stream in the wire format of a client: server-sent events with ids, for `respond` and `EventStreamResponse`.

        `emit` is an emitter's name, class or function, an `Emit`, or any stage or pipeline that writes server-sent events and
        depends on its input alone; any other output but a `StreamEnd` raises `PipelineError`. `last_event_id` is the
        `Last-Event-ID` of a client that has reconnected, which receives the rest. Without one, the frames begin at the latest
        `Reset`. A client that has something of an answer which was voided, or sends an id that is not in the log, receives the
        emitter's error, and everything if it connects again; text that is not an id is an error with the status 400. A stage of
        your own receives the `Reset` and everything in all these cases. The identity of the response is the same in every
        process, unless `emit` has one of its own.
        """
        self._running()
        stage = cast("Stage[Event, ServerSentEvent]", emit) if isinstance(emit, Stage) else Emit(emit)
        known = EventId.parse(last_event_id) if last_event_id else None
        foreign = bool(last_event_id) and known is None
        if known is not None and known.position == NOWHERE:
            known = None
        position = NOWHERE if foreign else known.position if known else None
        viewing = Batches(self._log, self._tail, _key(key), known=position)
        return viewing | ViewerFrames(key, stage, viewing, known, foreign)

    async def resume(
        self,
        key: str,
        emit: "Stage[Event, ServerSentEvent] | str | MakeEmitter" = "openai",
        *,
        last_event_id: str | None = None,
    ) -> Stream[ServerSentEvent] | None:
        """`frames`, or `None` if the client has all of a stream that has ended: a status of 204 then stops its reconnecting.

        An unknown key raises `LogLost` here, before a response has begun.
        """
        state = await self.state(key)
        if state is None:
            raise LogLost("there is no stream with this key, or its log has expired")
        known = EventId.parse(last_event_id) if last_event_id else None
        if state.ended and known is not None and known.position == state.last:
            async with self.frames(key, emit, last_event_id=last_event_id) as rest:
                if await anext(rest, None) is None:
                    return None
        return self.frames(key, emit, last_event_id=last_event_id)

    def batches(self, key: str, after: Position = NOWHERE, *, known: Position | None = None) -> Batches:
        """The batches of a stream behind a position as a source, each with its place in the log, for a protocol of your own.

        Without `after` they begin at the log's first entry. `known`, further on, is a position up to which the client has seen
        the stream. A log that does not have these gives a `Reset` at `Position(0, 0)`, and all batches again.
        """
        self._running()
        return Batches(self._log, self._tail, _key(key), after, known)

    async def bind(self, name: str, key: str) -> None:
        """Store which stream is the current one of a name, such as a chat."""
        await self._log.bind(_key(name), _key(key), self._limits.unfinished)

    async def bound(self, name: str) -> str | None:
        """The key that was bound to a name; `None` if none was, or long ago."""
        return await self._log.bound(_key(name))

    # Taking over

    async def take_over(self, factory: Factory, *, poll: float | None = None, limit: int = 100) -> None:
        """Take over streams whose producers have died, until this is cancelled. Run it in as many processes as you like.

        `factory` rebuilds the stream of a `Job`. A stream that was stopped ends as `cancelled`; one with a checkpoint continues;
        if that raises before its first event, or there is none, the stream's `takeover` decides. `poll`: seconds between
        two looks at the index of streams, by default a quarter of the lease and at most 1. `limit`: how many streams this
        process works on at once.
        """
        pause = min(self._limits.lease / 4, 1.0) if poll is None else poll
        while True:
            room = limit - len(self._appender.publications)
            if room > 0:
                await self._take_expired(factory, room)
            await anyio.sleep(pause)

    async def _take_expired(self, factory: Factory, room: int) -> None:
        for key in await self._quietly(self._log.expired(room)) or ():
            await self._quietly(self._take(key, factory))

    @staticmethod
    async def _quietly(work: Awaitable[T]) -> T | None:
        try:
            return await work
        except Exception as error:
            # The streams stay in the index, and another look follows. One that fails keeps no other from its turn.
            _log.warning("a stream can't be taken over: %s", type(error).__name__)
            return None

    async def _take(self, key: str, factory: Factory) -> None:
        tasks = self._running()
        claim, claimed_at = self._claim(new=False), anyio.current_time()
        claimed = await self._log.claim(key, claim)
        if claimed.result != "claimed":
            return
        await self._check_running(key, claim)
        attempts = [*self._continuing(key, claimed, factory), self._otherwise(key, claimed, factory)]
        publication = self._publication(key, claim, claimed, attempts, claimed_at)
        tasks.start_soon(publication.run)

    @staticmethod
    def _continuing(key: str, claimed: Claimed, factory: Factory) -> list[Attempt]:
        if claimed.stopped or not claimed.checkpoint or claimed.claims > ADOPTIONS + 1:
            return []
        request, checkpoint, cursor = map(_decoded, (claimed.request, claimed.checkpoint, claimed.cursor))
        return [Attempt(partial(factory, Job(key, request, checkpoint, cursor)), resumes=True)]

    @staticmethod
    def _otherwise(key: str, claimed: Claimed, factory: Factory) -> Attempt:
        if claimed.stopped:
            return Attempt(first=[StreamEnd("cancelled")])
        if claimed.takeover == "reset" and claimed.claims <= ADOPTIONS + 1:
            again = partial(factory, Job(key, _decoded(claimed.request)))
            return Attempt(again, [Reset("the process that published this stream has ended")])
        return Attempt(first=[StreamEnd("truncated")])

    async def _truncate(self, key: str) -> None:
        """End a stream whose producer has died, and that nobody has taken over."""
        claim = self._claim(new=False)
        claimed = await self._log.claim(key, claim)
        if claimed.result == "claimed":
            end = StreamEnd("cancelled" if claimed.stopped else "truncated")
            await end_log(self._log, key, claim, claimed, end, self._limits.keep)


def _json(request: Any) -> bytes:
    try:
        return msgspec.json.encode(request)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        raise PipelineError(f"a request is stored as JSON, found {kind_of(request)} that has no such form") from None


def _decoded(data: bytes) -> Any:
    return msgspec.json.decode(data) if data else None


def _key(key: str) -> str:
    if not isinstance(cast("object", key), str) or not key:
        raise PipelineError(f"expected a key, a text that is not empty, found {kind_of(key)}")
    try:
        key.encode()
    except UnicodeEncodeError:
        raise PipelineError("expected a key, a text of Unicode, found one with half of a surrogate pair") from None
    return key
