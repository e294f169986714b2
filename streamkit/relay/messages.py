"""The messages that a published stream consists of for clients that have no ids: those of each batch.

The messages of a batch depend on it and the batches before alone, so that they are the same in every process and for every
client, wherever it begins.
"""

from collections.abc import Iterable
from typing import TypeAlias

import msgspec

from streamkit.core.engine import fresh
from streamkit.core.stage import Stage
from streamkit.core.wrong_input import kind_of
from streamkit.emitters.emit import Emit
from streamkit.emitters.failures import failure_at_end
from streamkit.errors import PipelineError
from streamkit.events import Event, Reset, StreamEnd
from streamkit.relay.batches import encode
from streamkit.relay.frames import identified
from streamkit.relay.tail import LogBatch
from streamkit.sse.events import Comment, ServerSentEvent

Writer: TypeAlias = Stage[Event, ServerSentEvent] | Stage[Event, bytes]
"""A stage that writes messages: bytes, or the data of server-sent events."""
END_MARKER = b"[DONE]"
"""The data of the frame that ends a stream of OpenAI's: the only one that is no JSON, and no message."""


class Messages:
    """The messages of batches, which are given in their order; without `writer` those that have events alone, as JSON.

    An answer that begins anew is the emitter's error and then the new answer; a stage of your own receives the `Reset`.
    """

    def __init__(self, writer: Writer | None, key: str, created: float, *, json: bool) -> None:
        self._new = writer
        self._writer = fresh(identified(writer, key, created)) if writer is not None else None
        self._key, self._created = key, created
        self._json = json
        self._wrote = False

    def of(self, batch: LogBatch) -> list[bytes]:
        """The messages of the next batch."""
        events = list(batch.events or ())
        if self._writer is None:
            return [encode(event) for event in events]
        found: list[bytes] = []
        if events and isinstance(events[0], Reset):
            found += self._begin_anew(events)
        found += self._checked(self._writer.feed_all(events))
        if events and isinstance(events[-1], StreamEnd):
            found += self._checked(self._writer.flush())
        self._wrote = self._wrote or bool(found)
        return found

    def _begin_anew(self, events: list[Event]) -> list[bytes]:
        old, wrote, self._wrote = self._writer, self._wrote, False
        assert self._new is not None
        self._writer = fresh(identified(self._new, self._key, self._created))
        if not isinstance(old, Emit):
            return []
        del events[0]
        # Clients would join two answers to one.
        return self._checked(old.error(failure_at_end("reset"))) if wrote else []

    def _checked(self, written: Iterable[object]) -> list[bytes]:
        found: list[bytes] = []
        for item in written:
            match item:
                case Comment() | StreamEnd():
                    continue  # operators pass an end on
                case ServerSentEvent(payload=data) | (bytes() as data):
                    if self._json and data == END_MARKER:
                        continue
                case _:
                    raise PipelineError(
                        f"messages are bytes or the data of server-sent events, but the stage has written {kind_of(item)}"
                    )
            if self._json:
                _check_json(data)
            found.append(data)
        return found


def _check_json(data: bytes) -> None:
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise PipelineError(
            "a stream of application/json consists of JSON values, but the stage has written something else; "
            "name its content_type"
        ) from None
