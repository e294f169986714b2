"""The calls of tools in an answer: each waits as a whole, and leaves as it came, changed or not at all."""

from typing import Any

import msgspec

from streamkit.events import Channel, Event, ToolCallDelta
from streamkit.moderation.choices import Ending
from streamkit.moderation.deltas import Mode
from streamkit.moderation.rules import Rule
from streamkit.moderation.texts import Texts
from streamkit.moderation.track import Call, Cost, Track
from streamkit.moderation.verdicts import Bounds, Exceeded


class Calls:
    """All calls of all choices. What leaves is appended to `out`; an `Ending` says that the choice is to be blocked."""

    def __init__(
        self, rules: dict[Channel, tuple[Rule, ...]], texts: Texts, cost: Cost, mode: Mode, bounds: Bounds
    ) -> None:
        self._names, self._arguments = rules.get("tool_name", ()), rules.get("tool_arguments", ())
        self._texts = texts
        self._cost = cost
        self._bounds = bounds
        harmless = all(rule.action in ("allow", "annotate") for rule in (*self._names, *self._arguments))
        # Where nothing can be taken away, nothing needs to wait.
        self._open = mode == "observe" or harmless
        self._calls: dict[tuple[int, int], Call] = {}

    @property
    def items(self) -> list[tuple[int, Call]]:
        """The calls with the index of their choice."""
        return [(index, call) for (index, _), call in self._calls.items()]

    def feed(self, delta: ToolCallDelta, out: list[Event]) -> Ending | None:
        """Take a delta of a choice that is not blocked."""
        limit = self._bounds.characters
        call = self._calls.get((delta.index, delta.tool_index))
        if call is None:
            call = self._begin(delta.index, delta.tool_index)
        rest: ToolCallDelta | None = delta
        ending: Ending | None = None
        while rest and not call.over and ending is None:
            piece, rest = (rest, None) if limit is None or call.open else _split(rest, limit - _waits(call))
            ending = self._feed_piece(call, piece, out)
            if ending is None and limit is not None and _waits(call) > limit:
                ending = self.exceed(call, "characters", out)
        return ending

    def end(self, call: Call, out: list[Event]) -> Ending | None:
        """No more of this call comes."""
        ending = None if call.named else self._check(call.name, "", call, out, final=True)
        ending = ending or self._check(call.arguments, call.ending(), call, out, final=True)
        if ending is None and not call.over:
            self._send(call, out)
        return ending

    def exceed(self, call: Call, limit: Exceeded, out: list[Event]) -> Ending | None:
        """What waits of a call has come to a bound."""
        track = call.arguments or call.name
        if track is None:
            return None
        ending = self._bounds.exceeded(limit, track, call.past, track.waiting.length, out)
        if ending is None:
            self._send(call, out)
            call.open = True
        return ending

    def waits(self, index: int) -> bool:
        """Whether some of a call of the choice does."""
        return any(call.pending for (choice, _), call in self._calls.items() if choice == index)

    def drop(self, index: int) -> None:
        """What waits of a choice never leaves."""
        for key in [key for key in self._calls if key[0] == index]:
            waiting = self._calls.pop(key).waiting
            waiting.leave(waiting.length, None)

    def _begin(self, index: int, tool_index: int) -> Call:
        names, arguments = self._names, self._arguments
        call = self._calls[index, tool_index] = Call(
            Track((index, "tool_name", tool_index), names, self._cost) if names else None,
            Track((index, "tool_arguments", tool_index), arguments, self._cost) if arguments else None,
            self._cost,
        )
        call.open = self._open
        return call

    def _feed_piece(self, call: Call, delta: ToolCallDelta, out: list[Event]) -> Ending | None:
        new = call.spelled(delta)
        if new and call.named:
            # The name was judged as a whole; a client that joins the pieces of a name must not get more of it.
            delta, new = msgspec.structs.replace(delta, name=None) if call.name else delta, ""
        if call.open:
            out.append(delta)
        else:
            call.keep(delta)
            call.waiting.come(new + delta.arguments, self._texts.now)
            call.waiting.stay(len(new) + len(delta.arguments))
        ending = self._check(call.name, new, call, out)
        if ending is None and delta.arguments and not call.named:
            call.named = True
            ending = self._check(call.name, "", call, out, final=True)
        ending = ending or self._check(call.arguments, call.meant(delta), call, out)
        if ending is None and call.decided and not call.over:
            self._send(call, out)
        return ending

    def _check(
        self, track: Track | None, text: str, call: Call, out: list[Event], *, final: bool = False
    ) -> Ending | None:
        if track is None or call.over or not (text or final):
            return None
        track.waiting.come(text, self._texts.now)
        return self._texts.settle(track, track.check(text, final=final), out, call)

    def _send(self, call: Call, out: list[Event]) -> None:
        call.waiting.leave(call.waiting.length, self._texts.now)
        out += call.take()

    def state(self) -> dict[str, Any]:
        """The same as plain data."""
        return {"calls": [[index, tool_index, call.state()] for (index, tool_index), call in self._calls.items()]}

    def restore(self, state: Any) -> None:
        """Go on from where other ones were."""
        for index, tool_index, known in state["calls"]:
            self._begin(index, tool_index).restore(known)


def _waits(call: Call) -> int:
    return call.waiting.length - call.waiting.left


def _split(delta: ToolCallDelta, room: int) -> tuple[ToolCallDelta, ToolCallDelta | None]:
    room = max(room, 1)
    if len(delta.arguments) <= room:
        return delta, None
    rest = ToolCallDelta(delta.tool_index, None, None, delta.arguments[room:], delta.index)
    return msgspec.structs.replace(delta, arguments=delta.arguments[:room]), rest
