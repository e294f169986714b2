"""The calls of tools of one choice, and the texts of its parts: each is buffered as a whole, and released in its place."""

from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any, Protocol

import msgspec

from streamkit.events import Channel, Event, PartDelta, ToolCallDelta
from streamkit.moderation.channels import bare_calls, split
from streamkit.moderation.quotes import WithheldText
from streamkit.moderation.report import Cost
from streamkit.moderation.rule import Ruling, Verdicts
from streamkit.moderation.tool_call import CallRelease, Exceeded


class CallOwner(Protocol):
    """The choice that calls belong to."""

    cost: Cost
    withheld: WithheldText
    deltas: int
    blocked: bool
    cut: bool
    altered: bool

    @property
    def now(self) -> float | None:
        """The time of the stream."""
        ...

    def report(self, ruling: Ruling, channel: Channel, tool_index: int | None, out: list[Event]) -> None:
        """Release the event that reports a decision."""
        ...

    def say(self, said: str | None, channel: Channel, out: list[Event], at: int = 0) -> None:
        """Release text in the place of other text."""
        ...

    def keep_order(self, event: Event, out: list[Event]) -> None:
        """Release an event behind the text that arrived before it."""
        ...

    def exceeds(
        self, limit: Exceeded, place: tuple[int, int, Channel], tool_index: int | None, out: list[Event]
    ) -> bool:
        """Whether what exceeds a limit is released undecided. If not, the choice is blocked."""
        ...

    def refuse(self, by: Verdicts, out: list[Event]) -> None:
        """End the choice by a decision."""
        ...


class ToolCalls:
    """The calls and fields of a choice that are moderated. What is released is appended to `out`."""

    def __init__(self, choice: CallOwner, limit: int | None) -> None:
        self._choice = choice
        self._cost = choice.cost
        self._limit = limit
        self._calls: dict[int, CallRelease] = {}
        self._fields: dict[
            int, dict[str, CallRelease]
        ] = {}  # those that are not complete, by their part and their path

    def __iter__(self) -> Iterator[CallRelease]:
        yield from self._calls.values()
        for fields in self._fields.values():
            yield from fields.values()

    @property
    def pending(self) -> bool:
        """Whether some of them are buffered."""
        return any(call.pending for call in self)

    @property
    def has_fields(self) -> bool:
        """Whether a part has a field that is not complete."""
        return bool(self._fields)

    def call(
        self, deltas: Sequence[ToolCallDelta], joined: str, begin: Callable[[int], CallRelease], out: list[Event]
    ) -> None:
        """Take adjacent pieces of a call that is moderated, of which only the first may have more than arguments."""
        self._choice.deltas += len(deltas)
        number = deltas[0].tool_index
        call = self._calls.get(number)
        if call is None:
            call = self._calls[number] = begin(number)
        self._take(call, bare_calls(deltas), joined, out)

    def part(
        self, deltas: Sequence[PartDelta], joined: str, begin: Callable[[PartDelta], CallRelease], out: list[Event]
    ) -> None:
        """Take adjacent pieces of the text of one field of a part, which is moderated by rules."""
        self._choice.deltas += len(deltas)
        first = deltas[0]
        fields = self._fields.setdefault(first.part, {})
        key = "\0".join((first.channel, *first.path))
        if key not in fields:
            fields[key] = begin(first)
        pieces = [ToolCallDelta(first.part, None, None, delta.text, first.index) for delta in deltas]
        self._take(fields[key], pieces, joined, out)

    def end_fields(self, part: int, names: Container[str] | None, out: list[Event]) -> None:
        """The text of those fields of a part, or of all, is complete."""
        fields = self._fields.pop(part, {})
        for key, field in list(fields.items()):
            if names is None or (field.of and field.of.path and field.of.path[0] in names):
                self._close(fields.pop(key), out)
        if fields:
            self._fields[part] = fields

    def _take(self, call: CallRelease, deltas: list[ToolCallDelta], joined: str, out: list[Event]) -> None:
        if call.over or self._choice.blocked:
            return
        limit = self._limit
        # Of names only as much is buffered as of arguments.
        if limit is None or call.open or call.held + len(joined) + len(deltas[0].name or "") <= limit:
            self._arrive(call, deltas, joined, out)
            return
        for delta in deltas:
            rest: ToolCallDelta | None = delta
            while rest and not (call.over or self._choice.blocked):
                piece, rest = (rest, None) if call.open else split(rest, limit - call.held)
                self._arrive(call, [piece], piece.arguments, out)
                if call.held > limit:
                    self._exceed(call, "characters", out)

    def _arrive(self, call: CallRelease, deltas: list[ToolCallDelta], joined: str, out: list[Event]) -> None:
        cost, before = self._cost, call.held
        released, rulings, rest = call.arrive(deltas, joined, self._choice.now)
        arrived = call.held - before
        cost.held += arrived
        cost.checks += 1
        if call.open:
            cost.released += sum(len(delta.arguments) + len(delta.name or "") for delta in released)
            self._emit(call, released, out)
        self._rule(call, rulings, out)
        if call.over or self._choice.blocked:
            return
        if call.decided:
            self._send(call, out)
        elif arrived:
            cost.add_held(len(deltas) - len(rest), arrived)
        if rest:
            self._arrive(call, rest, "".join(delta.arguments for delta in rest), out)

    def _rule(self, call: CallRelease, rulings: list[tuple[Channel, Ruling]], out: list[Event]) -> None:
        for channel, ruling in rulings:
            by, start, end = ruling.by, ruling.start, ruling.end
            if ruling.kind != "removed":
                self._choice.report(ruling, channel, call.tool_index, out)
            if ruling.kind == "extended" or by.action == "annotate":
                continue
            self._choice.altered = True
            self._choice.withheld.add(call.text(channel, start, end))
            match by.action:
                case "redact":
                    call.edit(channel, start, end, "" if ruling.kind == "removed" else by.replacement)
                case "replace":
                    self._choice.cut = True
                    call.discard(self._cost)
                    self._choice.say(by.replacement, "content", out)
                    return
                case _:
                    self._choice.refuse(by, out)
                    return

    def _send(self, call: CallRelease, out: list[Event]) -> None:
        self._emit(call, call.take(self._cost, self._choice.now), out)

    def _emit(self, call: CallRelease, deltas: list[ToolCallDelta], out: list[Event]) -> None:
        if call.of is None:
            out += deltas
            return
        for event in call.emitted(deltas):
            # It follows the start of its part, which may be buffered behind text.
            self._choice.keep_order(event, out)

    def _exceed(self, call: CallRelease, limit: Exceeded, out: list[Event]) -> None:
        if not self._choice.blocked and self._choice.exceeds(limit, call.place, call.tool_index, out):
            self._send(call, out)
            call.open = True

    def _close(self, call: CallRelease, out: list[Event]) -> None:
        if not (call.over or self._choice.blocked):
            self._rule(call, call.end(), out)
            if not (call.over or self._choice.blocked):
                self._send(call, out)

    def close(self, out: list[Event]) -> None:
        """No more of them arrives."""
        for call in list(self):
            self._close(call, out)

    def expire(self, before: float, out: list[Event]) -> None:
        """Apply `on_max_hold` to those that have been buffered since an earlier time."""
        for call in list(self):
            if call.since is not None and call.since < before:
                self._exceed(call, "seconds", out)

    def drop(self) -> None:
        """Discard what is buffered."""
        for call in self:
            call.discard(self._cost)

    def shift(self, later: float) -> None:
        """Continue by a clock that is so much later."""
        for call in self:
            call.shift(later)

    def state(self) -> Any:
        """Return the state as JSON-compatible data, for a checkpoint."""
        fields = [[part, key, field.state()] for part, fields in self._fields.items() for key, field in fields.items()]
        return {"calls": [[number, call.state()] for number, call in self._calls.items()], "fields": fields}

    def restore(
        self, state: Any, begin_call: Callable[[int], CallRelease], begin_field: Callable[[PartDelta], CallRelease]
    ) -> None:
        """Continue from `state`, with what makes calls and fields of parts."""
        for number, known in state["calls"]:
            call = self._calls[number] = begin_call(number)
            call.restore(known)
        for part, key, known in state["fields"]:
            field = begin_field(msgspec.convert(known["of"], PartDelta))
            self._fields.setdefault(part, {})[key] = field
            field.restore(known)
