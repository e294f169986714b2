"""Write the chunks of OpenAI's completions, as its clients expect them.

https://platform.openai.com/docs/api-reference/chat-streaming and …/completions.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec

from streamkit.completion import SUCCESSES, EndReason
from streamkit.core.stage import cut_short
from streamkit.dialects.fields import MOST
from streamkit.dialects.openai.citations import Bytes, CitationSpan, chat_annotations
from streamkit.dialects.openai.response import (
    Called,
    call_id,
    chat_completion,
    chat_finish,
    chat_logprobs,
    chat_usage,
    end_finish,
    text_completion,
    text_logprobs,
)
from streamkit.dialects.tool_identity import Identity
from streamkit.emitters.emitter import Checkpointed, Settings
from streamkit.emitters.failures import ErrorFrame, Failure, failure_at_end
from streamkit.emitters.withheld import WithheldChoices
from streamkit.events import (
    Annotation,
    AudioDelta,
    Blocked,
    Completion,
    Event,
    Finish,
    Logprobs,
    PartEnd,
    PartStart,
    ReasoningDelta,
    Redacted,
    RefusalDelta,
    Reset,
    ResponseDetails,
    ResponseStart,
    Retracted,
    RoleDelta,
    TextDelta,
    ToolCallDelta,
)
from streamkit.sse.events import ServerSentEvent
from streamkit.tokens.responses import RELEVANT, Responses

DONE = ServerSentEvent.of("[DONE]")
MAX_CHOICES = 128  # the largest `n` of a request (…/api-reference/chat/create)
_json = msgspec.json.encode
_IDENTITY = ("id", "created", "model", "service_tier", "system_fingerprint")


class ChatChoice(msgspec.Struct, gc=False):
    index: int
    delta: dict[str, Any]
    logprobs: dict[str, Any] | None = None
    finish_reason: str | None = None


class TextChoice(msgspec.Struct, gc=False):
    text: str
    index: int
    logprobs: dict[str, Any] | None = None
    finish_reason: str | None = None


class _EmittedCall(msgspec.Struct):
    # `number`: the index on the wire, set when the first piece is written. `buffered`: arguments received before that.
    index: int
    identity: Identity = msgspec.field(default_factory=Identity)
    number: int | None = None
    buffered: list[str] = []

    @property
    def legacy(self) -> bool:
        return self.identity.type == "function_call"

    @property
    def ready(self) -> bool:
        # Clients read the name only from the first piece. The name and the id may grow until the first arguments arrive.
        return bool(self.identity.name and self.buffered)


class _Choice(msgspec.Struct):
    index: int
    calls: dict[int, _EmittedCall] = {}
    calls_written: int = 0
    called: Called = None
    # The call that is not written yet, and the calls whose arguments are empty so far.
    pending: int | None = None
    empty: dict[int, None] = {}
    finish: str | None = None
    annotations: list[tuple[dict[str, Any], int | None]] = []
    cited: dict[str, None] = {}
    # The start and end of each part's text, by part number; and the text itself, for positions that count bytes.
    spans: dict[int, list[int]] = {}
    part: int | None = None
    text: list[str] = []


@dataclass
class OpenAIChunks(Checkpointed):
    """Chunks of a chat completion, with `[DONE]` at the end; see `Emit`."""

    headers: ClassVar[Mapping[str, str]] = {}
    id_prefix: ClassVar[str] = "chatcmpl-"
    streams_only: ClassVar[bool] = False
    legacy: ClassVar[bool] = False

    settings: Settings
    _identity: dict[str, Any] = field(default_factory=dict[str, Any], init=False, repr=False)
    _head: str = field(default="", init=False, repr=False)
    _choices: dict[int, _Choice] = field(default_factory=dict[int, _Choice], init=False, repr=False)
    _withheld: WithheldChoices = field(default_factory=WithheldChoices, init=False, repr=False)
    # A cache, rebuilt after a checkpoint.
    _bytes: dict[int, Bytes] = field(
        default_factory=dict[int, Bytes], init=False, repr=False, metadata={"state": False}
    )
    _shape: str | None = field(default=None, init=False, repr=False)
    _counts_bytes: bool = field(default=False, init=False, repr=False)
    _responses: Responses = field(default_factory=Responses, init=False, repr=False)
    _wrote: bool = field(default=False, init=False, repr=False)

    def head(self) -> Iterable[ServerSentEvent]:
        # Each choice has its own head, the chunk with its role.
        return ()

    def events(self, events: list[Event]) -> Iterable[ServerSentEvent]:
        out: list[ServerSentEvent] = []
        choice_of = text_choice if self.legacy else chat_choice
        try:
            for event in events:
                if type(event) in RELEVANT or self._responses.announced:
                    self._responses.take(event)
                if type(event) is TextDelta:
                    self._text(event, out)
                elif choice := choice_of(event):
                    self._open(choice.index, out)
                    self._write(choice, out)
                else:
                    self._take(event, out)
        # Not valid JSON: an arbitrary value in an event, or half of a surrogate pair.
        except (TypeError, ValueError) as error:
            return cut_short(out, error)
        return out

    def block(self, verdict: Blocked) -> Iterable[ServerSentEvent]:
        # Verdicts are not written; the choice ends with `content_filter`.
        self._withheld.feed(verdict)
        return ()

    def restart(self) -> bool:
        if self.legacy or not self._choices:  # No chunk was written.
            self._identity, self._head = {}, ""
        self._shape, self._counts_bytes = None, False
        # Clients store every introduced choice and expect each to end.
        self._choices = {index: _Choice(index) for index in self._choices}
        self._withheld, self._bytes = WithheldChoices(), {}
        self._responses.take(Reset(""))
        return not self._wrote

    def end(self, reason: EndReason) -> Iterable[ServerSentEvent]:
        out: list[ServerSentEvent] = []
        if reason in SUCCESSES:
            self._end(reason, out)
            return out
        for choice in self._choices.values():
            self._begin_pending(choice, out)
        return [*out, *self.error(failure_at_end(reason))]

    def error(self, failure: Failure) -> Iterable[ServerSentEvent]:
        return [ErrorFrame.with_json(failure, {"error": error_object(failure)})]

    def keep_alive(self) -> ServerSentEvent | None:
        return None

    def response(self, completion: Completion, withheld: Container[int] | None) -> dict[str, Any]:
        whole = with_identity(completion, self.defaults)
        return text_completion(whole) if self.legacy else chat_completion(whole, withheld)

    def _text(self, event: TextDelta, out: list[ServerSentEvent]) -> None:
        # The hot path: the same JSON as from `_write`, without a struct and a dict for each event.
        index, text = event.index, event.text
        choice = self._choices.get(index) or self._open(index, out)
        self._withheld.add(index, len(text))
        if self._counts_bytes:
            choice.text.append(text)
        content = _json(text).decode()
        fields = (
            f'"text":{content},"index":{index}' if self.legacy else f'"index":{index},"delta":{{"content":{content}}}'
        )
        data = f'{self._head or self._begin()}{{{fields},"logprobs":null,"finish_reason":null}}]}}'
        self._wrote = True
        out.append(ServerSentEvent.of(data))

    def _take(self, event: Event, out: list[ServerSentEvent]) -> None:
        match event:
            case ToolCallDelta():
                self._call(event, out)
            case Redacted() | Retracted():
                self._withheld.feed(event)
            case Annotation(annotation=annotation, index=index, part=part) if not self.legacy:
                self._open(index, out).annotations.append((annotation, part))
            case PartStart(channel="content", index=index, number=number):
                self._begin_part(self._open(index, out), number)
            case PartEnd(index=index, number=number) if known := self._choices.get(index):
                if known.part == number:
                    self._end_part(known)
            case Finish(finish_reason=reason, index=index):
                self._finish(reason, self._open(index, out), out)
            case RoleDelta(role=role, index=index):
                self._open(index, out, role)
            case ResponseStart():
                self._identify(event)
            case ResponseDetails(shape="gemini" | "interactions" as shape):
                self._shape, self._counts_bytes = shape, True
            case _:
                pass

    # Choices

    def _open(self, index: int, out: list[ServerSentEvent], role: str = "assistant") -> _Choice:
        known = self._choices.get(index)
        if known is None:
            # The official clients store choices in a list, so only the next index can be appended.
            for lower in range(min(index, 0 if self.legacy else MAX_CHOICES)):
                if lower not in self._choices:
                    self._begin_choice(lower, "assistant", out)
            known = self._begin_choice(index, role, out)
        return known

    def _begin_choice(self, index: int, role: str, out: list[ServerSentEvent]) -> _Choice:
        if not self.legacy:
            out.append(self._chunk(ChatChoice(index, {"role": role})))
        choice = self._choices[index] = _Choice(index)
        return choice

    def _finish(self, word: str, choice: _Choice, out: list[ServerSentEvent]) -> None:
        # An unknown finish reason may be a failure; the end of the stream decides.
        if finish := chat_finish(word):
            self._complete(choice, finish, out)
            self._write_finish(choice, chat_finish(word, choice.called), out)

    def _write_finish(self, choice: _Choice, finish: str | None, out: list[ServerSentEvent]) -> None:
        if self.legacy and finish in ("tool_calls", "function_call"):
            finish = "stop"
        if finish and finish != choice.finish:
            choice.finish = finish
            chunk = TextChoice("", choice.index) if self.legacy else ChatChoice(choice.index, {})
            chunk.finish_reason = finish
            self._write(chunk, out)

    def _complete(self, choice: _Choice, finish: str | None, out: list[ServerSentEvent]) -> None:
        """Write everything that had to wait for the end of the choice."""
        # If the choice was cut, its arguments may have been cut too: leave them unchanged.
        complete = finish not in ("length", "content_filter")
        self._begin_pending(choice, out, complete=complete)
        for number in list(choice.empty) if complete else ():
            self._write_arguments(choice, choice.calls[number], "{}", out)
        self._annotate(choice, out)

    # Tool calls

    def _call(self, event: ToolCallDelta, out: list[ServerSentEvent]) -> None:
        if self.legacy:
            return
        choice = self._open(event.index, out)
        call = choice.calls.get(event.tool_index)
        if call is None:
            if not (event.id or event.name or event.arguments):
                return
            # The official clients also store calls in a list, so calls are numbered in the order in which they are written.
            self._begin_pending(choice, out)
            call = choice.calls[event.tool_index] = _EmittedCall(event.tool_index)
            choice.pending = event.tool_index
        if event.id or event.name or event.type:
            call.identity.merge(event)
        if call.number is not None:
            if event.arguments:
                self._write_arguments(choice, call, event.arguments, out)
            return
        if event.arguments:
            call.buffered.append(event.arguments)
        if call.ready:
            self._begin_pending(choice, out)

    def _begin_pending(self, choice: _Choice, out: list[ServerSentEvent], *, complete: bool = False) -> None:
        if choice.pending is None:
            return
        call, choice.pending = choice.calls[choice.pending], None
        call.number, choice.calls_written = choice.calls_written, choice.calls_written + 1
        choice.called = "function_call" if call.legacy and choice.called != "tool_calls" else "tool_calls"
        if call.identity.type != "custom":
            choice.empty[call.index] = None
        if not call.legacy:
            call.identity.id = call.identity.id or self._call_id(choice, call)
        arguments, call.buffered = "".join(call.buffered), []
        if complete and call.identity.type != "custom" and not arguments.strip():
            arguments = "{}"
        self._write_arguments(choice, call, arguments, out, name=call.identity.name or "")

    def _write_arguments(
        self, choice: _Choice, call: _EmittedCall, arguments: str, out: list[ServerSentEvent], **name: str
    ) -> None:
        if arguments.strip():
            choice.empty.pop(call.index, None)
        kind = "custom" if call.identity.type == "custom" else "function"
        function = {**name, "input" if kind == "custom" else "arguments": arguments}
        if call.legacy:
            delta: dict[str, Any] = {"function_call": function}
        else:
            head = {"id": call.identity.id, "type": kind} if name else {}
            delta = {"tool_calls": [{"index": call.number, **head, kind: function}]}
        self._write(ChatChoice(choice.index, delta), out)

    def _call_id(self, choice: _Choice, call: _EmittedCall) -> str:
        known = self._identity
        response = (known["id"], known["created"], known["model"])
        return call_id(response, choice.index, call.index, call.identity.name)

    # Annotations

    def _begin_part(self, choice: _Choice, number: int) -> None:
        self._end_part(choice)
        at = self._withheld.lengths.get(choice.index, 0)
        choice.spans.setdefault(number, [at, at])
        choice.part = number

    def _end_part(self, choice: _Choice) -> None:
        if choice.part is not None:
            choice.spans[choice.part][1] = self._withheld.lengths.get(choice.index, 0)
            choice.part = None

    def _annotate(self, choice: _Choice, out: list[ServerSentEvent]) -> None:
        # At the end of the choice, like OpenAI: all moderation decisions about its text are known by then.
        annotations, choice.annotations = choice.annotations, []
        if self.legacy or not annotations or choice.index in self._withheld.choices:
            return
        self._end_part(choice)
        whole, code_points = CitationSpan(0, self._withheld.lengths.get(choice.index, 0)), self._bytes_of(choice)
        cited: list[dict[str, Any]] = []
        for annotation, part in annotations:
            of = CitationSpan(*choice.spans[part]) if part in choice.spans else whole
            for chat in chat_annotations(annotation, of, code_points, self._shape):
                key = _json(chat).decode()
                if key not in choice.cited:
                    cited.append({**chat, "index": len(choice.cited)})
                    choice.cited[key] = None
        if cited:
            self._write(ChatChoice(choice.index, {"annotations": cited}), out)

    def _bytes_of(self, choice: _Choice) -> Bytes:
        found = self._bytes.get(choice.index)
        if found is None:
            found = self._bytes[choice.index] = Bytes(choice.text)
        return found

    # The response

    def _identify(self, event: ResponseStart) -> None:
        # Keep the first values for all chunks, even if the provider changes them: clients identify the response by them.
        for name in _IDENTITY:
            if name not in self._identity and (value := getattr(event, name)) is not None:
                self._identity[name] = whole_seconds(value) if name == "created" else value
                self._head = ""

    def _end(self, reason: EndReason, out: list[ServerSentEvent]) -> None:
        self._end_choices(reason, out)
        if self.settings.include_usage and (usage := self._responses.usage):
            # Some providers send cumulative usage in every chunk; OpenAI sends it once, last.
            out.append(self._chunk(None, chat_usage(usage)))
        out.append(DONE)

    def _end_choices(self, reason: EndReason, out: list[ServerSentEvent]) -> None:
        # Some servers send no finish reason, and a blocked prompt has no choice; clients need both.
        if not self._choices:
            self._open(0, out)
        # With several choices, `reason` is that of the one that ended worst.
        others = any(choice.finish for choice in self._choices.values())
        for choice in self._choices.values():
            if reason == "moderated" and not choice.finish:
                self._withheld.choices.add(choice.index)
            end = "completed" if others else reason
            self._complete(choice, choice.finish or end_finish(end), out)
            if not choice.finish:
                self._write_finish(choice, end_finish(end, choice.called), out)

    def _write(self, choice: ChatChoice | TextChoice, out: list[ServerSentEvent]) -> None:
        self._wrote = True
        out.append(self._chunk(choice))

    def _chunk(self, choice: ChatChoice | TextChoice | None, usage: dict[str, Any] | None = None) -> ServerSentEvent:
        head = self._head or self._begin()
        tail = "}" if usage is None else f',"usage":{_json(usage).decode()}}}'
        return ServerSentEvent.of(f"{head}{_json(choice).decode() if choice else ''}]{tail}")

    def _begin(self) -> str:
        # A value that was written must not change later, not even a default.
        self._identity = {**self.defaults, **self._identity}
        kind = "text_completion" if self.legacy else "chat.completion.chunk"
        self._head = _json({"object": kind, **self._identity}).decode()[:-1] + ',"choices":['
        return self._head

    @property
    def defaults(self) -> dict[str, Any]:
        """The values for identity fields that the provider does not send."""
        id = self.settings.id or f"{self.id_prefix}streamkit"
        return {"id": id, "created": self.settings.created, "model": self.settings.model}


@dataclass
class OpenAITextChunks(OpenAIChunks):
    """Chunks of a legacy completion, which has only text."""

    id_prefix: ClassVar[str] = "cmpl-"
    legacy: ClassVar[bool] = True


def error_object(failure: Failure) -> dict[str, Any]:
    """Return OpenAI's error object for a failure. (https://platform.openai.com/docs/guides/error-codes)"""
    kind = failure.type or _kind_of_error(failure.status)
    return {"message": failure.message, "type": kind, "param": None, "code": failure.code}


def _kind_of_error(status: int) -> str:
    if not 400 <= status < 500:
        return "server_error"
    return "requests" if status == 429 else "invalid_request_error"


def with_identity(completion: Completion, defaults: dict[str, Any]) -> Completion:
    """Return the completion with defaults for a missing id, time and model, and the time in whole seconds."""
    known = {name: getattr(completion, name) or value for name, value in defaults.items()}
    return msgspec.structs.replace(completion, **{**known, "created": whole_seconds(known["created"])})


def whole_seconds(moment: float) -> int:
    """Return seconds as an integer, as typed clients of OpenAI's API require; 0 for a value that does not fit 64 bits."""
    return int(moment) if abs(moment) <= MOST else 0


def chat_choice(event: Event) -> ChatChoice | None:
    """Return the chunk's choice for content other than text that is written immediately; `None` for other events."""
    match event:
        case ReasoningDelta(text=text, index=index):
            return ChatChoice(index, {"reasoning_content": text})
        case RefusalDelta(text=text, index=index):
            return ChatChoice(index, {"refusal": text})
        case AudioDelta(index=index):
            known = {name: getattr(event, name) for name in ("id", "data", "transcript", "expires_at")}
            return ChatChoice(index, {"audio": {name: value for name, value in known.items() if value is not None}})
        case Logprobs(logprobs=logprobs, index=index) if chat := chat_logprobs(logprobs):
            return ChatChoice(index, {}, chat)
        case _:
            return None


def text_choice(event: Event) -> TextChoice | None:
    """Like `chat_choice`, for a legacy completion, which has only text and its log probabilities."""
    match event:
        case Logprobs(logprobs=logprobs, index=index) if own := text_logprobs(logprobs):
            return TextChoice("", index, own)
        case _:
            return None
