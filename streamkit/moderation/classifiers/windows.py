"""The windows of a stream: split off its texts, decided in any order, and carried out in theirs.

It does no I/O and has no clock. `take` returns what a classifier is to be called with, `decide` takes what it has decided.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from streamkit.core.buffers import Buffer
from streamkit.core.wrong_input import shown
from streamkit.errors import PipelineError
from streamkit.events import Channel, Checked, CheckOutcome, Event, ModerationReport, ToolCallDelta
from streamkit.moderation.channels import CLASSIFIED
from streamkit.moderation.classifiers.chunking import Chunker, Window, Windows
from streamkit.moderation.classifiers.classifier import Decision, Outcome
from streamkit.moderation.policy import Policy, checked
from streamkit.moderation.release import Release
from streamkit.moderation.report import Cost
from streamkit.moderation.rule import Ruling
from streamkit.moderation.slices import in_slices


class Open(msgspec.Struct):
    """A window on its way: split off, sent, decided."""

    window: Window
    buffered: float
    """For how long its first character was buffered when it was complete."""
    sent: bool = False
    outcome: Outcome | None = None


class ChannelWindows:
    """The windows of one text, in their order; its judge."""

    def __init__(self, queue: "WindowQueue", index: int, channel: Channel) -> None:
        self._queue = queue
        self.index = index
        self.channel: Channel = channel
        self.chunker = Chunker(queue.windows)
        self.start = 0
        """Where the window that is not complete begins."""
        self.decided = 0
        self.context = ""
        self.since: float | None = None
        self.open: deque[Open] = deque()

    @property
    def complete(self) -> bool:
        """Whether nothing of what has arrived is undecided."""
        return not self.open and not self.chunker.text

    @property
    def has_text(self) -> bool:
        """Whether there is anything but white space in the window that is not complete."""
        return bool(self.chunker.text.strip())

    def feed(self, text: str, *, final: bool = False) -> Sequence[Ruling]:
        """Take more text. Only white space is decided at once."""
        if self.since is None and text:
            self.since = self._queue.now
        for window in self.chunker.feed(text, final=final):
            self._split_off(window)
        return self.ready()

    def close(self) -> Sequence[Ruling]:
        """End the window that is not complete."""
        return self.feed("", final=True)

    def ready(self) -> Sequence[Ruling]:
        """Return the decisions on the first windows, up to the first undecided one."""
        rulings: list[Ruling] = []
        while self.open and (outcome := self.open[0].outcome) is not None:
            window, buffered = self.open[0].window, self.open.popleft().buffered
            note = record(window, outcome, self._queue.cost, buffered + outcome.seconds)
            rulings.append(Ruling(window.start, window.end, outcome.decision, "classifier", "checked", note))
            self.decided = window.end
        return rulings

    def _split_off(self, text: str) -> None:
        now = self._queue.now
        buffered = 0.0 if now is None or self.since is None else now - self.since
        window = Window(self._queue.next_id, text, self.context, self.start, self.channel, self.index)
        self._queue.next_id += 1
        self.start = window.end
        self.since = now if self.chunker.text else None
        if overlap := self._queue.windows.overlap:
            self.context = (self.context + text)[-overlap:]
        self.open.append(Open(window, buffered))
        self._queue.add(self, self.open[-1])

    def state(self) -> Any:
        """Return the state as JSON-compatible data, for a checkpoint. The window of a running check is sent again."""
        return {
            **{name: getattr(self, name) for name in _OF_LANE},
            "text": self.chunker.state(),
            "open": msgspec.to_builtins(list(self.open)),
        }

    def restore(self, state: Any) -> None:
        """Continue from `state`."""
        for name in _OF_LANE:
            setattr(self, name, state[name])
        self.chunker.restore(state["text"])
        self.open = deque(msgspec.convert(state["open"], list[Open]))
        for open in self.open:
            open.sent = False
            if open.outcome is None:
                self._queue.add(self, open)


_OF_LANE = ("start", "decided", "context", "since")


class WindowQueue:
    """The windows of all texts of a stream."""

    def __init__(self, windows: Windows, channels: Iterable[Channel], cost: Cost, *, observes: bool) -> None:
        self.windows = windows
        self.now: float | None = None
        self.next_id = 0
        self._channels = frozenset(channels)
        self.cost = cost
        self._observes = observes
        self._unsent: deque[tuple[ChannelWindows, Open]] = deque()
        self._by_id: dict[int, tuple[ChannelWindows, Open]] = {}
        self._lanes: dict[tuple[int, Channel], ChannelWindows] = {}

    # As judges of the release

    @property
    def undecided(self) -> int:
        """Windows that are complete and undecided."""
        return len(self._by_id)

    def withholds(self, *channels: Channel) -> bool:
        """Whether that is known at once, which it never is."""
        return False

    def moderates(self, channel: Channel) -> bool:
        """Whether a channel is classified."""
        return channel in self._channels

    def judge(self, index: int, channel: Channel) -> ChannelWindows:
        """The windows of a channel of a choice."""
        lane = self._lanes[index, channel] = ChannelWindows(self, index, channel)
        return lane

    def forbids(self, text: str, channel: Channel | None, *, whole: bool = True) -> bool:
        """Only a later decision can say."""
        return False

    def prepare(self, texts: Iterable[str], channel: Channel) -> Iterator[None]:
        """Only a later decision can say."""
        return iter(())

    def forbids_piece(self, text: str, channel: Channel, place: str) -> bool:
        """Only a later decision can say."""
        return False

    def end_pieces(self, of: str) -> bool:
        """Only a later decision can say."""
        return False

    def reset(self) -> None:
        """Another answer follows: no window of this one is decided any more."""
        self._unsent.clear()
        self._by_id.clear()
        self._lanes.clear()

    def add(self, lane: ChannelWindows, open: Open) -> None:
        """A window is complete."""
        if open.window.text.isspace():
            open.outcome = Outcome(Decision(), calls=0)
            return
        self._by_id[open.window.id] = lane, open
        self._unsent.append((lane, open))

    def sort(self) -> None:
        """Send the windows in the order in which they were split off; after a checkpoint they are in that of their texts."""
        self._unsent = deque(sorted(self._unsent, key=lambda unsent: unsent[1].window.id))

    # For what calls the classifier

    @property
    def due(self) -> float | None:
        """When the next window ends because of its time, if nothing more arrives."""
        since = [lane.since for lane in self._lanes.values() if lane.since is not None and lane.has_text]
        return min(since) + self.windows.seconds if since and self.windows.seconds is not None else None

    def expired(self) -> list[ChannelWindows]:
        """The texts whose window ends because of its time."""
        now, seconds = self.now, self.windows.seconds
        if now is None or seconds is None:
            return []
        return [
            lane
            for lane in self._lanes.values()
            if lane.since is not None and now - lane.since >= seconds and lane.has_text
        ]

    def take(self, merge: int = 0) -> Window | None:
        """The next window to classify, together with those after it in its channel that are not sent, up to `merge`
        characters."""
        while self._unsent:
            lane, first = self._unsent.popleft()
            if first.sent:
                continue
            first.sent = True
            self._merge(lane, first, merge)
            self.cost.context += len(first.window.context)
            return first.window
        return None

    def decide(self, id: int, outcome: Outcome) -> ChannelWindows | None:
        """Take the outcome of the check of window `id`. `None` where it does not matter any more."""
        found = self._by_id.pop(id, None)
        if found is None:
            return None
        lane, open = found
        # Nothing is stopped by one who only observes; what was not decided was released, and is recorded so.
        if self._observes and outcome.failure:
            outcome = msgspec.structs.replace(outcome, decision=Decision())
        open.outcome = outcome
        # Windows are split off in the order of their choice.
        if outcome.decision.action in ("block", "stop"):
            self._discard(id, lambda other: other.index == lane.index)
        elif outcome.decision.action == "replace":
            self._discard(id, lambda other: other is lane)
        return lane

    def discard(self, index: int) -> None:
        """A choice is over: none of its windows needs to be classified."""
        self._discard(-1, lambda lane: lane.index == index)

    def _discard(self, after: int, of: Callable[[ChannelWindows], bool]) -> None:
        for lane in filter(of, self._lanes.values()):
            undecided = [open for open in lane.open if open.window.id > after and open.outcome is None]
            for open in undecided:
                open.sent = True
                lane.open.remove(open)
                self._by_id.pop(open.window.id, None)

    def _merge(self, lane: ChannelWindows, first: Open, most: int) -> None:
        while len(lane.open) > (place := lane.open.index(first) + 1):
            following = lane.open[place]
            text = first.window.text + following.window.text
            if following.sent or following.outcome or len(text) > most:
                return
            following.sent = True
            del lane.open[place]
            del self._by_id[following.window.id]
            first.window = msgspec.structs.replace(first.window, text=text)


def record(window: Window, outcome: Outcome, cost: Cost, buffered: float) -> Checked:
    """Count the outcome of a check. Returns the event that reports it."""
    decision = outcome.decision
    kind: CheckOutcome = "passed"
    if not outcome.calls:
        kind = "skipped"
    elif outcome.failure:
        kind = "failed_open" if decision.action == "allow" else "failed_closed"
    elif decision.action != "allow":
        kind = "flagged"
    setattr(cost, kind, getattr(cost, kind) + 1)
    cost.windows += 1
    cost.calls += outcome.calls
    cost.seconds += outcome.seconds
    cost.characters += len(window.text) if outcome.calls else 0
    return Checked(
        kind,
        window.start,
        window.end,
        window.channel,
        window.index,
        category=decision.category,
        scores=decision.scores,
        failure=outcome.failure or "",
        calls=outcome.calls,
        context=len(window.context) if outcome.calls else 0,
        seconds=outcome.seconds,
        held=buffered,
    )


class Classifying:
    """A stream that is moderated by a classifier, for what calls that: the windows, and what their decisions release."""

    def __init__(self, windows: Windows, policy: Policy, channels: Iterable[Channel]) -> None:
        for channel in (channels := tuple(channels)):
            if channel not in CLASSIFIED:
                raise PipelineError(
                    f"expected channels of {', '.join(CLASSIFIED)}; found {shown(channel)}, which is not classified"
                )
        cost = Cost()
        self._queue = WindowQueue(windows, channels, cost, observes=policy.mode == "observe")
        self._release = Release(checked(policy), self._queue, cost)
        self._observes = policy.mode == "observe"
        self.take = self._queue.take

    @property
    def report(self) -> ModerationReport:
        """The metrics of moderation so far."""
        return self._release.report

    def buffers(self, stage: str) -> list[Buffer]:
        """The characters that no decision has released, for `Stream.buffers`, under this name."""
        decided = "the classifier has not decided" if self.undecided else "the window is not complete"
        return [Buffer(stage, self.report.held, "characters", decided)]

    @property
    def reading(self) -> bool:
        """Whether what still arrives can matter."""
        return self._release.reading

    @property
    def undecided(self) -> int:
        """Windows that are complete and undecided."""
        return self._queue.undecided

    @property
    def due(self) -> float | None:
        """When the next window ends because of its time, if nothing more arrives."""
        return self._queue.due

    @property
    def ending(self) -> bool:
        """Whether the stream has ended naturally."""
        return self._release.ending

    @property
    def ended(self) -> bool:
        """Whether the last event was released."""
        return self._release.ended

    @property
    def done(self) -> bool:
        """Whether the stream was stopped, and its last event released."""
        return self._release.done

    def tick(self, now: float) -> None:
        """Set the time."""
        self._queue.now = now
        self._release.tick(now)

    def slices(self, event: Event) -> Iterator[Event]:
        """An event in pieces that are to be fed one by one, with a turn of other tasks between them."""
        if self._observes or isinstance(event, ToolCallDelta):
            yield event
        else:
            yield from in_slices(event)

    def feed(self, event: Event) -> list[Event]:
        """Take an event, and return what is released now."""
        out = self.expire()
        if not self.done:
            self._release.feed(event, out)
        return out

    def expire(self) -> list[Event]:
        """End the windows whose time is up, and apply `max_hold_seconds`."""
        out: list[Event] = []
        for lane in self._queue.expired():
            self._release.decide(lane.index, lane.channel, lane.close(), out)
        self._release.expire(out)
        return out

    def end(self) -> list[Event]:
        """The stream has ended naturally."""
        out: list[Event] = []
        self._release.end(out)
        return out

    def decide(self, id: int, outcome: Outcome) -> list[Event]:
        """Take the outcome of the check of window `id`, and return what is released now."""
        out: list[Event] = []
        if not self.done and (lane := self._queue.decide(id, outcome)):
            if outcome.decision.action in ("block", "stop"):
                self._release.condemn(lane.index)
            self._release.decide(lane.index, lane.channel, lane.ready(), out)
        return out

    def state(self) -> Any:
        """Return the state as JSON-compatible data, for a checkpoint."""
        return {"next_id": self._queue.next_id, "release": self._release.state()}

    def restore(self, state: Any) -> None:
        """Continue from `state`, with the same configuration."""
        self._queue.next_id = state["next_id"]
        self._release.restore(state["release"])
        self._queue.sort()
