"""A call of a tool, or text of a part: buffered as a whole, and released as it arrived, changed, or not at all."""

from io import SEEK_END, StringIO
from typing import Any, Literal, TypeAlias

import msgspec

from streamkit.events import Channel, Event, PartDelta, ToolCallDelta
from streamkit.moderation.json_escapes import Unescaped, replace
from streamkit.moderation.report import Cost
from streamkit.moderation.rule import Judge, Ruling

Exceeded: TypeAlias = Literal["characters", "seconds"]


class _Verbatim:
    """Text that is no JSON, and is never known to be complete."""

    complete = False

    def feed(self, piece: str, *, final: bool = False) -> str:
        """The text as it is."""
        return piece

    def state(self) -> Any:
        """Nothing."""

    def restore(self, state: Any) -> None:
        """Nothing."""


class CallRelease:
    """One call. Half of a call is none: it is buffered until its arguments are a complete document of which nothing is
    undecided, or until its choice ends. With `open` it is passed on as it arrives.

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
        self._arrived: list[float | None] = []
        self._json: Unescaped | _Verbatim = Unescaped() if of is None or of.json else _Verbatim()
        self._names = ""
        self._named = False  # its name is whole, since its arguments have begun
        self._edits: list[tuple[Channel, int, int, str]] = []
        self._decoded = 0  # of the arguments
        self._start = 0  # where in the decoded arguments the document begins that is buffered
        self._reader: tuple[StringIO, Unescaped | _Verbatim] | None = None  # the decoded arguments of so many pieces
        self._read = 0

    @property
    def pending(self) -> bool:
        """Whether some of it is buffered."""
        return bool(self._deltas)

    @property
    def _is_verbatim(self) -> bool:
        return isinstance(self._json, _Verbatim)

    @property
    def since(self) -> float | None:
        """When the first piece arrived that is buffered."""
        return self._arrived[0] if self._arrived else None

    @property
    def decided(self) -> bool:
        """Whether it may be released before its choice ends."""
        return self._json.complete and all(judge.complete for judge in (self.name, self.arguments) if judge)

    @property
    def place(self) -> tuple[int, int, Channel]:
        """The position of the buffered text as verdicts report it: start, end, channel."""
        if self.arguments:
            return self._start, self._decoded, self.channel
        return 0, len(self._names), "tool_name"

    def arrive(
        self, deltas: list[ToolCallDelta], joined: str, now: float | None
    ) -> tuple[list[ToolCallDelta], list[tuple[Channel, Ruling]]]:
        """Take adjacent pieces with these arguments, of which only the first may have a name.

        Returns them as they may be released, and what is decided about the call."""
        new = self._spelled(deltas[0]) if deltas[0].name else ""
        if new and self._named:
            # The name was decided as a whole; a client that joins the pieces of a name must not receive more of it.
            deltas = [msgspec.structs.replace(deltas[0], name=None), *deltas[1:]] if self.name else deltas
            new = ""
        if not self.open:
            self._deltas += deltas
            self._arrived += [now] * len(deltas)
            self.held += len(new) + len(joined)
        return deltas, self._judge(new, joined)

    def end(self) -> list[tuple[Channel, Ruling]]:
        """No more of it arrives: what is decided then."""
        named = [] if self._named else self._rulings("tool_name", "", final=True)
        return named + self._rulings(self.channel, self._json.feed("", final=True), final=True)

    def _judge(self, name: str, arguments: str) -> list[tuple[Channel, Ruling]]:
        rulings = self._rulings("tool_name", name) if name else []
        if arguments:
            if not self._named:
                self._named = True
                rulings += self._rulings("tool_name", "", final=True)
            if decoded := self._json.feed(arguments):
                rulings += self._rulings(self.channel, decoded)
        return rulings

    def _rulings(self, channel: Channel, text: str, *, final: bool = False) -> list[tuple[Channel, Ruling]]:
        judge = self.name if channel == "tool_name" else self.arguments
        if channel != "tool_name":
            self._decoded += len(text)
        return [(channel, ruling) for ruling in judge.feed(text, final=final)] if judge else []

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
        # Decoded once, as far as something was found in it.
        self._reader = self._reader or (StringIO(newline=""), _Verbatim() if self._is_verbatim else Unescaped())
        decoded, decode = self._reader
        for delta in self._deltas[self._read :]:
            decoded.write(decode.feed(delta.arguments))
        self._read = len(self._deltas)
        decoded.seek(max(start - self._start, 0))
        found = decoded.read(end - max(start, self._start))
        decoded.seek(0, SEEK_END)
        return found

    def edit(self, channel: Channel, start: int, end: int, text: str) -> None:
        """Release other text in place of a span of the name, or of the decoded arguments."""
        self._edits.append((channel, start, end, text))

    def emitted(self, deltas: list[ToolCallDelta]) -> list[Event]:
        """The events that carry those pieces of the text of a part."""
        of = self.of
        return [msgspec.structs.replace(of, text=delta.arguments) for delta in deltas if of and delta.arguments]

    def take(self, cost: Cost, now: float | None) -> list[ToolCallDelta]:
        """Remove what is buffered: the pieces as they arrived, or as one if something in them was changed."""
        cost.held -= self.held
        for arrived in self._arrived:
            cost.end_held(arrived, now)
        deltas, edits = self._deltas, self._edits
        self._deltas, self._arrived, self._edits, self.held = [], [], [], 0
        self._reader, self._read = None, 0
        if deltas and edits:
            deltas = [self._changed(deltas, edits)]
        if self._json.complete:
            self._json = Unescaped()
            self._start = self._decoded
        return deltas

    def _changed(self, deltas: list[ToolCallDelta], edits: list[tuple[Channel, int, int, str]]) -> ToolCallDelta:
        known = {
            field: next((value for delta in deltas if (value := getattr(delta, field))), None)
            for field in ("id", "type")
        }
        name, shift = self._names, 0
        for channel, start, end, text in edits:
            if channel == "tool_name":
                name = name[: start + shift] + text + name[end + shift :]
                shift += len(text) - (end - start)
        put = _replace if self._is_verbatim else replace
        arguments = put(
            "".join(delta.arguments for delta in deltas),
            [
                (start - self._start, end - self._start, text)
                for channel, start, end, text in edits
                if channel != "tool_name"
            ],
        )
        first = deltas[0]
        named = any(delta.name for delta in deltas)
        return ToolCallDelta(
            first.tool_index, known["id"], name if named else None, arguments, first.index, known["type"]
        )

    def shift(self, later: float) -> None:
        """Continue by a clock that is so much later."""
        self._arrived = [None if arrived is None else arrived + later for arrived in self._arrived]

    def state(self) -> Any:
        """Return the state as JSON-compatible data, for a checkpoint."""
        return {
            **{name: getattr(self, name) for name in _PLAIN},
            "deltas": msgspec.to_builtins(self._deltas),
            "json": self._json.state(),
            "of": self.of and msgspec.to_builtins(self.of),
            "judges": [judge and judge.state() for judge in (self.name, self.arguments)],
        }

    def restore(self, state: Any) -> None:
        """Continue from `state`."""
        for name in _PLAIN:
            setattr(self, name, state[name])
        self._edits = [(channel, start, end, text) for channel, start, end, text in state["_edits"]]
        self._deltas = msgspec.convert(state["deltas"], list[ToolCallDelta])
        self._json.restore(state["json"])
        for judge, known in zip((self.name, self.arguments), state["judges"], strict=True):
            if judge:
                judge.restore(known)


_PLAIN = ("open", "over", "held", "_arrived", "_names", "_named", "_edits", "_decoded", "_start")


def _replace(text: str, edits: list[tuple[int, int, str]]) -> str:
    parts, at = list[str](), 0
    for start, end, replacement in edits:
        parts += text[at:start], replacement
        at = end
    return "".join([*parts, text[at:]])


def split(delta: ToolCallDelta, room: int) -> tuple[ToolCallDelta, ToolCallDelta | None]:
    """The piece of which no more than `room` characters are arguments, at least one, and the rest."""
    room = max(room, 1)
    if len(delta.arguments) <= room:
        return delta, None
    rest = ToolCallDelta(delta.tool_index, None, None, delta.arguments[room:], delta.index)
    return msgspec.structs.replace(delta, arguments=delta.arguments[:room]), rest
