"""Google's Interactions API, streamed and non-streaming.

https://ai.google.dev/gemini-api/docs/interactions/streaming and https://ai.google.dev/api/interactions-api. An answer is a list
of steps: thoughts, the model's output with its contents, function calls, and calls of Google's own tools. The first version of
the API has contents instead of steps (`content.start`, `outputs`); they are emitted in the same way.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec

from streamkit.completion import EndReason, ResponseForm
from streamkit.dialects.base import ANOTHER, Dialect
from streamkit.dialects.emitted_text import EmittedText
from streamkit.dialects.error_objects import error_in
from streamkit.dialects.fields import (
    arguments_of,
    calls_of,
    changed,
    count,
    emptied,
    grown,
    mapping,
    mappings,
    released,
    text,
    without,
    word,
)
from streamkit.dialects.finish_reasons import is_pending
from streamkit.dialects.openai.calls import BareCalls
from streamkit.dialects.part_texts import end, start
from streamkit.dialects.times import seconds
from streamkit.events import (
    Annotation,
    Channel,
    Choice,
    Completion,
    Event,
    Finish,
    Part,
    PartEnd,
    PartStart,
    ProviderNotice,
    ReasoningDelta,
    ResponseDetails,
    ResponseStart,
    TextDelta,
    ToolCall,
    ToolCallDelta,
)
from streamkit.sse.events import ServerSentEvent
from streamkit.tokens.usage import usage_of

# The non-streaming response


def interaction(completion: Completion) -> dict[str, Any]:
    """Build the interaction with its steps in order, or with `outputs` if the response had those."""
    choice = completion.choices[0] if completion.choices else None
    name = "outputs" if "outputs" in completion.details and "steps" not in completion.details else "steps"
    whole = {**completion.details, name: _steps(choice) if choice else []}
    if completion.usage:
        whole["usage"] = completion.usage.details
    return whole


def _steps(choice: Choice) -> list[dict[str, Any]]:
    calls, within = calls_of(choice), dict[int | None, "list[Part]"]()
    for part in released(choice):
        within.setdefault(part.within, []).append(part)
    return [_step(part, calls.get(part.tool_index), within.get(part.number, [])) for part in within.get(None, [])]


def _step(part: Part, call: "ToolCall | None", contents: list["Part"]) -> dict[str, Any]:
    step = _content(part)
    if call:
        step |= {"name": call.name, "arguments": arguments_of(call)}
    if contents:
        step["summary" if part.kind == "thought" else "content"] = [_content(content) for content in contents]
    return step


def _content(part: Part) -> dict[str, Any]:
    content = dict(part.data)
    if part.kind == "text":
        content["text"] = part.text
        if part.annotations:
            content["annotations"] = list(part.annotations)
    return content


# The events

_AREAS = ("interaction", "step", "content")
_STATUS = ("interaction.status_update", "interaction.in_progress", "interaction.requires_action")
_LISTS = {"model_output": "content", "thought": "summary"}
"""The field that holds the contents of a step, by the kind of step."""


class _StepPart(msgspec.Struct):
    # One content of a step: its part number and its emitted text.
    number: int
    emitted: EmittedText = msgspec.field(default_factory=EmittedText)
    annotations: int = 0


class _Step(msgspec.Struct):
    # `tool_index`: set for a function call. It takes argument deltas unless it began with arguments.
    number: int
    kind: str
    parts: list[_StepPart] = []
    open: bool = False  # whether text continues the last part
    tool_index: int | None = None
    takes_arguments: bool = False
    arguments: EmittedText = msgspec.field(default_factory=EmittedText)
    late: dict[str, Any] = {}
    ended: bool = False


@dataclass
class GeminiInteractions(Dialect):
    """The events `interaction.…` and `step.…`, or one interaction as JSON. It is `done` when the interaction has completed.

    There is one choice. Its steps are emitted in order, each between a `PartStart` and a `PartEnd`, with their contents as
    parts within them. The summary of a thought is reasoning; its signature is in the `PartEnd`. Text in steps of Google's own
    tools is emitted as `PartDelta`s. `Usage` counts thoughts as output, and tokens of Google's tools as input.
    """

    shape: ClassVar[str | None] = "interactions"
    response_form: ClassVar[ResponseForm | None] = interaction
    # https://ai.google.dev/api/interactions-api#Resource:Interaction, `status`: an `incomplete` interaction has ended, for
    # example at its token limit; one that still runs in the background has to be polled.
    reasons: ClassVar[dict[str, EndReason]] = {
        "incomplete": "length",
        "budget_exceeded": "length",
        "in_progress": "truncated",
        "queued": "truncated",
    }

    _steps: dict[int, _Step] = field(default_factory=dict[int, _Step], init=False, repr=False)
    _top: int = field(default=-1, init=False, repr=False)
    _numbers: int = field(default=0, init=False, repr=False)
    _calls: int = field(default=0, init=False, repr=False)
    _bare: BareCalls = field(default_factory=BareCalls, init=False, repr=False)
    _current: dict[Channel, int] = field(default_factory=dict[Channel, int], init=False, repr=False)
    _start: ResponseStart = field(default_factory=ResponseStart, init=False, repr=False)
    _details: dict[str, Any] = field(default_factory=dict[str, Any], init=False, repr=False)
    _used: dict[str, Any] = field(default_factory=dict[str, Any], init=False, repr=False)
    _status: str | None = field(default=None, init=False, repr=False)

    @classmethod
    def recognizes(cls, event: ServerSentEvent, data: object) -> bool:
        fields = mapping(data)
        kind = text(fields.get("event_type")) or event.event
        is_whole = "status" in fields and ("steps" in fields or "outputs" in fields)
        return (kind.partition(".")[0] in _AREAS and "." in kind) or fields.get("object") == "interaction" or is_whole

    def take(self, item: ServerSentEvent, data: Any, number: int, out: list[Event]) -> None:
        self.finished.setdefault(0, None)
        fields, payload = mapping(data), item.payload
        kind, index = text(fields.get("event_type")) or item.event, count(fields.get("index")) or 0
        area, _, act = kind.partition(".")
        whole = mapping(fields.get("interaction"))
        if area not in _AREAS and (error := error_in(data)):
            self.fail(error, number, out)
        elif kind in ("interaction.created", "interaction.start"):
            if self._steps and text(whole.get("id")) != self._start.id:
                self.refuse(ANOTHER, number)
            self._announce(whole, payload, out)
        elif kind in ("interaction.completed", "interaction.complete"):
            self._conclude(whole, payload, number, out)
        elif kind in _STATUS:
            self._status = text(fields.get("status")) or self._status
            self._take_usage(fields.get("usage"), payload, out)
            out.append(ProviderNotice(kind, data, payload=payload))
        elif area in ("step", "content") and act == "start":
            self._begin(mapping(fields.get("step", fields.get("content"))), index, payload, out)
        elif area in ("step", "content") and act == "delta":
            self._delta(mapping(fields.get("delta")), index, payload, out)
        elif area in ("step", "content") and act == "stop":
            self._end_step(self._steps.get(index), payload, out)
        elif "status" in fields and ("steps" in fields or "outputs" in fields or fields.get("object") == "interaction"):
            self._conclude(fields, payload, number, out)
        else:
            self.unknown_event(kind, data, payload, out)

    # The interaction

    def _announce(self, whole: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        known = self._start
        start = ResponseStart(
            text(whole.get("id")) or known.id,
            "interaction",
            seconds(whole.get("created")) or known.created,
            text(whole.get("model")) or text(whole.get("agent")) or known.model,
            service_tier=text(whole.get("service_tier")) or known.service_tier,
            payload=payload,
        )
        if start != known:
            self._start = start
            out.append(start)
        # Some later events have empty values for fields of the first one.
        details = emptied(without(whole, ("usage",)), ("steps", "outputs"))
        details = {
            name: value for name, value in details.items() if value not in (None, "") or name not in self._details
        }
        if more := changed(details, self._details):
            self._details |= more
            out.append(ResponseDetails(more, self.shape, payload=payload))

    def _conclude(self, whole: dict[str, Any], payload: bytes, number: int, out: list[Event]) -> None:
        self._announce(whole, payload, out)
        for at, step in enumerate(mappings(whole.get("steps")) or mappings(whole.get("outputs"))):
            if step.get("type") != "user_input":
                self._whole(step, at, payload, out)
        for known in self._steps.values():
            self._end_step(known, payload, out)
        self._take_usage(whole.get("usage"), payload, out)
        status = word(whole.get("status")) or self._status
        if status is None or (is_pending(status) and "status" not in whole):
            status = "completed"  # the name of the event
        if self.ends_calls(status):
            self._bare.end_all(payload, out)
        self.finished[0] = status
        out.append(Finish(status, payload=payload))
        errors = mappings(whole.get("errors"))
        if status == "failed" and errors:
            self.fail(errors[0], number, out)
        else:
            self.finish(out, number)

    def _take_usage(self, usage: object, payload: bytes, out: list[Event]) -> None:
        if not (counts := mapping(usage)):
            return
        self._used = grown(self._used, counts)
        out.append(usage_of(self._used, payload))

    def _meaning(self, word: str | None) -> EndReason:
        # `[DONE]` does not prove that the interaction ended.
        return super()._meaning(word) if word else "truncated"

    # Steps and their contents

    def _begin(self, step: dict[str, Any], index: int, payload: bytes, out: list[Event]) -> _Step:
        kind = text(step.get("type")) or "step"
        found = self._steps[index] = _Step(self._numbers, kind)
        self._numbers, self._top = self._numbers + 1, max(self._top, index)
        is_call = kind == "function_call"
        data = without(step, ("signature",))
        channel: Channel | None = None
        if is_call:
            found.tool_index, self._calls = self._calls, self._calls + 1
            self._bare.begin(found.tool_index)
            self.called.add(0)
            data, channel = {**emptied(data, ("name",)), "arguments": dict[str, Any]()}, "tool_arguments"
        elif kind == "text":
            data, channel = _beside(data), "content"
        elif mappings(data.get(_LISTS.get(kind, ""))):
            data = without(data, (_LISTS[kind],))
        found.late = {"signature": step["signature"]} if step.get("signature") else {}
        out += start(PartStart(kind, found.number, data, channel, found.tool_index, payload=payload))
        if channel == "content":
            self._current["content"] = found.number
            found.parts, found.open = [_StepPart(found.number)], True
        self._contents(step, found, payload, out)
        if is_call:
            self._call(step, found, payload, out)
        return found

    def _contents(self, step: dict[str, Any], found: _Step, payload: bytes, out: list[Event]) -> None:
        """Emit the content of a whole step that its deltas did not have."""
        contents = [step] if found.kind == "text" else mappings(step.get(_LISTS.get(found.kind, "")))
        for at, content in enumerate(contents):
            known = at < len(found.parts)
            if not known:
                self._part(content, found, payload, out)
            part, whole = found.parts[at], text(content.get("text"))
            if (rest := part.emitted.rest(whole or "")) is None:
                self.conflict("reasoning" if found.kind == "thought" else "content", 0, payload, out)
            self._emit_text(rest or "", found, part, payload, out)
            for annotation in mappings(content.get("annotations"))[part.annotations :]:
                self._annotate(annotation, part, payload, out)

    def _whole(self, step: dict[str, Any], at: int, payload: bytes, out: list[Event]) -> None:
        # A step of the whole interaction, which may have more than the events before it.
        found = self._steps.get(at)
        if found is None or found.kind != (text(step.get("type")) or "step"):
            found = self._begin(step, at if found is None else self._top + 1, payload, out)
        else:
            self._contents(step, found, payload, out)
            if found.tool_index is not None and (arguments := step.get("arguments")):
                rest = found.arguments.rest(_json(arguments))
                if found.arguments.is_empty and rest:
                    self._emit_arguments(rest, found, payload, out)
            if step.get("signature") and not found.ended:
                found.late |= {"signature": step["signature"]}

    def _call(self, step: dict[str, Any], found: _Step, payload: bytes, out: list[Event]) -> None:
        id, name = text(step.get("id")), text(step.get("name"))
        out.append(ToolCallDelta(found.tool_index or 0, id, name, type="function", payload=payload))
        arguments = step.get("arguments")
        # A streamed call begins with the placeholder `{}`.
        found.takes_arguments = not arguments
        if arguments:
            self._emit_arguments(arguments if isinstance(arguments, str) else _json(arguments), found, payload, out)

    def _emit_arguments(self, piece: str, found: _Step, payload: bytes, out: list[Event]) -> None:
        if piece and found.tool_index is not None:
            self._bare.got_arguments(found.tool_index)
            found.arguments.add(piece)
            out.append(ToolCallDelta(found.tool_index, arguments=piece, payload=payload))

    def _delta(self, delta: dict[str, Any], index: int, payload: bytes, out: list[Event]) -> None:
        kind = text(delta.get("type")) or ""
        step = self._steps.get(index)
        if step is None:
            step = self._begin({"type": _step_of(kind)}, index, payload, out)
        match kind:
            case "text":
                self._emit_text(text(delta.get("text")) or "", step, self._open_part(step, payload, out), payload, out)
            case "thought_summary":
                content = mapping(delta.get("content"))
                if (summary := text(content.get("text"))) is not None:
                    self._emit_text(summary, step, self._open_part(step, payload, out), payload, out)
                else:
                    self._part(content, step, payload, out)
            case "thought_signature":
                self._late(step, {"signature": delta.get("signature")}, payload, out)
            case "arguments_delta" | "function_call" if step.tool_index is not None:
                self._arguments(delta, step, payload, out)
            case "text_annotation_delta" | "text_annotation":
                part = self._open_part(step, payload, out)
                for annotation in mappings(delta.get("annotations")):
                    self._annotate(annotation, part, payload, out)
            case _ if step.kind in _LISTS:
                self._part(delta, step, payload, out)  # an image, audio or video
            case _ if step.kind == kind:
                self._late(step, without(delta, ("type",)), payload, out)
            case _:
                self.unknown_event(kind, delta, payload, out, 0)

    def _arguments(self, delta: dict[str, Any], step: _Step, payload: bytes, out: list[Event]) -> None:
        arguments = delta.get("arguments")
        if delta.get("type") == "function_call":
            # The first version of the API sends the whole call only in this delta.
            step.takes_arguments = step.takes_arguments and step.arguments.is_empty
            name, id = (text(delta.get(key)) for key in ("name", "id"))
            if name or id:
                out.append(ToolCallDelta(step.tool_index or 0, id, name, payload=payload))
        if signature := delta.get("signature"):
            self._late(step, {"signature": signature}, payload, out)
        if step.takes_arguments and arguments:
            self._emit_arguments(arguments if isinstance(arguments, str) else _json(arguments), step, payload, out)

    def _part(self, content: dict[str, Any], step: _Step, payload: bytes, out: list[Event]) -> _StepPart:
        kind = text(content.get("type")) or "content"
        part = _StepPart(self._numbers)
        self._numbers += 1
        step.parts.append(part)
        step.open = kind == "text"
        channel: Channel | None = None
        if kind == "text":
            channel = "reasoning" if step.kind == "thought" else "content"
            self._current[channel] = part.number
        data = _beside(content) if kind == "text" else dict(content)
        out += start(PartStart(kind, part.number, data, channel, within=step.number, payload=payload))
        return part

    def _open_part(self, step: _Step, payload: bytes, out: list[Event]) -> _StepPart:
        if not step.open:
            return self._part({"type": "text", "text": ""}, step, payload, out)
        return step.parts[-1]

    def _emit_text(self, piece: str, step: _Step, part: _StepPart, payload: bytes, out: list[Event]) -> None:
        if not piece:
            return
        part.emitted.add(piece)
        channel: Channel = "reasoning" if step.kind == "thought" else "content"
        if self._current.get(channel) != part.number:
            self._current[channel] = part.number
            out += start(PartStart("text", part.number, {}, channel, payload=payload))
        kind = ReasoningDelta if channel == "reasoning" else TextDelta
        out.append(kind(piece, payload=payload))

    def _annotate(self, annotation: dict[str, Any], part: _StepPart, payload: bytes, out: list[Event]) -> None:
        part.annotations += 1
        out.append(Annotation(annotation, part=part.number, payload=payload))

    def _late(self, step: _Step, fields: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        if step.ended:
            out += end(PartEnd(step.number, fields, payload=payload), step.kind)
        else:
            step.late |= fields

    def _end_step(self, step: _Step | None, payload: bytes, out: list[Event]) -> None:
        if step is None or step.ended:
            return
        step.ended = True
        out += end(PartEnd(step.number, step.late, payload=payload), step.kind)


def _beside(content: dict[str, Any]) -> dict[str, Any]:
    # Non-empty annotations are emitted as events; an empty list is kept as it is.
    return {**without(content, ("annotations",) if content.get("annotations") else ()), "text": ""}


def _step_of(kind: str) -> str:
    # The kind of step for a delta that arrives before its step started.
    if kind.startswith("thought"):
        return "thought"
    return "function_call" if kind in ("arguments_delta", "function_call") else "model_output"


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
