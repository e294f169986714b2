"""Replicate's predictions: the events' data is the text itself, not JSON.

https://replicate.com/docs/topics/predictions/streaming.
"""

import json
from dataclasses import dataclass

import msgspec

from streamkit.dialects.base import Dialect
from streamkit.dialects.error_objects import error_in, is_error_event
from streamkit.dialects.fields import mapping, word
from streamkit.dialects.finish_reasons import is_pending
from streamkit.dialects.surrogates import has_halves, text_of
from streamkit.events import Event, Finish, ProviderNotice, TextDelta
from streamkit.sse.events import Comment, ServerSentEvent, UnfinishedEvent
from streamkit.sse.json_text import NOT_JSON, is_too_deep


@dataclass
class Replicate(Dialect):
    """The events `output`, `error` and `done`. It is `done` at the event `done`; `raw` is an event's text as a JSON string."""

    @classmethod
    def recognizes(cls, event: ServerSentEvent, data: object) -> bool:
        return event.event == "output"

    def _read(self, items: list[ServerSentEvent], out: list[Event]) -> None:
        # Text that happens to be valid JSON, such as a number, is still text.
        for number, item in enumerate(items, self._seen + 1):
            self._one(item, number, out)
            if self.done:
                return

    def _one(self, item: ServerSentEvent, number: int, out: list[Event]) -> None:
        self.finished.setdefault(0, None)
        data = text_of(item.payload)
        self._marked = self._marked or has_halves(data)
        if isinstance(item, Comment):
            out.append(ProviderNotice("comment", item.text))
        elif isinstance(item, UnfinishedEvent):
            self._cut = True
        elif item.event == "output":
            if data:
                out.append(TextDelta(data, payload=_quoted(data)))
        elif item.event == "done":
            self._conclude(item, number, out)
        else:
            body = _decoded(item.data)
            if item.event == "error" or is_error_event(body):
                self.fail(error_in(body) or body, number, out)
            else:
                out.append(ProviderNotice(item.event, data, payload=_quoted(data)))

    def _conclude(self, item: ServerSentEvent, number: int, out: list[Event]) -> None:
        # The data of a successful answer is `{}`, without a reason.
        if (reason := word(mapping(_decoded(item.data)).get("reason"))) and not is_pending(reason):
            self.finished[0] = reason
            out.append(Finish(reason, payload=_quoted(item.data)))
        self.finish(out, number)


def _decoded(data: str) -> object:
    try:
        return data if is_too_deep(data.encode(errors="replace")) else msgspec.json.decode(data)
    except NOT_JSON:
        return data


def _quoted(data: str) -> bytes:
    return json.dumps(data).encode() if has_halves(data) else msgspec.json.encode(data)
