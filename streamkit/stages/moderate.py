"""Rules in the stream: text is buffered while it could still become part of a match, and not a character longer."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from os import PathLike
from time import thread_time
from typing import Any, Literal

import msgspec

from streamkit.core.buffers import Buffer
from streamkit.core.engine import Slices, stage_name
from streamkit.core.stage import Stage, cut_short
from streamkit.core.wrong_input import shown
from streamkit.errors import PipelineError
from streamkit.events import Channel, Event, ModerationReport, PartDelta, ToolCallDelta
from streamkit.moderation.channels import CALLS, CHANNEL_OF, PARTS, TEXTS, Mode, run_of
from streamkit.moderation.classifiers.provider_filters import ProviderRule, as_provider_rules
from streamkit.moderation.match.scanner import Scanners
from streamkit.moderation.policy import MAX_HOLD_CHARS, Policy, checked
from streamkit.moderation.release import Release
from streamkit.moderation.report import Cost
from streamkit.moderation.rule import Rule
from streamkit.moderation.rule_file import Live, as_rules
from streamkit.moderation.slices import Pace, batches, has_text, in_slices, weight_of

_MODERATED: tuple[Channel, ...] = (*TEXTS, *CALLS, *PARTS)
_EXEMPT = ("audio", "identity", "signatures and binary data", "numbers beside text", "filter verdicts", "usage")
"""Data that no rule reads: sound; who answers, ids, kinds, roles and states; signatures, encrypted text, images; numbers in the
structure of parts and in details; the verdicts of the provider's filters, and usage."""


@dataclass
class Moderate(Stage[Event, Event]):
    """Apply `rules`, or those of a file by its path, to each channel of each choice, and decide what of it is released.

    `mode`: in `hold` nothing undecided is released, so that no part of a forbidden match is released before the decision. In
    `observe` (shadow mode) everything passes unchanged and the verdicts, the same ones, are only reported. In `optimistic`
    text is released at once; of a match that completes later, `Retracted` takes back what was released, and the rest is
    withheld.

    A match is reported by `Flagged`, `Redacted` or `Blocked`; of matches that overlap the first is replaced, and the others
    are removed with it. A choice that is blocked ends with the rule's `message`, if it has one, and
    `Finish("content_filter")`; once no choice is open and `choices` of them (the request's `n`) have ended, the source is
    closed and the stream ends with `StreamEnd("moderated")`. `stop` ends all of them at once. `replace` releases the rule's
    replacement for the match and all that follows in its channel; the choice continues, and ends with `content_filter`.

    `channels` are moderated, each by itself; `exempt` lists what passes as it is. A call of a tool is buffered as a whole, in
    `optimistic` too: until its arguments are a complete document with nothing undecided in it, or its choice ends. Its
    arguments are searched with the escapes of JSON decoded, and what is redacted in them leaves JSON. A call in which a rule
    says `replace` is withheld, and the replacement is released as content. So is a field of a part (`PartDelta`), until it is
    a complete document or its part ends. Strings that are left in the structure of parts, in details and in notices are
    emptied if a rule of the channel `other` withholds them.

    At most `max_hold_chars` of one text are buffered, and none for longer than `max_hold_seconds`, by the source's clock,
    which is read with each burst and not in a stall. Then `on_max_hold` says: `block` the choice, or `release` what is
    buffered, undecided. All patterns of a choice together search for at most 0.1 seconds, beyond what text of its length
    may take; then each rule's `fail` decides.

    `provider` says what follows from the verdicts of the provider's own filters. With `reports` a `ModerationReport` comes
    before the last event; `max_tokens`, the request's, lets it say how many tokens were saved at most. With `keep_raw` the
    original text can be read.

    What is released has no `raw`, for a chunk may contain more than was released of it. `Logprobs` spell the text out: they
    are released before the finish of their choice, and not at all if something of that was withheld. Nor is an `Annotation`
    that quotes withheld text, a structured value that contains what a rule withholds, or a `Completion` that does; such
    stages belong after this one. `Reset` discards what is buffered. Text that is no event, and what `Extract` has not read,
    raises `PipelineError`. A stream that is cancelled or fails does not release what is buffered, nor does one whose rules
    fail.
    """

    moderates = True
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
    _scanners: Scanners = field(init=False, repr=False, compare=False)
    _release: Release = field(init=False, repr=False, compare=False)
    _raw: dict[str, list[str]] = field(default_factory=dict[str, list[str]], init=False, repr=False)
    _failed: bool = field(default=False, init=False, repr=False)
    _pace: Pace = field(default_factory=Pace, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        rules = as_rules(self.rules)
        if not isinstance(self.rules, Live):
            self.rules = rules
        self.provider = as_provider_rules(self.provider)
        self.channels = tuple(self.channels)
        for channel in self.channels:
            if channel not in _MODERATED:
                raise PipelineError(f"expected channels of {', '.join(_MODERATED)}; found {shown(channel)}")
        policy = checked(
            Policy(
                self.mode,
                False,
                self.choices,
                self.max_hold_chars,
                self.max_hold_seconds,
                self.on_max_hold,
                self.max_tokens,
                self.reports,
            )
        )
        # A run keeps the rules that it began with. The provider's verdicts are about so much of the content, which is counted.
        self._scanners = Scanners(rules, self.channels, always=("content",) if self.provider else ())
        self._release = Release(policy, self._scanners, Cost(), self.provider)

    @property
    def exempt(self) -> tuple[str, ...]:
        """Names of what is released unmoderated: channels that are not named or have no rule, and data that no rule reads."""
        return (*(channel for channel in _MODERATED if not self._scanners.rules_of(channel)), *_EXEMPT)

    @property
    def held(self) -> int:
        """Characters that are buffered now."""
        return self._release.cost.held

    def buffers(self) -> Iterable[Buffer]:
        return (Buffer(stage_name(self), self.held, "characters", "may become part of a match of a rule"),)

    @property
    def report(self) -> ModerationReport:
        """The metrics of moderation so far."""
        return self._release.report

    def raw(self, index: int = 0, channel: Channel = "content", tool_index: int | None = None) -> str:
        """The original text, with what was not released; of calls of tools, as JSON. `PipelineError` without `keep_raw`."""
        if not self.keep_raw:
            raise PipelineError("the original text is kept only by Moderate(…, keep_raw=True)")
        if channel.startswith("tool") and tool_index is None:
            tool_index = 0
        return "".join(self._raw.get(_place(index, channel, tool_index), ()))

    def tick(self, now: float) -> None:
        self._release.tick(now)

    def feed(self, item: Event) -> Iterable[Event]:
        return self.feed_all([item])

    def feed_all(self, items: list[Event]) -> Iterable[Event]:
        if self._failed:
            raise PipelineError("the rules have failed before in this stream; nothing more of it is released")
        out: list[Event] = []
        release = self._release
        try:
            if self.max_hold_seconds is not None:
                release.expire(out)
            alone: Any = items[0] if len(items) == 1 else None
            if (known := release.open.get(alone.__class__)) and (take := known.get(alone.index)):
                # How providers send: one delta, of a text of which it is known that it takes more.
                text = alone.text
                if 0 < len(text) <= self._pace.timed and not self.keep_raw:
                    take(items, text, out)
                    return out
            elif alone.__class__ is ToolCallDelta and self.mode == "hold" and not self.keep_raw:
                arguments = alone.arguments
                if len(arguments) <= self._pace.timed:
                    release.feed_call(items, arguments, out)
                    return out
            at = self._feed_runs(items, out)
        except Exception as error:
            self._failed = True
            return cut_short(out, error)
        finally:
            if release.done:
                self.done = True
        return out if at is None else Slices(self._slices(items[at:], out))

    def _slices(self, items: list[Event], out: list[Event]) -> Iterator[Iterable[Event]]:
        # What would take long in one go, in steps that each take about as much text.
        yield out
        out = []
        try:
            for batch in batches(items, self._pace):
                for some in self._in_steps(batch, out):
                    self._feed_runs(some, out, at_once=True)
                    if self.mode == "observe" and some is not batch:
                        out.remove(some[0])  # the whole was released
                    if self._release.done:
                        self.done = True
                    yield out
                    out = []
                    if self.done:
                        return
        except Exception as error:
            self._failed = True
            yield cut_short(out, error)

    def _in_steps(self, batch: list[Event], out: list[Event]) -> Iterator[list[Event]]:
        whole, heavy = batch[0], weight_of(batch[0]) > self._pace.size
        if heavy and has_text(whole):
            out += [whole] if self.mode == "observe" else ()
            for piece in in_slices(whole, self._pace):
                yield [piece]
            return
        if heavy and self.mode != "observe":
            yield from ([] for _ in self._release.prepare(whole))
        yield batch

    def flush(self) -> Iterable[Event]:
        out: list[Event] = []
        try:
            self._release.end(out)
        except Exception as error:
            self._failed = True
            return cut_short(out, error)
        finally:
            self.done = self._release.done
        return out

    def _feed_runs(self, items: list[Any], out: list[Event], at_once: bool = False) -> int | None:
        # Adjacent deltas of one text are searched at once, where what is released does not depend on when that happens.
        # Returns where something begins that would take long, unless all is to be done at once.
        release, together, pace = self._release, self.mode == "hold", self._pace
        at, size = 0, len(items)
        while at < size and not release.done:
            event = items[at]
            kind, start = event.__class__, at
            at += 1
            channel = CHANNEL_OF.get(kind)
            if channel is not None:
                index = event.index
                while together and at < size and items[at].__class__ is kind and items[at].index == index:
                    at += 1
                run = items if at - start == size else items[start:at]
                text = event.text if at - start == 1 else "".join(map(_text, run))
                if len(text) > pace.at_once and not at_once:
                    return start
                weight = len(text)
                began = thread_time() if weight > pace.timed else None
                if self.keep_raw:
                    self._keep(index, channel, None, text)
                if text and (take := release.open[kind].get(index)):
                    take(run, text, out)
                else:
                    release.feed_run(channel, run, text, out)
            elif (spelled := _IN_PIECES.get(kind)) and together:
                at = run_of(items, start)
                run = items[start:at]
                text = spelled(event) if at - start == 1 else "".join(map(spelled, run))
                if not at_once and (start > _MOST_EVENTS or len(text) > pace.at_once):
                    return start
                if self.keep_raw:
                    for piece in run:
                        self._keep_other(piece)
                weight = len(text)
                began = thread_time() if weight > pace.timed else None
                release.feed_call(run, text, out)
            else:
                weight = weight_of(event)
                if not at_once and (start > _MOST_EVENTS or weight > pace.at_once):
                    return start
                began = thread_time() if at_once and weight > pace.timed else None
                if self.keep_raw:
                    self._keep_other(event)
                release.feed(event, out)
            if began is not None:
                pace.adapt(weight, thread_time() - began)
        return None

    # What is kept

    def _keep_other(self, event: Any) -> None:
        if isinstance(event, ToolCallDelta):
            self._keep(event.index, "tool_arguments", event.tool_index, event.arguments)
            self._keep(event.index, "tool_name", event.tool_index, event.name or "")
        elif isinstance(event, PartDelta):
            self._keep(event.index, event.channel, None, event.text)

    def _keep(self, index: int, channel: Channel, tool_index: int | None, text: str) -> None:
        self._raw.setdefault(_place(index, channel, tool_index), []).append(text)

    def state(self) -> Any:
        """Return the state of a run of this stage as plain data, for a checkpoint."""
        raw = {place: "".join(pieces) for place, pieces in self._raw.items()}
        return {**self._release.state(), "failed": self._failed, "raw": raw, "scanners": self._scanners.state()}

    def restore(self, state: Any) -> None:
        """Continue from the state of another run of a stage with the same configuration. Its clock may be another one."""
        self._scanners.restore(state["scanners"])
        self._release.restore(state)
        self.done, self._failed = self._release.done, state["failed"]
        self._raw = {place: [text] for place, text in msgspec.convert(state["raw"], dict[str, str]).items()}


_text = attrgetter("text")
_IN_PIECES: dict[type, Callable[[Any], str]] = {ToolCallDelta: attrgetter("arguments"), PartDelta: _text}


_MOST_EVENTS = 512


def _place(index: int, channel: Channel, tool_index: int | None) -> str:
    return f"{index} {channel}" if tool_index is None else f"{index} {channel} {tool_index}"
