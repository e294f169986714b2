"""Ends: of a choice, by its own finish or by a rule, and of the stream."""

from typing import Any

import msgspec

from streamkit.ends import SUCCESSES, EndReason
from streamkit.events import Event, Finish, ModerationReport, StreamEnd
from streamkit.moderation.calls import Calls
from streamkit.moderation.choices import Choices, Ending
from streamkit.moderation.deltas import bare
from streamkit.moderation.texts import Texts
from streamkit.moderation.track import Cost

# Such a stream did not come to its end, and neither did the texts in it.
_INTERRUPTED: frozenset[EndReason] = frozenset({"provider_error", "cancelled", "timeout", "limit", "error"})


class Ends:
    """How the choices of a stream end, and it with them. With `silent`, a stream that is stopped is only no longer judged."""

    def __init__(
        self,
        choices: Choices,
        texts: Texts,
        calls: Calls,
        cost: Cost,
        *,
        silent: bool,
        max_tokens: int | None,
        reports: bool,
    ) -> None:
        self._choices = choices
        self._texts = texts
        self._calls = calls
        self._cost = cost
        self._silences = silent
        self._max_tokens = max_tokens
        self._reports = reports
        self.done = False
        """It was stopped; nothing more is read."""
        self.silent = False
        """It would have been stopped; nothing more is judged."""
        self.ended = False
        """Its last event came."""
        self._saw_done = False
        self._saved: int | None = 0

    @property
    def stopped(self) -> bool:
        """Whether the rules have ended it."""
        return self.done or self.silent

    @property
    def report(self) -> ModerationReport:
        """What the moderation has cost so far."""
        cost = self._cost
        waited = (cost.deltas, cost.characters, cost.max_waiting, cost.seconds, cost.max_seconds)
        return ModerationReport(cost.checks, cost.verdicts, *waited, self.done, self._saved)

    def finish(self, finish: Finish, out: list[Event]) -> None:
        """Take the finish of a choice, which waits with its text."""
        choices, index = self._choices, finish.index
        choices.complete.add(index)
        if index in choices.blocked:
            return
        choices.finishes.pop(index, None)
        choices.finishes[index] = bare(finish)
        # More text may come after a finish reason; what it would complete must not have left.
        if not self._texts.waits(index) and not self._calls.waits(index):
            self._end_choice(index, out)
        if choices.blocked - choices.complete and choices.all_over:
            self._stop(out)

    def block(self, index: int, ending: Ending, out: list[Event]) -> None:
        """End a choice, and the stream if none is left."""
        choices = self._choices
        choices.blocked.add(index)
        choices.finishes.pop(index, None)
        self._drop(index)
        if index not in choices.finished:
            self._texts.say(ending.message, index, out)
            out.append(Finish("content_filter", index))
        if ending.stop or (not self.ended and choices.all_over):
            self._stop(out)

    def conclude(self, end: StreamEnd, out: list[Event]) -> None:
        """Take the last event of the stream."""
        self.ended, self._saw_done = True, end.saw_done
        interrupted = end.reason in _INTERRUPTED
        if not interrupted:
            self.rest(out)
        if self.done:
            return
        out += (self.report,) if self._reports else ()
        ruled = self._choices.blocked | self._choices.cut
        # A choice that no rule has ended must have ended well; otherwise what became of it is the end of the stream.
        well = end.reason in SUCCESSES or self._choices.came.keys() <= ruled
        moderated = not interrupted and ruled and well
        out.append(StreamEnd("moderated", end.saw_done) if moderated else end)

    def rest(self, out: list[Event], only: int | None = None) -> None:
        """What is left of all choices, or of one: decided and released, with their finishes."""
        choices = self._choices
        for (index, _), track in list(self._texts.tracks.items()):
            if self._goes_on(index, only) and not track.over:
                if ending := self._texts.end(track, out):
                    self.block(index, ending, out)
                track.over = True
        for index, call in self._calls.items:
            if self._goes_on(index, only) and not call.over:
                if ending := self._calls.end(call, out):
                    self.block(index, ending, out)
                call.over = True
        out += [
            item for item in choices.logprobs if self._goes_on(item.index, only) and item.index not in choices.altered
        ]
        for index in [index for index in choices.finishes if self._goes_on(index, only)]:
            self._end_choice(index, out)

    def _goes_on(self, index: int, only: int | None) -> bool:
        # When all is stopped, the choices that had ended before still come to their own end.
        return index not in self._choices.blocked and (not self.stopped if only is None else index == only)

    def _end_choice(self, index: int, out: list[Event]) -> None:
        choices = self._choices
        finish = choices.finishes.pop(index)
        choices.finished.add(index)
        out.append(msgspec.structs.replace(finish, reason="content_filter") if index in choices.cut else finish)

    def _stop(self, out: list[Event]) -> None:
        choices = self._choices
        if self.stopped:
            return
        if self._silences:
            self.silent = True
        else:
            self.done, self._saved = True, choices.unspent(self._max_tokens)
        for index in sorted((choices.finished | choices.finishes.keys()) - choices.blocked):
            self.rest(out, index)
        for index in sorted(choices.came.keys() - choices.blocked - choices.finished):
            self._drop(index)
            out.append(Finish("content_filter", index))
        out += (self.report,) if self._reports else ()
        out.append(StreamEnd("moderated", self._saw_done))

    def _drop(self, index: int) -> None:
        self._texts.drop(index)
        self._calls.drop(index)

    def state(self) -> dict[str, Any]:
        """The same as plain data."""
        return {
            "done": self.done,
            "_silent": self.silent,
            "_ended": self.ended,
            "_saw_done": self._saw_done,
            "_saved": self._saved,
        }

    def restore(self, state: Any) -> None:
        """Go on from where other ones were."""
        self.done, self.silent, self.ended = state["done"], state["_silent"], state["_ended"]
        self._saw_done, self._saved = state["_saw_done"], state["_saved"]
