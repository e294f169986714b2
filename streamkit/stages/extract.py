"""Convert a provider's server-sent events to streamkit's events."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal

from streamkit.core.stage import Stage, cut_short
from streamkit.core.wrong_input import name_shown
from streamkit.dialects import DIALECTS, by_name, checked, for_event, installed
from streamkit.dialects.base import Dialect
from streamkit.dialects.emitted_text import MOST_PIECES
from streamkit.dialects.learn import Learner, Learnt, Noted
from streamkit.dialects.reasoning_tags import ReasoningTags
from streamkit.dialects.undecided import Undecided
from streamkit.errors import PipelineError, PluginError, ProtocolError, StreamkitError, UnknownDialect
from streamkit.events import Event
from streamkit.sse.events import ServerSentEvent


@dataclass
class Extract(Stage[ServerSentEvent, Event]):
    """Convert a provider's server-sent events to streamkit's events.

    `dialect` is the provider's dialect: its name, its class, or `package.module:name` of a class. By default it is detected from
    the first event that identifies it; this includes the dialects of installed packages. If events were received but no dialect
    recognized any of them, `UnknownDialect` is raised at the end or at `[DONE]`, or `PluginError` if some packages could not be
    loaded.

    The last event is a `StreamEnd`, emitted as soon as the end marker of the format arrives; reading stops there. `errors`: an
    error that the provider sends in the stream emits `StreamEnd("provider_error")` and then raises `ProviderError`. An event that
    is not JSON raises `ProtocolError`, and so does a second answer in the same body. With `emit` nothing is raised: the stream
    ends with `StreamEnd("provider_error")` in the first case and with `StreamEnd("error")` in the others.

    `malformed`: with `skip` an event that is not JSON does not end the stream. It becomes a `ProviderNotice("malformed")`, whose
    `raw` is the received text, and is counted in `skipped`. Its content is missing from the answer, even if the end is
    `completed`.

    `reasoning_tags`, such as `("<think>", "</think>")`: text between the tags becomes `ReasoningDelta`s, separately for each
    choice, even if a tag is split between chunks. An empty opening tag means that the answer begins with reasoning. White space
    before the first tag if no other text precedes it, at the start of the reasoning, and between the reasoning and an answer that
    follows it is removed with the tags.

    `cumulative`: the provider resends the whole text, reasoning and arguments with every chunk, and only the new part is emitted;
    a text that does not extend the previous one raises `ProtocolError`. `None` uses the dialect's default.
    """

    dialect: str | type[Dialect] | None = None
    errors: Literal["raise", "emit"] = "raise"
    malformed: Literal["raise", "skip"] = field(default="raise", kw_only=True)
    reasoning_tags: tuple[str, str] | None = field(default=None, kw_only=True)
    cumulative: bool | None = field(default=None, kw_only=True)
    _reader: Dialect = field(init=False, repr=False, compare=False)
    # An optimization without state of the answer; created again after a checkpoint.
    _learner: Learner = field(default_factory=Learner, init=False, repr=False, compare=False, metadata={"state": False})
    _learnt: Learnt | None = field(default=None, init=False, repr=False, compare=False, metadata={"state": False})
    # The content of chunks that were read on the fast path, not yet passed to the reader.
    _noted: Noted = field(default_factory=Noted, init=False, repr=False, compare=False, metadata={"state": False})
    _decided: bool = field(default=False, init=False, repr=False)
    _tags: ReasoningTags | None = field(default=None, init=False, repr=False, compare=False)
    _problems: list[str] = field(default_factory=list[str], init=False, repr=False)

    def __post_init__(self) -> None:
        _check("errors", self.errors, ("raise", "emit"))
        _check("malformed", self.malformed, ("raise", "skip"))
        given = self.dialect
        chosen = by_name(given) if isinstance(given, str) else None if given is None else checked(given)
        if self.reasoning_tags is not None:
            self._tags = _checked(self.reasoning_tags)
        self._reader, self._decided = self._make(chosen or Undecided), chosen is not None

    def _make(self, kind: type[Dialect]) -> Dialect:
        return kind(errors=self.errors, malformed=self.malformed, cumulative=self.cumulative)

    @property
    def detected(self) -> type[Dialect] | None:
        """The dialect of the answer; `None` until an event has identified it."""
        return type(self._reader) if self._decided else None

    @property
    def unknown(self) -> dict[str, int]:
        """The number of events of each kind that the dialect does not know. Each was emitted as a `ProviderNotice`."""
        return dict(self._reader.unknown)

    @property
    def skipped(self) -> int:
        """The number of events that were skipped because they were not JSON."""
        return self._reader.skipped

    @property
    def answered(self) -> bool:
        return self._reader.answered

    def state(self) -> dict[str, Any]:
        self._reset_learnt()
        kind = type(self._reader)
        tags = self._tags and self._tags.state()
        known = {"reader": kind.__name__, "state": self._reader.state(), "decided": self._decided, "done": self.done}
        return {**known, "tags": tags}

    def restore(self, state: Any) -> None:
        known = {kind.__name__: kind for kind in (type(self._reader), *DIALECTS.values())}
        if state["reader"] not in known:
            known = {kind.__name__: kind for kind in installed()[0].values()}
        if (kind := known.get(state["reader"])) is None:
            raise PipelineError(f"Extract: the checkpoint is of an unknown dialect: {name_shown(state['reader'])}")
        self._reader, self._decided, self.done = self._make(kind), state["decided"], state["done"]
        self._reader.restore(state["state"])
        if self._tags:
            self._tags.restore(state["tags"])

    def feed(self, item: ServerSentEvent) -> Iterable[Event]:
        return self.feed_all([item])

    def feed_all(self, items: list[ServerSentEvent]) -> Iterable[Event]:
        events: list[Event] = []
        if self._learnt is not None:
            self._read_learnt(self._learnt, items, events)
            if len(events) == len(items) and self._tags is None:
                return events
        given = self._read(items, events)
        return self._tags.take_all(given) if self._tags else given

    def _read(self, items: list[ServerSentEvent], events: list[Event]) -> Iterable[Event]:
        # `events` already contains the events of the first chunks.
        at, count = len(events), len(items)
        while at < count and not self.done:
            self._reset_learnt()
            if not self._decided:
                given, end = self._decide(items)
            else:
                end = min(count, at + self._learner.chunks_to_read) if self._reader.learns else count
                given = self._reader.feed_all(items[at:end])
            if self._reader.done:
                self.done = True
            if not isinstance(given, list):
                return chain(events, given)
            events += given
            if self._reader.learns:
                self._learnt = self._learner.learn_from(items[at:end], given, self._reader.places)
            at = end
            if self._learnt is not None:
                known = len(events)
                self._read_learnt(self._learnt, items[at:], events)
                at += len(events) - known
        return events

    def _read_learnt(self, learnt: Learnt, items: list[ServerSentEvent], events: list[Event]) -> None:
        """Fast path: read the first chunks, as long as they have the learned form."""
        learnt.read(items, events, self._noted)
        if len(self._noted.texts) > MOST_PIECES:
            self._pass_on(learnt)

    def _pass_on(self, learnt: Learnt) -> None:
        noted, self._noted = self._noted, Noted()
        self._reader.record_learnt(learnt, noted.texts, noted.payload)
        self._learner.used = True

    def _reset_learnt(self) -> None:
        # The next chunk may change the meaning of chunks of the learned form.
        if self._learnt is not None and self._noted.texts:
            self._pass_on(self._learnt)
        self._learnt = None

    def flush(self) -> Iterable[Event]:
        if not self._reader.done:
            events = self._reader.flush()
            yield from self._tags.take_all(events) if self._tags else events
            if failure := self._unrecognized():
                raise failure

    def _decide(self, items: list[ServerSentEvent]) -> tuple[Iterable[Event], int]:
        """Read the items up to and including the first that identifies the dialect, or all if none does. Return the events and
        the number of items read."""
        kind: type[Dialect] | None = None
        at = 0
        while at < len(items) and (kind := for_event(items[at], self._problems)) is None:
            at += 1
        early = self._reader.feed_all(items[:at]) if at else list[Event]()
        if not isinstance(early, list):
            return self._explained(early), len(items)
        if self._reader.done:
            failure = self._unrecognized()
            return cut_short(early, failure) if failure else early, len(items)
        if kind is None:
            return early, len(items)
        self._decided = True
        first, self._reader = self._reader, self._make(kind)
        self._reader.continue_from(first)
        events = self._reader.feed_all(items[at : at + 1])
        return [*early, *events] if isinstance(events, list) else chain(early, events), at + 1

    def _unrecognized(self) -> StreamkitError | None:
        """The error for a stream that ended before any event identified its dialect."""
        if not isinstance(self._reader, Undecided) or self._reader.first is None:
            return None
        if self._problems:
            found = f"no dialect recognizes this answer, and {'; '.join(self._problems)}"
            return PluginError(f"{found}; it begins with {self._reader.first}")
        return None if self.errors == "emit" else self._unknown(f"this stream begins with {self._reader.first}")

    def _unknown(self, found: str, excerpt: str = "") -> UnknownDialect:
        tried = (*DIALECTS, *installed()[0])
        message = f"{found}, which no dialect recognizes (tried: {', '.join(tried)})"
        first = self._reader.first if isinstance(self._reader, Undecided) else None
        return UnknownDialect(message, shape=first or "", tried=tried, excerpt=excerpt)

    def _explained(self, events: Iterable[Event]) -> Iterable[Event]:
        try:
            yield from events
        except StreamkitError as error:
            failure = self._unknown(str(error), error.excerpt) if isinstance(error, ProtocolError) else error
            for problem in self._problems:
                failure.add_note(problem)
            raise failure from error.__cause__


def _check(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise PipelineError(f"Extract({name}=…): expected {' or '.join(map(repr, allowed))}, found {value!r}")


def _checked(tags: tuple[str, str]) -> ReasoningTags:
    match tags:
        case [str() as opening, str() as closing] if closing and opening != closing:
            return ReasoningTags(opening, closing)
        case _:
            raise PipelineError(
                f"Extract(reasoning_tags=…): expected an opening and another closing tag, found {tags!r}"
            )
