"""The channels of model-written text, and the events that carry them."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeAlias, TypeVar, cast, get_args

import msgspec

from streamkit.events import (
    AudioDelta,
    Channel,
    Event,
    PartChannel,
    PartDelta,
    ProviderNotice,
    ReasoningDelta,
    RefusalDelta,
    ResponseDetails,
    TextDelta,
    ToolCallDelta,
)

Delta: TypeAlias = TextDelta | ReasoningDelta | RefusalDelta
Mode: TypeAlias = Literal["hold", "observe", "optimistic"]
CHANNEL_OF: dict[type, Channel] = {TextDelta: "content", ReasoningDelta: "reasoning", RefusalDelta: "refusal"}
"""The channel of each class of events that is a text and the index of its choice, and nothing else."""


def _make_part(channel: PartChannel) -> Callable[[str, int], Event]:
    return lambda text, index: PartDelta(text, channel, index=index)


PARTS: tuple[PartChannel, ...] = get_args(PartChannel)
"""Text of parts: of code, of the input and the output of a provider's tools, and of fields that are not known."""
MAKE: dict[Channel, Callable[[str, int], Event]] = {
    **{channel: kind for kind, channel in CHANNEL_OF.items()},
    "transcript": lambda text, index: AudioDelta(transcript=text, index=index),
    **{channel: _make_part(channel) for channel in PARTS},
}
"""Creates the event that carries a piece of text, by channel; called with the text and the index of the choice."""
TEXTS: tuple[Channel, ...] = (*CHANNEL_OF.values(), "transcript")
CLASSIFIED: tuple[Channel, ...] = (*TEXTS, *PARTS)
"""Channels that a classifier can moderate."""
CALLS: tuple[Channel, ...] = ("tool_arguments", "tool_name")
E = TypeVar("E")


def delta_of(channel: Channel, text: str, index: int) -> Event:
    """The event that carries a piece of text."""
    delta: Event = MAKE[channel](text, index)
    return delta


def with_text(delta: Any, channel: Channel, text: str, *, last: bool) -> Event:
    """The event that carries a slice of a delta's text; of a spoken answer's transcript, the last slice carries the sound."""
    if isinstance(delta, PartDelta):
        return msgspec.structs.replace(delta, text=text, payload=None)
    if last and isinstance(delta, AudioDelta):
        return msgspec.structs.replace(delta, transcript=text, payload=None)
    return delta_of(channel, text, delta.index)


def with_structure(event: ProviderNotice | ResponseDetails, data: Any) -> Event:
    """The event with other data, and without its raw chunk."""
    if isinstance(event, ProviderNotice):
        return msgspec.structs.replace(event, data=data, payload=None)
    return msgspec.structs.replace(event, details=data, payload=None)


def split(delta: ToolCallDelta, room: int) -> tuple[ToolCallDelta, ToolCallDelta | None]:
    """The piece of which no more than `room` characters are arguments, at least one, and the rest."""
    room = max(room, 1)
    if len(delta.arguments) <= room:
        return delta, None
    rest = ToolCallDelta(delta.tool_index, None, None, delta.arguments[room:], delta.index)
    return msgspec.structs.replace(delta, arguments=delta.arguments[:room]), rest


def without_transcript(delta: AudioDelta) -> AudioDelta | None:
    """The rest of a spoken answer's delta: its sound, identifier and expiry. None if there is none of these."""
    if delta.data or delta.id or delta.expires_at is not None:
        return msgspec.structs.replace(delta, transcript=None, payload=None)
    return None


def channel_of(delta: Any) -> Channel:
    """The channel of an event that carries text, also of a class derived from one of these."""
    match delta:
        case AudioDelta():
            return "transcript"
        case PartDelta():
            return delta.channel
        case _:
            return next(CHANNEL_OF[kind] for kind in type(delta).__mro__ if kind in CHANNEL_OF)


def text_of(delta: Any) -> str:
    """The text that an event of one of the channels carries; that of a call is its arguments."""
    match delta:
        case ToolCallDelta():
            return delta.arguments
        case AudioDelta():
            return delta.transcript or ""
        case _:
            return str(delta.text)


def bare_deltas(deltas: Sequence[Any]) -> Iterable[Event]:
    """Adjacent deltas of one channel of one choice, without their raw chunks."""
    first = deltas[0]
    if (kind := cast("type[Any]", type(first))) not in CHANNEL_OF:
        return map(bare, deltas)
    index = first.index
    return [delta if delta.payload is None else kind(delta.text, index) for delta in deltas]


def run_of(items: Sequence[Any], at: int) -> int:
    """Where the run of events ends that carry nothing but more of the call, or of the field of a part, that begins there."""
    first: Any = items[at]
    kind, index, end, size = first.__class__, first.index, at + 1, len(items)
    if kind is PartDelta:
        field = first.part, first.channel, first.path, first.json
        while end < size and (other := items[end]).__class__ is kind and other.index == index:
            if (other.part, other.channel, other.path, other.json) != field:
                break
            end += 1
        return end
    number = first.tool_index
    while end < size and (other := items[end]).__class__ is kind and other.index == index:
        if other.name is not None or other.id is not None or other.type is not None or other.tool_index != number:
            break
        end += 1
    return end


def bare_calls(deltas: Sequence[ToolCallDelta]) -> list[ToolCallDelta]:
    """Adjacent pieces of one call, of which only the first may have more than arguments, without their raw chunks."""
    first = deltas[0]
    number, index = first.tool_index, first.index
    if first.payload is not None:
        known = type(first) is ToolCallDelta
        first = (
            ToolCallDelta(number, first.id, first.name, first.arguments, index, first.type) if known else bare(first)
        )
    if len(deltas) == 1:
        return [first]
    return [
        first,
        *[
            delta if delta.payload is None else ToolCallDelta(number, None, None, delta.arguments, index)
            for delta in deltas[1:]
        ],
    ]


def bare(event: E) -> E:
    """The event without its raw chunk, which may contain text that is buffered, or that must never be released."""
    if getattr(event, "payload", None) is None:
        return event
    changed: Any = msgspec.structs.replace(cast(Any, event), payload=None)
    return cast(E, changed)
