"""Whole tool calls, returned when their choice has ended."""

from collections.abc import Iterable
from typing import Final

import msgspec

from streamkit.completion import EndReason
from streamkit.dialects.finish_reasons import meaning
from streamkit.dialects.tool_identity import Identity
from streamkit.events import Event, Finish, Reset, StreamEnd, ToolCall, ToolCallDelta

WHOLE: Final[frozenset[EndReason]] = frozenset({"completed", "tool_calls"})
"""End reasons of a choice whose calls are complete. A limit or a filter may have cut the last call."""


class _UncheckedCall(msgspec.Struct):
    identity: Identity = msgspec.field(default_factory=Identity)
    arguments: list[str] = []


class CompleteCalls:
    """The reader behind `Views.tool_calls`: returns the calls of choice `index`, or of all, once their choice is complete.

    The end of a part is not enough: a provider that stops at a limit ends the part in the middle of its JSON.
    """

    def __init__(self, index: int | None = 0) -> None:
        self._index = index
        self._calls: dict[int, dict[int, _UncheckedCall]] = {}

    def feed(self, item: Event) -> Iterable[ToolCall]:
        match item:
            case ToolCallDelta(index=index) if self._index is None or index == self._index:
                self._add(item)
            case Finish(finish_reason=reason, index=index) if (end := meaning(reason)) != "unknown":
                return self._end(index, end)
            # Only the dialect knows its special finish reasons; the reason of `StreamEnd` is their meaning.
            case StreamEnd(reason=end):
                return [call for index in list(self._calls) for call in self._end(index, end)]
            case Reset():
                self._calls.clear()
            case _:
                pass
        return ()

    def flush(self) -> Iterable[ToolCall]:
        return ()

    def _add(self, delta: ToolCallDelta) -> None:
        call = self._calls.setdefault(delta.index, {}).setdefault(delta.tool_index, _UncheckedCall())
        call.identity.merge(delta)
        if delta.arguments:
            call.arguments.append(delta.arguments)

    def _end(self, index: int, end: EndReason) -> list[ToolCall]:
        calls = self._calls.pop(index, {})
        return [_whole(number, call) for number, call in sorted(calls.items())] if end in WHOLE else []


def _whole(number: int, call: _UncheckedCall) -> ToolCall:
    known = call.identity
    return ToolCall(known.id, known.name, "".join(call.arguments), number, known.type or "function")
