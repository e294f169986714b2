"""One choice of an answer: its text and other events in order, released as far as they are decided.

Text is buffered per channel; what a rule or a classifier decides about it arrives in the same call or later. Other events keep
their place behind the text that arrived before them. A choice is open until it is blocked, or its finish is released.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, cast
from zlib import crc32

import msgspec

from streamkit.core.checkpoint import pack, unpack
from streamkit.events import (
    Annotation,
    AudioDelta,
    Channel,
    Event,
    Finish,
    HoldExceeded,
    Logprobs,
    PartDelta,
    PartEnd,
    PartStart,
    ProviderNotice,
    ResponseDetails,
    Retracted,
    ToolCallDelta,
)
from streamkit.moderation.channels import (
    PARTS,
    bare,
    bare_deltas,
    delta_of,
    text_of,
    with_structure,
    with_text,
    without_transcript,
)
from streamkit.moderation.classifiers.classifier import Decision
from streamkit.moderation.policy import Policy
from streamkit.moderation.quotes import WithheldText, spellings, without_quotes, without_text, without_texts
from streamkit.moderation.report import CHANNEL, Cost, Subject, verdict
from streamkit.moderation.rule import Judges, Ruling, Verdicts
from streamkit.moderation.text import ModeratedText
from streamkit.moderation.tool_calls import Exceeded, ToolCalls

_MOST_OTHERS = 256
"""Events that may be buffered behind one window of text; then it ends, so that what is buffered is bounded."""


class Owner(Protocol):
    """The stream that a choice belongs to."""

    policy: Policy
    judges: Judges
    cost: Cost
    now: float | None

    def block(self, choice: "ChoiceRelease", by: Verdicts, out: list[Event]) -> None:
        """End the choice, and the stream if none is open then."""
        ...

    def forget(self) -> None:
        """A text takes no more, or not in the quickest way."""
        ...

    def forbids(self, text: str, channel: Channel = "content") -> bool:
        """Whether that text by itself must not be released in a channel."""
        ...

    def forbids_tokens(self, event: Logprobs) -> bool:
        """Whether log probabilities must not be released because of their tokens, as far as that is decided."""
        ...

    def ends_in_forbidden_tokens(self, index: int) -> bool:
        """The same, once all log probabilities of a choice have arrived."""
        ...


MAX_HOLD = Decision("block", "max_hold")


class Mark(NamedTuple):
    """An event that stands behind so much of each channel."""

    event: Event
    behind: list[tuple[Channel, int]]


class Beside(msgspec.Struct):
    """An event whose strings are classified as one text that begins there. It stands behind that text, of which nothing else is
    released."""

    event: Any
    start: int


class ChoiceRelease:
    """All that is buffered and known of one choice. What is released is appended to `out`."""

    def __init__(self, index: int, owner: Owner) -> None:
        self.index = index
        self._owner = owner
        self.policy = owner.policy
        self.judges = owner.judges
        self._holds = owner.policy.mode == "hold"
        self._ordered = owner.policy.ordered
        self._limit = owner.policy.limit
        self.cost = owner.cost
        self.texts: dict[Channel, ModeratedText] = {}
        self._marks: deque[Mark] = deque()
        # If ordered: text up to a position, and events.
        self._order: deque[tuple[ModeratedText, int] | Beside | Event] = deque()
        self._finish: Finish | None = None
        self._logprobs: list[Logprobs] = []
        self.withheld = WithheldText()
        self.deltas = 0
        """Deltas of text and calls that have arrived."""
        self.complete = False
        """Its finish has arrived."""
        self.finished = False
        """Its finish was released."""
        self.blocked = False
        self.condemned = False
        """It will be blocked, when what is undecided before that is decided."""
        self.cut = False
        """The rest of a channel or a call was replaced."""
        self.altered = False
        """Something of it was withheld."""
        self.calls = ToolCalls(self)
        self.spelled = False
        """Its log probabilities contain something that is to be withheld."""

    @property
    def now(self) -> float | None:
        """The time of the stream."""
        return self._owner.now

    @property
    def finishing(self) -> bool:
        """Whether its finish is buffered behind undecided text."""
        return self._finish is not None

    @property
    def settled(self) -> bool:
        """Whether everything that has arrived is decided, and released or withheld."""
        return all(text.settled for text in self.texts.values()) and not self.calls.pending and not self._order

    def text(self, channel: Channel) -> ModeratedText:
        """The text of a channel that is moderated."""
        if (text := self.texts.get(channel)) is None:
            judge = self.judges.judge(self.index, channel)
            text = self.texts[channel] = ModeratedText(channel, judge, simple=not self._ordered, holds=self._holds)
        return text

    def moderates(self, delta: ToolCallDelta | PartDelta) -> bool:
        """Whether a call, or the text of a part, is moderated."""
        return self.calls.moderated if isinstance(delta, ToolCallDelta) else self.judges.moderates(delta.channel)

    # What arrives

    def feed(self, text: ModeratedText, deltas: Sequence[Any], joined: str, out: list[Event]) -> None:
        """Take adjacent deltas of one channel, and their text."""
        if joined and self._ordered and not self.blocked:
            # Also behind a text that is over, so that no window depends on when that was decided.
            self._end_windows(out, but=None if text.is_elsewhere(deltas[0]) else text)
        if self.blocked or text.over:
            self.deltas += len(deltas)
            self.cost.withheld += len(joined)
            self.withheld.add("" if self.blocked else joined)
        elif joined or text.channel == "transcript":
            self.feed_open(text, deltas, joined, out)
        else:
            # There is nothing to decide; it is released if it needs no place behind something else.
            self.deltas += len(deltas)
            out += bare_deltas(deltas) if text.left == text.length and not self._order else ()

    def feed_open(
        self, text: ModeratedText, deltas: Sequence[Any], joined: str, out: list[Event], sliced: bool = False
    ) -> None:
        """The same for a text of which it is known that it takes more, and some text."""
        cost, judge, limit, before = self.cost, text.judge, self._limit, text.length
        length = before + len(joined)
        if not sliced:
            self.deltas += len(deltas)
            if limit is not None and length - text.left > limit:
                self._feed_slices(text, deltas, limit, out)
                return
        rulings = judge.feed(joined)
        cost.checks += 1
        # What most deltas need: nothing is ruled, and at most the end of them is buffered.
        if not rulings and text.simple:
            if judge.decided == length and text.left == before:
                text.length = text.left = length
                cost.released += len(joined)
                delta = deltas[0]
                if len(deltas) > 1 or delta.__class__ is not text.make:
                    out += bare_deltas(deltas)
                else:
                    out.append(delta if delta.payload is None else text.make(joined, self.index))
                return
            if text.shifts and not text.stops:
                self._shift(text, deltas, joined, length, out)
                return
        self._buffer(text, deltas, length, out)
        text.rulings += rulings
        self._advance(text, out)
        if text.left < length:
            cost.add_held(min(len(deltas), len(text.pieces)), min(len(joined), length - text.left))

    def _shift(self, text: ModeratedText, deltas: Sequence[Any], joined: str, length: int, out: list[Event]) -> None:
        # The same as below in one step: of deltas that are decided only those at the end are buffered, piece by piece.
        cost, now, left, before, decided = self.cost, self._owner.now, text.left, text.length, text.judge.decided
        text.length = length
        buffered, rest, one = "", deltas, len(deltas) == 1
        if decided > left:
            if left == before:
                pass
            elif decided >= before == text.pieces[0][0]:
                # The same as `take_joined` of all, which mostly is one piece.
                _, arrived, piece = text.pieces.popleft()
                buffered = piece[left - before :]
                cost.held += left - before
                if arrived is not None:
                    cost.end_held(arrived, now)
            else:
                buffered = text.take_joined(min(decided, before), cost, now)
            if decided <= before:
                out.append(text.make(buffered, self.index))
            elif one:
                out.append(text.make(buffered + joined[: decided - before], self.index))
            else:
                rest = self._release_first(text, deltas, buffered, decided, out)
            text.left = decided
            cost.released += decided - left
        if decided < length:
            fresh = length - (decided if decided > before else before)
            if one:
                text.pieces.append((length, now, joined))
                cost.deltas_held += 1
            else:
                end = length - sum(len(delta.text) for delta in rest)
                for delta in rest:
                    if piece := delta.text:
                        end += len(piece)
                        text.pieces.append((end, now, piece))
                        cost.deltas_held += 1
            cost.characters_held += fresh
            cost.held = held = cost.held + fresh
            if held > cost.max_characters_held:
                cost.max_characters_held = held

    def _release_first(
        self, text: ModeratedText, deltas: Sequence[Any], buffered: str, decided: int, out: list[Event]
    ) -> Sequence[Any]:
        # Release those of several deltas that are decided, the first of them with what was buffered. Returns the others.
        whole, end = len(deltas), text.length
        while end > decided:
            whole -= 1
            end -= len(deltas[whole].text)
        if buffered and whole:
            out.append(text.make(buffered + deltas[0].text, self.index))
            out += bare_deltas(deltas[1:whole]) if whole > 1 else ()
            buffered = ""
        elif whole:
            out += bare_deltas(deltas[:whole])
        if end < decided:
            out.append(text.make(buffered + deltas[whole].text[: decided - end], self.index))
        return deltas[whole:]

    def _buffer(self, text: ModeratedText, deltas: Sequence[Any], length: int, out: list[Event]) -> None:
        # What was buffered before is released together with the first piece that decides it. Empty pieces are not buffered.
        before, now, pieces = len(text.pieces), self._owner.now, text.pieces
        self.cost.held += length - text.length
        for delta in deltas:
            if piece := text_of(delta):
                if text.channel in PARTS:
                    text.place(delta)
                text.length += len(piece)
                pieces.append((text.length, now, piece))
                if self._ordered and self._holds:
                    self._order.append((text, text.length))
            if text.channel == "transcript" and (sound := without_transcript(delta)):
                self.keep_order(sound, out)
        text.fresh = len(pieces) if self._ordered else len(pieces) - before - bool(before)

    def _feed_slices(self, text: ModeratedText, deltas: Sequence[Any], limit: int, out: list[Event]) -> None:
        # In slices so that the bound means the same however the text is split: no character can be one too many within one.
        for delta in deltas:
            rest = text_of(delta)
            whole = not rest and text.channel != "transcript"  # an empty transcript can stand beside sound
            while not (whole or text.over or self.blocked):
                room = max(limit - (text.length - text.left), 1)
                piece, rest = rest[:room], rest[room:]
                whole = not rest
                self.feed_open(text, [with_text(delta, text.channel, piece, last=whole)], piece, out, sliced=True)
                if text.length - text.left > limit:
                    self._exceed(text, "characters", out)

    def pass_on(self, deltas: Sequence[Any], joined: str, out: list[Event]) -> None:
        """Take adjacent deltas of a channel that is not moderated."""
        self.deltas += len(deltas)
        if self.blocked:
            return
        if self._ordered and self._holds:
            for delta in deltas:
                if text_of(delta):
                    self._end_windows(out)
                self.keep_order(bare(delta), out)
            self._advance_all(out)
        else:
            out += bare_deltas(deltas)

    def other(self, event: Event, out: list[Event]) -> None:
        """Take an event of the choice that is no moderated text."""
        if isinstance(event, Finish):
            self.complete = True
        if self.blocked:
            return
        match event:
            case Finish():
                self._finish = bare(event)
                self._end_windows(out)
            case Logprobs():
                # They spell the text out, and other texts that the model could have written.
                self.spelled = self.spelled or self._owner.forbids_tokens(event)
                self._logprobs.append(bare(event))
            case _:
                if isinstance(event, ToolCallDelta) or len(self._order) >= _MOST_OTHERS:
                    self._end_windows(out)
                self.keep_order(bare(event), out)
        self._advance_all(out)

    def beside(self, event: Any, texts: str, out: list[Event]) -> None:
        """Take an event that is released without its strings if a classifier withholds these, which are `texts`."""
        if self.blocked:
            return
        text = self.text("other")
        start = text.length
        if not text.over:
            text.beside.append((start, start + len(texts)))
            # As a field of its own, so that no window has other text too.
            self.feed(text, [PartDelta(texts, "other", _NO_PART, (str(start),))], texts, out)
            self._end_windows(out)
        if self._holds:
            self._order.append(Beside(event, start))
            self._advance_all(out)
        else:
            out.append(bare(event))

    @property
    def has_beside(self) -> bool:
        """Whether an event that is classified as a whole may be buffered."""
        text = self.texts.get("other")
        return text is not None and bool(text.beside)

    def keep_order(self, event: Event, out: list[Event]) -> None:
        """Release an event behind the text that arrived before it."""
        if self._ordered and self._holds:
            self._order.append(event)
            return
        behind: list[tuple[Channel, int]] = []
        for text in self.texts.values():
            if text.left < text.length and _stands_behind(event, text.channel):
                behind.append((text.channel, text.length))
                text.stops.append(text.length)
        if behind or (self._marks and isinstance(event, _MARKS)):
            self._marks.append(Mark(event, behind))
        else:
            self._emit(event, out)

    def _emit(self, event: Event | Beside, out: list[Event]) -> None:
        if isinstance(event, Beside):
            self._emit_beside(event, out)
            return
        if isinstance(event, Annotation):
            released = without_quotes(event.annotation, self._is_withheld)
            if released is None:
                return
            event = event if released == event.annotation else msgspec.structs.replace(event, annotation=released)
        if isinstance(event, AudioDelta) and event.data and self._silenced():
            return
        if isinstance(event, PartStart | PartEnd) and event.data:
            data = without_text(event.data, self._is_forbidden)
            event = event if data == event.data else msgspec.structs.replace(event, data=data)
        out.append(event)

    def _is_withheld(self, text: str) -> bool:
        return any(self.withheld.quoted_in(form) or self._owner.forbids(form) for form in spellings(text))

    def _is_forbidden(self, text: str, place: str) -> bool:
        return self._owner.forbids(text, "other")

    def _silenced(self) -> bool:
        # Sound can't be redacted by its text: after something of its transcript was withheld, no more of it is released.
        transcript = self.texts.get("transcript")
        return transcript is not None and (transcript.over or transcript.removed > 0)

    # What is decided

    def decide(self, text: ModeratedText, rulings: Sequence[Ruling], out: list[Event]) -> None:
        """Take what was decided about text that arrived before."""
        if self.blocked:
            return
        text.rulings += rulings
        if text.over:
            self._rule_what_is_over(text, out)
        else:
            self._advance(text, out)
        if self.finishing and self.settled:
            self.end(out)

    def _advance(self, text: ModeratedText, out: list[Event]) -> None:
        if self._ordered and self._holds:
            self._advance_all(out)
        else:
            self._release(text, text.judge.decided if self._holds else text.length, out)

    def _advance_all(self, out: list[Event]) -> None:
        while self._order:
            first = self._order[0]
            if isinstance(first, tuple):
                text, end = first
                self._release(text, min(end, text.judge.decided), out)
                if text.left < end or self.blocked:
                    return
                self._order.popleft()
            else:
                self._order.popleft()
                self._emit(first, out)

    def _emit_beside(self, event: Beside, out: list[Event]) -> None:
        text = self.texts["other"]
        released = bare(event.event)
        withheld = text.removed > event.start or text.over
        match released:
            case _ if not withheld:
                out.append(released)
            case ProviderNotice():
                out.append(with_structure(released, without_texts(released.data)))
            case ResponseDetails():
                out.append(with_structure(released, without_texts(released.details)))
            case _:
                pass  # it is not known which of its fields have the text

    def _release(self, text: ModeratedText, until: int, out: list[Event]) -> None:
        rulings = text.rulings
        while rulings and (not self._ordered or rulings[0].start < until):
            ruling = rulings.popleft()
            self._pass(text, ruling.start, out)
            self._rule(text, ruling, out)
            if self.blocked or text.over:
                return
        self._pass(text, until, out)

    def _pass(self, text: ModeratedText, until: int, out: list[Event]) -> None:
        while text.stops and text.stops[0] <= until:
            self._put(text, text.stops.popleft(), out)
            self._release_marks(out)
        self._put(text, until, out)

    def _put(self, text: ModeratedText, until: int, out: list[Event]) -> None:
        if until > text.left:
            at, released = text.left, until - text.left
            beside = bool(text.beside) and text.is_beside(at)
            for part in text.take(until, self.cost, self._owner.now):
                if not beside:
                    out.append(text.delta(part, at, self.index))
                at += len(part)
                if self._ordered:
                    text.digest = digest(part, text.digest)
            if beside:
                text.grown -= released
            self.cost.released += released

    def _release_marks(self, out: list[Event]) -> None:
        while self._marks and all(self.texts[channel].left >= at for channel, at in self._marks[0].behind):
            self._emit(self._marks.popleft().event, out)

    def _rule(self, text: ModeratedText, ruling: Ruling, out: list[Event]) -> None:
        by, start, end = ruling.by, ruling.start, ruling.end
        while text.beside and text.beside[0][1] <= start:
            text.beside.popleft()
        if ruling.note:
            out.append(ruling.note)
        if ruling.kind == "checked" and by.action == "allow":
            return
        if ruling.kind == "removed":
            self._remove(text, start, end, by, "", out)
            return
        self.report(ruling, text.channel, CHANNEL, out)
        if ruling.kind == "extended":
            return
        match by.action:
            case "annotate" if self._ordered:
                pass  # what stands between the pieces of its text keeps its place
            case "annotate":
                following = text.rulings[0].start if text.rulings else end
                self._pass(text, min(end, following, text.judge.decided if self._holds else text.length), out)
            case "redact":
                self._remove(text, start, end, by, by.replacement, out)
            case "replace":
                self._remove(text, start, text.length, by, "", out)
                self.cut = text.over = True
                self._owner.forget()
                self.say(by.replacement, text.channel, out, start)
                self._rule_what_is_over(text, out)
            case _:
                self._retract(text, start, text.length, by, "", out)
                self._owner.block(self, by, out)

    def _rule_what_is_over(self, text: ModeratedText, out: list[Event]) -> None:
        # A decision that blocks may have arrived before the one that replaced the text; then the source is closed already.
        blocking = [ruling for ruling in text.rulings if ruling.by.action in ("block", "stop")]
        text.rulings.clear()
        if blocking:
            self._rule(text, blocking[0], out)

    def report(self, ruling: Ruling, channel: Channel, subject: Subject, out: list[Event]) -> None:
        """Release the event that reports a decision."""
        self.cost.verdicts += 1
        out.append(verdict(ruling.by, (ruling.start, ruling.end, channel, self.index), ruling.source, subject))

    def _remove(
        self, text: ModeratedText, start: int, end: int, by: Verdicts, replacement: str, out: list[Event]
    ) -> None:
        self.altered = True
        # Where text was released already, the replacement stands in the retraction.
        if self._retract(text, start, min(end, text.left), by, replacement, out):
            replacement = ""
        if end > text.left:
            self._withhold(text, end)
        text.removed = max(text.removed, end)
        text.simple = text.simple and text.channel != "transcript"
        self.say(replacement, text.channel, out, start)
        while text.stops and text.stops[0] <= text.left:
            text.stops.popleft()
        self._release_marks(out)

    def _withhold(self, text: ModeratedText, until: int) -> None:
        self.cost.withheld += until - text.left
        text.grown -= until - text.left
        self.withheld.add("".join(text.take(until, self.cost, self._owner.now)))

    def _retract(
        self, text: ModeratedText, start: int, end: int, by: Verdicts, replacement: str, out: list[Event]
    ) -> bool:
        # Text before the end of what was removed last is gone already; from there on it was released as it arrived.
        start, end = max(start, text.removed), min(end, text.left)
        if start >= end or text.is_beside(start):
            return False
        first = text.out - text.released_between(start, text.left)
        place = (start, end, first, first + text.released_between(start, end), text.channel, self.index)
        out.append(Retracted(by.category, *place, replacement))
        return True

    def say(self, said: str | None, channel: Channel, out: list[Event], at: int = 0) -> None:
        """Release text in the place of other text."""
        if said:
            text = self.texts.get(channel)
            if text and text.is_beside(at):
                return
            if text:
                text.grown += len(said)
            out.append(text.delta(said, at, self.index) if text else delta_of(channel, said, self.index))

    # Limits

    def expire(self, out: list[Event]) -> None:
        """Apply `on_max_hold` to text that has been buffered for longer than `max_hold_seconds`."""
        now, limit = self._owner.now, self._owner.policy.max_hold_seconds
        if now is None or limit is None:
            return
        for text in list(self.texts.values()):
            if text.pieces and (arrived := text.pieces[0][1]) is not None and now - arrived > limit:
                self._exceed(text, "seconds", out)
        self.calls.expire(now - limit, out)

    def _exceed(self, text: ModeratedText, limit: Exceeded, out: list[Event]) -> None:
        if not self.blocked and self.exceeds(limit, (text.left, text.length, text.channel), CHANNEL, out):
            self._pass(text, text.length, out)
            self._advance_all(out)

    def exceeds(self, limit: Exceeded, place: tuple[int, int, Channel], subject: Subject, out: list[Event]) -> bool:
        """Whether what exceeds a limit is released undecided. If not, the choice is blocked."""
        start, end, channel = place
        then = self._owner.policy.on_max_hold
        out.append(HoldExceeded(limit, then, start, end, channel, self.index, *subject))
        if then == "block":
            self.report(Ruling(start, end, MAX_HOLD, "max_hold"), channel, subject, out)
            self._owner.block(self, MAX_HOLD, out)
        return then == "release"

    # The end

    def close(self, out: list[Event]) -> None:
        """No more of the choice arrives: rules decide what is left of it, classifiers receive their last windows."""
        for text in list(self.texts.values()):
            if not (text.over or self.blocked):
                text.rulings += text.judge.feed("", final=True)
                self._advance(text, out)
        self.calls.close(out)

    def end(self, out: list[Event]) -> None:
        """Release the events that come last: log probabilities, if nothing was withheld, and the finish if it has arrived."""
        if self._logprobs:
            self.spelled = self.spelled or self._owner.ends_in_forbidden_tokens(self.index)
            out += () if self.altered or self.spelled else self._logprobs
            self._logprobs.clear()
        if self._finish:
            cut = msgspec.structs.replace(self._finish, finish_reason="content_filter")
            out.append(cut if self.cut else self._finish)
            self._finish, self.finished = None, True

    def refuse(self, by: Verdicts, out: list[Event]) -> None:
        """End it by a decision."""
        self._owner.block(self, by, out)

    def block(self, by: Verdicts, out: list[Event]) -> None:
        """Release no more of the choice than a message."""
        self.blocked = True
        self.drop()
        if not self.finished:
            self.say(by.message, "content", out)
            out.append(Finish("content_filter", self.index))

    def drop(self) -> None:
        """Discard the buffered text."""
        for text in self.texts.values():
            self.cost.withheld += text.length - text.left
            text.grown -= text.length - text.left
            text.take(text.length, self.cost, None)
            text.rulings.clear()
            text.stops.clear()
        self.calls.drop()
        self._marks.clear()
        self._order.clear()
        self._logprobs.clear()
        self._finish = None

    def released(self, channel: Channel) -> tuple[int, int]:
        """How many characters of a channel were released that keeps its order over channels, and their digest."""
        text = self.texts.get(channel)
        return (text.out, text.digest) if text else (0, 0)

    def _end_windows(self, out: list[Event], but: ModeratedText | None = None) -> None:
        # A channel that another one follows must not hold that up; nor must it hold up the events that follow it for long.
        if self._ordered:
            for text in self.texts.values():
                if text is not but and not text.over:
                    text.rulings += text.judge.feed("", final=True)
                    self._advance(text, out)

    def shift(self, later: float) -> None:
        """Continue by a clock that is so much later."""
        for text in self.texts.values():
            text.shift(later)
        self.calls.shift(later)

    def state(self) -> Any:
        """Return the state as JSON-compatible data, for a checkpoint."""
        return {
            **{name: getattr(self, name) for name in _OF_CHOICE},
            "texts": {channel: text.state() for channel, text in self.texts.items()},
            "calls": self.calls.state(),
            "marks": [[pack([mark.event]), mark.behind] for mark in self._marks],
            "order": [_packed(item) for item in self._order],
            "last": pack([self._finish, *self._logprobs]),
            "withheld": self.withheld.state(),
        }

    def restore(self, state: Any) -> None:
        """Continue from `state`."""
        for name in _OF_CHOICE:
            setattr(self, name, state[name])
        for channel, known in state["texts"].items():
            self.text(channel).restore(known)
        self.calls.restore(state["calls"])
        for packed, behind in state["marks"]:
            self._marks.append(Mark(unpack(packed)[0], [(channel, at) for channel, at in behind]))
        for item in state["order"]:
            self._order.append(self._unpacked(item))
        self._finish, *self._logprobs = unpack(state["last"])
        self.withheld.restore(state["withheld"])

    def _unpacked(self, item: list[Any]) -> Any:
        match item:
            case [str(channel), end]:
                return self.texts[cast("Channel", channel)], end
            case [packed, int(start)]:
                return Beside(unpack(packed)[0], start)
            case _:
                return unpack(item)[0]


def _packed(item: tuple[ModeratedText, int] | Beside | Event) -> list[Any]:
    match item:
        case (text, end):
            return [text.channel, end]
        case Beside(event, start):
            return [pack([event]), start]
        case _:
            return pack([item])


_NO_PART = -1
_OF_CHOICE = ("deltas", "complete", "finished", "blocked", "condemned", "cut", "altered", "spelled")
_MARKS = (Annotation, PartStart, PartEnd, PartDelta)


def digest(text: str, known: int = 0) -> int:
    """A checksum of a text, or of what `known` is of and the text after it."""
    return crc32(text.encode("utf-8", "surrogatepass"), known)


def _stands_behind(event: Event, channel: Channel) -> bool:
    # Text of one channel keeps no other events back but those that are about it.
    return isinstance(event, _MARKS) or (isinstance(event, AudioDelta) and channel == "transcript")
