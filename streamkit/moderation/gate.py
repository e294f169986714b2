"""The gate: events go in, windows to check come out, verdicts go in in any order, and events come out in theirs.

It does no I/O and knows no clock. The text of one choice, over all its channels, and what else belongs to that choice keep
their order; choices don't wait for each other.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any, Literal, cast, get_args

import msgspec

from streamkit.ends import SUCCESSES
from streamkit.errors import PipelineError
from streamkit.events import (
    Annotation,
    AudioDelta,
    Blocked,
    Channel,
    Checked,
    CheckOutcome,
    Completion,
    Event,
    Finish,
    Flagged,
    Logprobs,
    ReasoningDelta,
    Redacted,
    RefusalDelta,
    Retracted,
    StreamEnd,
    TextDelta,
    ToolCallDelta,
)
from streamkit.moderation.checking import Judgement, Outcome
from streamkit.moderation.deltas import CHANNEL_OF, DELTA_OF, Delta, Mode, bare
from streamkit.moderation.lanes import Lane, Open, Piece, Waiting, event_of, kept_event
from streamkit.moderation.windows import Window, Windows

_OF_A_CHOICE = (*CHANNEL_OF, ToolCallDelta, AudioDelta, Annotation, Logprobs, Finish)
_MOST_OTHERS = 256
"""Events beside the text that may wait for one window; then it ends, so that what waits is bounded."""


class Report(msgspec.Struct):
    """What moderation by a classifier has cost, and what it found.

    `characters` were judged, in `windows`; `context` characters were sent again with them. `seconds` is the time spent on
    `calls`, also where several ran at once; `longest_held` the longest that a text waited for its verdict. `held` characters
    wait now, of which at most `most_held` ever did. `withheld` characters came and were not released.
    """

    windows: int = 0
    calls: int = 0
    characters: int = 0
    context: int = 0
    seconds: float = 0.0
    longest_held: float = 0.0
    held: int = 0
    most_held: int = 0
    released: int = 0
    withheld: int = 0
    passed: int = 0
    flagged: int = 0
    failed_open: int = 0
    failed_closed: int = 0
    skipped: int = 0
    tokens: int = 0
    """Tokens that came, as `Windows.tokens_of` counts the text that was judged."""
    stopped: int = 0
    """Choices that were blocked."""
    stopped_tokens: int = 0
    """Of `tokens`, those of the choices that were blocked."""

    def tokens_saved(self, max_tokens: int) -> int:
        """The most tokens that stopping may have saved, of a request that allows `max_tokens` for each choice."""
        return max(0, self.stopped * max_tokens - self.stopped_tokens)


_PLAIN = ("next_id", "ending", "ended", "now")


class Gate:
    """What waits, for one stream. `feed`, `tick`, `end` and `decide` give the events that may leave; `take` gives windows."""

    def __init__(self, windows: Windows, mode: Mode, channels: Iterable[Channel], choices: int) -> None:
        self._windows = windows
        self._mode = mode
        self._channels = tuple(channels)
        self._stop_at = choices
        if mode not in get_args(Mode):
            raise PipelineError(f"expected the mode hold, observe or optimistic; found {mode!r}")
        for channel in self._channels:
            if channel not in DELTA_OF:
                raise PipelineError(
                    f"expected channels of {', '.join(DELTA_OF)}; found {channel!r}, which is not moderated"
                )
        self.report = Report()
        self.done = False
        """Whether the last event of a stream that was stopped has left."""
        self._choices: dict[int, Waiting] = {}
        self._waiting: deque[tuple[Lane, Open]] = deque()
        self._by_id: dict[int, tuple[Lane, Open]] = {}
        self._next_id = 0
        self._late: list[Event] = []
        self._ending = False
        self._ended = False
        self._final: StreamEnd | None = None
        self._now: float | None = None

    # What the one that runs it needs to know

    @property
    def reading(self) -> bool:
        """Whether what still comes can matter: not once as many choices as were asked for are blocked, or are going to be."""
        return sum(choice.condemned or choice.blocked for choice in self._choices.values()) < self._stop_at

    @property
    def undecided(self) -> int:
        """Windows that are complete and have no verdict."""
        return len(self._by_id)

    @property
    def ending(self) -> bool:
        """Whether the natural end has come."""
        return self._ending

    @property
    def due(self) -> float | None:
        """When the next window ends because of its time, if nothing more comes."""
        began = [lane.since for lane in self._lanes() if lane.since is not None and lane.tells]
        return min(began) + self._windows.seconds if began and self._windows.seconds is not None else None

    def state(self) -> Any:
        """All that it holds, as JSON has it. A check that is under way is not in it: its window waits again."""
        return {
            "report": msgspec.to_builtins(self.report),
            **{name: getattr(self, f"_{name}") for name in _PLAIN},
            "done": self.done,
            "final": None if self._final is None else kept_event(self._final),
            "late": [kept_event(event) for event in self._late],
            "undecided": list(self._by_id),
            "choices": {str(index): choice.state() for index, choice in self._choices.items()},
        }

    def restore(self, state: Any) -> None:
        """Go on from what `state` gave, in a gate with the same configuration."""
        self.report = msgspec.convert(state["report"], Report)
        for name in _PLAIN:
            setattr(self, f"_{name}", state[name])
        self.done = state["done"]
        self._final = None if state["final"] is None else cast(StreamEnd, event_of(state["final"]))
        self._late = [event_of(kept) for kept in state["late"]]
        self._choices = {int(index): self._choice(int(index), kept) for index, kept in state["choices"].items()}
        opened = {
            open.window.id: (lane, open)
            for choice in self._choices.values()
            for lane in choice.lanes.values()
            for open in lane.open
        }
        self._by_id = {id: opened[id] for id in state["undecided"]}
        self._waiting = deque(self._by_id.values())

    def _choice(self, index: int, state: Any) -> "Waiting":
        choice = Waiting()
        for channel, kept in state["lanes"].items():
            lane = choice.lanes[channel] = Lane(self._windows, channel, index)
            lane.restore(kept)
        choice.restore(state)
        return choice

    # In and out

    def feed(self, event: Event) -> list[Event]:
        """Take an event, and give those that may leave now."""
        if self.done:
            return []
        released = self._feed(event)
        self._count_held()
        return released

    def tick(self, now: float) -> None:
        """Hear the time. Ends the windows whose time has come; they wait for `take`."""
        self._now = now
        if self._windows.seconds is not None:
            for lane in self._lanes():
                if lane.since is not None and now - lane.since >= self._windows.seconds and lane.tells:
                    self._close(lane)

    def end(self) -> list[Event]:
        """The natural end of a stream that ended, with a `StreamEnd` or without: what is left is checked."""
        if self.done or self._ended or self._ending:
            return []
        return self._conclude(None)

    def take(self, merge: int = 0) -> Window | None:
        """The next window to check, together with those after it in its channel that wait, up to `merge` characters."""
        while self._waiting:
            lane, first = self._waiting.popleft()
            if first.sent:
                continue
            first.sent = True
            self._merge(lane, first, merge)
            self.report.context += len(first.window.context)
            return first.window
        return None

    def decide(self, id: int, outcome: Outcome) -> list[Event]:
        """Take the outcome of the check of window `id`, and give the events that may leave now."""
        if self.done or id not in self._by_id:
            return []
        lane, open = self._by_id.pop(id)
        open.outcome = self._in_this_mode(outcome)
        if open.outcome.verdict.action == "block":
            self._condemn(open.window)
        released = self._settle(lane.index)
        if not self.done:
            released += self._last()
        self._count_held()
        return released

    def _feed(self, event: Event) -> list[Event]:
        if isinstance(event, StreamEnd):
            return self._conclude(event)
        if self._mode != "observe" and isinstance(event, Completion):
            # It holds all of the text.
            self._late.append(bare(event))
            return []
        index: object = getattr(event, "index", None)
        if not isinstance(index, int):
            return [self._shown(event)]
        choice = self._choices.setdefault(index, Waiting())
        if (choice.blocked or choice.condemned) and isinstance(event, _OF_A_CHOICE):
            return []
        if isinstance(event, TextDelta | ReasoningDelta | RefusalDelta):
            return self._text(choice, event)
        if isinstance(event, ToolCallDelta | Finish):
            self._close_all(choice)
        return self._other(choice, event, index)

    def _text(self, choice: Waiting, delta: Delta) -> list[Event]:
        channel = CHANNEL_OF[type(delta)]
        # A channel that another one follows is over for now, or it would hold up that one.
        self._close_all(choice, but=channel)
        if channel not in self._channels:
            return self._other(choice, delta, delta.index)
        lane = choice.lanes.get(channel)
        if lane is None:
            lane = choice.lanes[channel] = Lane(self._windows, channel, delta.index)
        if self._mode == "hold":
            choice.queue.append(Piece(delta.text, lane))
        else:
            self.report.released += len(delta.text)
        if lane.since is None:
            lane.since = self._now
        self._cut(lane, lane.cutter.feed(delta.text))
        return self._settle(delta.index) if self._mode == "hold" else [delta, *self._settle(delta.index)]

    def _other(self, choice: Waiting, event: Event, index: int) -> list[Event]:
        if self._mode == "hold" and isinstance(event, Logprobs):
            # They spell out text that may wait.
            self._late.append(bare(event))
            return []
        waits = self._mode == "hold" or (self._mode == "optimistic" and isinstance(event, Finish))
        if not waits or not (choice.queue or choice.undecided):
            return [self._shown(event)]
        choice.queue.append(self._shown(event))
        choice.others += 1
        if choice.others >= _MOST_OTHERS:
            self._close_all(choice)
        return self._settle(index)

    def _shown(self, event: Event) -> Event:
        return bare(event) if self._mode == "hold" else event

    # Windows

    def _lanes(self) -> list[Lane]:
        return [
            lane
            for choice in self._choices.values()
            if not (choice.blocked or choice.condemned)
            for lane in choice.lanes.values()
        ]

    def _close_all(self, choice: Waiting, but: Channel | None = None) -> None:
        for channel, lane in choice.lanes.items():
            if channel != but:
                self._close(lane)

    def _close(self, lane: Lane) -> None:
        if lane.cutter.text:
            self._cut(lane, lane.cutter.feed("", final=True))

    def _cut(self, lane: Lane, texts: list[str]) -> None:
        for text in texts:
            waited = 0.0 if self._now is None or lane.since is None else self._now - lane.since
            window = Window(self._next_id, text, lane.context, lane.start, lane.channel, lane.index)
            self._next_id += 1
            lane.start = window.end
            lane.since = self._now if lane.cutter.text else None
            if self._windows.overlap:
                lane.context = (lane.context + text)[-self._windows.overlap :]
            self._send(lane, Open(window, waited))

    def _send(self, lane: Lane, open: Open) -> None:
        lane.open.append(open)
        tokens = self._windows.tokens_of(open.window.text)
        self.report.tokens += tokens
        self._choices[lane.index].tokens += tokens
        if open.window.text.isspace():
            open.outcome = Outcome(Judgement(), calls=0)
            return
        self._by_id[open.window.id] = lane, open
        self._waiting.append((lane, open))

    def _merge(self, lane: Lane, first: Open, most: int) -> None:
        while len(lane.open) > (place := lane.open.index(first) + 1):
            following = lane.open[place]
            text = first.window.text + following.window.text
            if following.sent or following.outcome or len(text) > most:
                return
            following.sent = True  # or `take` would give it again
            del lane.open[place]
            del self._by_id[following.window.id]
            first.window = msgspec.structs.replace(first.window, text=text)

    def _in_this_mode(self, outcome: Outcome) -> Outcome:
        # Nothing is stopped by one who only observes; what was not judged was let through, and is recorded so.
        if self._mode == "observe" and outcome.verdict.action != "allow":
            action: Literal["allow", "annotate"] = "allow" if outcome.failure else "annotate"
            return msgspec.structs.replace(outcome, verdict=msgspec.structs.replace(outcome.verdict, action=action))
        return outcome

    def _condemn(self, window: Window) -> None:
        # What comes after this window will never leave: nobody need judge it. Windows are cut in the order of the choice.
        choice = self._choices[window.index]
        choice.condemned = True
        for lane in choice.lanes.values():
            for open in lane.open:
                if open.outcome is None and open.window.id > window.id:
                    open.sent = True
                    del self._by_id[open.window.id]

    # What may leave

    def _settle(self, index: int) -> list[Event]:
        choice, released = self._choices[index], list[Event]()
        if not choice.blocked:
            if self._mode == "hold":
                self._release(choice, released)
            else:
                self._tell(choice, released)
        return released

    def _release(self, choice: Waiting, released: list[Event]) -> None:
        while choice.queue and not choice.blocked:
            match choice.queue[0]:
                case Piece() as piece:
                    if not self._release_text(choice, piece, released):
                        return
                case event:
                    released.append(event)
                    choice.queue.popleft()
                    choice.others -= 1

    def _release_text(self, choice: Waiting, piece: Piece, released: list[Event]) -> bool:
        lane = piece.lane
        if not lane.open or lane.open[0].outcome is None:
            return False
        open, verdict = lane.open[0], lane.open[0].outcome.verdict
        if not open.told:
            released += self._told(choice, lane, open)
            if choice.blocked:
                return False
        text = piece.text[piece.at : piece.at + open.window.end - lane.released]
        piece.at += len(text)
        lane.released += len(text)
        if verdict.action == "redact":
            self.report.withheld += len(text)
        else:
            self.report.released += len(text)
            released.append(DELTA_OF[lane.channel](text, lane.index))
        if lane.released == open.window.end:
            lane.open.popleft()
        if piece.at == len(piece.text):
            choice.queue.popleft()
        return True

    def _tell(self, choice: Waiting, released: list[Event]) -> None:
        for lane in choice.lanes.values():
            while lane.open and lane.open[0].outcome is not None and not choice.blocked:
                released += self._told(choice, lane, lane.open.popleft())
        if not choice.blocked and not choice.undecided:
            released += cast("Iterable[Event]", choice.queue)
            choice.queue.clear()
            choice.others = 0

    def _told(self, choice: Waiting, lane: Lane, open: Open) -> list[Event]:
        assert open.outcome is not None, "told before it was decided"
        open.told = True
        window, verdict = open.window, open.outcome.verdict
        place = (verdict.category, window.start, window.end, window.channel, window.index)
        told: list[Event] = [self._record(open, open.outcome)]
        choice.altered = choice.altered or verdict.action in ("redact", "block")
        match verdict.action:
            case "annotate":
                told.append(Flagged(*place, source="classifier"))
            case "redact" if self._mode == "optimistic":
                told.append(_retracted(verdict.category, window.start, window.end, window, verdict.replacement))
            case "redact":
                told.append(Redacted(*place, source="classifier"))
                if verdict.replacement:
                    told.append(DELTA_OF[window.channel](verdict.replacement, window.index))
            case "block":
                if self._mode == "optimistic":
                    told.append(_retracted(verdict.category, window.start, lane.fed, window, ""))
                told += [Blocked(*place, source="classifier"), *self._block(choice, window.index)]
            case _:
                pass
        return told

    def _record(self, open: Open, outcome: Outcome) -> Checked:
        window, verdict, report = open.window, outcome.verdict, self.report
        kind: CheckOutcome = "passed"
        if not outcome.calls:
            kind = "skipped"
        elif outcome.failure:
            kind = "failed_closed" if verdict.action == "block" else "failed_open"
        elif verdict.action != "allow":
            kind = "flagged"
        held = open.waited + outcome.seconds
        setattr(report, kind, getattr(report, kind) + 1)
        report.windows += 1
        report.calls += outcome.calls
        report.seconds += outcome.seconds
        report.longest_held = max(report.longest_held, held)
        report.characters += len(window.text) if outcome.calls else 0
        return Checked(
            kind,
            window.start,
            window.end,
            window.channel,
            window.index,
            category=verdict.category,
            scores=verdict.scores,
            failure=outcome.failure or "",
            calls=outcome.calls,
            context=len(window.context) if outcome.calls else 0,
            seconds=outcome.seconds,
            held=held,
        )

    def _block(self, choice: Waiting, index: int) -> list[Event]:
        self.report.withheld += sum(len(item.text) - item.at for item in choice.queue if isinstance(item, Piece))
        self.report.stopped += 1
        self.report.stopped_tokens += choice.tokens
        choice.blocked = True
        choice.queue.clear()
        for lane in choice.lanes.values():
            for open in lane.open:
                open.sent = True
                self._by_id.pop(open.window.id, None)
            lane.open.clear()
        terminal: list[Event] = [Finish("content_filter", index)]
        if sum(choice.blocked for choice in self._choices.values()) >= self._stop_at:
            self.done = True
            terminal.append(StreamEnd("moderated"))
        return terminal

    # The end

    def _conclude(self, end: StreamEnd | None) -> list[Event]:
        self._ending, self._final = True, end
        if end is None or end.reason != "provider_error":
            for choice in self._choices.values():
                if not (choice.blocked or choice.condemned):
                    self._close_all(choice)
        released: list[Event] = []
        for index in self._choices:
            released += self._settle(index)
        return [*released, *self._last()]

    def _last(self) -> list[Event]:
        # After everything is decided. What a provider's error cut off is neither checked nor released.
        if not self._ending or self._ended or self._by_id:
            return []
        self._ended = True
        altered = {index for index, choice in self._choices.items() if choice.altered}
        cut_off = any(choice.queue for choice in self._choices.values())
        late = [event for event in self._late if not _spells_out(event, altered, cut_off)]
        end = self._final
        blocked = [choice.blocked for choice in self._choices.values()]
        # A choice that was not blocked must have ended well; otherwise what became of it is the end of the stream.
        well = end is not None and (end.reason in SUCCESSES or all(blocked))
        if end and any(blocked) and well and end.reason != "provider_error":
            end = StreamEnd("moderated", end.saw_done)
        return [*late, *([end] if end else [])]

    def _count_held(self) -> None:
        if self._mode == "hold":
            held = sum(
                lane.fed - lane.released
                for choice in self._choices.values()
                if not choice.blocked
                for lane in choice.lanes.values()
            )
            self.report.held, self.report.most_held = held, max(held, self.report.most_held)


def _spells_out(event: Event, altered: set[int], cut_off: bool) -> bool:
    if isinstance(event, Logprobs):
        return cut_off or event.index in altered
    return cut_off or bool(altered)


def _retracted(category: str, start: int, end: int, window: Window, replacement: str) -> Retracted:
    # What was released at once stands in what was released where it stood in the text.
    return Retracted(category, start, end, start, end, window.channel, window.index, replacement)
