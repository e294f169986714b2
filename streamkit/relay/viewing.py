"""One viewer's way through a log: what it missed, then what comes, and the proof that nothing is missing between."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import TypeGuard, TypeVar

import anyio

from streamkit.core.source import Source
from streamkit.errors import LogLost, LogUnreachable
from streamkit.events import Event, Reset, StreamEnd
from streamkit.relay.log import EventId, Log, LogState, Position
from streamkit.relay.tail import BatchRun, Channel, LogBatch, LogPage, Segment, Tail, batches_of, lost

T = TypeVar("T", covariant=True)
NOWHERE = Position(0, 0)
"""The position of a `Reset` that is not in the log."""


class Viewing(Source[T]):
    """A stream behind a position, or from its latest `Reset` or beginning.

    Where the log is not the one that the viewer has seen, since its store has lost the end, a `Reset` comes at `NOWHERE`
    and then all batches again. `known` is a position up to which a client has seen the stream, if that is further than `after`;
    with one of `NOWHERE` it has seen something else.
    """

    def __init__(
        self, log: Log, tail: Tail, key: str, after: Position | None = None, known: Position | None = None
    ) -> None:
        self.created = 0.0
        """When the stream was published, in seconds since 1970; known once it is open."""
        self._log = log
        self._tail = tail
        self._key = key
        self._at = after
        self._known: Position | None = known
        self._first: Position | None = None  # of a replay that begins with a Reset
        self._channel: Channel | None = None
        self._ready: list[Segment] = []
        self._failure: Exception | None = None  # behind what is ready
        self._opened = self._ended = False

    def __repr__(self) -> str:
        return "<stream of a log>"

    @abstractmethod
    def _items(self, found: Sequence[Segment]) -> Sequence[T]:
        """The part of these that the reader receives, all or a part of what follows."""

    async def open(self) -> None:
        await self._catch_up()
        self._opened = True
        if self._failure and not self._ready:
            raise self._failure

    async def read(self) -> Sequence[T]:
        while True:
            if self._ready:
                ready, self._ready = self._ready, []
                if items := self._items(ready):
                    return items
            elif self._failure:
                raise self._failure
            elif self._ended:
                return ()
            elif (channel := self._channel) is None or (at := self._at) is None:
                await self._catch_up()
            else:
                if at >= channel.at and channel.failure is None:
                    await channel.news()
                run = channel.latest
                if run is None or run.after != at or self._known is not None:
                    self._continue(channel, at)
                    continue
                # As below, without a list of one: this is what each event costs for each viewer.
                self._at, self._ended = run.last, run.ends
                if items := self._items((run,)):
                    return items

    async def close(self) -> None:
        self._leave()

    def _leave(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            self._tail.leave(channel)

    def _continue(self, channel: Channel, at: Position) -> None:
        found = channel.behind(at)
        if found:
            self._accept(found)
        elif found is None:
            self._leave()
        elif channel.failure:
            raise channel.failure
        elif channel.state is not None:
            self._judge(channel.state)

    async def _catch_up(self) -> None:
        beginning = self._at is None
        page = await (self._patiently() if self._opened else self._tail.page(self._key, self._at))
        if page is None and self._opened:
            await self._find()
            return
        if page is None:
            raise LogLost("there is no stream with this key, or its log has expired")
        state, self.created = page.state, page.state.created
        if beginning:
            self._first = state.reset
        self._accept(page.found.segments)
        self._failure = self._failure or page.found.failure
        if self._ended or self._failure:
            return
        if not page.found.segments and (self._at is None or self._at < state.last):
            raise _trimmed()  # a log has at least its claim
        if self._at is None:
            return
        if not page.more:
            self._channel = self._tail.join(self._key, min(self._at, state.last))
            if not page.found.segments:
                self._judge(state)

    async def _patiently(self) -> LogPage | None:
        """Read a page of a store that may not answer for a while, as who waits for news does."""
        until = anyio.current_time() + self._tail.patience
        while True:
            try:
                return await self._tail.page(self._key, self._at)
            except LogUnreachable:
                if anyio.current_time() > until:
                    raise
            await anyio.sleep(self._tail.patience / 50)

    async def _find(self) -> None:
        """Wait for a log that is missing; its producer may append it again."""
        with anyio.move_on_after(self._tail.grace):
            while await self._log.read(self._key, None, 1) is None:  # noqa: ASYNC110 - the log tells nobody
                await anyio.sleep(self._tail.grace / 10)
            return
        raise lost()

    def _judge(self, state: LogState) -> None:
        """Decide what a log without news means."""
        at = self._at or NOWHERE
        known = max(at, self._known) if self._known else at
        if known <= state.last:
            # The end was seen by who has the last entry.
            self._ended = self._ended or (state.ended and at == state.last)
        elif not state.live:
            # Nobody is left who could append again what the store has lost.
            self._restart()

    def _restart(self) -> None:
        self._leave()
        self._ready.append(LogBatch(NOWHERE, [Reset("the log does not have what this viewer has seen")]))
        self._at = self._known = None
        self._ended = False

    def _accept(self, found: Sequence[Segment]) -> None:
        try:
            for segment in found:
                if self._continues(segment):
                    self._at, self._ended = segment.last, segment.ends
                    self._ready.append(segment)
                elif not all(map(self._accept_batch, batches_of(segment))):
                    return
        except LogLost as error:
            self._failure = error

    def _continues(self, segment: Segment) -> TypeGuard[BatchRun]:
        """Whether this is what comes next, all of it."""
        whole = isinstance(segment, BatchRun) and segment.after == self._at
        return whole and self._known is None and not self._ended

    def _accept_batch(self, batch: LogBatch) -> bool:
        """Take a batch in its turn; False if the log is not the one that the viewer has seen."""
        if self._ended or (self._at is not None and batch.position <= self._at):
            return True
        if self._known is not None and self._known < batch.position:
            self._restart()
            return False
        if batch.events is None:
            if not self._follows(batch):
                self._restart()
                return False
        elif batch.position != (self._first if self._at is None else self._at.next()):
            raise _trimmed()
        self._at = batch.position
        self._known = None if self._known == batch.position else self._known
        self._ready.append(batch)
        if batch.events and isinstance(batch.events[-1], StreamEnd):
            if self._known is not None:
                self._restart()
                return False
            self._ended = True
        return True

    def _follows(self, claim: LogBatch) -> bool:
        """Whether a claim continues what the viewer has; `LogLost` if something between is missing."""
        has, before = self._at or NOWHERE, claim.predecessor or NOWHERE
        if has < before:
            raise _trimmed()
        return has == before


class Batches(Viewing[LogBatch]):
    """The batches of a published stream, each with its position. Created by `Relay.batches`."""

    def _items(self, found: Sequence[Segment]) -> Sequence[LogBatch]:
        return [batch for segment in found for batch in batches_of(segment)]


class Followed(Viewing[Event]):
    """The events of a published stream, for `|`. Created by `Relay.follow`."""

    def __init__(self, log: Log, tail: Tail, key: str, after: EventId | None) -> None:
        self._skip = after if after and after.position.sequence and not after.whole else None
        begin = self._skip.position.next(-1) if self._skip else after.position if after else None
        super().__init__(log, tail, key, begin)
        self._id = after

    @property
    def id(self) -> str:
        """The id of the last event that was read: `follow(key, after=…)` continues behind it."""
        return str(self._id or "")

    def _items(self, found: Sequence[Segment]) -> Sequence[Event]:
        if len(found) == 1:
            return self._events_in(found[0])
        return [event for segment in found for event in self._events_in(segment)]

    def _events_in(self, segment: Segment) -> Sequence[Event]:
        if self._skip is None and isinstance(segment, BatchRun):
            self._id = segment.id
            return segment.events
        return [event for batch in batches_of(segment) for event in self._events(batch)]

    def _events(self, batch: LogBatch) -> Sequence[Event]:
        if batch.events is None:
            return ()
        if batch.position != NOWHERE:
            self._id = EventId(batch.position, len(batch.events))
        skip, self._skip = self._skip, None
        return batch.events[skip.number :] if skip and skip.position == batch.position else batch.events


def _trimmed() -> LogLost:
    return LogLost(
        "entries are missing in the log of this stream: it was trimmed, or another program has written to it",
        cause="trimmed",
    )
