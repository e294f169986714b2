"""Convert an assembled answer back to events, so that the same emitter writes streaming and non-streaming responses."""

from collections.abc import Callable, Iterator

from streamkit.completion import Choice, Completion, Part, ToolCall
from streamkit.dialects.fields import released
from streamkit.events import (
    Annotation,
    Event,
    Finish,
    PartEnd,
    PartStart,
    ReasoningDelta,
    RefusalDelta,
    ResponseDetails,
    ResponseStart,
    TextDelta,
    ToolCallDelta,
)

_DELTAS: dict[str | None, Callable[..., Event]] = {
    "content": TextDelta,
    "transcript": TextDelta,
    "reasoning": ReasoningDelta,
    "refusal": RefusalDelta,
}


def events_of(completion: Completion) -> Iterator[Event]:
    """Return the events of an answer, without `StreamEnd`."""
    names = ("id", "object", "created", "model", "system_fingerprint", "service_tier")
    yield ResponseStart(**{name: getattr(completion, name) for name in names})
    if completion.shape or completion.details:
        yield ResponseDetails(completion.details, completion.shape)
    if completion.usage:
        yield completion.usage
    for choice in completion.choices:
        yield from _choice(choice)


def is_withheld(completion: Completion, index: int) -> bool:
    """Whether moderation may have withheld text of this choice, according to its verdicts."""
    verdicts = (verdict for choice in completion.choices if choice.index == index for verdict in choice.verdicts)
    return any(verdict.action != "annotate" for verdict in verdicts)


def _choice(choice: Choice) -> Iterator[Event]:
    index, parts = choice.index, released(choice)
    emitted = {part.channel for part in parts}
    if choice.reasoning and "reasoning" not in emitted:
        yield ReasoningDelta(choice.reasoning, index)
    containers = {part.within for part in parts}
    calls = {call.index: call for call in choice.tool_calls}
    for part in parts:
        yield from _part(part, calls.pop(part.tool_index, None) if part.tool_index is not None else None, index)
        if part.number not in containers:
            yield PartEnd(part.number, index=index)
    yield from (PartEnd(part.number, index=index) for part in parts if part.number in containers)
    if "content" not in emitted:
        yield from _content(choice)
    if choice.refusal and "refusal" not in emitted:
        yield RefusalDelta(choice.refusal, index)
    yield from (_call(call, index) for call in calls.values())
    if choice.finish_reason:
        yield Finish(choice.finish_reason, index)


def _content(choice: Choice) -> Iterator[Event]:
    transcript = (choice.audio or {}).get("transcript")
    if text := choice.text or transcript:
        yield TextDelta(text, choice.index)
    yield from (Annotation(annotation, choice.index) for annotation in choice.annotations)


def _part(part: Part, call: ToolCall | None, index: int) -> Iterator[Event]:
    yield PartStart(part.kind, part.number, part.data, part.channel, part.tool_index, part.within, index)
    if part.text and (delta := _DELTAS.get(part.channel)):
        yield delta(part.text, index=index)
    yield from (Annotation(annotation, index, part.number) for annotation in part.annotations)
    if call:
        yield _call(call, index)


def _call(call: ToolCall, index: int) -> Event:
    return ToolCallDelta(call.index, call.id, call.name, call.arguments, index, call.type)
