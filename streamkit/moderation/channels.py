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
    ReasoningDelta,
    RefusalDelta,
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


def without_transcript(delta: AudioDelta) -> AudioDelta | None:
    """The rest of a spoken answer's delta: its sound, identifier and expiry. None if there is none of these."""
    if delta.data or delta.id or delta.expires_at is not None:
        return msgspec.structs.replace(delta, transcript=None, payload=None)
    return None


def channel_of(delta: Any) -> Channel:
    """The channel of an event that is a text and the index of its choice, also of a class derived from one of these."""
    found = next(kind for kind in type(delta).__mro__ if kind in CHANNEL_OF)
    return CHANNEL_OF[found]


def text_of(delta: Any) -> str:
    """The text that an event of one of the channels carries."""
    text: Any = delta.transcript if isinstance(delta, AudioDelta) else delta.text
    return str(text)


def bare_deltas(deltas: Sequence[Any]) -> Iterable[Event]:
    """Adjacent deltas of one channel of one choice, without their raw chunks."""
    first = deltas[0]
    if (kind := cast("type[Any]", type(first))) not in CHANNEL_OF:
        return map(bare, deltas)
    index = first.index
    return [delta if delta.payload is None else kind(delta.text, index) for delta in deltas]


def continues(first: ToolCallDelta | PartDelta, other: object) -> bool:
    """Whether an event carries nothing but more of the same call, or of the same field of a part."""
    if other.__class__ is not first.__class__:
        return False
    if isinstance(first, PartDelta):
        other = cast("PartDelta", other)
        same = (other.part, other.index, other.channel) == (first.part, first.index, first.channel)
        return same and (other.path, other.json) == (first.path, first.json)
    other = cast("ToolCallDelta", other)
    alone = other.name is None and other.id is None and other.type is None
    return alone and other.tool_index == first.tool_index and other.index == first.index


def bare_calls(deltas: Sequence[ToolCallDelta]) -> list[ToolCallDelta]:
    """Adjacent pieces of one call, of which only the first may have more than arguments, without their raw chunks."""
    first = deltas[0]
    number, index = first.tool_index, first.index
    return [
        bare(first),
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
