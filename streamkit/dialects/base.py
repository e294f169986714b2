"""Base classes of all dialects: decode one wire event at a time, report errors uniformly, determine how the stream ended."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NoReturn, cast

import msgspec

from streamkit.completion import EndReason, ResponseForm, register_form
from streamkit.core.stage import Stage, cut_short
from streamkit.dialects import surrogates
from streamkit.dialects.cumulative import Cumulative
from streamkit.dialects.error_objects import error_in, is_error_event
from streamkit.dialects.finish_reasons import meaning
from streamkit.dialects.learn import Learnt, Path
from streamkit.errors import ProtocolError, ProviderError
from streamkit.errors.bodies import known, reason_of
from streamkit.events import Channel, Event, ProviderNotice, StreamEnd
from streamkit.sse.amazon import AmazonEvent
from streamkit.sse.events import Comment, JsonBody, ServerSentEvent, UnfinishedEvent
from streamkit.sse.json_text import NOT_JSON, TOO_DEEP, is_too_deep

# A stream with several choices ends with the worst of their reasons.
_WORST_FIRST: tuple[EndReason, ...] = (
    "provider_error",
    "truncated",
    "cancelled",
    "timeout",
    "unknown",
    "content_filter",
    "length",
    "tool_calls",
    "completed",
)
_RETRYABLE = {"408", "409", "429", "500", "502", "503", "504", "529"} | {
    "api_error",
    "server_error",
    "timeout_error",
    "overloaded_error",
    "rate_limit_error",
    "rate_limit_exceeded",
    # Bedrock's (https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html)
    "internalServerException",
    "modelNotReadyException",
    "modelStreamErrorException",
    "modelTimeoutException",
    "serviceUnavailableException",
    "throttlingException",
    # Finish reasons of Zhipu and DeepSeek.
    "network_error",
    "insufficient_system_resource",
}
ANOTHER = "expected one response, found the start of another; two responses are not merged"
EXPECTED = {"ping", "comment", "heartbeat", "keep-alive"}
"""Kinds of events that carry nothing of the answer, in any dialect. They are not counted as unknown."""
_KINDS = 100
_HTML = re.compile(r"<(!doctype|html|head|body)\b", re.IGNORECASE)


@dataclass
class Dialect(Stage[ServerSentEvent, Event]):
    """A provider's wire format. Implement `recognizes` and `take`; add every choice to `finished`, and set its reason at its end.

    `reasons` maps finish reasons that `finish_reasons` lacks, or that mean something else here; a reason in neither ends the
    stream as `unknown`. Add a choice to `called` when it calls a tool that the client must run: if its finish reason means
    `completed`, or if it has none, it then ends as `tool_calls`. Call `finish` at the format's end marker, `fail` with a
    provider's error object, and `refuse` for an event that violates the format. The base class handles events that are not
    JSON, `[DONE]`, a missing end marker, events that contain only an error or are named `error`, the order of errors, and emoji
    split into two surrogates.

    A dialect whose non-streaming response is not OpenAI's chat completion sets `response_form`, a function that builds
    the response from a `Completion`. It is called for completions with the dialect's `shape`, which is sent in `ResponseDetails`.

    `cumulative`: the provider resends the whole text with every chunk, and only its end is new. `None` leaves it to the
    dialect. A dialect that reads such texts itself sets `resends = False`.

    `errors`: an error inside the stream ends it with `StreamEnd("provider_error")` and then raises `ProviderError`; with
    `emit` nothing is raised. `malformed`: an event that is not JSON raises `ProtocolError` (with `errors="emit"` it ends the
    stream with `StreamEnd("error")`), or is skipped. `done` is true after the format's end marker.
    """

    reasons: ClassVar[dict[str, EndReason]] = {}

    resends: ClassVar[bool] = True
    places: ClassVar[tuple[Path, ...]] = ()
    """Paths in a chunk's JSON where the text of its only event may be; the fast path of `learn` reads such chunks."""

    shape: ClassVar[str | None] = None
    response_form: ClassVar[ResponseForm | None] = None

    errors: Literal["raise", "emit"] = "raise"
    malformed: Literal["raise", "skip"] = "raise"
    cumulative: bool | None = None
    skipped: int = field(default=0, init=False, repr=False)
    finished: dict[int, str | None] = field(default_factory=dict[int, "str | None"], init=False, repr=False)
    called: set[int] = field(default_factory=set[int], init=False, repr=False)
    _resent: Cumulative = field(default_factory=Cumulative, init=False, repr=False)
    unknown: dict[str, int] = field(default_factory=dict[str, int], init=False, repr=False)
    _cut: bool = field(default=False, init=False, repr=False)  # whether the body ended inside an event
    _seen: int = field(default=0, init=False, repr=False)
    _halves: surrogates.Waiting = field(default_factory=dict[surrogates.Place, list[Any]], init=False, repr=False)
    # Whether any payload had marked surrogates: the dialect may store its text, so any later event may contain marks.
    _marked: bool = field(default=False, init=False, repr=False)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.shape and cls.response_form:
            register_form(cls.shape, cls.response_form)

    @classmethod
    def recognizes(cls, event: ServerSentEvent, data: object) -> bool:
        """Return whether a stream that begins with this event is in this dialect. `data` is its JSON, or `None` if invalid."""
        raise NotImplementedError

    @property
    def learns(self) -> bool:
        """Whether the fast path of `learn` may read chunks now: not for cumulative texts, nor after split surrogates."""
        return bool(self.places) and not (self._marked or self.cumulative)

    def record_learnt(self, learnt: Learnt, pieces: list[str], payload: bytes) -> None:
        """Called with the texts of deltas that the fast path read, and with the payload of the last one."""
        self._seen += len(pieces)

    def continue_from(self, other: "Dialect") -> None:
        """Continue the event count of another dialect, which read the events before this dialect was recognized."""
        self._seen, self.skipped = other._seen, other.skipped

    def feed(self, item: ServerSentEvent) -> Iterable[Event]:
        return self.feed_all([item])

    def feed_all(self, items: list[ServerSentEvent]) -> Iterable[Event]:
        out: list[Event] = []
        if self.done:
            return out
        try:
            if self.cumulative and self.resends:
                self._read_wholes(items, out)
            else:
                self._read(items, out)
        except (ProtocolError, ProviderError) as error:
            return self._broken_off(error, out)
        self._seen += len(items)
        return self._joined(out) if self._marked else out

    def _broken_off(self, error: Exception, out: list[Event]) -> Iterable[Event]:
        if not self.done:
            self.settle(out, complete=False)
        out += self._resent.end()
        if isinstance(error, ProtocolError) and self.errors == "emit":
            self.done = True
            out += [ProviderNotice("protocol_error", {"message": str(error)}), self._end("error")]
            return self._joined(out)
        if self._marked and isinstance(error, ProviderError):
            error.body = surrogates.clean(error.body)
            error.code, error.type, error.detail = reason_of(error.body)
        return cut_short([*self._joined(out), *surrogates.release(self._halves)], error)

    def _read_wholes(self, items: list[ServerSentEvent], out: list[Event]) -> None:
        # One at a time: events after a contradicting text must not change what is buffered before it.
        start = self._seen
        for at, item in enumerate(items):
            self._seen, wholes = start + at, list[Event]()
            try:
                self._read([item], wholes)
            finally:
                self._resent.take(wholes, out)
            if self.done:
                break
        self._seen = start

    def flush(self) -> Iterable[Event]:
        if not self.done:
            late: list[Event] = []
            self.settle(late, complete=False)
            late += self._resent.end()
            end = self._end(*self._outcome(saw_done=False))
            yield from self._joined([*late, end])
            self._raise_after(end, self._seen)

    def _read(self, items: list[ServerSentEvent], out: list[Event]) -> None:
        for number, item in enumerate(items, self._seen + 1):
            if type(item) is AmazonEvent and item.message_type != "event":
                self.fail(item.reason, number, out)
            elif is_too_deep(item.payload):
                self._not_json(item, number, TOO_DEEP, out)
            else:
                self._read_one(item, number, out)
            if self.done:
                return

    def _read_one(self, item: ServerSentEvent, number: int, out: list[Event]) -> None:
        try:
            data = msgspec.json.decode(item.payload)
        except NOT_JSON as error:
            self._not_json(item, number, error, out)
        else:
            if item.event == "error" or is_error_event(data):
                self.fail(error_in(data) or data, number, out)
            else:
                self.take(item, data, number, out)

    def take(self, item: ServerSentEvent, data: Any, number: int, out: list[Event]) -> None:
        """Convert one wire event and append the results to `out`. `number` is its position in the stream, for errors.

        Not called for events for which `is_error_event` is true, or which are named `error`.
        """
        raise NotImplementedError

    def finish(self, out: list[Event], number: int) -> None:
        """End the stream at the format's end marker."""
        self.settle(out, complete=True)
        self.done = True
        end = self._end(*self._outcome(saw_done=True), saw_done=True)
        out.append(end)
        self._raise_after(end, number)

    def fail(self, body: Any, number: int, out: list[Event]) -> None:
        """End the stream with an error that the provider reported. `body` is its error object."""
        self.settle(out, complete=False)
        self.done = True
        error = provider_error(body, number)
        code = error.type if error.code is None else str(error.code)
        out.append(self._end("provider_error", code))
        if self.errors == "raise":
            raise error

    def refuse(self, found: str, number: int, excerpt: str = "") -> NoReturn:
        """Raise `ProtocolError` for an event that violates the format. `found` describes it without quoting its text."""
        raise ProtocolError(f"event {number}: {found}", excerpt=excerpt)

    def settle(self, out: list[Event], *, complete: bool) -> None:
        """Emit what is buffered; called before `StreamEnd`. `complete`: the format's end marker was received."""

    def ends_calls(self, word: str) -> bool:
        """Whether this finish reason means that tool calls are whole, so that a call without arguments takes none."""
        return self._meaning(word) in ("completed", "tool_calls")

    def conflict(self, channel: Channel, index: int, payload: bytes, out: list[Event]) -> None:
        """Report a whole text that contradicts the deltas before it. The streamed text stands; the notice does not quote it."""
        out.append(ProviderNotice("conflict", {"channel": channel}, index, payload=payload))

    def unknown_event(self, kind: str, data: Any, payload: bytes, out: list[Event], index: int | None = None) -> None:
        """Emit an event of an unknown kind as a notice, and count it by its kind."""
        if kind not in EXPECTED:
            # Bound the memory for a server that generates new kinds.
            counted = kind if kind in self.unknown or len(self.unknown) < _KINDS else "others"
            self.unknown[counted] = self.unknown.get(counted, 0) + 1
        out.append(ProviderNotice(kind, data, index, payload=payload))

    @property
    def answered(self) -> bool:
        """Whether every choice that began has a finish reason, so that only the end marker is missing."""
        return not self.done and self._has_finished()

    def _has_finished(self) -> bool:
        return bool(self.finished) and None not in self.finished.values()

    def _raise_after(self, end: StreamEnd, number: int) -> None:
        # The finish reason reports a failure, and no error object was received.
        if end.reason == "provider_error" and self.errors == "raise":
            raise provider_error({"type": end.provider_reason, "message": ""}, number)

    def _not_json(self, item: ServerSentEvent, number: int, error: Exception, out: list[Event]) -> None:
        text = item.data.strip()
        if text == "[DONE]":
            self.finish(out, number)
        elif error is not TOO_DEEP and (marked := surrogates.mark(item.payload)) and _is_json(marked):
            self._read_halves(item, marked, number, out)
        elif item.event == "error":
            self.fail(item.data, number, out)
        elif isinstance(item, Comment):
            out.append(ProviderNotice("comment", item.text))
        elif isinstance(item, UnfinishedEvent) or _is_cut(item, error):
            self._cut = True
        elif not text:
            out.append(ProviderNotice(item.event))
        elif self.malformed == "skip":
            self._skip(item, number, _describe(text, error), out)
        else:
            self.refuse(f"expected JSON or [DONE] after 'data:', found {_describe(text, error)}", number, text[:80])

    def _skip(self, item: ServerSentEvent, number: int, found: str, out: list[Event]) -> None:
        self.skipped += 1
        out.append(
            ProviderNotice("malformed", {"event": number, "found": found}, payload=json.dumps(item.data).encode())
        )

    def _read_halves(self, item: ServerSentEvent, marked: bytes, number: int, out: list[Event]) -> None:
        read: list[Event] = []
        try:
            self._read_one(msgspec.structs.replace(item, payload=marked), number, read)
        finally:
            self._marked = True
            out += [surrogates.unmark(event, item.payload) for event in read]

    def _joined(self, out: list[Event]) -> list[Event]:
        return surrogates.join(out, self._halves) if self._marked else out

    def _end(self, reason: EndReason, word: str | None = None, *, saw_done: bool = False) -> StreamEnd:
        unfinished = tuple(index for index, finish in self.finished.items() if finish is None)
        return StreamEnd(reason, saw_done, unfinished, word)

    def _outcome(self, *, saw_done: bool) -> tuple[EndReason, str | None]:
        """Return why the stream ended, and the provider's finish reason for it."""
        ends: dict[EndReason, str | None] = {}
        for index, word in sorted(self.finished.items()):
            ends.setdefault(self._end_of_choice(index, word), word)
        if "provider_error" in ends:
            return "provider_error", ends["provider_error"]
        # The end marker alone proves the end: some servers never send a finish reason. Finish reasons alone prove it too, even
        # if the body was cut after them. Without a choice there is no answer that could be complete.
        if not ends or not (saw_done or self._has_finished()):
            return "truncated", None
        worst: EndReason = next(end for end in _WORST_FIRST if end in ends)
        return worst, ends[worst]

    def _end_of_choice(self, index: int, word: str | None) -> EndReason:
        end = self._meaning(word)
        # Compatible servers send `stop` with tool calls, and so does OpenAI if the request names the function to call.
        return "tool_calls" if end == "completed" and index in self.called else end

    def _meaning(self, word: str | None) -> EndReason:
        if word is None:
            return "completed"
        return self.reasons.get(word) or meaning(word)


def _is_cut(item: ServerSentEvent, error: Exception) -> bool:
    # A JSON body that ends inside its last line.
    return isinstance(item, JsonBody) and b"\n" not in item.payload and "truncated" in str(error)


def _is_json(payload: bytes) -> bool:
    try:
        msgspec.json.decode(payload)
    except NOT_JSON:
        return False
    return True


def provider_error(body: Any, number: int) -> ProviderError:
    """Return the exception for a provider's error object. The message leaves out the provider's text: it may quote the prompt."""
    code, kind, detail = reason_of(body)
    status = cast(dict[str, Any], body).get("status_code") if isinstance(body, dict) else None
    return ProviderError(
        f"event {number}: the provider reported an error ({known(code, kind) or 'without a code'}); its message is in .detail",
        code=code,
        type=kind,
        retryable=not _RETRYABLE.isdisjoint(map(str, (status, code, kind))),
        detail=detail,
        body=cast(object, body),
    )


def _describe(text: str, error: Exception) -> str:
    # The text may be part of the answer. An HTML tag is safe to quote, and the decoder's message only names a position.
    if page := _HTML.match(text):
        return repr(page[0] + ">")
    if error is TOO_DEEP:
        return f"{len(text)} characters {error}"
    return f"{len(text)} characters that are not JSON: {error}"
