"""Convert events to the server-sent events of a client's wire format."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from streamkit.completion import SUCCESSES, EndReason
from streamkit.core.stage import Stage, cut_short
from streamkit.emitters.emitter import Emitter, MakeEmitter, Settings
from streamkit.emitters.failures import Failure, failure_at_end
from streamkit.emitters.registry import emitter_name, new_emitter
from streamkit.errors import PipelineError, ProtocolError
from streamkit.events import (
    CONTENT,
    Annotation,
    Blocked,
    Completion,
    Event,
    Finish,
    Flagged,
    PartStart,
    Redacted,
    Reset,
    Retracted,
    StreamEnd,
)
from streamkit.sse.events import ServerSentEvent

_ALWAYS = frozenset((StreamEnd, Blocked, Reset))
_AT_FIRST = frozenset((*_ALWAYS, *CONTENT, Annotation, Finish, PartStart))
_DECISIONS = frozenset((Flagged, Redacted, Retracted))


@dataclass
class Emit(Stage[Event, ServerSentEvent]):
    """Write an answer in a client's wire format, so that the client reads an answer of any provider like its own server's.

    `dialect` is the name of an emitter: `openai` (chunks of chat completions), `openai-legacy` (chunks of legacy completions,
    which have only text), or one of an installed package; docs/reference/wires.md lists all emitters and what each can express.
    It may also be an emitter's class, or a function that takes `Settings` and returns an emitter.
    Counts, timings and other additions of streamkit are not written. For OpenAI's format:

    - The role is written first. A tool call has an id, generated if the provider sent none, and arguments, `{}` if it has none.
      Each choice ends with one of OpenAI's finish reasons.
    - Citations are written as `url_citation` before the finish reason, but not if moderation withheld text of the choice, which
      they might quote.
    - `include_usage` writes the usage in a chunk without choices before the end; for several responses in one stream, their sum.
      OpenAI does so only for requests with `stream_options.include_usage`, because such a chunk breaks clients that expect
      choices.
    - An answer that is complete, moderated or cut at its length limit ends with `[DONE]`. Any other ends with an error, which
      clients raise, in place of `[DONE]`; so does a stream without `StreamEnd`, and one that restarts (`Reset`) after content
      was written.

    `id`, `created` and `model` are used if the provider sent no such value before the first frame. `verdicts` writes moderation
    decisions as data, in formats that can express them. `request` is the body of the client's request; some formats repeat parts
    of it.
    """

    dialect: str | MakeEmitter = "openai"
    id: str | None = None
    created: int = 0
    model: str = "unknown"
    include_usage: bool = field(default=False, kw_only=True)
    verdicts: bool = field(default=False, kw_only=True)
    request: Mapping[str, Any] | None = field(default=None, kw_only=True, repr=False)
    _emitter: Emitter = field(init=False, repr=False)
    _begun: bool = field(default=False, init=False, repr=False)
    _ended: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        known = Settings(self.id, self.created, self.model, self.include_usage, self.verdicts, self.request or {})
        self._emitter = new_emitter(self.dialect, known)

    @property
    def headers(self) -> Mapping[str, str]:
        """Response headers of this format, in addition to those of every event stream."""
        return self._emitter.headers

    @property
    def id_prefix(self) -> str:
        """The prefix of response ids in this format."""
        return self._emitter.id_prefix

    @property
    def streams_only(self) -> bool:
        """Whether the format has no non-streaming response."""
        return self._emitter.streams_only

    def feed(self, item: Event) -> Iterable[ServerSentEvent]:
        return self.feed_all([item])

    def feed_all(self, items: list[Event]) -> Iterable[ServerSentEvent]:
        if self._begun and not self._ended and _ALWAYS.isdisjoint(map(type, items)):
            return self._emitter.events(items)
        out: list[ServerSentEvent] = []
        try:
            self._take(items, out)
        except (TypeError, ValueError, ProtocolError) as error:
            return cut_short(out, error)
        return out

    def flush(self) -> Iterable[ServerSentEvent]:
        # Without a StreamEnd there is no proof that the answer is complete. (Law 5)
        return self._end("truncated")

    def _take(self, items: list[Event], out: list[ServerSentEvent]) -> None:
        start, special = 0, _ALWAYS if self._begun else self._opening
        for at, event in enumerate(items):
            if self._ended:
                return
            if type(event) not in special:
                continue
            if start < at:
                out += self._emitter.events(items[start:at])
            start = at
            match event:
                case StreamEnd(reason=reason):
                    out += self._end(reason)
                case Reset():
                    # Clients would concatenate the two answers.
                    out += () if self._emitter.restart() else self.error(failure_at_end("reset"))
                    start = at + 1
                case Blocked():
                    out += [*self._begin(), *self._emitter.block(event)]
                    start, special = at + 1, _ALWAYS
                case _:
                    out += self._begin()
                    special = _ALWAYS
        if start < len(items) and not self._ended:
            out += self._emitter.events(items[start:])

    @property
    def _opening(self) -> frozenset[type]:
        # Events that open the response, and events that `Emitter.events` does not receive.
        return _AT_FIRST | _DECISIONS if self.verdicts else _AT_FIRST

    def _begin(self) -> Iterable[ServerSentEvent]:
        if self._begun:
            return ()
        self._begun = True
        return self._emitter.head()

    def _end(self, reason: EndReason) -> Iterable[ServerSentEvent]:
        if self._ended:
            return ()
        head = self._begin() if reason in SUCCESSES else ()
        self._ended = True
        return [*head, *self._emitter.end(reason)]

    def error(self, failure: Failure) -> Iterable[ServerSentEvent]:
        """Return the frames that end a failed response. Nothing is written after them."""
        self._ended = True
        return self._emitter.error(failure)

    def keep_alive(self) -> ServerSentEvent | None:
        """Return a frame that keeps the connection alive; `None` if a comment is enough."""
        return self._emitter.keep_alive()

    def response(self, completion: Completion, withheld: Container[int] | None = None) -> dict[str, Any]:
        """Return the non-streaming response: the whole answer as one JSON object.

        `withheld`: the choices of which moderation withheld text; by default those with a verdict other than `annotate`. Raises
        `PipelineError` if the format has no non-streaming response.
        """
        if self.streams_only:
            raise PipelineError(
                f"expected an emitter with non-streaming responses, found {emitter_name(self.dialect)}, which only streams"
            )
        return self._emitter.response(completion, withheld)
