"""The content of a response in the format of the semantic conventions, for `capture_content`."""

import json
from typing import Any

import msgspec

from streamkit import Event, ReasoningDelta, RefusalDelta, TextDelta, ToolCallDelta
from streamkit.dialects.tool_identity import Identity

_KINDS = {TextDelta: "text", RefusalDelta: "text", ReasoningDelta: "reasoning"}


class Part(msgspec.Struct):
    """A text, or a tool call with its index, its id and name, and the pieces of its arguments."""

    kind: str
    pieces: list[str] = []
    number: int | None = None
    identity: Identity = msgspec.field(default_factory=Identity)

    def to_dict(self) -> dict[str, Any]:
        """Return the part in the schema of the conventions."""
        text = "".join(self.pieces)
        if self.number is None:
            return {"type": self.kind, "content": text}
        try:
            arguments: Any = json.loads(text)
        except ValueError:
            # The arguments of an incomplete call are reported as text.
            arguments = text
        return {"type": self.kind, "id": self.identity.id, "name": self.identity.name or "", "arguments": arguments}


class Messages:
    """The parts of each choice, in the order of their first deltas.

    https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-output-messages.json
    """

    def __init__(self) -> None:
        self._choices: dict[int, list[Part]] = {}
        self._calls: dict[tuple[int, int | None], Part] = {}

    def add(self, event: Event) -> None:
        """Add the content of an event."""
        match event:
            case TextDelta() | RefusalDelta() | ReasoningDelta():
                self._text(_KINDS[type(event)], event.text, event.index)
            case ToolCallDelta():
                self._call(event)
            case _:
                pass

    def json(self, finished: dict[int, str]) -> str:
        """Return all choices as JSON; `finished` has the finish reasons by choice."""
        messages = [
            {"role": "assistant", "parts": [part.to_dict() for part in parts], "finish_reason": finished.get(index, "")}
            for index, parts in sorted(self._choices.items())
        ]
        return json.dumps(messages, ensure_ascii=False)

    def _text(self, kind: str, text: str, index: int) -> None:
        parts = self._choices.setdefault(index, [])
        if not parts or parts[-1].kind != kind:
            parts.append(Part(kind))
        parts[-1].pieces.append(text)

    def _call(self, delta: ToolCallDelta) -> None:
        part = self._calls.get((delta.index, delta.tool_index))
        if part is None:
            part = self._calls[delta.index, delta.tool_index] = Part("tool_call", number=delta.tool_index)
            self._choices.setdefault(delta.index, []).append(part)
        part.identity.merge(delta)
        part.pieces.append(delta.arguments)

    def state(self) -> Any:
        """Return the state as plain data."""
        return msgspec.to_builtins(list(self._choices.items()))

    def restore(self, state: Any) -> None:
        """Restore from `state()`."""
        self._choices = dict(msgspec.convert(state, list[tuple[int, list[Part]]]))
        self._calls = {
            (index, part.number): part
            for index, parts in self._choices.items()
            for part in parts
            if part.number is not None
        }
