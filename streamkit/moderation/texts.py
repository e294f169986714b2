"""The texts of an answer on their way out: what of them leaves, what something else stands in for, and what is taken back."""

from typing import Any, cast

from streamkit.events import Channel, Event, ReasoningDelta, RefusalDelta, Retracted, TextDelta, VerdictSource
from streamkit.moderation.choices import Choices, Ending
from streamkit.moderation.deltas import DELTA_OF, Delta, Mode
from streamkit.moderation.hold import Released
from streamkit.moderation.parts import Parts
from streamkit.moderation.rules import Rule
from streamkit.moderation.track import Call, Cost, Track
from streamkit.moderation.verdicts import Bounds, Exceeded, verdict


class Texts:
    """All channels of all choices. What leaves is appended to `out`; an `Ending` says that the choice is to be blocked.

    What is settled for a track of a call leaves with the call, as `Calls` says.
    """

    def __init__(
        self, rules: dict[Channel, tuple[Rule, ...]], choices: Choices, cost: Cost, mode: Mode, bounds: Bounds
    ) -> None:
        self._rules = rules
        self._choices = choices
        self._cost = cost
        self._bounds = bounds
        self._holds = mode == "hold"
        self._limit = bounds.characters if self._holds else None
        self.tracks: dict[tuple[int, Channel], Track] = {}
        self.parts = Parts(self.tracks)
        self.now: float | None = None

    def feed(self, delta: Delta, channel: Channel, out: list[Event]) -> Ending | None:
        """Take a delta of a choice that is not blocked."""
        text, index = delta.text, delta.index
        track = self.tracks.get((index, channel))
        if track is None:
            track = self._begin(index, channel)
        if track.over:
            return None
        waiting, limit = track.waiting, self._limit
        came = len(text)
        if limit is not None and waiting.length - waiting.left + came > limit:
            return self._feed_slices(track, text, limit, out)
        before, pieces = len(out), track.check(text)
        if len(pieces) == 1 and pieces[0].rule is None and waiting.passes(came, pieces[0].end):
            track.out += came
            out.append(delta if delta.payload is None else DELTA_OF[channel](text, index))
            return None
        waiting.come(text, self.now)
        ending = self.settle(track, pieces, out)
        if ending is None and waiting.left < waiting.length:
            self._stay(track, came, out, before)
        return ending

    def _begin(self, index: int, channel: Channel) -> Track:
        track = self.tracks[index, channel] = Track((index, channel, None), self._rules[channel], self._cost)
        return track

    def _feed_slices(self, track: Track, text: str, limit: int, out: list[Event]) -> Ending | None:
        # In such slices that the bound means the same for any cuts: no character can come to be one too many within one.
        waiting, ending = track.waiting, None
        while text and not track.over and ending is None:
            room = max(limit - (waiting.length - waiting.left), 1)
            piece, text = text[:room], text[room:]
            waiting.come(piece, self.now)
            ending = self.settle(track, track.check(piece), out)
            if ending is None:
                waiting.stay(len(piece))
                if waiting.length - waiting.left > limit and not track.over:
                    ending = self.exceed(track, "characters", out)
        return ending

    def end(self, track: Track, out: list[Event]) -> Ending | None:
        """No more of this text comes."""
        return self.settle(track, track.check("", final=True), out)

    def exceed(self, track: Track, limit: Exceeded, out: list[Event]) -> Ending | None:
        """What waits of a text has come to a bound."""
        waiting = track.waiting
        ending = self._bounds.exceeded(limit, track, waiting.left, waiting.length, out)
        if ending is None:
            self._leave_undecided(track, out)
        return ending

    def say(self, text: str | None, index: int, out: list[Event]) -> None:
        """Release text of a rule as content."""
        if text:
            if content := self.tracks.get((index, "content")):
                content.out += len(text)
            out.append(TextDelta(text, index))

    def waits(self, index: int) -> bool:
        """Whether some text of the choice does."""
        texts = (track.waiting for (choice, _), track in self.tracks.items() if choice == index)
        return any(waiting.left < waiting.length for waiting in texts)

    def drop(self, index: int) -> None:
        """What waits of a choice never leaves."""
        self.parts.drop(index)
        for (choice, _), track in self.tracks.items():
            if choice == index:
                track.waiting.leave(track.waiting.length, None)

    # What is not decided

    def _stay(self, track: Track, came: int, out: list[Event], before: int) -> None:
        if self._holds:
            track.waiting.stay(came)
            return
        # What is decided of a delta and what is not leave together, as it came.
        last = out[-1] if len(out) > before else None
        if isinstance(last, TextDelta | ReasoningDelta | RefusalDelta):
            whole = last.text + self._undecided(track)
            out[-1] = DELTA_OF[track.channel](whole, track.index)
        else:
            self._leave_undecided(track, out)

    def _undecided(self, track: Track) -> str:
        text = track.waiting.text()
        track.out += len(text)
        track.waiting.leave(track.waiting.length, self.now)
        return text

    def _leave_undecided(self, track: Track, out: list[Event]) -> None:
        if text := self._undecided(track):
            out.append(DELTA_OF[track.channel](text, track.index))
        self.parts.release(track.index, out)

    # What is decided

    def settle(self, track: Track, pieces: list[Released], out: list[Event], call: Call | None = None) -> Ending | None:
        """Do what the rules have decided about the pieces of a text, which may be one of a call."""
        for piece in pieces:
            rule = piece.rule
            if rule is None or rule.action == "allow":
                self._release(track, piece, out)
                continue
            source: VerdictSource = "rules" if piece.cause == "match" else piece.cause
            self._cost.verdicts += 1
            place = (piece.start, piece.end, track.channel, track.index)
            out.append(verdict(rule.action, rule.category, place, rule.severity, source, track.tool_index))
            match rule.action:
                case "annotate":
                    self._release(track, piece, out)
                case "redact":
                    self._redact(track, piece, rule, call, out)
                case "replace":
                    self._replace(track, piece, rule, call, out)
                    return None
                case _:
                    self._retract(track, piece.start, track.waiting.left, rule, "", out)
                    return Ending(rule.message, rule.action == "stop")
        return None

    def _release(self, track: Track, piece: Released, out: list[Event]) -> None:
        waiting = track.waiting
        if piece.end <= waiting.left:
            return
        start, as_it_came = max(piece.start, waiting.left), len(piece.text) == piece.end - piece.start
        for end in (*self.parts.within(track, start, piece.end), piece.end) if as_it_came else (piece.end,):
            text = (
                piece.text[start - piece.start : end - piece.start] if as_it_came else piece.text[start - piece.start :]
            )
            waiting.leave(end, self.now)
            if track.tool_index is None and text:
                track.out += len(text)
                out.append(DELTA_OF[track.channel](text, track.index))
            self.parts.release(track.index, out)
            start = end

    def _redact(self, track: Track, piece: Released, rule: Rule, call: Call | None, out: list[Event]) -> None:
        self._choices.altered.add(track.index)
        if call:
            call.edit(track.channel, piece.start, piece.end, piece.text)
            track.waiting.leave(piece.end, self.now)
        elif self._retract(track, piece.start, min(piece.end, track.waiting.left), rule, piece.text, out):
            # The replacement stands in the retraction; what had not left of the match never does.
            track.waiting.leave(max(piece.end, track.waiting.left), self.now)
        else:
            self._release(track, piece, out)
            track.waiting.leave(piece.end, self.now)
        self.parts.release(track.index, out)

    def _replace(self, track: Track, piece: Released, rule: Rule, call: Call | None, out: list[Event]) -> None:
        self._choices.altered.add(track.index)
        self._choices.cut.add(track.index)
        track.over = True
        if call:
            call.over = True
            call.waiting.leave(call.waiting.length, self.now)
            call.take()
            self.say(rule.replacement, track.index, out)
            return
        self._retract(track, piece.start, track.waiting.left, rule, "", out)
        track.waiting.leave(track.waiting.length, self.now)
        if rule.replacement:
            track.out += len(rule.replacement)
            out.append(DELTA_OF[track.channel](rule.replacement, track.index))
        self.parts.release(track.index, out)

    def _retract(self, track: Track, start: int, end: int, rule: Rule, replacement: str, out: list[Event]) -> bool:
        # From the start of what is undecided on, text has left as it came, so that the distances are the same.
        if track.tool_index is not None or start >= end:
            return False
        first = track.out - (track.waiting.left - start)
        place = (start, end, first, first + end - start, track.channel, track.index)
        out.append(Retracted(rule.category, *place, replacement))
        return True

    def state(self) -> dict[str, Any]:
        """The same as plain data."""
        return {"texts": [track.state() for track in self.tracks.values()], "parts": self.parts.state()}

    def restore(self, state: Any) -> None:
        """Go on from where other ones were."""
        for known in state["texts"]:
            index, channel = cast("tuple[int, Channel]", known[:2])
            self._begin(index, channel).restore(known)
        self.parts.restore(state["parts"])
