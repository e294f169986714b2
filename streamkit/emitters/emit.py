"""Events into the server-sent events of a client's wire format."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from streamkit.completion import SUCCESSES, EndReason
from streamkit.core.stage import Stage, cut_short
from streamkit.emitters.emitter import Emitter, Settings
from streamkit.emitters.failures import Failure, failure_at_end
from streamkit.emitters.registry import emitter_named
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
    """Write an answer in the wire format of a client, so that it reads it as the answer of its own server, whoever answered.

    `dialect` is the name of an emitter: `openai` (chunks of chat completions), `openai-legacy` (those of completions, which
    carry text alone), or of an installed package; docs/reference/wires.md has all of them and what each can carry. Counts,
    timings and all else that streamkit adds are not on the wire. OpenAI's:

    - The role comes first. A call of a tool has an id, which is made from what is known of it where the provider gave none,
      and arguments, `{}` if it has none. Each choice ends with one of OpenAI's finish reasons.
    - Citations come as `url_citation` before that, and not at all where moderation withheld something of the choice, which
      they might quote.
    - `include_usage`: send the usage, of several responses in one stream their sum, in a chunk without choices before the end, as
      OpenAI does for a request with `stream_options.include_usage`, and only for that: such a chunk breaks a client that expects
      choices.
    - An answer that is complete, was cut at its length or moderated ends with `[DONE]`; any other with an error in its place,
      which clients raise: also one whose events end without a `StreamEnd`, and one that begins anew (`Reset`) after
      something of it was written.

    `id`, `created` and `model` are used where the provider said nothing before the first frame. `verdicts`: write moderation
    decisions as data, in formats that have a place for them. `request` is the body of the client's request, of which some
    formats repeat parts.
    """

    dialect: str = "openai"
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
        make = emitter_named(self.dialect)
        known = Settings(self.id, self.created, self.model, self.include_usage, self.verdicts, self.request or {})
        self._emitter = make(known)

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of the response that this format has beside those of every event stream."""
        return self._emitter.headers

    @property
    def id_prefix(self) -> str:
        """How ids of responses begin in this format."""
        return self._emitter.id_prefix

    @property
    def streams_only(self) -> bool:
        """Whether the format has no response without streaming."""
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
        # Without a StreamEnd nothing proves that the answer is complete. (Law 5)
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
                    # Clients would join two answers to one.
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
        # The events before which the response is opened, and those that are no matter of `Emitter.events`.
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
        """The frames that end a response that failed. Nothing is written after them."""
        self._ended = True
        return self._emitter.error(failure)

    def keep_alive(self) -> ServerSentEvent | None:
        """A frame that keeps the connection alive; `None` if a comment does."""
        return self._emitter.keep_alive()

    def response(self, completion: Completion, withheld: Container[int] | None = None) -> dict[str, Any]:
        """The same answer for a client that did not request a stream: the whole JSON object.

        `withheld` are the choices of which a moderation held text back, by default all that have verdicts. `PipelineError` if the
        format has no such response.
        """
        if self.streams_only:
            raise PipelineError(f"expected an emitter with whole responses, found {self.dialect}, which streams only")
        return self._emitter.response(completion, withheld)
