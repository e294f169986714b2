"""Writer's text completions: chunks with a `value` only.

https://dev.writer.com/api-reference/completion-api/text-generation. Its chat API sends OpenAI's chunks.
"""

from dataclasses import dataclass
from typing import Any

from streamkit.dialects.base import Dialect
from streamkit.dialects.error_objects import error_in
from streamkit.dialects.fields import mapping, text
from streamkit.events import Event, TextDelta
from streamkit.sse.events import ServerSentEvent


@dataclass
class WriterCompletions(Dialect):
    """Chunks with a `value`. The format has no end marker, so a stream without `[DONE]` always ends as `truncated`."""

    @classmethod
    def recognizes(cls, event: ServerSentEvent, data: object) -> bool:
        return mapping(data).keys() == {"value"}

    def take(self, item: ServerSentEvent, data: Any, number: int, out: list[Event]) -> None:
        fields = mapping(data)
        if "value" in fields:
            self.finished.setdefault(0, None)
        error = None if "value" in fields else error_in(data)
        if error:
            self.fail(error, number, out)
        elif piece := text(fields.get("value")):
            out.append(TextDelta(piece, payload=item.payload))
        elif fields.get("value") != "":
            self.unknown_event(item.event, data, item.payload, out)
