"""What may leave: text is held while it could still become part of what a rule forbids, and not a character longer."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, Literal, TypeAlias, TypeVar, cast, get_args

import msgspec

from streamkit.errors import PipelineError
from streamkit.events import (
    Annotation,
    AudioDelta,
    Blocked,
    Channel,
    EndReason,
    Event,
    Finish,
    Flagged,
    HoldExceeded,
    Logprobs,
    ModerationReport,
    PartEnd,
    PartStart,
    ProviderNotice,
    ReasoningDelta,
    Redacted,
    RefusalDelta,
    Retracted,
    RoleDelta,
    StreamEnd,
    TextDelta,
    ToolCallDelta,
    VerdictSource,
)
from streamkit.moderation.hold import Hold, Released
from streamkit.moderation.provider import ProviderRule, as_provider_rules, decide
from streamkit.moderation.rules import Live, Rule, as_rules
from streamkit.moderation.track import Call, Cost, Mark, Track
from streamkit.stage import Stage, cut_short

Delta: TypeAlias = TextDelta | ReasoningDelta | RefusalDelta
Mode: TypeAlias = Literal["hold", "observe", "optimistic"]
Exceeded: TypeAlias = Literal["characters", "seconds"]
_CHANNELS: dict[type, Channel] = {TextDelta: "content", ReasoningDelta: "reasoning", RefusalDelta: "refusal"}
_DELTAS: dict[Channel, type[Delta]] = {"content": TextDelta, "reasoning": ReasoningDelta, "refusal": RefusalDelta}
_MODERATED: tuple[Channel, ...] = (*_DELTAS, "tool_arguments", "tool_name")
_VERDICTS: dict[str, type[Flagged | Redacted | Blocked]] = {
    "annotate": Flagged,
    "redact": Redacted,
    "replace": Redacted,
    "block": Blocked,
    "stop": Blocked,
}
# Such a stream did not come to its end, and neither did the texts in it.
_INTERRUPTED: frozenset[EndReason] = frozenset({"provider_error", "cancelled", "timeout", "limit", "error"})
MAX_HOLD_CHARS = 1 << 20


@dataclass
class Moderate(Stage[Event, Event]):
    """Apply rules, or those of a file by its path, to each channel of each choice, and decide what of it may leave.

    `mode`: in `hold` nothing undecided leaves, so that no part of a forbidden match is released before the decision. In
    `observe` everything passes as it came and the verdicts, the same ones, are only told. In `optimistic` text leaves at once;
    of a match that completes later what has left is taken back by a `Retracted`, and the rest is withheld.

    A match gives `Flagged`, `Redacted` or `Blocked`. A choice that is blocked ends with the rule's `message`, if it has one,
    and `Finish("content_filter")`; once no choice is open and `choices` of them (the request's `n`) have ended, the source is
    closed and the stream ends with `StreamEnd("moderated")`. `stop` ends all of them at once. `replace` releases the rule's
    replacement for the match and all that follows in its channel; the choice goes on, and ends with `content_filter`.

    `channels` are moderated, each by itself; `exempt` names what passes as it is. A call of a tool waits as a whole, in
    `optimistic` too: until its arguments are a complete document with nothing undecided in it, or its choice ends. Its
    arguments are seen with the escapes of JSON decoded, and what is redacted in them leaves JSON. A call in which a rule
    says `replace` is withheld, and the replacement is released as content.

    Not more than `max_hold_chars` of one text wait, and none longer than `max_hold_seconds`, as far as the source's clock is
    told: with each burst, not in a stall. Then `on_max_hold` says: `block` the choice, or `release` what waits, undecided.

    `provider` says what follows from the verdicts of the provider's own filters. With `reports` a `ModerationReport` comes
    before the last event; `max_tokens`, the request's, lets it say how many tokens were saved at most. With `keep_raw` the
    text as it came can be asked for.

    What leaves has no `raw`, for a chunk may hold more than was released of it. `Logprobs` spell the text out: they come at
    the end, and not at all for a choice in which something was changed. A stream that is cancelled or fails does not release
    what was held, nor does one whose rules fail.
    """

    rules: Rule | Live | Iterable[Rule] | str | PathLike[str]
    channels: tuple[Channel, ...] = _MODERATED
    choices: int = 1
    mode: Mode = "hold"
    max_hold_chars: int | None = MAX_HOLD_CHARS
    max_hold_seconds: float | None = None
    on_max_hold: Literal["block", "release"] = "block"
    provider: ProviderRule | Iterable[ProviderRule] = ()
    max_tokens: int | None = None
    reports: bool = False
    keep_raw: bool = False
    _rules_of: dict[Channel, tuple[Rule, ...]] = field(
        default_factory=dict[Channel, tuple[Rule, ...]], init=False, repr=False, compare=False
    )
    _texts: dict[tuple[int, Channel], Track] = field(
        default_factory=dict[tuple[int, Channel], Track], init=False, repr=False
    )
    _calls: dict[tuple[int, int], Call] = field(default_factory=dict[tuple[int, int], Call], init=False, repr=False)
    _finishes: dict[int, Finish] = field(default_factory=dict[int, Finish], init=False, repr=False)
    _logprobs: list[Logprobs] = field(default_factory=list[Logprobs], init=False, repr=False)
    _parts: dict[int, list[Mark]] = field(default_factory=dict[int, list[Mark]], init=False, repr=False)
    _came: dict[int, int] = field(default_factory=dict[int, int], init=False, repr=False)
    _altered: set[int] = field(default_factory=set[int], init=False, repr=False)
    _cut: set[int] = field(default_factory=set[int], init=False, repr=False)
    _blocked: set[int] = field(default_factory=set[int], init=False, repr=False)
    _finished: set[int] = field(default_factory=set[int], init=False, repr=False)
    _complete: set[int] = field(default_factory=set[int], init=False, repr=False)
    _raw: dict[str, list[str]] = field(default_factory=dict[str, list[str]], init=False, repr=False)
    _cost: Cost = field(default_factory=Cost, init=False, repr=False)
    _now: float | None = field(default=None, init=False, repr=False)
    _restored_at: float | None = field(default=None, init=False, repr=False)
    _ended: bool = field(default=False, init=False, repr=False)
    _silent: bool = field(default=False, init=False, repr=False)
    _saw_done: bool = field(default=False, init=False, repr=False)
    _saved: int | None = field(default=0, init=False, repr=False)
    _failed: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        rules = as_rules(self.rules)
        if not isinstance(self.rules, Live):
            self.rules = rules
        self.provider = as_provider_rules(self.provider)
        self.channels = tuple(self.channels)
        Hold(rules)  # a bad pattern is this program's mistake, and shows when the stage is made
        for name, found, known in (
            *(("channels", channel, _MODERATED) for channel in self.channels),
            ("mode", self.mode, get_args(Mode)),
            ("on_max_hold", self.on_max_hold, ("block", "release")),
        ):
            if found not in known:
                raise PipelineError(f"expected {name} of {', '.join(known)}; found {found!r}")
        for name, bound in (("max_hold_chars", self.max_hold_chars), ("max_hold_seconds", self.max_hold_seconds)):
            if bound is not None and bound <= 0:
                raise PipelineError(f"expected a {name} above zero, or None; found {bound!r}")
        # A run keeps the rules that it began with.
        self._rules_of = {
            channel: chosen
            for channel in self.channels
            if (chosen := tuple(rule for rule in rules if rule.channels is None or channel in rule.channels))
        }
        if self.provider:
            # Its verdicts are about so much of the text, which needs to be known.
            self._rules_of.setdefault("content", ())

    @property
    def exempt(self) -> tuple[str, ...]:
        """What passes without a look: channels that are not named or for which there is no rule, and what no rule sees."""
        unseen = (channel for channel in _MODERATED if not self._rules_of.get(channel))
        return (*unseen, "audio", "annotations", "provider notices")

    @property
    def held(self) -> int:
        """Characters that wait for a decision now."""
        return self._cost.waiting

    @property
    def report(self) -> ModerationReport:
        """What the moderation has cost so far."""
        cost = self._cost
        waited = (cost.deltas, cost.characters, cost.max_waiting, cost.seconds, cost.max_seconds)
        return ModerationReport(cost.checks, cost.verdicts, *waited, self.done, self._saved)

    def raw(self, index: int = 0, channel: Channel = "content", tool_index: int | None = None) -> str:
        """A text as it came, with what was not released; of calls of tools, as JSON. `PipelineError` without `keep_raw`."""
        if not self.keep_raw:
            raise PipelineError("the text as it came is kept only by Moderate(…, keep_raw=True)")
        if channel.startswith("tool") and tool_index is None:
            tool_index = 0
        return "".join(self._raw.get(_place(index, channel, tool_index), ()))

    def tick(self, now: float) -> None:
        if self._restored_at is not None:
            self._catch_up(now - self._restored_at)
        self._now = now

    # Items in, items out

    def feed(self, item: Event) -> Iterable[Event]:
        return self.feed_all([item])

    def feed_all(self, items: list[Event]) -> Iterable[Event]:
        if self._failed:
            raise PipelineError("the rules have failed before in this stream; nothing more of it is released")
        out: list[Event] = []
        rules, observing = self._rules_of, self.mode == "observe"
        try:
            if self.max_hold_seconds is not None:
                self._expire(self.max_hold_seconds, out)
            for event in items:
                if self.done:
                    break
                if observing:
                    self._observe(event, out)
                elif (channel := _CHANNELS.get(type(event))) and channel in rules:
                    self._text(cast(Delta, event), channel, out)
                else:
                    self._take(event, out)
        except Exception as error:
            self._failed = True
            return cut_short(out, error)
        return out

    def flush(self) -> Iterable[Event]:
        out: list[Event] = []
        if not self.done and not self._ended:
            try:
                self._rest(out)
            except Exception as error:
                self._failed = True
                return cut_short(out, error)
            if self.mode == "observe":
                out = [event for event in out if isinstance(event, Flagged | Redacted | Blocked)]
            if self.reports and not self.done:
                out.append(self.report)
        return out

    def _observe(self, event: Event, out: list[Event]) -> None:
        # The same work as in the other modes; of what comes of it, the verdicts alone are told.
        told: list[Event] = []
        if not self._silent and not self._ended:
            channel = _CHANNELS.get(type(event))
            if channel and channel in self._rules_of:
                self._text(cast(Delta, event), channel, told)
            else:
                self._take(event, told)
        told = [item for item in told if isinstance(item, Flagged | Redacted | Blocked) and item is not event]
        if isinstance(event, StreamEnd):
            self._ended = True
            out += [*told, *((self.report,) if self.reports else ()), event]
        else:
            out += [event, *told]

    def _take(self, event: Event, out: list[Event]) -> None:
        match event:
            case StreamEnd():
                self._conclude(event, out)
            case ProviderNotice() if self.provider:
                self._provider(event, out)
            case (
                TextDelta(index=index)
                | ReasoningDelta(index=index)
                | RefusalDelta(index=index)
                | RoleDelta(index=index)
                | ToolCallDelta(index=index)
                | AudioDelta(index=index)
                | Annotation(index=index)
                | PartStart(index=index)
                | PartEnd(index=index)
                | Logprobs(index=index)
                | Finish(index=index)
            ):
                self._came.setdefault(index, 0)
                self._of_a_choice(event, index, out)
            case _:
                out.append(_bare(event))

    def _of_a_choice(self, event: Event, index: int, out: list[Event]) -> None:
        match event:
            case Finish():
                self._finish(event, out)
            case ToolCallDelta() if "tool_arguments" in self._rules_of or "tool_name" in self._rules_of:
                self._call(event, out)
            case _ if index in self._blocked:
                return
            case Logprobs():
                self._logprobs.append(_bare(event))
            case PartStart() | PartEnd():
                self._part(_bare(event), out)
            case _:
                out.append(_bare(event))

    def _part(self, event: PartStart | PartEnd, out: list[Event]) -> None:
        # It stands behind the text that came before it, also where that waits.
        waits: list[tuple[Channel, int]] = [
            (channel, track.waiting.length)
            for (choice, channel), track in self._texts.items()
            if choice == event.index and track.waiting.left < track.waiting.length
        ]
        if waits or self._parts.get(event.index):
            self._parts.setdefault(event.index, []).append(Mark(event, waits))
        else:
            out.append(event)

    def _pass_parts(self, index: int, out: list[Event]) -> None:
        marks = self._parts.get(index, [])
        while marks and all(self._texts[index, channel].waiting.left >= at for channel, at in marks[0].behind):
            out.append(marks.pop(0).event)

    # Text

    def _text(self, delta: Delta, channel: Channel, out: list[Event]) -> None:
        text, index = delta.text, delta.index
        self._came[index] = self._came.get(index, 0) + 1
        if self.keep_raw:
            self._keep(index, channel, None, text)
        if index in self._blocked:
            return
        track = self._texts.get((index, channel))
        if track is None:
            track = self._texts[index, channel] = Track((index, channel, None), self._rules_of[channel], self._cost)
        if track.over:
            return
        waiting, limit = track.waiting, self.max_hold_chars
        came = len(text)
        if limit is None or self.mode != "hold" or waiting.length - waiting.left + came <= limit:
            before, pieces = len(out), track.check(text)
            if len(pieces) == 1 and pieces[0].rule is None and waiting.passes(came, pieces[0].end):
                track.out += came
                out.append(delta if delta.payload is None else _DELTAS[channel](text, index))
                return
            waiting.come(text, self._now)
            self._settle(track, pieces, out)
            if waiting.left < waiting.length:
                self._stay(track, came, out, before)
            return
        # In such slices that the bound means the same for any cuts: no character can come to be one too many within one.
        while text and not track.over and index not in self._blocked:
            room = max(limit - (waiting.length - waiting.left), 1)
            piece, text = text[:room], text[room:]
            waiting.come(piece, self._now)
            self._settle(track, track.check(piece), out)
            waiting.stay(len(piece))
            if waiting.length - waiting.left > limit and not track.over and index not in self._blocked:
                self._exceed(track, "characters", out)

    def _stay(self, track: Track, came: int, out: list[Event], before: int) -> None:
        if self.mode == "hold":
            track.waiting.stay(came)
            return
        # What is decided of a delta and what is not leave together, as it came.
        last = out[-1] if len(out) > before else None
        if isinstance(last, TextDelta | ReasoningDelta | RefusalDelta):
            whole = last.text + self._undecided(track)
            out[-1] = _DELTAS[track.channel](whole, track.index)
        else:
            self._leave_undecided(track, out)

    def _undecided(self, track: Track) -> str:
        text = track.waiting.text()
        track.out += len(text)
        track.waiting.leave(track.waiting.length, self._now)
        return text

    def _leave_undecided(self, track: Track, out: list[Event]) -> None:
        if text := self._undecided(track):
            out.append(_DELTAS[track.channel](text, track.index))
        self._pass_parts(track.index, out)

    def _settle(self, track: Track, pieces: list[Released], out: list[Event], call: Call | None = None) -> None:
        for piece in pieces:
            rule = piece.rule
            if rule is None or rule.action == "allow":
                self._release(track, piece, out)
                continue
            source: VerdictSource = "rules" if piece.cause == "match" else piece.cause
            self._tell(rule.action, rule.category, piece.start, piece.end, track, rule.severity, source, out)
            match rule.action:
                case "annotate":
                    self._release(track, piece, out)
                case "redact":
                    self._redact(track, piece, rule, call, out)
                case "replace":
                    self._replace(track, piece, rule, call, out)
                    return
                case _:
                    self._retract(track, piece.start, track.waiting.left, rule, "", out)
                    self._block(track.index, rule.message, out, stop=rule.action == "stop")
                    return

    def _release(self, track: Track, piece: Released, out: list[Event]) -> None:
        waiting = track.waiting
        if piece.end <= waiting.left:
            return
        start, as_it_came = max(piece.start, waiting.left), len(piece.text) == piece.end - piece.start
        for end in (*self._places(track, start, piece.end), piece.end) if as_it_came else (piece.end,):
            text = (
                piece.text[start - piece.start : end - piece.start] if as_it_came else piece.text[start - piece.start :]
            )
            waiting.leave(end, self._now)
            if track.tool_index is None and text:
                track.out += len(text)
                out.append(_DELTAS[track.channel](text, track.index))
            self._pass_parts(track.index, out)
            start = end

    def _places(self, track: Track, start: int, end: int) -> list[int]:
        """Where in a piece of text a part of the answer begins or ends."""
        behind = (place for mark in self._parts.get(track.index, ()) for place in mark.behind)
        return sorted({at for channel, at in behind if channel == track.channel and start < at < end})

    def _redact(self, track: Track, piece: Released, rule: Rule, call: Call | None, out: list[Event]) -> None:
        self._altered.add(track.index)
        if call:
            call.edit(track.channel, piece.start, piece.end, piece.text)
            track.waiting.leave(piece.end, self._now)
        elif self._retract(track, piece.start, min(piece.end, track.waiting.left), rule, piece.text, out):
            # The replacement stands in the retraction; what had not left of the match never does.
            track.waiting.leave(max(piece.end, track.waiting.left), self._now)
        else:
            self._release(track, piece, out)
            track.waiting.leave(piece.end, self._now)
        self._pass_parts(track.index, out)

    def _replace(self, track: Track, piece: Released, rule: Rule, call: Call | None, out: list[Event]) -> None:
        self._altered.add(track.index)
        self._cut.add(track.index)
        track.over = True
        if call:
            call.over = True
            call.waiting.leave(call.waiting.length, self._now)
            call.take()
            self._say(rule.replacement, track.index, out)
            return
        self._retract(track, piece.start, track.waiting.left, rule, "", out)
        track.waiting.leave(track.waiting.length, self._now)
        if rule.replacement:
            track.out += len(rule.replacement)
            out.append(_DELTAS[track.channel](rule.replacement, track.index))
        self._pass_parts(track.index, out)

    def _retract(self, track: Track, start: int, end: int, rule: Rule, replacement: str, out: list[Event]) -> bool:
        # From the start of what is undecided on, text has left as it came, so that the distances are the same.
        if track.tool_index is not None or start >= end:
            return False
        first = track.out - (track.waiting.left - start)
        place = (start, end, first, first + end - start, track.channel, track.index)
        out.append(Retracted(rule.category, *place, replacement))
        return True

    def _tell(
        self,
        action: str,
        category: str,
        start: int,
        end: int,
        track: Track,
        severity: str | None,
        source: VerdictSource,
        out: list[Event],
    ) -> None:
        self._cost.verdicts += 1
        kind: Any = _VERDICTS[action]
        place = (start, end, track.channel, track.index)
        out.append(kind(category, *place, severity, track.tool_index, source, action))

    def _say(self, text: str | None, index: int, out: list[Event]) -> None:
        if text:
            if content := self._texts.get((index, "content")):
                content.out += len(text)
            out.append(TextDelta(text, index))

    # Calls of tools

    def _call(self, delta: ToolCallDelta, out: list[Event]) -> None:
        index, limit = delta.index, self.max_hold_chars
        self._came[index] = self._came.get(index, 0) + 1
        if self.keep_raw:
            self._keep(index, "tool_arguments", delta.tool_index, delta.arguments)
            self._keep(index, "tool_name", delta.tool_index, delta.name or "")
        if index in self._blocked:
            return
        call = self._calls.get((index, delta.tool_index))
        if call is None:
            call = self._calls[index, delta.tool_index] = self._new_call(index, delta.tool_index)
        rest: ToolCallDelta | None = _bare(delta)
        while rest and not call.over and index not in self._blocked:
            piece, rest = (rest, None) if limit is None or call.open else _split(rest, limit - _waits(call))
            self._call_piece(call, piece, out)
            if limit is not None and _waits(call) > limit:
                self._exceed(call, "characters", out)

    def _new_call(self, index: int, tool_index: int) -> Call:
        name, arguments = self._rules_of.get("tool_name", ()), self._rules_of.get("tool_arguments", ())
        call = Call(
            Track((index, "tool_name", tool_index), name, self._cost) if name else None,
            Track((index, "tool_arguments", tool_index), arguments, self._cost) if arguments else None,
            self._cost,
        )
        harmless = all(rule.action in ("allow", "annotate") for rule in (*name, *arguments))
        # Where nothing can be taken away, nothing needs to wait.
        call.open = self.mode == "observe" or harmless
        return call

    def _call_piece(self, call: Call, delta: ToolCallDelta, out: list[Event]) -> None:
        new = call.spelled(delta)
        if new and call.named:
            # The name was judged as a whole; a client that joins the pieces of a name must not get more of it.
            delta, new = msgspec.structs.replace(delta, name=None) if call.name else delta, ""
        if call.open:
            out.append(delta)
        else:
            call.keep(delta)
            call.waiting.come(new + delta.arguments, self._now)
            call.waiting.stay(len(new) + len(delta.arguments))
        self._check(call.name, new, call, out)
        if delta.arguments and not call.named:
            call.named = True
            self._check(call.name, "", call, out, final=True)
        self._check(call.arguments, call.meant(delta), call, out)
        if call.decided and not call.over and delta.index not in self._blocked:
            self._send(call, out)

    def _check(self, track: Track | None, text: str, call: Call, out: list[Event], *, final: bool = False) -> None:
        if track and (text or final) and not call.over and track.index not in self._blocked:
            track.waiting.come(text, self._now)
            self._settle(track, track.check(text, final=final), out, call)

    def _send(self, call: Call, out: list[Event]) -> None:
        call.waiting.leave(call.waiting.length, self._now)
        out += call.take()

    # Bounds

    def _expire(self, limit: float, out: list[Event]) -> None:
        for what in self._held():
            since = what.waiting.since()
            if self._now is not None and since is not None and self._now - since > limit and not self.done:
                self._exceed(what, "seconds", out)

    def _held(self) -> list[Track | Call]:
        return [*self._texts.values(), *self._calls.values()]

    def _exceed(self, what: Track | Call, limit: Exceeded, out: list[Event]) -> None:
        track = what if isinstance(what, Track) else what.arguments or what.name
        if track is None or track.index in self._blocked:
            return
        start = track.waiting.left if isinstance(what, Track) else what.past
        end = track.waiting.length
        out.append(HoldExceeded(limit, self.on_max_hold, start, end, track.channel, track.index, track.tool_index))
        if self.on_max_hold == "block":
            self._tell("block", "max_hold", start, end, track, None, "max_hold", out)
            self._block(track.index, None, out)
        elif isinstance(what, Track):
            self._leave_undecided(what, out)
        else:
            self._send(what, out)
            what.open = True

    # The provider's verdicts

    def _provider(self, notice: ProviderNotice, out: list[Event]) -> None:
        out.append(_bare(notice))
        everyone = sorted(self._came) or range(self.choices)
        for rule, finding in decide(as_provider_rules(self.provider), notice):
            for index in everyone if notice.index is None else (notice.index,):
                if rule.action == "allow" or index in self._blocked or self.done or self._silent:
                    continue
                content = self._texts.get((index, "content"))
                start, end = finding.span or (0, 0 if finding.of_prompt or not content else content.waiting.length)
                channel: Channel = "prompt" if finding.of_prompt else "content"
                self._cost.verdicts += 1
                kind: Any = _VERDICTS[rule.action]
                place = (start, end, channel, index)
                out.append(kind(finding.category, *place, finding.severity, None, "provider", rule.action))
                if rule.action != "annotate":
                    self._block(index, rule.message, out, stop=rule.action == "stop")

    # Ends

    def _finish(self, finish: Finish, out: list[Event]) -> None:
        index = finish.index
        self._complete.add(index)
        if index in self._blocked:
            return
        self._finishes.pop(index, None)
        self._finishes[index] = _bare(finish)
        # More text may come after a finish reason; what it would complete must not have left.
        if not self._waits(index):
            self._end_choice(index, out)
        if self._blocked - self._complete and self._all_over():
            self._stop(out)

    def _waits(self, index: int) -> bool:
        texts = (track.waiting for (choice, _), track in self._texts.items() if choice == index)
        return any(waiting.left < waiting.length for waiting in texts) or any(
            call.pending for (choice, _), call in self._calls.items() if choice == index
        )

    def _end_choice(self, index: int, out: list[Event]) -> None:
        finish = self._finishes.pop(index)
        self._finished.add(index)
        out.append(msgspec.structs.replace(finish, reason="content_filter") if index in self._cut else finish)

    def _all_over(self) -> bool:
        ended = self._blocked | self._finished | self._finishes.keys()
        return len(ended) >= self.choices and ended >= self._came.keys()

    def _block(self, index: int, message: str | None, out: list[Event], *, stop: bool = False) -> None:
        self._blocked.add(index)
        self._finishes.pop(index, None)
        self._drop(index)
        if index not in self._finished:
            self._say(message, index, out)
            out.append(Finish("content_filter", index))
        if stop or (not self._ended and self._all_over()):
            self._stop(out)

    def _drop(self, index: int) -> None:
        self._parts.pop(index, None)
        for (choice, _), track in self._texts.items():
            if choice == index:
                track.waiting.leave(track.waiting.length, None)
        for key in [key for key in self._calls if key[0] == index]:
            waiting = self._calls.pop(key).waiting
            waiting.leave(waiting.length, None)

    def _stop(self, out: list[Event]) -> None:
        if self.done or self._silent:
            return
        if self.mode == "observe":
            self._silent = True
        else:
            self.done, self._saved = True, self._unspent()
        for index in sorted((self._finished | self._finishes.keys()) - self._blocked):
            self._rest(out, index)
        for index in sorted(self._came.keys() - self._blocked - self._finished):
            self._drop(index)
            out.append(Finish("content_filter", index))
        out += (self.report,) if self.reports else ()
        out.append(StreamEnd("moderated", self._saw_done))

    def _unspent(self) -> int | None:
        # A delta holds a token at least.
        if self.max_tokens is None:
            return None
        came = [came for index, came in self._came.items() if index not in self._complete]
        unseen = max(self.choices - len(self._came), 0)
        return sum(max(self.max_tokens - count, 0) for count in came) + unseen * self.max_tokens

    def _conclude(self, end: StreamEnd, out: list[Event]) -> None:
        self._ended, self._saw_done = True, end.saw_done
        interrupted = end.reason in _INTERRUPTED
        if not interrupted:
            self._rest(out)
        if self.done:
            return
        out += (self.report,) if self.reports else ()
        moderated = not interrupted and (self._blocked or self._cut)
        out.append(StreamEnd("moderated", end.saw_done) if moderated else end)

    def _rest(self, out: list[Event], only: int | None = None) -> None:
        for (index, _), track in list(self._texts.items()):
            if self._goes_on(index, only) and not track.over:
                self._settle(track, track.check("", final=True), out)
                track.over = True
        for (index, _), call in list(self._calls.items()):
            if self._goes_on(index, only) and not call.over:
                self._end_call(call, index, out)
        out += [item for item in self._logprobs if self._goes_on(item.index, only) and item.index not in self._altered]
        for index in [index for index in self._finishes if self._goes_on(index, only)]:
            self._end_choice(index, out)

    def _goes_on(self, index: int, only: int | None) -> bool:
        # When all is stopped, the choices that had ended before still come to their own end.
        return index not in self._blocked and (not (self.done or self._silent) if only is None else index == only)

    def _end_call(self, call: Call, index: int, out: list[Event]) -> None:
        if not call.named:
            self._check(call.name, "", call, out, final=True)
        self._check(call.arguments, call.ending(), call, out, final=True)
        if not call.over and index not in self._blocked:
            self._send(call, out)
        call.over = True

    # What is kept

    def _keep(self, index: int, channel: Channel, tool_index: int | None, text: str) -> None:
        self._raw.setdefault(_place(index, channel, tool_index), []).append(text)

    def state(self) -> Any:
        """What a run of this stage knows, as plain data."""
        return {
            "texts": [track.state() for track in self._texts.values()],
            "calls": [[index, tool_index, call.state()] for (index, tool_index), call in self._calls.items()],
            "finishes": [[finish.index, finish.reason] for finish in self._finishes.values()],
            "parts": [[index, msgspec.to_builtins(marks)] for index, marks in self._parts.items()],
            "logprobs": [[item.index, item.logprobs] for item in self._logprobs],
            "came": [list(entry) for entry in self._came.items()],
            "sets": {name: sorted(getattr(self, name)) for name in _SETS},
            "flags": {name: getattr(self, name) for name in _FLAGS},
            "raw": {place: "".join(pieces) for place, pieces in self._raw.items()},
            "cost": msgspec.to_builtins(self._cost),
        }

    def restore(self, state: Any) -> None:
        """Go on from where another run of a stage with the same configuration was. Its clock may be another one."""
        self._cost = msgspec.convert(state["cost"], Cost)
        for known in state["texts"]:
            index, channel, _ = known[:3]
            track = self._texts[index, channel] = Track((index, channel, None), self._rules_of[channel], self._cost)
            track.restore(known)
        for index, tool_index, known in state["calls"]:
            call = self._calls[index, tool_index] = self._new_call(index, tool_index)
            call.restore(known)
        self._finishes = {index: Finish(reason, index) for index, reason in state["finishes"]}
        self._parts = {index: msgspec.convert(marks, list[Mark]) for index, marks in state["parts"]}
        self._logprobs = [Logprobs(logprobs, index) for index, logprobs in state["logprobs"]]
        self._came = dict(state["came"])
        for name in _SETS:
            setattr(self, name, set(state["sets"][name]))
        for name in _FLAGS:
            setattr(self, name, state["flags"][name])
        self._raw = {place: [text] for place, text in state["raw"].items()}
        self._restored_at, self._now = self._now, None

    def _catch_up(self, later: float) -> None:
        self._restored_at = None
        for what in self._held():
            what.waiting.shift(later)


_SETS = ("_altered", "_cut", "_blocked", "_finished", "_complete")
_FLAGS = ("done", "_now", "_ended", "_silent", "_saved", "_saw_done", "_failed")
E = TypeVar("E", bound=Event)


def _bare(event: E) -> E:
    # The chunk that an event was taken from may hold text that waits, or that must never leave.
    return msgspec.structs.replace(event, payload=None) if getattr(event, "payload", None) is not None else event


def _waits(call: Call) -> int:
    return call.waiting.length - call.waiting.left


def _split(delta: ToolCallDelta, room: int) -> tuple[ToolCallDelta, ToolCallDelta | None]:
    room = max(room, 1)
    if len(delta.arguments) <= room:
        return delta, None
    rest = ToolCallDelta(delta.tool_index, None, None, delta.arguments[room:], delta.index)
    return msgspec.structs.replace(delta, arguments=delta.arguments[:room]), rest


def _place(index: int, channel: Channel, tool_index: int | None) -> str:
    return f"{index} {channel}" if tool_index is None else f"{index} {channel} {tool_index}"
