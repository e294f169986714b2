"""A call of a tool, or text of a part: buffered as a whole, and released as it arrived, changed, or not at all."""

from typing import Any, Literal, TypeAlias

import msgspec

from streamkit.events import Channel, Event, PartDelta, ToolCallDelta
from streamkit.moderation.channels import split
from streamkit.moderation.json_escapes import Decoded, Unescaped, Verbatim, spliced
from streamkit.moderation.report import Cost
from streamkit.moderation.rule import Judge, Ruling

Exceeded: TypeAlias = Literal["characters", "seconds"]


class CallRelease:
    """One call. Half of a call is none: it is buffered until its arguments are a complete document, if nothing of that is
    undecided then, or until its choice ends, as what follows the document is. With `open` it is passed on as it arrives.

    With `of` it is the text of a field of a part, as its arguments; it is complete at the end of the part at the latest."""

    def __init__(
        self,
        tool_index: int,
        name: Judge | None,
        arguments: Judge | None,
        *,
        open: bool,
        of: PartDelta | None = None,
    ) -> None:
        self.tool_index = None if of else tool_index
        self.of = of and msgspec.structs.replace(of, text="", payload=None)
        self.channel: Channel = of.channel if of else "tool_arguments"
        self.name = name
        self.arguments = arguments
        self.open = open
        self.over = False
        """Whether it is withheld for good."""
        self.held = 0
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
    def decided(self) -> bool:
        """Whether it may be released before its choice ends."""
        return self._at_end and all(judge.complete for judge in (self.name, self.arguments) if judge)

    @property
    def place(self) -> tuple[int, int, Channel]:
        """The position of the buffered text as verdicts report it: start, end, channel."""
        if self.arguments:
            return self._start, self._decoded, self.channel
        return 0, len(self._names), "tool_name"

    def arrive(
        self, deltas: list[ToolCallDelta], joined: str, now: float | None
    ) -> tuple[list[ToolCallDelta], list[tuple[Channel, Ruling]], list[ToolCallDelta]]:
        """Take adjacent pieces with these arguments, of which only the first may have a name, as far as to the end of the
        document.

        Returns them as they may be released, what is decided about the call, and the rest of the pieces."""
        new = self._spelled(deltas[0]) if deltas[0].name else ""
        if deltas[0].name and self._named and (new or self._renamed):
            # The name was decided as a whole; a client that joins the pieces of a name must not receive more of it, nor again
            # what was redacted in it.
            deltas = [msgspec.structs.replace(deltas[0], name=None), *deltas[1:]] if self.name else deltas
            new = ""
        json, decoded, rest = self._json, joined, list[ToolCallDelta]()
        if json and joined:
            if json.complete:
                self._at_end, decoded = False, json.feed(joined)
            else:
                decoded, taken = json.document(joined)
                self._at_end = json.complete
                if taken < len(joined):
                    deltas, rest = split_run(deltas, taken)
                    joined = joined[:taken]
        if not self.open:
            self._deltas += deltas
            self._arrived.append((now, len(deltas)))
            self.held += len(new) + len(joined)
            if self._reader:
                # With each piece, so that not all of it is left for the end.
                self._read_on()
        rulings = self._rulings("tool_name", new) if new else []
        if joined and not self._named:
            self._named = True
            rulings += self._rulings("tool_name", "", final=True)
        if decoded:
            rulings += self._rulings(self.channel, decoded)
        return deltas, rulings, rest

    def end(self) -> list[tuple[Channel, Ruling]]:
        """No more of it arrives: what is decided then."""
        named = [] if self._named else self._rulings("tool_name", "", final=True)
        rest = self._json.feed("", final=True) if self._json else ""
        return named + self._rulings(self.channel, rest, final=True)

    def _rulings(self, channel: Channel, text: str, *, final: bool = False) -> list[tuple[Channel, Ruling]]:
        judge = self.name if channel == "tool_name" else self.arguments
        if channel != "tool_name":
            self._decoded += len(text)
        rulings = judge.feed(text, final=final) if judge else ()
        return [(channel, ruling) for ruling in rulings] if rulings else []

    def _spelled(self, delta: ToolCallDelta) -> str:
        # What of a name is new. Some providers repeat the whole name with every piece.
        if not delta.name or delta.name == self._names:
            return ""
        if not self._named:
            self._names += delta.name
        return delta.name

    def text(self, channel: Channel, start: int, end: int) -> str:
        """A span of the name, or of the decoded arguments that are buffered."""
        if channel == "tool_name":
            return self._names[start:end]
        return self._read_on().span(max(start - self._start, 0), max(end - self._start, 0))

    def _read_on(self) -> Decoded | Verbatim:
        if self._reader is None:
            self._reader = Decoded() if self._json else Verbatim()
        for delta in self._deltas[self._read :]:
            self._reader.feed(delta.arguments)
        self._read = len(self._deltas)
        return self._reader

    def edit(self, channel: Channel, start: int, end: int, text: str) -> None:
        """Release other text in place of a span of the name, or of the decoded arguments."""
        self._renamed = self._renamed or channel == "tool_name"
        self._edits.append((channel, start, end, text))

    def emitted(self, deltas: list[ToolCallDelta]) -> list[Event]:
        """The events that carry those pieces of the text of a part."""
        of = self.of
        return [msgspec.structs.replace(of, text=delta.arguments) for delta in deltas if of and delta.arguments]

    def take(self, cost: Cost, now: float | None) -> list[ToolCallDelta]:
        """Remove what is buffered, to release it: the pieces as they arrived, or as one if something in them was changed."""
        deltas, withheld = self._changed() if self._deltas and self._edits else (self._deltas, 0)
        cost.withheld += withheld
        cost.released += self.held - withheld
        self._clear(cost, now)
        return deltas

    def discard(self, cost: Cost) -> None:
        """Withhold what is buffered, and all that arrives later."""
        cost.withheld += self.held
        self._clear(cost, None)
        self.over = True

    def _clear(self, cost: Cost, now: float | None) -> None:
        cost.held -= self.held
        for arrived, pieces in self._arrived:
            cost.end_held(arrived, now, pieces)
        self._deltas, self._arrived, self._edits, self.held = [], [], [], 0
        self._reader, self._read = None, 0
        self._start = self._decoded

    def _changed(self) -> tuple[list[ToolCallDelta], int]:
        # With the number of characters, as they arrived, that were replaced.
        deltas, edits = self._deltas, self._edits
        known = {
            field: next((value for delta in deltas if (value := getattr(delta, field))), None)
            for field in ("id", "type")
        }
        name, shift, withheld = self._names, 0, 0
        for channel, start, end, text in edits:
            if channel == "tool_name":
                name = name[: start + shift] + text + name[end + shift :]
                shift += len(text) - (end - start)
                withheld += end - start
        reader = self._read_on()
        reader.feed("", final=True)
        located = reader.located(
            (start - self._start, end - self._start, text)
            for channel, start, end, text in edits
            if channel != "tool_name"
        )
        withheld += sum(end - start for start, end, _ in located)
        arguments = spliced("".join(delta.arguments for delta in deltas), located)
        first = deltas[0]
        named = any(delta.name for delta in deltas)
        changed = ToolCallDelta(
            first.tool_index, known["id"], name if named else None, arguments, first.index, known["type"]
        )
        return [changed], withheld

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
            "judges": [judge and judge.state() for judge in (self.name, self.arguments)],
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
        for judge, known in zip((self.name, self.arguments), state["judges"], strict=True):
            if judge:
                judge.restore(known)


def split_run(deltas: list[ToolCallDelta], at: int) -> tuple[list[ToolCallDelta], list[ToolCallDelta]]:
    """Adjacent pieces before and after so many characters of their arguments."""
    for number, delta in enumerate(deltas):
        if at <= len(delta.arguments):
            first, rest = split(delta, at)
            return [*deltas[:number], first], [*([rest] if rest else []), *deltas[number + 1 :]]
        at -= len(delta.arguments)
    return deltas, []


_PLAIN = ("open", "over", "held", "_at_end", "_arrived", "_names", "_named", "_renamed", "_edits", "_decoded", "_start")
