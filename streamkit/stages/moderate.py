"""What may leave: text is held while it could still become part of what a rule forbids, and not a character longer."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, Literal, cast, get_args

import msgspec

from streamkit.errors import PipelineError
from streamkit.events import (
    Annotation,
    AudioDelta,
    Blocked,
    Channel,
    Event,
    Finish,
    Flagged,
    Logprobs,
    ModerationReport,
    PartEnd,
    PartStart,
    ProviderNotice,
    ReasoningDelta,
    Redacted,
    RefusalDelta,
    RoleDelta,
    StreamEnd,
    TextDelta,
    ToolCallDelta,
)
from streamkit.moderation.calls import Calls
from streamkit.moderation.choices import Choices, Ending
from streamkit.moderation.deltas import CHANNEL_OF, DELTA_OF, Delta, Mode, bare
from streamkit.moderation.ends import Ends
from streamkit.moderation.hold import Hold
from streamkit.moderation.provider import ProviderRule, as_provider_rules, decide
from streamkit.moderation.rules import Live, Rule, as_rules
from streamkit.moderation.texts import Texts
from streamkit.moderation.track import Cost
from streamkit.moderation.verdicts import Bounds, verdict
from streamkit.stage import Stage, cut_short

_MODERATED: tuple[Channel, ...] = (*DELTA_OF, "tool_arguments", "tool_name")
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
    _choices: Choices = field(init=False, repr=False, compare=False)
    _texts: Texts = field(init=False, repr=False, compare=False)
    _calls: Calls = field(init=False, repr=False, compare=False)
    _ends: Ends = field(init=False, repr=False, compare=False)
    _cost: Cost = field(default_factory=Cost, init=False, repr=False)
    _raw: dict[str, list[str]] = field(default_factory=dict[str, list[str]], init=False, repr=False)
    _restored_at: float | None = field(default=None, init=False, repr=False)
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
        bounds = Bounds(self.max_hold_chars, self.max_hold_seconds, self.on_max_hold)
        self._choices = Choices(self.choices)
        self._texts = Texts(self._rules_of, self._choices, self._cost, self.mode, bounds)
        self._calls = Calls(self._rules_of, self._texts, self._cost, self.mode, bounds)
        self._ends = Ends(
            self._choices,
            self._texts,
            self._calls,
            self._cost,
            silent=self.mode == "observe",
            max_tokens=self.max_tokens,
            reports=self.reports,
        )

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
        return self._ends.report

    def raw(self, index: int = 0, channel: Channel = "content", tool_index: int | None = None) -> str:
        """A text as it came, with what was not released; of calls of tools, as JSON. `PipelineError` without `keep_raw`."""
        if not self.keep_raw:
            raise PipelineError("the text as it came is kept only by Moderate(…, keep_raw=True)")
        if channel.startswith("tool") and tool_index is None:
            tool_index = 0
        return "".join(self._raw.get(_place(index, channel, tool_index), ()))

    def tick(self, now: float) -> None:
        if self._restored_at is not None:
            later, self._restored_at = now - self._restored_at, None
            texts = [track.waiting for track in self._texts.tracks.values()]
            for waiting in (*texts, *(call.waiting for _, call in self._calls.items)):
                waiting.shift(later)
        self._texts.now = now

    # Items in, items out

    def feed(self, item: Event) -> Iterable[Event]:
        return self.feed_all([item])

    def feed_all(self, items: list[Event]) -> Iterable[Event]:
        if self._failed:
            raise PipelineError("the rules have failed before in this stream; nothing more of it is released")
        out: list[Event] = []
        rules, observing, ends = self._rules_of, self.mode == "observe", self._ends
        try:
            if self.max_hold_seconds is not None:
                self._expire(self.max_hold_seconds, out)
            # One cast for all, since this is what each delta goes through.
            for event in cast(list[Any], items):
                if ends.done:
                    break
                if observing:
                    self._observe(event, out)
                elif (channel := CHANNEL_OF.get(event.__class__)) and channel in rules:
                    self._text(event, channel, out)
                else:
                    self._take(event, out)
        except Exception as error:
            self._failed = True
            return cut_short(out, error)
        finally:
            self.done = ends.done
        return out

    def flush(self) -> Iterable[Event]:
        out: list[Event] = []
        if not self.done and not self._ends.ended:
            try:
                self._ends.rest(out)
            except Exception as error:
                self._failed = True
                return cut_short(out, error)
            finally:
                self.done = self._ends.done
            if self.mode == "observe":
                out = [event for event in out if isinstance(event, Flagged | Redacted | Blocked)]
            if self.reports and not self.done:
                out.append(self.report)
        return out

    def _observe(self, event: Event, out: list[Event]) -> None:
        # The same work as in the other modes; of what comes of it, the verdicts alone are told.
        told: list[Event] = []
        if not self._ends.silent and not self._ends.ended:
            channel = CHANNEL_OF.get(type(event))
            if channel and channel in self._rules_of:
                self._text(cast(Delta, event), channel, told)
            else:
                self._take(event, told)
        told = [item for item in told if isinstance(item, Flagged | Redacted | Blocked) and item is not event]
        if isinstance(event, StreamEnd):
            self._ends.ended = True
            out += [*told, *((self.report,) if self.reports else ()), event]
        else:
            out += [event, *told]

    def _take(self, event: Event, out: list[Event]) -> None:
        match event:
            case StreamEnd():
                self._ends.conclude(event, out)
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
                self._choices.came.setdefault(index, 0)
                self._of_a_choice(event, index, out)
            case _:
                out.append(bare(event))

    def _of_a_choice(self, event: Event, index: int, out: list[Event]) -> None:
        match event:
            case Finish():
                self._ends.finish(event, out)
            case ToolCallDelta() if "tool_arguments" in self._rules_of or "tool_name" in self._rules_of:
                self._call(event, out)
            case _ if index in self._choices.blocked:
                return
            case Logprobs():
                self._choices.logprobs.append(bare(event))
            case PartStart() | PartEnd():
                self._texts.parts.feed(bare(event), out)
            case _:
                out.append(bare(event))

    def _text(self, delta: Delta, channel: Channel, out: list[Event]) -> None:
        choices, index = self._choices, delta.index
        came = choices.came
        came[index] = came.get(index, 0) + 1
        if self.keep_raw:
            self._keep(index, channel, None, delta.text)
        if index not in choices.blocked and (ending := self._texts.feed(delta, channel, out)):
            self._ends.block(index, ending, out)

    def _call(self, delta: ToolCallDelta, out: list[Event]) -> None:
        choices, index = self._choices, delta.index
        choices.came[index] = choices.came.get(index, 0) + 1
        if self.keep_raw:
            self._keep(index, "tool_arguments", delta.tool_index, delta.arguments)
            self._keep(index, "tool_name", delta.tool_index, delta.name or "")
        if index not in choices.blocked and (ending := self._calls.feed(bare(delta), out)):
            self._ends.block(index, ending, out)

    def _expire(self, limit: float, out: list[Event]) -> None:
        for (index, _), track in list(self._texts.tracks.items()):
            if self._waits_beyond(limit, track.waiting.since()) and (
                ending := self._texts.exceed(track, "seconds", out)
            ):
                self._ends.block(index, ending, out)
        for index, call in self._calls.items:
            if self._waits_beyond(limit, call.waiting.since()) and (ending := self._calls.exceed(call, "seconds", out)):
                self._ends.block(index, ending, out)

    def _waits_beyond(self, limit: float, since: float | None) -> bool:
        now = self._texts.now
        return now is not None and since is not None and now - since > limit and not self._ends.done

    def _provider(self, notice: ProviderNotice, out: list[Event]) -> None:
        out.append(bare(notice))
        everyone = sorted(self._choices.came) or range(self.choices)
        for rule, finding in decide(as_provider_rules(self.provider), notice):
            for index in everyone if notice.index is None else (notice.index,):
                if rule.action == "allow" or index in self._choices.blocked or self._ends.stopped:
                    continue
                content = self._texts.tracks.get((index, "content"))
                start, end = finding.span or (0, 0 if finding.of_prompt or not content else content.waiting.length)
                self._cost.verdicts += 1
                place: tuple[int, int, Channel, int] = (start, end, "prompt" if finding.of_prompt else "content", index)
                out.append(verdict(rule.action, finding.category, place, finding.severity, "provider"))
                if rule.action != "annotate":
                    self._ends.block(index, Ending(rule.message, rule.action == "stop"), out)

    # What is kept

    def _keep(self, index: int, channel: Channel, tool_index: int | None, text: str) -> None:
        self._raw.setdefault(_place(index, channel, tool_index), []).append(text)

    def state(self) -> Any:
        """What a run of this stage knows, as plain data."""
        return {
            **self._texts.state(),
            **self._calls.state(),
            **self._choices.state(),
            "flags": {**self._ends.state(), "_now": self._texts.now, "_failed": self._failed},
            "raw": {place: "".join(pieces) for place, pieces in self._raw.items()},
            "cost": msgspec.to_builtins(self._cost),
        }

    def restore(self, state: Any) -> None:
        """Go on from where another run of a stage with the same configuration was. Its clock may be another one."""
        self._cost.restore(state["cost"])
        for part in (self._texts, self._calls, self._choices):
            part.restore(state)
        self._ends.restore(flags := state["flags"])
        self.done, self._failed = flags["done"], flags["_failed"]
        self._restored_at, self._texts.now = flags["_now"], None
        self._raw = {place: [text] for place, text in msgspec.convert(state["raw"], dict[str, str]).items()}


def _place(index: int, channel: Channel, tool_index: int | None) -> str:
    return f"{index} {channel}" if tool_index is None else f"{index} {channel} {tool_index}"
