"""The release engine of a stream: all its choices, its end, and how each of them ends.

One engine for rules and for classifiers: `Judges` decide about each text, in the call in which it arrives or later.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, TypeAlias, cast, get_args

import msgspec

from streamkit.completion import SUCCESSES, EndReason
from streamkit.core.checkpoint import pack, unpack
from streamkit.errors import PipelineError
from streamkit.events import (
    Annotation,
    AudioDelta,
    Blocked,
    Channel,
    Checked,
    Choice,
    Completion,
    Event,
    Finish,
    Flagged,
    InvalidOutput,
    Logprobs,
    ModerationReport,
    PartDelta,
    PartEnd,
    PartialOutput,
    PartStart,
    ProviderNotice,
    ReasoningDelta,
    Redacted,
    RefusalDelta,
    Reset,
    ResponseDetails,
    RoleDelta,
    StreamEnd,
    StructuredOutput,
    TextDelta,
    ToolCallDelta,
)
from streamkit.moderation.channels import CHANNEL_OF, PARTS, bare, channel_of, with_structure
from streamkit.moderation.choice import ChoiceRelease, digest
from streamkit.moderation.classifiers.provider_filters import ProviderRule, decide
from streamkit.moderation.json_escapes import Unescaped
from streamkit.moderation.policy import Policy
from streamkit.moderation.quotes import (
    plain_data,
    spellings,
    strings_of,
    texts_of,
    tokens_of,
    without_text,
    without_texts,
)
from streamkit.moderation.report import Cost, verdict
from streamkit.moderation.rule import Judges, Ruling, Verdicts

# Such a stream is incomplete, and so are the texts in it.
_INTERRUPTED: frozenset[EndReason] = frozenset({"provider_error", "cancelled", "timeout", "limit", "error"})
_OF_A_CHOICE = (
    TextDelta,
    ReasoningDelta,
    RefusalDelta,
    RoleDelta,
    ToolCallDelta,
    AudioDelta,
    Annotation,
    PartStart,
    PartEnd,
    PartDelta,
    Logprobs,
    Finish,
)
_NO_TEXT_IN = frozenset(
    {
        *("content_filter", "content_filter_offsets", "prompt_filter", "moderation", "safety_ratings"),
        *("prompt_feedback", "conflict", "malformed", "protocol_error"),
    }
)
"""Notices without text of the answer, by their kind: the verdicts of the provider's filters, and our own."""
_MOST_TOKENS = 512
_REPORTED = (Flagged, Redacted, Blocked, Checked)


Taking: TypeAlias = Callable[[Sequence[Any], str, list[Event]], None]
"""Takes adjacent deltas of one text, their text, which is not empty, and `out`."""


class Release:
    """One stream. What is released is appended to `out`; in `observe` everything passes, with what is reported about it."""

    def __init__(self, policy: Policy, judges: Judges, cost: Cost, provider: Sequence[ProviderRule] = ()) -> None:
        self.policy = policy
        self.cost = cost
        self.now: float | None = None
        self.judges = judges
        self._provider = tuple(provider)
        self._observes = policy.mode == "observe"
        self._choices: dict[int, ChoiceRelease] = {}
        self.open: dict[type, dict[int, Taking]] = {kind: {} for kind in CHANNEL_OF}
        """The fastest function for more of a text, by the class of its deltas and its choice."""
        self._tokens: tuple[Logprobs, bool] | None = None  # of what was prepared
        self._late: list[Completion] = []
        self._end: StreamEnd | None = None
        self._saved: int | None = 0
        self._restored_at: float | None = None
        self._shown = False
        self.ending = False
        """The stream has ended naturally."""
        self.ended = False
        """The last event was released."""
        self.done = False
        """The stream was stopped, and is read no further."""
        self.silent = False
        """It would have been stopped: nothing more is decided."""

    @property
    def report(self) -> ModerationReport:
        """The metrics of moderation so far."""
        return self.cost.report(stopped=self.done, tokens_saved=self._saved)

    @property
    def reading(self) -> bool:
        """Whether what still arrives can matter: not if all choices are blocked, or are going to be."""
        if self._observes:
            return True
        over = sum(choice.blocked or choice.condemned for choice in self._choices.values())
        return not self.done and over < max(self.policy.choices, len(self._choices))

    def tick(self, now: float) -> None:
        """Set the time. After a checkpoint it may be that of another clock."""
        if self._restored_at is not None:
            for choice in self._choices.values():
                choice.shift(now - self._restored_at)
            self._restored_at = None
        self.now = now

    def expire(self, out: list[Event]) -> None:
        """Apply `on_max_hold` to text that has been buffered for longer than `max_hold_seconds`."""
        for choice in list(self._choices.values()):
            if not self._stopped:
                choice.expire(out)

    # What arrives

    def feed(self, event: Event, out: list[Event]) -> None:
        """Take an event."""
        if not self._observes:
            self._take(event, out)
        elif isinstance(event, StreamEnd):
            self._end = event
            self.end(out)
        else:
            self._observe([event], partial(self._take, event), out)

    def feed_run(self, channel: Channel, deltas: Sequence[Any], joined: str, out: list[Event]) -> None:
        """Take adjacent deltas of one channel of one choice, as one text."""
        if self._observes:
            self._observe(deltas, partial(self._take_run, channel, deltas, joined), out)
        else:
            self._take_run(channel, deltas, joined, out)

    def feed_call(self, deltas: Sequence[Any], joined: str, out: list[Event]) -> None:
        """Take adjacent pieces of one call, or of one field of a part; in `hold` and for rules."""
        first = deltas[0]
        choice = self._choices.get(first.index) or self._choice(first.index)
        if self.ending or not choice.moderates(first):
            for delta in deltas:
                self._take(delta, out)
        elif isinstance(first, ToolCallDelta):
            choice.calls.call(deltas, joined, out)
        else:
            choice.calls.part(deltas, joined, out)

    def prepare(self, event: Event) -> Iterator[None]:
        """Decide about the strings of an event that is fed next, slice by slice, where it has long ones or many."""
        match event:
            case Logprobs():
                found = False
                for some in self._tokens_in_slices(event):
                    found = some or found
                    yield
                self._tokens = event, found
            case Annotation():
                texts = (form for text in strings_of(event.annotation) for form in spellings(text))
                yield from self.judges.prepare(texts, "content")
            case PartStart() | PartEnd() | ProviderNotice():
                yield from self.judges.prepare(strings_of(event.data), "other")
            case ResponseDetails():
                yield from self.judges.prepare(strings_of(event.details), "other")
            case _:
                pass

    def decide(self, index: int, channel: Channel, rulings: Sequence[Ruling], out: list[Event]) -> None:
        """Take what was decided about text that arrived before."""
        if self._stopped or (choice := self._choices.get(index)) is None:
            return

        def take(out: list[Event]) -> None:
            choice.decide(choice.texts[channel], rulings, out)
            self._stop_if_over(out)
            self._conclude(out)

        if self._observes:
            self._observe((), take, out)
        else:
            take(out)

    def condemn(self, index: int) -> None:
        """A decision will block that choice, when those before it have arrived: what follows does not matter."""
        self._choices[index].condemned = True

    def end(self, out: list[Event]) -> None:
        """The stream has ended naturally, with a `StreamEnd` or without."""
        if self.done or self.ending:
            return
        if self._observes:
            reported: list[Event] = []
            self._close(reported)
            self._show(reported, out)
        else:
            self._close(out)

    def _observe(self, events: Sequence[Event], take: Callable[[list[Event]], None], out: list[Event]) -> None:
        # The same work as in the other modes, of which only what is reported is shown.
        reported: list[Event] = []
        if not self.silent:
            take(reported)
        out += events
        self._show(reported, out)

    def _show(self, reported: list[Event], out: list[Event]) -> None:
        out += [event for event in reported if isinstance(event, _REPORTED)]
        if self.ended and not self._shown:
            self._shown = True
            out += (self.report,) if self.policy.reports else ()
            out += (self._end,) if self._end else ()

    def _take_run(self, channel: Channel, deltas: Sequence[Any], joined: str, out: list[Event]) -> None:
        choice = self._choice(deltas[0].index)
        if choice.condemned or self.ending:
            self.cost.withheld += len(joined)
            return
        kind: type[Any] = cast("type[Any]", type(deltas[0]))
        quickest = self.policy.mode == "hold" and not self.policy.ordered and kind in CHANNEL_OF
        if not self.judges.moderates(channel):
            choice.pass_on(deltas, joined, out)
            if quickest and not choice.blocked:
                self.open[kind][choice.index] = choice.pass_on
            return
        text = choice.text(channel)
        choice.feed(text, deltas, joined, out)
        if quickest and not (choice.blocked or text.over):
            self.open[kind][choice.index] = partial(choice.feed_open, text)

    def _take(self, event: Event, out: list[Event]) -> None:
        match event:
            case StreamEnd():
                self._end = bare(event)
                self._close(out)
            case Reset():
                self._reset()
                out.append(bare(event))
            case Completion():
                # It contains all text of the answer.
                self._late.append(bare(event))
            case PartialOutput() | StructuredOutput():
                if not self._forbids_value(event):
                    out.append(bare(event))
            case InvalidOutput():
                out.append(self._without_place(event))
            case ProviderNotice() if self._provider:
                self._take_notice(event, out)
            case ProviderNotice() | ResponseDetails():
                self._take_structure(event, out)
            case _ if isinstance(event, _OF_A_CHOICE):
                self._take_of_choice(event, out)
            case _ if isinstance(event, _EVENTS):
                self._take_other(event, out)
            case _:
                _check_item(event)
                self._take_unknown(event, out)

    def _take_other(self, event: Event, out: list[Event]) -> None:
        if self.policy.ordered and isinstance(index := getattr(event, "index", None), int):
            self._choice(index).other(event, out)
        else:
            out.append(bare(event))

    def _take_of_choice(self, event: Any, out: list[Event]) -> None:
        choice, moderates = self._choice(event.index), self.judges.moderates
        if choice.condemned or self.ending:
            return
        match event:
            case TextDelta() | ReasoningDelta() | RefusalDelta():
                self._take_run(channel_of(event), [event], event.text, out)
            case AudioDelta(transcript=str()) if moderates("transcript"):
                self._take_run("transcript", [event], event.transcript or "", out)
            case ToolCallDelta() if choice.moderates(event):
                choice.calls.call([event], event.arguments, out)
            case PartDelta(channel=channel) if moderates(channel):
                if self.policy.ordered:
                    self._take_run(channel, [event], event.text, out)
                else:
                    choice.calls.part([event], event.text, out)
            case _:
                if choice.calls.has_fields and (
                    isinstance(event, PartEnd) or (isinstance(event, PartStart) and event.data)
                ):
                    choice.calls.end_fields(event.number, None if isinstance(event, PartEnd) else event.data, out)
                choice.other(event, out)
        if isinstance(event, Finish):
            if choice.finishing and choice.settled:
                choice.end(out)
            self._stop_if_over(out)

    def _take_notice(self, notice: ProviderNotice, out: list[Event]) -> None:
        self._take_structure(notice, out)
        everyone = sorted(self._choices) or range(self.policy.choices)
        for by, finding in decide(self._provider, notice):
            for index in everyone if notice.index is None else (notice.index,):
                choice = self._choice(index)
                if by.action == "allow" or choice.blocked or self._stopped:
                    continue
                content = choice.texts.get("content")
                start, end = finding.span or (0, 0 if finding.of_prompt or not content else content.length)
                self.cost.verdicts += 1
                place: tuple[int, int, Channel, int] = (start, end, "prompt" if finding.of_prompt else "content", index)
                out.append(verdict(by, place, "provider"))
                if by.action != "annotate":
                    self.block(choice, by, out)

    def _forbids_value(self, value: PartialOutput | StructuredOutput) -> bool:
        # A classifier could only say so later.
        if self._observes:
            return False
        if self.policy.ordered or self._is_over(value.index):
            return True
        try:
            data = plain_data(value.value)
        except TypeError:
            return True
        texts = [*strings_of(data), Unescaped().feed(json.dumps(data), final=True)]
        whole = not isinstance(value, PartialOutput) or value.complete
        channel: Channel = "content" if value.tool_index is None else "tool_arguments"
        named = value.name is not None and self.judges.forbids(value.name, "tool_name")
        return named or any(self.judges.forbids(text, channel, whole=whole) for text in texts)

    def _without_place(self, event: InvalidOutput) -> InvalidOutput:
        # The names in its path may be the model's.
        texts = (event.path, event.detail, event.name or "")
        over = self.policy.ordered or self._is_over(event.index)
        if self._observes or not (over or any(self.judges.forbids(text, None) for text in texts)):
            return bare(event)
        return InvalidOutput(event.problem, tool_index=event.tool_index, index=event.index)

    def _take_unknown(self, event: Event, out: list[Event]) -> None:
        # No event of ours: it is not known what of it is the model's.
        try:
            data = plain_data(event)
        except TypeError:
            data = None
        # The names of the fields of a class are not the model's.
        texts = [*strings_of([*data.values()] if isinstance(data, dict) and not isinstance(event, dict) else data)]
        if self._classifies(texts):
            self._take_beside(event, getattr(event, "index", None), texts, out)
        elif not any(self.judges.forbids(text, None) for text in texts):
            self._take_other(event, out)

    def _classifies(self, texts: Sequence[str]) -> bool:
        return self.policy.ordered and any(map(str.strip, texts)) and self.judges.moderates("other")

    def _take_beside(self, event: Event, index: object, texts: Sequence[str], out: list[Event]) -> None:
        choice = self._choice(self._nearest(index))
        if not (choice.condemned or self.ending):
            choice.beside(event, "\n".join(texts), out)

    def _reset(self) -> None:
        self.forget()
        for choice in self._choices.values():
            choice.drop()
        self._choices.clear()
        self._late.clear()
        self.judges.reset()

    def _choice(self, index: int) -> ChoiceRelease:
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = ChoiceRelease(index, self)
        return choice

    def _nearest(self, index: object) -> int:
        # What belongs to no choice is decided as a part of the first.
        return index if isinstance(index, int) else min(self._choices, default=0)

    def _is_over(self, index: int) -> bool:
        choice = self._choices.get(index)
        return choice is not None and (choice.blocked or choice.condemned)

    def _take_structure(self, event: ProviderNotice | ResponseDetails, out: list[Event]) -> None:
        # It has no text but what the provider says beside the answer, or in a way that is not known.
        kind = event.kind if isinstance(event, ProviderNotice) else "details"
        data = event.data if isinstance(event, ProviderNotice) else event.details
        if kind in _NO_TEXT_IN or data is None:
            out.append(bare(event))
        elif event.index is not None and self._is_over(event.index):
            pass
        elif self.policy.ordered:
            self._classify_structure(event, data, out)
        else:
            if not self._observes and self.judges.withholds("other"):
                forbids = _always if _is_piece(event) else partial(self._forbids_structure, f"{event.index} {kind} ")
                data = without_text(data, forbids)
            out.append(with_structure(event, data))

    def _classify_structure(self, event: ProviderNotice | ResponseDetails, data: Any, out: list[Event]) -> None:
        texts, choice = texts_of(data), self._choices.get(self._nearest(event.index))
        if self._classifies(texts):
            if not self._observes and (_is_piece(event) or (choice and choice.blocked)):
                out.append(with_structure(event, without_texts(data)))
            else:
                self._take_beside(event, event.index, texts, out)
        elif choice and choice.has_beside:
            # Later details add to earlier ones.
            choice.other(event, out)
        else:
            out.append(bare(event))

    def _forbids_structure(self, of: str, text: str, place: str) -> bool:
        return self.forbids(text, "other") or self.judges.forbids_piece(text, "other", of + place)

    # What is released in spite of all, and the end

    def forbids(self, text: str, channel: Channel = "content") -> bool:
        """Whether that text by itself must not be released in a channel."""
        return not self._observes and self.judges.forbids(text, channel)

    def forbids_tokens(self, event: Logprobs) -> bool:
        """Whether one of the tokens in log probabilities, or a text of several, must not be released."""
        if self._observes:
            return False
        if self._tokens and self._tokens[0] is event:
            return self._tokens[1]
        return any([*self._tokens_in_slices(event)])

    def _tokens_in_slices(self, event: Logprobs) -> Iterator[bool]:
        all_tokens = tokens_of(event.logprobs)
        while some := [*islice(all_tokens, _MOST_TOKENS)]:
            texts: dict[str, list[str]] = {}
            for place, token in some:
                texts.setdefault(f"tokens of {event.index}: {event.part} {place}", []).append(token)
            found = False
            for place, tokens in texts.items():
                channel: Channel = "refusal" if "/refusal" in place else "content"
                for text, of in (("".join(tokens), place), ("\n".join([*tokens, ""]), f"{place} apart")):
                    found = self.judges.forbids_piece(text, channel, of) or found
            yield found

    def ends_in_forbidden_tokens(self, index: int) -> bool:
        """The same, once all log probabilities of a choice have arrived."""
        return self.judges.end_pieces(f"tokens of {index}:")

    def forget(self) -> None:
        """Not all texts take more in the quickest way."""
        for known in self.open.values():
            known.clear()

    def block(self, choice: ChoiceRelease, by: Verdicts, out: list[Event]) -> None:
        """End a choice, and the stream if no other is open."""
        self.forget()
        choice.block(by, out)
        self.judges.discard(choice.index)
        if by.action == "stop" or self._all_over:
            self._stop(out)

    @property
    def _stopped(self) -> bool:
        return self.done or self.silent

    @property
    def _all_over(self) -> bool:
        # Rules can decide at once what is left of a choice whose finish has arrived.
        over = [
            choice.blocked or choice.finished or (choice.finishing and not self.policy.ordered)
            for choice in self._choices.values()
        ]
        return (self.policy.ordered or not self.ending) and all(over) and len(over) >= self.policy.choices

    def _stop_if_over(self, out: list[Event]) -> None:
        # A choice that was blocked may still be generated.
        if self._all_over and any(choice.blocked and not choice.complete for choice in self._choices.values()):
            self._stop(out)

    def _stop(self, out: list[Event]) -> None:
        if self._stopped:
            return
        if self._observes:
            self.silent = True
            return
        self.done, self._saved = True, self._unspent()
        going = [self._choices[index] for index in sorted(self._choices) if not self._choices[index].blocked]
        self.forget()
        for choice in going:
            if choice.finished or (choice.finishing and not self.policy.ordered):
                choice.close(out)
                choice.end(out)
        for choice in going:
            if not (choice.finished or choice.blocked):
                choice.drop()
                out.append(Finish("content_filter", choice.index))
        self._last(out, self._moderated())

    def _moderated(self) -> StreamEnd:
        # If all choices are blocked, whether the end was read ahead depends on when the decisions arrive.
        stopped = self.policy.ordered and all(choice.blocked for choice in self._choices.values())
        return StreamEnd("moderated", self._end is not None and self._end.saw_done and not stopped)

    def _unspent(self) -> int | None:
        # The most tokens that may still have arrived; a delta has one at least.
        most = self.policy.max_tokens
        if most is None:
            return None
        open = [max(most - choice.deltas, 0) for choice in self._choices.values() if not choice.complete]
        return sum(open) + max(self.policy.choices - len(self._choices), 0) * most

    def _close(self, out: list[Event]) -> None:
        self.ending = True
        self.forget()
        if self.silent:
            # Nothing more is decided.
            self.ended = True
        elif not (self._end and self._end.reason in _INTERRUPTED):
            for choice in list(self._choices.values()):
                if not (choice.blocked or choice.condemned or self._stopped):
                    choice.close(out)
        self._conclude(out)

    def _conclude(self, out: list[Event]) -> None:
        if not self.ending or self.ended or self.done or self.judges.undecided:
            return
        end, choices = self._end, list(self._choices.values())
        interrupted = end is not None and end.reason in _INTERRUPTED
        if not interrupted:
            for choice in choices:
                if not choice.blocked:
                    choice.end(out)
            out += [completion for completion in self._late if self._vouches(completion)]
        ruled = [choice.blocked or choice.cut for choice in choices]
        # A choice that no decision has ended must have ended well; otherwise what became of it is the end of the stream.
        well = end is not None and (end.reason in SUCCESSES or all(ruled))
        moderated = well and not interrupted and any(ruled)
        self._last(out, self._moderated() if end and moderated else end)

    def _last(self, out: list[Event], end: StreamEnd | None) -> None:
        self.ended = True
        if not self._observes:
            out += (self.report,) if self.policy.reports else ()
            out += (end,) if end else ()

    def _vouches(self, completion: Completion) -> bool:
        """Whether all text of an answer that was assembled before was moderated here, and released."""
        if any(choice.altered or choice.blocked or not choice.settled for choice in self._choices.values()):
            return False
        if self.policy.ordered:
            return all(self._released(choice) for choice in completion.choices)
        texts = [form for text in strings_of(plain_data(completion)) for form in {text, _unescaped(text)}]
        return not any(self.judges.forbids(text, None) for text in texts)

    def _released(self, assembled: Choice) -> bool:
        texts: dict[Channel, str] = {
            "content": assembled.content or "",
            "reasoning": assembled.reasoning or "",
            "refusal": assembled.refusal or "",
            "transcript": str((assembled.audio or {}).get("transcript") or ""),
        }
        choice = self._choice(assembled.index)
        known = all(
            choice.released(channel) == (len(text), digest(text))
            for channel, text in texts.items()
            if self.judges.moderates(channel)
        )
        if any(map(self.judges.moderates, PARTS)) and any(_has_text(part.data) for part in assembled.parts):
            return False
        return known and all(any(part.text in text for text in texts.values()) for part in assembled.parts)

    # Checkpoints

    def state(self) -> Any:
        """Return the state as JSON-compatible data, for a checkpoint."""
        return {
            **{name: getattr(self, name) for name in _PLAIN},
            "choices": [[index, choice.state()] for index, choice in self._choices.items()],
            "late": pack([self._end, *self._late]),
            "cost": msgspec.to_builtins(self.cost),
        }

    def restore(self, state: Any) -> None:
        """Continue from `state`, with the same configuration."""
        for name in _PLAIN:
            setattr(self, name, state[name])
        self._restored_at, self.now = self.now, None
        self.cost.restore(state["cost"])
        self._end, *self._late = unpack(state["late"])
        for index, known in state["choices"]:
            self._choice(index).restore(known)


def _check_item(item: Any) -> None:
    # What no stage has read yet is the model's text, and no unknown event.
    if isinstance(item, _EVENTS):
        return
    if any(isinstance(value, _RAW) for value in (item, getattr(item, "data", None))):
        raise PipelineError(
            f"moderation expects events, found an object of type {type(item).__name__}: put Parse() | Extract() before it"
        )


_RAW: tuple[type, ...] = (str, bytes, bytearray, memoryview)
_EVENTS: tuple[type, ...] = get_args(Event)
_PLAIN = ("now", "ending", "ended", "done", "silent", "_saved", "_shown")


def _is_piece(event: ProviderNotice | ResponseDetails) -> bool:
    # A piece of a text can't be decided by itself, if it is known to be one.
    if isinstance(event, ResponseDetails):
        return False
    data: object = event.data
    return "delta" in event.kind or (isinstance(data, dict) and "delta" in data)


def _has_text(data: dict[str, Any]) -> bool:
    return bool(without_text(data, _always) != data)


def _always(text: str, place: str) -> bool:
    return True


def _unescaped(text: str) -> str:
    return Unescaped().feed(text, final=True)
