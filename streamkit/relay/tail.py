"""One reader of the log for all viewers of a process: what it reads once, each of them receives.

A channel keeps the latest batches of one stream. A viewer that is further behind than these reads the log itself until it has
caught up, so that a slow viewer delays nobody and costs no memory.
"""

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import cached_property
from itertools import chain, takewhile
from typing import TypeAlias

import anyio
import msgspec

from streamkit.core.waiting import task_waker
from streamkit.errors import LogLost, LogUnreachable, ProtocolError
from streamkit.events import Event, StreamEnd
from streamkit.relay.batches import decode, decode_all
from streamkit.relay.log import Entry, EventId, Log, LogState, PackedEntries, Page, Position, unpacked

_NONE = Position(0, 0)
GRACE = 3.0
PAGE = 2000
"""How many entries are read at a time while a viewer catches up."""
_log = logging.getLogger("streamkit.relay")


class LogBatch(msgspec.Struct, frozen=True, gc=False):
    """The events of one entry; none of a claim's, which has the position of its `predecessor`."""

    position: Position
    """Where it is in the log."""
    events: Sequence[Event] | None
    """In their order."""
    predecessor: Position | None = None


class BatchRun:
    """Batches of one epoch without a gap, prepared once for all viewers: who has `after` takes them as a whole.

    None is empty, and a `StreamEnd` is the last event of the run.
    """

    def __init__(self, first: Position, batches: Sequence[Sequence[Event]], events: Sequence[Event]) -> None:
        self.after = first.next(-1)
        self.last = first.next(len(batches) - 1)
        self.events = events
        """Those of all batches."""
        self.ends = type(self.events[-1]) is StreamEnd
        """Whether the stream ends with them."""
        self.id = EventId(self.last, len(batches[-1]))
        """The id of the last event."""
        self._first = first
        self._batches = batches

    @cached_property
    def batches(self) -> Sequence[LogBatch]:
        """Each batch with its position."""
        return [LogBatch(self._first.next(number), events) for number, events in enumerate(self._batches)]


Segment: TypeAlias = LogBatch | BatchRun
"""A run, or a batch that is in none, such as a claim."""


def batches_of(segment: Segment) -> Sequence[LogBatch]:
    """The batches of a segment."""
    return segment.batches if isinstance(segment, BatchRun) else (segment,)


class DecodedEntries(msgspec.Struct, frozen=True):
    """Entries in as few segments as they can be in, up to one that is damaged: its `failure`."""

    segments: Sequence[Segment]
    failure: Exception | None = None

    @classmethod
    def of(cls, entries: Sequence[Entry | PackedEntries]) -> "DecodedEntries":
        """Decode entries, as far as that is possible."""
        decoded = decode_all([entry.data for entry in entries if entry.data is not None])
        if decoded is None or len(decoded) != sum(map(_batches_in, entries)):
            return cls._one_by_one(unpacked(entries))
        segments, at = _Segments(), 0
        for entry in entries:
            count = _batches_in(entry)
            segments.add(entry, decoded[at : at + count])
            at += count
        return cls(segments.close())

    @classmethod
    def _one_by_one(cls, entries: Sequence[Entry]) -> "DecodedEntries":
        segments = _Segments()
        try:
            for entry in entries:
                segments.add(entry, [] if entry.data is None else [decode(entry.data)])
        except ProtocolError as error:
            return cls(segments.close(), error)
        return cls(segments.close())


def _batches_in(entry: Entry | PackedEntries) -> int:
    return len(entry.lengths) if isinstance(entry, PackedEntries) else int(entry.data is not None)


class _Segments:
    """Joins batches to runs."""

    def __init__(self) -> None:
        self._found: list[Segment] = []
        self._first = _NONE
        self._run: list[Sequence[Event]] = []
        self._events: list[Event] = []

    def add(self, entry: Entry | PackedEntries, batches: Sequence[Sequence[Event]]) -> None:
        """Add the batches of an entry: none of a claim's."""
        if not batches:
            self._add_alone(LogBatch(entry.position, None, entry.predecessor if isinstance(entry, Entry) else None))
        elif not self._add_run(entry.position, batches):
            for number, events in enumerate(batches):
                if not self._add_run(entry.position.next(number), [events]):
                    self._add_alone(LogBatch(entry.position.next(number), events))

    def close(self) -> Sequence[Segment]:
        """End the run, if there is one, and return all segments."""
        if self._run:
            self._found.append(BatchRun(self._first, self._run, self._events))
            self._run, self._events = [], []
        return self._found

    def _add_alone(self, batch: LogBatch) -> None:
        self.close()
        self._found.append(batch)

    def _add_run(self, position: Position, batches: Sequence[Sequence[Event]]) -> bool:
        """Add them to the run, or begin another; False if they are none."""
        events = list(chain.from_iterable(batches))
        if not all(batches) or StreamEnd in map(type, events[:-1]):
            return False
        if self._run and (self._first.next(len(self._run)) != position or type(self._events[-1]) is StreamEnd):
            self.close()
        if not self._run:
            self._first = position
        self._run += batches
        self._events += events
        return True


class Channel:
    """The latest batches of one stream, for all its viewers in this process."""

    def __init__(self, key: str, at: Position, size: int) -> None:
        self.key = key
        self.at = at
        """The position up to which the log was read."""
        self.state: LogState | None = None
        """The state when it was last looked at."""
        self.failure: Exception | None = None
        self.viewers = 0
        self.last_active = anyio.current_time()
        self._base = at
        self._size = size
        self._batches: deque[LogBatch] = deque()
        self.latest: BatchRun | None = None
        """The run that was read last, if it was one: most viewers need it next."""
        self._news = task_waker()
        self.news = self._news.wait
        """Wait for batches, a look at the state, or a failure."""

    def extend(self, entries: Sequence[Entry]) -> None:
        """Take what the log has behind `at`."""
        decoded = DecodedEntries.of([entry for entry in entries if entry.position > self.at])
        found = decoded.segments
        if found:
            self._close_gap(batches_of(found[0])[0])
            self.latest = found[0] if len(found) == 1 and isinstance(found[0], BatchRun) else None
            self._batches.extend(batch for segment in found for batch in batches_of(segment))
            self.at = self._batches[-1].position
        while len(self._batches) > self._size:
            self._base = self._batches.popleft().position
        self.last_active = anyio.current_time()
        self.state = None  # it is older than these
        self.failure = self.failure or decoded.failure
        self._news.set()

    def _close_gap(self, first: LogBatch) -> None:
        """Begin anew at `first` if the store did not return all that is before it; viewers then read the log."""
        follows = (
            first.position == self.at.next() if first.events is not None else (first.predecessor or _NONE) <= self.at
        )
        if not follows:
            self._batches.clear()
            self._base = first.position.next(-1)

    def rewind(self, state: LogState) -> None:
        """The log has lost entries, which may come again."""
        self._batches.clear()
        self.latest = None
        self.at = self._base = state.last

    def look(self, state: LogState | None) -> None:
        """Take the state of the log, and wake the viewers, who decide what it means to them."""
        self.state = state
        if state is not None and state.last < self.at:
            self.rewind(state)
        self._news.set()

    def fail(self, failure: Exception) -> None:
        """End all viewers with an error."""
        self.failure = failure
        self._news.set()

    def behind(self, at: Position) -> Sequence[Segment] | None:
        """The batches behind a position; `None` if some of them are not here any more."""
        if at < self._base:
            return None
        # From the right: most viewers have nearly all.
        found = list(takewhile(lambda batch: batch.position > at, reversed(self._batches)))
        return found[::-1]


class LogPage(msgspec.Struct, frozen=True):
    """The segments behind a position, whether there are more, and the state of the log."""

    found: DecodedEntries
    more: bool
    state: LogState

    @classmethod
    def of(cls, page: Page) -> "LogPage":
        """Decode a page."""
        last = page.entries[-1] if page.entries else None
        at = last.last if isinstance(last, PackedEntries) else last.position if last else page.state.last
        return cls(DecodedEntries.of(page.entries), at < page.state.last, page.state)


class _Reading:
    # One read of a page, for all viewers that want it meanwhile.
    def __init__(self) -> None:
        self.done = anyio.Event()
        self.answered = False
        self.page: LogPage | None = None
        self.error: Exception | None = None


class Tail:
    """The task that reads the log for all channels of a process.

    `abandoned` is awaited with the key of a stream whose lease has been over for `patience` seconds. After a `tick`
    without news a stream is checked: is it still there, and its producer alive? A store that has not
    answered for so long ends the viewers with `LogUnreachable`. What concerns one log ends the viewers of that one.
    """

    def __init__(
        self, log: Log, *, size: int, patience: float, tick: float, abandoned: Callable[[str], Awaitable[None]]
    ) -> None:
        self._log = log
        self._size = size
        self.patience = patience
        self._tick = tick
        self.grace = min(patience, GRACE)
        """Seconds for which a log may be missing, since its producer may append it again."""
        self._abandoned = abandoned
        self._channels: dict[str, Channel] = {}
        self._readings: dict[tuple[str, Position | None], _Reading] = {}
        self._wanted = anyio.Event()
        self._looked = 0.0

    async def page(self, key: str, after: Position | None) -> LogPage | None:
        """Read the log behind a position; `None` if there is none. Viewers that want the same at once share one read.

        After a deploy all of them come at once.
        """
        place = (key, after)
        while (reading := self._readings.get(place)) is not None:
            await reading.done.wait()
            if reading.error:
                raise reading.error
            if reading.answered:
                return reading.page
        reading = self._readings[place] = _Reading()
        try:
            if (page := await self._log.read(key, after, PAGE)) is not None:
                reading.page = LogPage.of(page)
            reading.answered = True
            return reading.page
        except Exception as error:
            reading.error = error
            raise
        finally:
            del self._readings[place]
            reading.done.set()

    def join(self, key: str, at: Position) -> Channel:
        """The channel of a stream, which begins at `at` if it is new. `leave` it."""
        channel = self._channels.get(key)
        if channel is None or channel.failure:
            channel = self._channels[key] = Channel(key, at, self._size)
            self._wanted.set()
            self._log.wake()
        channel.viewers += 1
        return channel

    def leave(self, channel: Channel) -> None:
        """A viewer needs no more of it."""
        channel.viewers -= 1
        if not channel.viewers and self._channels.get(channel.key) is channel:
            del self._channels[channel.key]

    async def run(self) -> None:
        """Read until it is cancelled."""
        answered = anyio.current_time()
        while True:
            if not self._channels:
                self._wanted = anyio.Event()
                await self._wanted.wait()
                answered = anyio.current_time()
            try:
                await self._read()
                await self._look()
            except Exception as error:
                if anyio.current_time() - answered > self.patience:
                    _log.warning("viewers end since the log does not answer: %s", type(error).__name__)
                    self._fail()
                await anyio.sleep(min(self._tick / 4, self.patience))
            else:
                answered = anyio.current_time()

    async def _read(self) -> None:
        channels = dict(self._channels)
        found = await self._log.tail({key: channel.at for key, channel in channels.items()}, self._tick)
        for key, entries in found.items():
            channel = channels[key]
            if isinstance(entries, Exception):
                self._drop(channel, entries)
                continue
            channel.extend(entries)
            if channel.failure:
                self._drop(channel, channel.failure)

    async def _look(self) -> None:
        now = anyio.current_time()
        if now - self._looked < self._tick:
            return
        self._looked = now
        quiet = [channel for channel in self._channels.values() if now - channel.last_active >= self._tick]
        states = await self._log.states([channel.key for channel in quiet]) if quiet else ()
        for channel, state in zip(quiet, states, strict=True):
            if isinstance(state, Exception):
                if isinstance(state, LogLost) or now - channel.last_active > self.patience:
                    self._drop(channel, state)
            elif state is not None:
                await self._check(channel, state)
            elif now - channel.last_active > self.grace:
                self._drop(channel, lost())

    async def _check(self, channel: Channel, state: LogState) -> None:
        if not state.ended and state.lease < -self.patience:
            try:
                await self._abandoned(channel.key)
            except Exception as error:
                # Of a log that can be read, but not written. The other streams have their look.
                if state.lease < -2 * self.patience:
                    self._drop(channel, error)
                    return
        channel.look(state)

    def _fail(self) -> None:
        for channel in list(self._channels.values()):
            self._drop(channel, LogUnreachable("the store of logs does not answer"))

    def _drop(self, channel: Channel, error: Exception) -> None:
        channel.fail(error)
        if self._channels.get(channel.key) is channel:
            del self._channels[channel.key]


def lost() -> LogLost:
    """The error for a log that was there."""
    return LogLost("the log of this stream was lost, or deleted", cause="lost")
