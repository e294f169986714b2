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
from streamkit.dialects.finish_reasons import meaning
from streamkit.dialects.learn import Learnt, Path
from streamkit.errors import ProtocolError, ProviderError
from streamkit.errors.bodies import known, reason_of
from streamkit.events import Channel, Event, ProviderNotice, StreamEnd
from streamkit.sse.amazon import AmazonEvent
from streamkit.sse.events import Comment, JsonBody, ServerSentEvent, UnfinishedEvent
from streamkit.sse.json_text import NOT_JSON, TOO_DEEP, is_too_deep

# Of several choices the one that ended worst gives the stream its reason.
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
    # Words for an end, of Zhipu and of DeepSeek.
    "network_error",
    "insufficient_system_resource",
}
ANOTHER = "expected one answer, found the beginning of another; two are not joined to one"
EXPECTED = {"ping", "comment", "heartbeat", "keep-alive"}
"""Kinds of events that say nothing of the answer, in any dialect."""
_KINDS = 100
_HTML = re.compile(r"<(!doctype|html|head|body)\b", re.IGNORECASE)


@dataclass
class Dialect(Stage[ServerSentEvent, Event]):
    """A provider's wire. Write `speaks` and `take`; give every choice an entry in `finished`, and set it when it ends.

    `reasons` has the provider's words for an end that mean something else than `finish_reasons` says, or are not there; one
    that is in neither ends the stream as `unknown`. Add a choice to `called` when it calls a tool that the client is to run:
    an answer that is complete otherwise then ends as `tool_calls`, whatever its word. Call `finish` when the format's own end
    has come, `fail` with an error of the provider's, and `refuse` for an event that violates the format. Events that are no
    JSON, `[DONE]`, an end without its evidence, the order of errors and emoji that were cut in two are handled here.

    A dialect whose plain answer is not OpenAI's chat completion may offer its own: `plain` makes it of a `Completion`, and is
    called for those that hold the dialect's `shape`, which it sends in a `ResponseDetails`.

    `cumulative`: the provider resends the whole text with every chunk, of which only the end is new. `None` is the dialect's own
    way; one that reads such texts itself says `resends = False`.

    `errors`: an error inside the stream ends it with `StreamEnd("provider_error")` and then raises `ProviderError`, or only
    ends it so (`emit`). `malformed`: an event that is no JSON raises `ProtocolError` (with `emit` it ends the stream with
    `StreamEnd("error")`), or is skipped. It is `done` when the format's own end has come.
    """

    reasons: ClassVar[dict[str, EndReason]] = {}

    resends: ClassVar[bool] = True
    places: ClassVar[tuple[Path, ...]] = ()
    """Where in a chunk's JSON the text of its only event may stand; chunks of one form are then read by their text alone."""

    shape: ClassVar[str | None] = None
    plain: ClassVar[ResponseForm | None] = None

    errors: Literal["raise", "emit"] = "raise"
    malformed: Literal["raise", "skip"] = "raise"
    cumulative: bool | None = None
    skipped: int = field(default=0, init=False, repr=False)
    finished: dict[int, str | None] = field(default_factory=dict[int, "str | None"], init=False, repr=False)
    called: set[int] = field(default_factory=set[int], init=False, repr=False)
    _resent: Cumulative = field(default_factory=Cumulative, init=False, repr=False)
    unknown: dict[str, int] = field(default_factory=dict[str, int], init=False, repr=False)
    _cut: bool = field(default=False, init=False, repr=False)  # whether the body broke off within an event
    _seen: int = field(default=0, init=False, repr=False)
    _halves: surrogates.Waiting = field(default_factory=dict[surrogates.Place, list[Any]], init=False, repr=False)
    # Whether a payload was marked: what the dialect keeps of it may be in any later event.
    _marked: bool = field(default=False, init=False, repr=False)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.shape and cls.plain:
            register_form(cls.shape, cls.plain)

    @classmethod
    def speaks(cls, event: ServerSentEvent, data: object) -> bool:
        """Whether an answer that begins with this event is in this dialect. `data` is its JSON, `None` if it is none."""
        raise NotImplementedError

    @property
    def learns(self) -> bool:
        """Whether chunks of one form may be read by their text alone now: not while half of a character waits for more text."""
        return bool(self.places) and not (self._marked or self.cumulative)

    def passed(self, learnt: Learnt, pieces: list[str], payload: bytes) -> None:
        """Note deltas that were read by what was learnt of the chunk before them: their texts, and the last chunk."""
        self._seen += len(pieces)

    def go_on_from(self, other: "Dialect") -> None:
        """Count events from where another dialect, which read those before the telling one, has come to."""
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
        # One by one: what follows a text that contradicts must not change what is buffered before it.
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
            self.take(item, data, number, out)

    def take(self, item: ServerSentEvent, data: Any, number: int, out: list[Event]) -> None:
        """Say what one event says. `number` is its place in the stream, for errors."""
        raise NotImplementedError

    def finish(self, out: list[Event], number: int) -> None:
        """The format's own end has come."""
        self.settle(out, complete=True)
        self.done = True
        end = self._end(*self._outcome(saw_done=True), saw_done=True)
        out.append(end)
        self._raise_after(end, number)

    def fail(self, body: Any, number: int, out: list[Event]) -> None:
        """The provider has reported an error, which ends the answer. `body` is its error object."""
        self.settle(out, complete=False)
        self.done = True
        error = provider_error(body, number)
        code = error.type if error.code is None else str(error.code)
        out.append(self._end("provider_error", code))
        if self.errors == "raise":
            raise error

    def refuse(self, found: str, number: int, excerpt: str = "") -> NoReturn:
        """End the answer because an event violates the format. `found` describes the event without any of its text."""
        raise ProtocolError(f"event {number}: {found}", excerpt=excerpt)

    def settle(self, out: list[Event], *, complete: bool) -> None:
        """Called before the last event: emit what is buffered. `complete` says that the format's own end has come."""

    def ends_calls(self, word: str) -> bool:
        """Whether a choice that ends with this word has its calls whole, so that those without arguments have none."""
        return self._meaning(word) in ("completed", "tool_calls")

    def conflict(self, channel: Channel, index: int, payload: bytes, out: list[Event]) -> None:
        """A whole text contradicts the deltas that came before it. What was streamed stands; the notice has none of the text."""
        out.append(ProviderNotice("conflict", {"channel": channel}, index, payload=payload))

    def not_known(self, kind: str, data: Any, payload: bytes, out: list[Event], index: int | None = None) -> None:
        """An event of a kind that this dialect has no word for. It is passed on as a notice, and counted by its kind."""
        if kind not in EXPECTED:
            # A server that makes its kinds up does not fill the memory.
            counted = kind if kind in self.unknown or len(self.unknown) < _KINDS else "others"
            self.unknown[counted] = self.unknown.get(counted, 0) + 1
        out.append(ProviderNotice(kind, data, index, payload=payload))

    @property
    def answered(self) -> bool:
        """Whether all choices that began have a finish reason, so that nothing of the answer is missing but its end marker."""
        return not self.done and self._has_finished()

    def _has_finished(self) -> bool:
        return bool(self.finished) and None not in self.finished.values()

    def _raise_after(self, end: StreamEnd, number: int) -> None:
        # The answer ended with a word for a failure, and no error object came with it.
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
        """Why the stream ended, and the provider's word for that."""
        ends: dict[EndReason, str | None] = {}
        for index, word in sorted(self.finished.items()):
            ends.setdefault(self._end_of_choice(index, word), word)
        if "provider_error" in ends:
            return "provider_error", ends["provider_error"]
        # The end marker is evidence by itself: some servers never send a finish reason. So are finish reasons without it, also
        # where the body broke off behind them. Without a choice there is no answer that could be complete.
        if not ends or not (saw_done or self._has_finished()):
            return "truncated", None
        worst: EndReason = next(end for end in _WORST_FIRST if end in ends)
        return worst, ends[worst]

    def _end_of_choice(self, index: int, word: str | None) -> EndReason:
        end = self._meaning(word)
        # Imitators send `stop` with calls, and so does OpenAI where the request names the function to call.
        return "tool_calls" if end == "completed" and index in self.called else end

    def _meaning(self, word: str | None) -> EndReason:
        if word is None:
            return "completed"
        return self.reasons.get(word) or meaning(word)


def _is_cut(item: ServerSentEvent, error: Exception) -> bool:
    # The last line of a body of JSON, which ends within it.
    return isinstance(item, JsonBody) and b"\n" not in item.payload and "truncated" in str(error)


def _is_json(payload: bytes) -> bool:
    try:
        msgspec.json.decode(payload)
    except NOT_JSON:
        return False
    return True


def provider_error(body: Any, number: int) -> ProviderError:
    """The error for a provider's error object. Its own words, which may quote the prompt, are not in the message."""
    code, kind, detail = reason_of(body)
    status = cast(dict[str, Any], body).get("status_code") if isinstance(body, dict) else None
    return ProviderError(
        f"event {number}: the provider reported an error ({known(code, kind) or 'without a code'}); its own words are in .detail",
        code=code,
        type=kind,
        retryable=not _RETRYABLE.isdisjoint(map(str, (status, code, kind))),
        detail=detail,
        body=cast(object, body),
    )


def _describe(text: str, error: Exception) -> str:
    # The text itself may be part of the answer; the tag of a page is safe to show, and a decoder names a position only.
    if page := _HTML.match(text):
        return repr(page[0] + ">")
    if error is TOO_DEEP:
        return f"{len(text)} characters {error}"
    return f"{len(text)} characters that are not JSON: {error}"
