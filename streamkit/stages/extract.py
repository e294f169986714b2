"""Server-sent events into what they say about the answer."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, ClassVar, Literal

from streamkit.dialects import DIALECTS, by_name, for_event, installed
from streamkit.dialects.base import Dialect
from streamkit.dialects.openai import OpenAICompletions
from streamkit.errors import PipelineError, PluginError, StreamkitError
from streamkit.events import CONTENT, Event
from streamkit.misfits import name_shown
from streamkit.stage import Stage
from streamkit.wire.events import ServerSentEvent


@dataclass
class Extract(Stage[ServerSentEvent, Event]):
    """Read the provider's dialect: chosen by the first event that tells, or `dialect`, by its name or its class.

    Installed packages' dialects are asked too. If the end comes and no dialect ever spoke, those that could not be asked are
    named in a `PluginError`.

    The last event is a `StreamEnd`, given as soon as the format's end marker is there, which also stops the reading.
    `errors`: an error that the provider sends in the stream ends it with `StreamEnd("provider_error")` and then raises
    `ProviderError`; with `emit` it only ends it so. An event that is no JSON raises `ProtocolError`.
    """

    dialect: str | type[Dialect] | None = None
    errors: Literal["raise", "emit"] = "raise"
    reads_json_bodies: ClassVar[bool] = True
    heard = False
    _reader: Dialect = field(init=False, repr=False, compare=False)
    _decided: bool = field(default=False, init=False, repr=False)
    _problems: list[str] = field(default_factory=list[str], init=False, repr=False)

    def __post_init__(self) -> None:
        # Until an event tells the dialect, OpenAI's reader has them: comments, pings, and an error that comes alone.
        chosen = by_name(self.dialect) if isinstance(self.dialect, str) else self.dialect
        kind = chosen or OpenAICompletions
        self._reader, self._decided = kind(errors=self.errors), self.dialect is not None

    @property
    def spoken(self) -> type[Dialect] | None:
        """The dialect that the answer speaks; `None` before an event has told."""
        return type(self._reader) if self._decided else None

    @property
    def unknown(self) -> dict[str, int]:
        """How often an event came of each kind that the dialect has no word for. Each was passed on as a `ProviderNotice`."""
        return dict(self._reader.unknown)

    def state(self) -> dict[str, Any]:
        kind = type(self._reader)
        return {"reader": kind.__name__, "state": self._reader.state(), "decided": self._decided, "done": self.done}

    def restore(self, state: Any) -> None:
        known = {kind.__name__: kind for kind in (type(self._reader), *DIALECTS.values())}
        if state["reader"] not in known:
            known = {kind.__name__: kind for kind in installed()[0].values()}
        if (kind := known.get(state["reader"])) is None:
            raise PipelineError(
                f"Extract: the checkpoint is of a dialect that is not known here: {name_shown(state['reader'])}"
            )
        self._reader, self._decided, self.done = kind(errors=self.errors), state["decided"], state["done"]
        self._reader.restore(state["state"])

    def feed(self, item: ServerSentEvent) -> Iterable[Event]:
        return self.feed_all([item])

    def feed_all(self, items: list[ServerSentEvent]) -> Iterable[Event]:
        events = self._reader.feed_all(items) if self._decided else self._decide(items)
        self.done = self._reader.done
        self.heard = _holds_content(events)
        return events

    def flush(self) -> Iterable[Event]:
        yield from self._reader.flush()
        if self._problems and not self._decided:
            raise PluginError(f"no dialect was found that this answer is in, and {'; '.join(self._problems)}")

    def _decide(self, items: list[ServerSentEvent]) -> Iterable[Event]:
        told = ((at, kind) for at, item in enumerate(items) if (kind := for_event(item, self._problems)))
        at, kind = next(told, (len(items), None))
        early = self._reader.feed_all(items[:at])
        if kind is None or self._reader.done or not isinstance(early, list):
            return early if isinstance(early, list) else _noting(self._problems, early)
        self._decided = True
        if kind is not type(self._reader):
            first, self._reader = self._reader, kind(errors=self.errors)
            self._reader.go_on_from(first)
        events = self._reader.feed_all(items[at:])
        return [*early, *events] if isinstance(events, list) else chain(early, events)


def _noting(problems: list[str], events: Iterable[Event]) -> Iterable[Event]:
    try:
        yield from events
    except StreamkitError as error:
        for problem in problems:
            error.add_note(problem)
        raise


def _holds_content(events: Iterable[Event]) -> bool:
    # What is no list is what a reader that failed gives, and the run ends with it.
    return isinstance(events, list) and any(isinstance(event, CONTENT) for event in events)
