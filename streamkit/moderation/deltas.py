"""Text as moderation sees it: which delta is of which channel, in which mode it leaves, and an event without its chunk."""

from typing import Literal, TypeAlias, TypeVar

import msgspec

from streamkit.events import Channel, Event, ReasoningDelta, RefusalDelta, TextDelta

Delta: TypeAlias = TextDelta | ReasoningDelta | RefusalDelta
Mode: TypeAlias = Literal["hold", "observe", "optimistic"]
CHANNEL_OF: dict[type, Channel] = {TextDelta: "content", ReasoningDelta: "reasoning", RefusalDelta: "refusal"}
DELTA_OF: dict[Channel, type[Delta]] = {"content": TextDelta, "reasoning": ReasoningDelta, "refusal": RefusalDelta}
E = TypeVar("E", bound=Event)


def bare(event: E) -> E:
    """The event alone: the chunk that it was taken from may hold text that waits, or that must never leave."""
    return msgspec.structs.replace(event, payload=None) if getattr(event, "payload", None) is not None else event
