"""A published stream in the wire format of one viewer, each frame with an id that a reconnection sends back.

The log has events; every viewer has an emitter of its own, which runs from the latest `Reset` or the beginning and discards the
frames that the client has. Emitters are deterministic, so that the `n`th frame of a batch is the same in every process.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TypeVar

import msgspec

from streamkit.core.engine import fresh
from streamkit.core.stage import Stage
from streamkit.core.wrong_input import kind_of
from streamkit.emitters.emit import Emit
from streamkit.emitters.failures import Failure, failure_at_end
from streamkit.errors import PipelineError
from streamkit.events import Event, Reset, StreamEnd
from streamkit.relay.log import EventId, Position
from streamkit.relay.tail import LogBatch
from streamkit.relay.viewing import NOWHERE, Batches
from streamkit.sse.events import ServerSentEvent

S = TypeVar("S")
_RESTARTED = Failure(
    "the response was restarted: discard what was received and reconnect to receive all of it", "reset", status=200
)
_UNKNOWN_ID = Failure(
    "the response was restarted, or Last-Event-ID is not one of its ids: "
    "discard what was received and reconnect to receive all of it",
    "reset",
    status=200,
)
_NO_ID = Failure(failure_at_end("invalid_event_id").message, "invalid_event_id", status=400)
FROM_THE_BEGINNING = "0-0-0"
"""The id behind which everything comes."""


@dataclass
class ViewerFrames(Stage[LogBatch, ServerSentEvent]):
    """Batches into frames with ids, behind `after`. `foreign`: the client has sent an id that is none of a log.

    A client that has something of an answer which begins anew, or an id that is not in the log, receives the emitter's error,
    with the status 200, since an `EventSource` reconnects after no other. One with a malformed id receives the error with the
    status 400. A stage that is no `Emit` receives the `Reset`, in a fresh copy, and writes what its client understands.
    """

    key: str
    emit: Stage[Event, ServerSentEvent]
    viewing: Batches = field(repr=False)
    after: EventId | None = None
    foreign: bool = False
    _emit: Stage[Event, ServerSentEvent] | None = field(default=None, init=False, repr=False, metadata={"state": False})
    _has: bool = field(default=False, init=False)  # whether the client has frames of the answer that is written now
    _failed: bool = field(default=False, init=False)
    _last: tuple[Position, int] = field(default=(NOWHERE, 0), init=False)

    def feed(self, item: LogBatch) -> Iterable[ServerSentEvent]:
        if not item.events or self._failed:
            return ()
        if self._emit is None:
            self._emit = self._new()
        if item.position == NOWHERE:
            return self._void(item)
        if isinstance(item.events[0], Reset):
            return self._reset(item)
        return self._numbered(item.position, self._emit.feed_all(list(item.events)))

    def flush(self) -> Iterable[ServerSentEvent]:
        position, number = self._last
        return self._numbered(position, self._emit.flush(), number + 1) if self._emit and not self._failed else ()

    def _void(self, batch: LogBatch) -> Iterable[ServerSentEvent]:
        # What the client has is not in the log.
        has, old = self._has or self.after is not None or self.foreign, self._emit
        failure = _RESTARTED if self._has else _NO_ID if self.foreign else _UNKNOWN_ID
        self.after, self._emit, self._has = None, self._new(), False
        if isinstance(old, Emit):
            frames = self._error(old, failure) if has else ()
        else:
            frames = _written(self._new().feed_all(list(batch.events or ())))
        return [msgspec.structs.replace(frame, id=FROM_THE_BEGINNING) for frame in frames]

    def _reset(self, batch: LogBatch) -> Iterable[ServerSentEvent]:
        knows = self.after is not None and self.after.position >= batch.position
        has, old, events = self._has and not knows, self._emit, list(batch.events or ())
        self._emit, self._has = self._new(), False
        if not isinstance(old, Emit):
            return self._numbered(batch.position, self._emit.feed_all(events))
        if has:
            return [msgspec.structs.replace(frame, id=f"{batch.position}-0") for frame in self._error(old, _RESTARTED)]
        return self._numbered(batch.position, self._emit.feed_all(events[1:]))

    def _error(self, emit: Emit, failure: Failure) -> Iterable[ServerSentEvent]:
        # Clients would join two answers to one.
        self.done = self._failed = True
        return emit.error(failure)

    def _numbered(
        self, position: Position, frames: Iterable[ServerSentEvent], first: int = 1
    ) -> Iterable[ServerSentEvent]:
        for number, frame in enumerate(_written(frames), first):
            id = EventId(position, number)
            self._has, self._last = True, id
            if self.after is None or id > self.after:
                yield msgspec.structs.replace(frame, id=str(id))

    def _new(self) -> Stage[Event, ServerSentEvent]:
        return fresh(identified(self.emit, self.key, self.viewing.created))


def _written(items: Iterable[object]) -> Iterable[ServerSentEvent]:
    """Yield the frames that a stage returned, without a `StreamEnd`, which operators pass through."""
    for item in items:
        if isinstance(item, ServerSentEvent):
            yield item
        elif not isinstance(item, StreamEnd):
            raise PipelineError(f"emit: expected a stage that returns server-sent events, found {kind_of(item)}")


def identified(stage: S, key: str, created: float) -> S:
    """The stage, an `Emit` with an identity of the response that is the same in every process and at every reconnection."""
    if not isinstance(stage, Emit):
        return stage
    id = stage.id or f"{stage.id_prefix}{sha256(key.encode()).hexdigest()[:24]}"
    return replace(stage, id=id, created=stage.created or int(created))
