"""The calls of tools of one choice, and the texts of its parts.

Each is buffered as a whole, and released in its place as it arrived, changed, or not at all.
"""

from collections.abc import Container, Iterator, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from streamkit.events import Channel, Event, PartDelta, ToolCallDelta
from streamkit.moderation.channels import CALLS, bare_calls, split
from streamkit.moderation.json_escapes import Decoded, Unescaped, Verbatim, spliced
from streamkit.moderation.policy import Policy
from streamkit.moderation.quotes import WithheldText
from streamkit.moderation.report import Cost, Subject
from streamkit.moderation.rule import Judges, Ruling, Verdicts

Exceeded: TypeAlias = Literal["characters", "seconds"]


class CallOwner(Protocol):
    """The choice that calls belong to."""

    index: int
    policy: Policy
    judges: Judges
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

    def report(self, ruling: Ruling, channel: Channel, subject: Subject, out: list[Event]) -> None:
        """Release the event that reports a decision."""
        ...

    def say(self, said: str | None, channel: Channel, out: list[Event], at: int = 0) -> None:
        """Release text in the place of other text."""
        ...

    def keep_order(self, event: Event, out: list[Event]) -> None:
        """Release an event behind the text that arrived before it."""
        ...

    def exceeds(self, limit: Exceeded, place: tuple[int, int, Channel], subject: Subject, out: list[Event]) -> bool:
        """Whether what exceeds a limit is released undecided. If not, the choice is blocked."""
        ...

    def refuse(self, by: Verdicts, out: list[Event]) -> None:
        """End the choice by a decision."""
        ...


class ToolCalls:
    """The calls and fields of a choice that are moderated. What is released is appended to `out`."""

    def __init__(self, choice: CallOwner) -> None:
        self._choice = choice
        self.moderated = any(map(choice.judges.moderates, CALLS))
        """Whether calls are; of parts each channel by itself."""
        self._calls: dict[int, CallRelease] = {}
        self._fields: dict[int, dict[str, CallRelease]] = {}
        """Those that are not complete, by their part, and their channel and path."""

    def __iter__(self) -> Iterator["CallRelease"]:
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

    def call(self, deltas: Sequence[ToolCallDelta], joined: str, out: list[Event]) -> None:
        """Take adjacent pieces of a call that is moderated, of which only the first may have more than arguments."""
        self._choice.deltas += len(deltas)
        number = deltas[0].tool_index
        call = self._calls.get(number) or self._begin(number)
        call.feed(bare_calls(deltas), joined, out)

    def part(self, deltas: Sequence[PartDelta], joined: str, out: list[Event]) -> None:
        """Take adjacent pieces of the text of one field of a part, which is moderated by rules."""
        self._choice.deltas += len(deltas)
        first = deltas[0]
        field = self._fields.get(first.part, {}).get(_key(first)) or self._begin_field(first)
        field.feed([ToolCallDelta(first.part, None, None, delta.text, first.index) for delta in deltas], joined, out)

    def _begin(self, number: int) -> "CallRelease":
        call = self._calls[number] = CallRelease(self._choice, number, CALLS)
        return call

    def _begin_field(self, delta: PartDelta) -> "CallRelease":
        field = CallRelease(self._choice, delta.part, (delta.channel,), delta)
        self._fields.setdefault(delta.part, {})[_key(delta)] = field
        return field

    def end_fields(self, part: int, names: Container[str] | None, out: list[Event]) -> None:
        """The text of those fields of a part, or of all, is complete."""
        fields = self._fields.pop(part, {})
        for key, field in list(fields.items()):
            if names is None or (field.of and field.of.path and field.of.path[0] in names):
                fields.pop(key).close(out)
        if fields:
            self._fields[part] = fields

    def close(self, out: list[Event]) -> None:
        """No more of them arrives."""
        for call in list(self):
            call.close(out)

    def expire(self, before: float, out: list[Event]) -> None:
        """Apply `on_max_hold` to those that have been buffered since an earlier time."""
        for call in list(self):
            if call.since is not None and call.since < before:
                call.exceed("seconds", out)

    def drop(self) -> None:
        """Discard what is buffered."""
        for call in self:
            call.discard()

    def shift(self, later: float) -> None:
        """Continue by a clock that is so much later."""
        for call in self:
            call.shift(later)

    def state(self) -> Any:
        """Return the state as JSON-compatible data, for a checkpoint."""
        fields = [field.state() for fields in self._fields.values() for field in fields.values()]
        return {"calls": [[number, call.state()] for number, call in self._calls.items()], "fields": fields}

    def restore(self, state: Any) -> None:
        """Continue from `state`."""
        for number, known in state["calls"]:
            self._begin(number).restore(known)
        for known in state["fields"]:
            self._begin_field(msgspec.convert(known["of"], PartDelta)).restore(known)


class CallRelease:
    """One call. Half of a call is none: it is buffered until its arguments are a complete document, if nothing of that is
    undecided then, or until its choice ends, as what follows the document is. Where nothing can be withheld it is passed on as
    it arrives.

    With `of` it is the text of a field of a part, as its arguments; it is complete at the end of the part at the latest."""

    def __init__(
        self, choice: CallOwner, tool_index: int, channels: tuple[Channel, ...], of: PartDelta | None = None
    ) -> None:
        judges, index = choice.judges, choice.index
        self._choice = choice
        self._cost = choice.cost
        self._limit = choice.policy.max_hold_chars
        self._subject = Subject(None, of.part, of.path) if of else Subject(tool_index)
        self.of = of and msgspec.structs.replace(of, text="", payload=None)
        self._channel: Channel = channels[0]
        self._arguments = judges.judge(index, channels[0]) if judges.moderates(channels[0]) else None
        self._name = judges.judge(index, _NAME) if of is None and judges.moderates(_NAME) else None
        self._open = choice.policy.mode == "observe" or not judges.withholds(*channels)
        """Whether it is passed on as it arrives."""
        self._over = False
        """Whether it is withheld for good."""
        self._held = 0
        """Characters that are buffered."""
        self._deltas: list[ToolCallDelta] = []
        self._arrived: list[tuple[float | None, int]] = []  # when, and how many pieces
        self._json = Unescaped() if of is None or of.json else None
        self._at_end = False  # what has arrived is a document, and no more
        self._names = ""
        self._named = False  # its name is whole, since its arguments have begun
        self._renamed = False
        self._edits: list[tuple[Channel, int, int, str]] = []
        self._decoded = 0  # of the arguments
        self._start = 0  # where in the decoded arguments the document begins that is buffered
        self._reader: Decoded | Verbatim | None = None  # of so many pieces, once something was found in them
        self._read = 0

    @property
    def pending(self) -> bool:
        """Whether some of it is buffered."""
        return bool(self._deltas)

    @property
    def since(self) -> float | None:
        """When the first piece arrived that is buffered."""
        return self._arrived[0][0] if self._arrived else None

    @property
    def _is_over(self) -> bool:
        return self._over or self._choice.blocked

    # What arrives

    def feed(self, deltas: list[ToolCallDelta], joined: str, out: list[Event]) -> None:
        """Take adjacent pieces with these arguments, of which only the first may have a name."""
        if self._is_over:
            self._cost.withheld += len(joined)
            return
        limit = self._limit
        # Of names only as much is buffered as of arguments.
        if limit is None or self._open or self._held + len(joined) + len(deltas[0].name or "") <= limit:
            self._feed(deltas, joined, out)
            return
        for delta in deltas:
            rest: ToolCallDelta | None = delta
            while rest and not self._is_over:
                piece, rest = (rest, None) if self._open else split(rest, limit - self._held)
                self._feed([piece], piece.arguments, out)
                if self._held > limit:
                    self.exceed("characters", out)

    def _feed(self, deltas: list[ToolCallDelta], joined: str, out: list[Event]) -> None:
        cost, json, decoded, new = self._cost, self._json, joined, ""
        rest: list[ToolCallDelta] = []
        if deltas[0].name:
            deltas, new = self._named_once(deltas)
        pieces = len(deltas)
        if json and joined:
            if json.complete:
                self._at_end, decoded = False, json.feed(joined)
            else:
                # As far as to the end of the document.
                decoded, taken = json.document(joined)
                self._at_end = json.complete
                if taken < len(joined):
                    deltas, rest = _split_run(deltas, taken)
                    joined = joined[:taken]
        cost.checks += 1
        arrived = len(new) + len(joined)
        if self._open:
            cost.released += arrived
            self._emit(deltas, out)
        else:
            self._deltas += deltas
            self._arrived.append((self._choice.now, len(deltas)))
            self._held += arrived
            cost.held += arrived
            if self._reader:
                # With each piece, so that not all of it is left for the end.
                self._read_on()
        if new:
            self._judge(_NAME, new, out)
        if joined and not self._named:
            self._named = True
            self._judge(_NAME, "", out, final=True)
        if decoded:
            self._judge(self._channel, decoded, out)
        if self._is_over:
            return
        if self._at_end and self._is_decided:
            self._release(out)
        elif arrived and not self._open:
            cost.add_held(pieces - len(rest), arrived)
        if rest:
            self._feed(rest, "".join(delta.arguments for delta in rest), out)

    def _named_once(self, deltas: list[ToolCallDelta]) -> tuple[list[ToolCallDelta], str]:
        # With what of the name is new. Some providers repeat the whole name with every piece.
        new = deltas[0].name or ""
        if new == self._names:
            new = ""
        elif not self._named:
            self._names += new
        if not (self._named and (new or self._renamed)):
            return deltas, new
        # The name was decided as a whole; a client that joins the pieces of a name must not receive more of it, nor again
        # what was redacted in it.
        return [msgspec.structs.replace(deltas[0], name=None), *deltas[1:]] if self._name else deltas, ""

    @property
    def _is_decided(self) -> bool:
        return all(judge.complete for judge in (self._name, self._arguments) if judge)

    # What is decided

    def _judge(self, channel: Channel, text: str, out: list[Event], *, final: bool = False) -> None:
        judge = self._name if channel == _NAME else self._arguments
        if channel != _NAME:
            self._decoded += len(text)
        if judge and not self._is_over:
            for ruling in judge.feed(text, final=final):
                if not self._is_over:
                    self._rule(channel, ruling, out)

    def _rule(self, channel: Channel, ruling: Ruling, out: list[Event]) -> None:
        by, start, end, choice = ruling.by, ruling.start, ruling.end, self._choice
        if ruling.kind != "removed":
            choice.report(ruling, channel, self._subject, out)
        if ruling.kind == "extended" or by.action == "annotate":
            return
        choice.altered = True
        choice.withheld.add(self._text(channel, start, end))
        match by.action:
            case "redact":
                self._renamed = self._renamed or channel == _NAME
                self._edits.append((channel, start, end, "" if ruling.kind == "removed" else by.replacement))
            case "replace":
                choice.cut = True
                self.discard()
                choice.say(by.replacement, "content", out)
            case _:
                choice.refuse(by, out)

    def _text(self, channel: Channel, start: int, end: int) -> str:
        # A span of the name, or of the decoded arguments that are buffered.
        if channel == _NAME:
            return self._names[start:end]
        return self._read_on().span(max(start - self._start, 0), max(end - self._start, 0))

    def _read_on(self) -> Decoded | Verbatim:
        if self._reader is None:
            self._reader = Decoded() if self._json else Verbatim()
        for delta in self._deltas[self._read :]:
            self._reader.feed(delta.arguments)
        self._read = len(self._deltas)
        return self._reader

    def exceed(self, limit: Exceeded, out: list[Event]) -> None:
        """Apply `on_max_hold`."""
        place = (self._start, self._decoded, self._channel) if self._arguments else (0, len(self._names), _NAME)
        if not self._choice.blocked and self._choice.exceeds(limit, place, self._subject, out):
            self._release(out)
            self._open = True

    # What is released

    def _release(self, out: list[Event]) -> None:
        # The pieces as they arrived, or as one if something in them was changed.
        deltas, withheld = self._changed() if self._deltas and self._edits else (self._deltas, 0)
        self._cost.withheld += withheld
        self._cost.released += self._held - withheld
        self._clear(self._choice.now)
        self._emit(deltas, out)

    def _emit(self, deltas: list[ToolCallDelta], out: list[Event]) -> None:
        if self.of is None:
            out += deltas
            return
        for delta in deltas:
            if delta.arguments:
                # It follows the start of its part, which may be buffered behind text.
                self._choice.keep_order(msgspec.structs.replace(self.of, text=delta.arguments), out)

    def close(self, out: list[Event]) -> None:
        """No more of it arrives."""
        if self._is_over:
            return
        if not self._named:
            self._judge(_NAME, "", out, final=True)
        self._judge(self._channel, self._json.feed("", final=True) if self._json else "", out, final=True)
        if not self._is_over:
            self._release(out)

    def discard(self) -> None:
        """Withhold what is buffered, and all that arrives later."""
        self._cost.withheld += self._held
        self._clear(None)
        self._over = True

    def _clear(self, now: float | None) -> None:
        self._cost.held -= self._held
        for arrived, pieces in self._arrived:
            self._cost.end_held(arrived, now, pieces)
        self._deltas, self._arrived, self._edits, self._held = [], [], [], 0
        self._reader, self._read = None, 0
        self._start = self._decoded

    def _changed(self) -> tuple[list[ToolCallDelta], int]:
        # With the number of characters, as they arrived, that were replaced.
        deltas, edits = self._deltas, self._edits
        known = {
            field: next((value for delta in deltas if (value := getattr(delta, field))), None)
            for field in ("id", "type")
        }
        of_name = [(start, end, text) for channel, start, end, text in edits if channel == _NAME]
        withheld = sum(end - start for start, end, _ in of_name)
        reader = self._read_on()
        reader.feed("", final=True)
        located = reader.located(
            (start - self._start, end - self._start, text) for channel, start, end, text in edits if channel != _NAME
        )
        withheld += sum(end - start for start, end, _ in located)
        arguments = spliced("".join(delta.arguments for delta in deltas), located)
        first = deltas[0]
        name = spliced(self._names, of_name) if any(delta.name for delta in deltas) else None
        changed = ToolCallDelta(first.tool_index, known["id"], name, arguments, first.index, known["type"])
        return [changed], withheld

    # Checkpoints

    def shift(self, later: float) -> None:
        """Continue by a clock that is so much later."""
        self._arrived = [(None if arrived is None else arrived + later, pieces) for arrived, pieces in self._arrived]

    def state(self) -> Any:
        """Return the state as JSON-compatible data, for a checkpoint."""
        return {
            **{name: getattr(self, name) for name in _PLAIN},
            "deltas": msgspec.to_builtins(self._deltas),
            "json": self._json and self._json.state(),
            "of": self.of and msgspec.to_builtins(self.of),
            "judges": [judge and judge.state() for judge in (self._name, self._arguments)],
        }

    def restore(self, state: Any) -> None:
        """Continue from `state`."""
        for name in _PLAIN:
            setattr(self, name, state[name])
        self._edits = [(channel, start, end, text) for channel, start, end, text in state["_edits"]]
        self._arrived = [(arrived, pieces) for arrived, pieces in state["_arrived"]]
        self._deltas = msgspec.convert(state["deltas"], list[ToolCallDelta])
        if self._json:
            self._json.restore(state["json"])
        for judge, known in zip((self._name, self._arguments), state["judges"], strict=True):
            if judge:
                judge.restore(known)


def _key(delta: PartDelta) -> str:
    return "\0".join((delta.channel, *delta.path))


def _split_run(deltas: list[ToolCallDelta], at: int) -> tuple[list[ToolCallDelta], list[ToolCallDelta]]:
    # Adjacent pieces before and after so many characters of their arguments.
    for number, delta in enumerate(deltas):
        if at <= len(delta.arguments):
            first, rest = split(delta, at)
            return [*deltas[:number], first], [*([rest] if rest else []), *deltas[number + 1 :]]
        at -= len(delta.arguments)
    return deltas, []


_PLAIN = (
    "_open",
    "_over",
    "_held",
    "_at_end",
    "_arrived",
    "_names",
    "_named",
    "_renamed",
    "_edits",
    "_decoded",
    "_start",
)
_NAME: Channel = "tool_name"
