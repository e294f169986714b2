"""One viewer's way through a log: what it missed, then what comes, and the proof that nothing is missing between."""

from collections.abc import Sequence

import anyio

from streamkit.core.source import Source
from streamkit.errors import LogLost
from streamkit.events import Event, Reset, StreamEnd
from streamkit.relay.log import EventId, Log, LogState, Position
from streamkit.relay.tail import Channel, LogBatch, Tail, lost

NOWHERE = Position(0, 0)
"""The position of a `Reset` that is not in the log."""


class Viewing(Source[LogBatch]):
    """The batches of a stream behind a position, or from its latest `Reset` or beginning.

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
        self._ready: list[LogBatch] = []
        self._opened = self._ended = False

    def __repr__(self) -> str:
        return "<stream of a log>"

    async def open(self) -> None:
        await self._catch_up()
        self._opened = True

    async def read(self) -> Sequence[LogBatch]:
        while not self._ready and not self._ended:
            await self._continue()
        ready, self._ready = self._ready, []
        return ready

    async def close(self) -> None:
        self._leave()

    def _leave(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            self._tail.leave(channel)

    async def _continue(self) -> None:
        channel, at = self._channel, self._at
        if channel is None or at is None:
            await self._catch_up()
            return
        batches = channel.behind(at)
        if batches is not None and not batches and channel.failure is None:
            await channel.news()
            batches = channel.behind(at)
        if batches:
            self._accept(batches)
        elif batches is None:
            self._leave()
        elif channel.failure:
            raise channel.failure
        elif channel.state is not None:
            self._judge(channel.state)

    async def _catch_up(self) -> None:
        beginning = self._at is None
        page = await self._tail.page(self._key, self._at)
        if page is None and self._opened:
            await self._find()
            return
        if page is None:
            raise LogLost("there is no stream with this key, or its log has expired")
        state, self.created = page.state, page.state.created
        if beginning:
            self._first = state.reset
        self._accept(page.batches)
        if self._ended or self._at is None:
            return
        if not page.batches and self._at < state.last:
            raise _trimmed()
        if not page.full:
            self._channel = self._tail.join(self._key, min(self._at, state.last))
            if not page.batches:
                self._judge(state)

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

    def _accept(self, batches: Sequence[LogBatch]) -> None:
        for batch in batches:
            if self._ended or (self._at is not None and batch.position <= self._at):
                continue
            if self._known is not None and self._known < batch.position:
                self._restart()
                return
            if batch.events is None:
                if not self._follows(batch):
                    self._restart()
                    return
            elif batch.position != (self._first if self._at is None else self._at.next()):
                raise _trimmed()
            self._at = batch.position
            self._known = None if self._known == batch.position else self._known
            self._ready.append(batch)
            if batch.events and isinstance(batch.events[-1], StreamEnd):
                if self._known is not None:
                    self._restart()
                    return
                self._ended = True

    def _follows(self, claim: LogBatch) -> bool:
        """Whether a claim continues what the viewer has; `LogLost` if something between is missing."""
        has, before = self._at or NOWHERE, claim.predecessor or NOWHERE
        if has < before:
            raise _trimmed()
        return has == before


class Followed(Source[Event]):
    """The events of a published stream, for `|`. Made by `Relay.follow`."""

    def __init__(self, log: Log, tail: Tail, key: str, after: EventId | None) -> None:
        self._skip = after if after and after.position.sequence and not after.whole else None
        begin = self._skip.position.next(-1) if self._skip else after.position if after else None
        self._viewing = Viewing(log, tail, key, begin)
        self._id = str(after) if after else ""

    def __repr__(self) -> str:
        return repr(self._viewing)

    @property
    def id(self) -> str:
        """The id of the last event that was read: `follow(key, after=…)` continues behind it."""
        return self._id

    async def open(self) -> None:
        await self._viewing.open()

    async def read(self) -> Sequence[Event]:
        events: list[Event] = []
        while not events:
            batches = await self._viewing.read()
            if not batches:
                return ()
            for batch in batches:
                events += self._events(batch)
        return events

    def _events(self, batch: LogBatch) -> Sequence[Event]:
        if batch.events is None:
            return ()
        if batch.position != NOWHERE:
            self._id = str(EventId(batch.position, len(batch.events)))
        skip, self._skip = self._skip, None
        return batch.events[skip.number :] if skip and skip.position == batch.position else batch.events

    async def close(self) -> None:
        await self._viewing.close()


def _trimmed() -> LogLost:
    return LogLost(
        "entries are missing in the log of this stream: it was trimmed, or another program has written to it",
        cause="trimmed",
    )
