"""One text on its way through the rules: what came, what has left, and how long it waited in between."""

from collections import deque
from typing import Any

import msgspec

from streamkit.events import Channel, ToolCallDelta
from streamkit.moderation.escaped import Escaped, replace
from streamkit.moderation.hold import Hold, Released
from streamkit.moderation.rules import Rule


class Cost(msgspec.Struct):
    """What a stream's moderation has cost so far; see `ModerationReport`."""

    checks: int = 0
    verdicts: int = 0
    deltas: int = 0
    characters: int = 0
    waiting: int = 0
    max_waiting: int = 0
    seconds: float | None = None
    max_seconds: float | None = None

    def restore(self, state: Any) -> None:
        """Go on from what another one is as plain data. Who counts with this one goes on with it."""
        known = msgspec.convert(state, Cost)
        for name in self.__struct_fields__:
            setattr(self, name, getattr(known, name))


class Waiting:
    """The pieces of one text that have not left whole. Positions count in all of the text; times are the stream's."""

    def __init__(self, cost: Cost) -> None:
        self._cost = cost
        self._pieces: deque[tuple[int, float | None, str]] = deque()  # where it ends, when it came, the piece
        self.length = 0
        self.left = 0

    def come(self, text: str, now: float | None) -> None:
        """A piece came. What of it is still here when it was looked at is to be told by `stay`."""
        self.length += len(text)
        self._pieces.append((self.length, now, text))
        self._cost.waiting += len(text)

    def passes(self, came: int, until: int) -> bool:
        """A piece came and may leave at once, as most do; then that is noted. `False` if something waits before or of it."""
        if self.left < self.length or until < self.length + came:
            return False
        self.length = self.left = until
        return True

    def stay(self, came: int) -> None:
        """Of the last piece, of `came` characters, this much could not leave at once."""
        if held := min(came, self.length - self.left):
            cost = self._cost
            cost.deltas += 1
            cost.characters += held
            cost.max_waiting = max(cost.max_waiting, cost.waiting)

    def leave(self, until: int, now: float | None) -> None:
        """The text before that place has left, or never will."""
        cost = self._cost
        cost.waiting -= until - self.left
        self.left = until
        while self._pieces and self._pieces[0][0] <= until:
            _, came, _ = self._pieces.popleft()
            if came is not None and now is not None:
                cost.seconds = (cost.seconds or 0.0) + now - came
                cost.max_seconds = max(cost.max_seconds or 0.0, now - came)

    def since(self) -> float | None:
        """When the oldest piece that waits came."""
        return self._pieces[0][1] if self._pieces else None

    def text(self) -> str:
        """What waits."""
        whole = "".join(piece for _, _, piece in self._pieces)
        return whole[len(whole) - (self.length - self.left) :] if self.length > self.left else ""

    def state(self) -> Any:
        """The same as plain data."""
        return [self.length, self.left, [list(piece) for piece in self._pieces]]

    def restore(self, state: Any) -> None:
        """Go on from where another one was."""
        self.length, self.left, pieces = state
        self._pieces = deque((end, came, piece) for end, came, piece in pieces)

    def shift(self, later: float) -> None:
        """Go on by a clock that is so much later."""
        self._pieces = deque((end, None if came is None else came + later, piece) for end, came, piece in self._pieces)


class Track:
    """One channel of one choice, or of one call: its rules, and what of it waits."""

    def __init__(self, place: tuple[int, Channel, int | None], rules: tuple[Rule, ...], cost: Cost) -> None:
        self.index: int = place[0]
        self.channel: Channel = place[1]
        self.tool_index: int | None = place[2]
        self.cost = cost
        self.hold = Hold(rules)
        # What a call has waiting is counted once, as the call.
        self.waiting = Waiting(cost if self.tool_index is None else Cost())
        self.out = 0
        """Characters that were released in this channel, replacements too."""
        self.over = False
        """The rest was replaced; nothing more of it is looked at."""

    def check(self, text: str, *, final: bool = False) -> list[Released]:
        """Give text to the rules."""
        self.cost.checks += 1
        return self.hold.feed(text, final=final)

    def state(self) -> Any:
        """The same as plain data."""
        return [self.index, self.channel, self.tool_index, self.out, self.over, self.waiting.state(), self.hold.state()]

    def restore(self, state: Any) -> None:
        """Go on from where another one was."""
        _, _, _, self.out, self.over, waiting, hold = state
        self.waiting.restore(waiting)
        self.hold.restore(hold)


class Call:
    """One call of a tool. It waits as a whole, since half of a call is none: until its arguments are a complete document
    about which nothing is undecided, or until its choice ends."""

    def __init__(self, name: Track | None, arguments: Track | None, cost: Cost) -> None:
        self.name = name
        self.arguments = arguments
        self.waiting = Waiting(cost)
        self._deltas: list[ToolCallDelta] = []
        self._escaped = Escaped()
        self._names = ""
        self.named = False
        """Its name is whole, since its arguments have begun."""
        self._edits: list[tuple[str, int, int, str]] = []
        self.past = 0
        """Where in the meaning of its arguments the document begins that waits; what went before has left."""
        self.open = False
        """It is passed on as it comes, since it had to wait for too long."""
        self.over = False
        """It is withheld for good."""

    def spelled(self, delta: ToolCallDelta) -> str:
        """What of a name is new. Some providers repeat the whole name with every piece."""
        if not delta.name or delta.name == self._names:
            return ""
        if not self.named:
            self._names += delta.name
        return delta.name

    def meant(self, delta: ToolCallDelta) -> str:
        """What the next piece of the arguments means, as far as that is certain."""
        return self._escaped.feed(delta.arguments)

    def ending(self) -> str:
        """The same of what is left when no more of it comes."""
        return self._escaped.feed("", final=True)

    def keep(self, delta: ToolCallDelta) -> None:
        """Let a piece wait."""
        self._deltas.append(delta)

    def edit(self, channel: Channel, start: int, end: int, text: str) -> None:
        """Other text is to leave in place of a span of the name, or of what the arguments mean."""
        self._edits.append((channel, start, end, text))

    @property
    def pending(self) -> bool:
        """Whether some of it waits."""
        return bool(self._deltas)

    @property
    def decided(self) -> bool:
        """Whether it may leave before its choice ends."""
        undecided = sum(track.hold.held for track in (self.name, self.arguments) if track)
        return self._escaped.complete and not undecided

    def take(self) -> list[ToolCallDelta]:
        """What leaves: the pieces as they came, or as one if something in them was changed."""
        deltas, self._deltas = self._deltas, []
        edits, self._edits = self._edits, []
        if deltas and edits:
            deltas = [self._changed(deltas, edits)]
        if self._escaped.complete:
            self._escaped = Escaped()
            self.past = self.arguments.waiting.length if self.arguments else 0
        return deltas

    def _changed(self, deltas: list[ToolCallDelta], edits: list[tuple[str, int, int, str]]) -> ToolCallDelta:
        known = {
            field: next((value for delta in deltas if (value := getattr(delta, field))), None)
            for field in ("id", "type")
        }
        name, shift = self._names, 0
        for channel, start, end, text in edits:
            if channel == "tool_name":
                name = name[: start + shift] + text + name[end + shift :]
                shift += len(text) - (end - start)
        arguments = replace(
            "".join(delta.arguments for delta in deltas),
            [
                (start - self.past, end - self.past, text)
                for channel, start, end, text in edits
                if channel != "tool_name"
            ],
        )
        first = deltas[0]
        named = any(delta.name for delta in deltas)
        return ToolCallDelta(
            first.tool_index, known["id"], name if named else None, arguments, first.index, known["type"]
        )

    def state(self) -> Any:
        """The same as plain data."""
        return {
            "name": self.name and self.name.state(),
            "arguments": self.arguments and self.arguments.state(),
            "waiting": self.waiting.state(),
            "deltas": msgspec.to_builtins(self._deltas),
            "escaped": self._escaped.state(),
            "names": self._names,
            "named": self.named,
            "edits": [list(edit) for edit in self._edits],
            "past": self.past,
            "open": self.open,
            "over": self.over,
        }

    def restore(self, state: Any) -> None:
        """Go on from where another one was."""
        for track, known in ((self.name, state["name"]), (self.arguments, state["arguments"])):
            if track:
                track.restore(known)
        self.waiting.restore(state["waiting"])
        self._deltas = msgspec.convert(state["deltas"], list[ToolCallDelta])
        self._escaped.restore(state["escaped"])
        self._names, self.named, self.past = state["names"], state["named"], state["past"]
        self._edits = [(channel, start, end, text) for channel, start, end, text in state["edits"]]
        self.open, self.over = state["open"], state["over"]
