"""OpenAI's Assistants: the events of a run of a thread.

https://platform.openai.com/docs/api-reference/assistants-streaming/events.
"""

from dataclasses import dataclass, field
from typing import Any

from streamkit.completion import EndReason
from streamkit.dialects.base import Dialect
from streamkit.dialects.emitted_text import EmittedText
from streamkit.dialects.error_objects import error_in
from streamkit.dialects.fields import count, mapping, mappings, text, without
from streamkit.dialects.openai.calls import BareCalls
from streamkit.dialects.part_texts import channel_of, start
from streamkit.events import (
    Annotation,
    Event,
    Finish,
    PartChannel,
    PartDelta,
    PartEnd,
    PartStart,
    ProviderNotice,
    RefusalDelta,
    ResponseStart,
    RoleDelta,
    TextDelta,
    ToolCallDelta,
)
from streamkit.sse.events import ServerSentEvent
from streamkit.tokens.usage import usage_of

_ENDS = ("completed", "requires_action", "incomplete", "failed", "cancelled", "expired")


@dataclass
class OpenAIAssistants(Dialect):
    """The events named `thread.…`. It is `done` at `[DONE]`, and complete only if the run ended before that.

    Function calls are `ToolCallDelta`s. A tool that OpenAI runs is a part, with its code and output in `PartDelta`s; other
    events of run steps are emitted as notices. A run that waits for function results ends as `requires_action`; a completed
    run has received them.
    """

    _role: str | None = field(default=None, init=False, repr=False)
    # The number of a call, by its step and its index in the step.
    _calls: dict[tuple[str | None, int], int] = field(
        default_factory=dict[tuple[str | None, int], int], init=False, repr=False
    )

    # The part number and kind of a tool that OpenAI runs, by its step and its index in the step.
    _tools: dict[tuple[str | None, int], tuple[int, str]] = field(
        default_factory=dict[tuple[str | None, int], "tuple[int, str]"], init=False, repr=False
    )
    _parts: int = field(default=0, init=False, repr=False)
    # The text emitted of each part of each message.
    _texts: dict[str, EmittedText] = field(default_factory=dict[str, EmittedText], init=False, repr=False)
    _bare: BareCalls = field(default_factory=BareCalls, init=False, repr=False)

    @classmethod
    def recognizes(cls, event: ServerSentEvent, data: object) -> bool:
        return event.event.startswith("thread.")

    def take(self, item: ServerSentEvent, data: Any, number: int, out: list[Event]) -> None:
        self.finished.setdefault(0, None)
        fields, payload, known = mapping(data), item.payload, len(out)
        area, _, act = item.event.rpartition(".")
        match item.event:
            case "thread.run.created":
                self._start(fields, payload, out)
            case "thread.message.created":
                self._take_role(fields, payload, out)
            case "thread.message.delta":
                for part in mappings(mapping(fields.get("delta")).get("content")):
                    self._part(part, f"{fields.get('id')} {count(part.get('index')) or 0}", payload, out)
            case "thread.message.completed":
                for at, part in enumerate(mappings(fields.get("content"))):
                    self._rest(part, f"{fields.get('id')} {at}", payload, out)
            case "thread.run.step.delta":
                self._step(fields, payload, out)
            case _ if area == "thread.run.step" and act in _ENDS:
                self._end_step(text(fields.get("id")), payload, out)
                self.unknown_event(item.event, data, payload, out)
            case _ if area == "thread.run" and act in _ENDS:
                self._conclude(fields, act, payload, number, out)
            case _ if not item.event.startswith("thread.") and (error := error_in(data)):
                self.fail(error, number, out)
            case _:
                pass
        if (
            len(out) == known
            and not self.done
            and item.event not in ("thread.message.delta", "thread.message.completed")
        ):
            self.unknown_event(item.event, data, payload, out)

    def _start(self, run: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        id, kind, model = (text(run.get(name)) for name in ("id", "object", "model"))
        out.append(ResponseStart(id, kind, count(run.get("created_at")), model, payload=payload))

    def _take_role(self, message: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        role = text(message.get("role"))
        if role and role != self._role:
            self._role = role
            out.append(RoleDelta(role, payload=payload))

    def _rest(self, part: dict[str, Any], place: str, payload: bytes, out: list[Event]) -> None:
        # `thread.message.completed` repeats the whole text, which may be longer than the deltas.
        for channel, kind, whole in (
            ("content", TextDelta, text(mapping(part.get("text")).get("value"))),
            ("refusal", RefusalDelta, text(part.get("refusal"))),
        ):
            emitted = self._emitted(f"{channel} {place}")
            rest = emitted.rest(whole or "")
            if rest is None:
                self.conflict("refusal" if channel == "refusal" else "content", 0, payload, out)
            elif rest:
                emitted.add(rest)
                out.append(kind(rest, payload=payload))

    def _emitted(self, place: str) -> EmittedText:
        found = self._texts.get(place)
        if found is None:
            found = self._texts[place] = EmittedText()
        return found

    def _part(self, part: dict[str, Any], place: str, payload: bytes, out: list[Event]) -> None:
        content = mapping(part.get("text"))
        if piece := text(content.get("value")):
            self._emitted(f"content {place}").add(piece)
            out.append(TextDelta(piece, payload=payload))
        for annotation in mappings(content.get("annotations")):
            out.append(Annotation(annotation, payload=payload))
        if refusal := text(part.get("refusal")):
            self._emitted(f"refusal {place}").add(refusal)
            out.append(RefusalDelta(refusal, payload=payload))

    def _step(self, fields: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        step, details = text(fields.get("id")), mapping(mapping(fields.get("delta")).get("step_details"))
        for call in mappings(details.get("tool_calls")):
            if call.get("type") == "function":
                place = step, count(call.get("index")) or 0
                if place not in self._calls:
                    self._calls[place] = len(self._calls)
                    self._bare.begin(self._calls[place])
                number = self._calls[place]
                id, function = text(call.get("id")), mapping(call.get("function"))
                name, arguments = text(function.get("name")), text(function.get("arguments")) or ""
                kind = "function" if id else None
                if arguments:
                    self._bare.got_arguments(number)
                out.append(ToolCallDelta(number, id, name, arguments, type=kind, payload=payload))
            elif kind := text(call.get("type")):
                self._tool(kind, call, (step, count(call.get("index")) or 0), payload, out)

    # https://platform.openai.com/docs/api-reference/run-steps/step-object
    def _tool(
        self, kind: str, call: dict[str, Any], place: tuple[str | None, int], payload: bytes, out: list[Event]
    ) -> None:
        inner = mapping(call.get(kind))
        if place not in self._tools:
            self._tools[place] = self._parts, kind
            self._parts += 1
            data = {**without(call, ("index",)), kind: dict.fromkeys(inner, "")}
            out += start(PartStart(kind, self._tools[place][0], data, payload=payload))
        number = self._tools[place][0]
        for name, value in inner.items():
            piece = text(value) or "".join(text(item.get("logs")) or "" for item in mappings(value))
            if others := [item for item in mappings(value) if "logs" not in item]:
                out.append(ProviderNotice(kind, {name: others}, 0, payload=payload))
            if piece:
                channel: PartChannel = "code" if name == "input" else channel_of(kind, name)
                out.append(PartDelta(piece, channel, number, (kind, name), payload=payload))

    def _end_step(self, step: str | None, payload: bytes, out: list[Event]) -> None:
        for place in [place for place in self._tools if place[0] == step]:
            out.append(PartEnd(self._tools.pop(place)[0], payload=payload))

    def _conclude(self, run: dict[str, Any], act: str, payload: bytes, number: int, out: list[Event]) -> None:
        if usage := mapping(run.get("usage")):
            out.append(usage_of(usage, payload))
        reason = text(mapping(run.get("incomplete_details")).get("reason")) if act == "incomplete" else None
        reason = reason or act
        if self.ends_calls(reason):
            self._bare.end_all(payload, out)
        self.finished[0] = reason
        out.append(Finish(reason, payload=payload))
        if act == "failed":
            error = mapping(run.get("last_error")) or {"message": "", "type": "failed"}
            self.fail(error, number, out)

    def _meaning(self, word: str | None) -> EndReason:
        # `[DONE]` does not prove that the run ended.
        return super()._meaning(word) if word else "truncated"
