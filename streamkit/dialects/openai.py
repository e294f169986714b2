"""OpenAI's completions, chat and legacy, streamed and plain, with what their imitators do to them.

https://platform.openai.com/docs/api-reference/chat-streaming and …/completions. A chunk of the usual form is decoded straight
into structs; one that does not fit them (an index that is a string, a content that is a list of parts) is read leniently
into the same structs, and both are told the same way.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import msgspec

from streamkit.dialects.template import Template, unescape
from streamkit.errors import ProtocolError, ProviderError
from streamkit.events import (
    Annotation,
    AudioDelta,
    EndReason,
    Event,
    Finish,
    Logprobs,
    ProviderNotice,
    ReasoningDelta,
    RefusalDelta,
    ResponseStart,
    RoleDelta,
    StreamEnd,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from streamkit.stage import Stage, cut_short
from streamkit.wire.events import ServerSentEvent, UnfinishedEvent


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: _Function | None = None


class _Message(msgspec.Struct, gc=False):
    # A `delta`, or the `message` of a plain response.
    content: str | None = None
    role: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None
    audio: dict[str, Any] | None = None
    annotations: list[dict[str, Any]] | None = None


class _Choice(msgspec.Struct, gc=False):
    index: int = 0
    delta: _Message | None = None
    text: str | None = None
    message: _Message | None = None
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None
    content_filter_results: dict[str, Any] | None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    id: str | None = None
    object: str | None = None
    created: int | float | None = None
    model: str | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    usage: dict[str, Any] | None = None
    error: Any = None
    prompt_filter_results: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode

# Of several choices the one that ended worst gives the stream its reason.
_REASONS: dict[str, EndReason] = {
    "content_filter": "content_filter",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}
_RETRYABLE = {408, 409, 429, 500, 502, 503, 504, 529}


@dataclass
class OpenAICompletions(Stage[ServerSentEvent, Event]):
    """Chat completions and legacy completions. It is `done` at `[DONE]`.

    `errors`: an error inside the stream ends it with `StreamEnd("provider_error")` and then raises `ProviderError`, or only
    ends it so (`emit`).
    """

    errors: Literal["raise", "emit"] = "raise"
    _start: tuple[Any, ...] = field(default=(None,) * 6, init=False, repr=False)
    _roles: dict[int, str] = field(default_factory=dict[int, str], init=False, repr=False)
    _finished: dict[int, str | None] = field(default_factory=dict[int, "str | None"], init=False, repr=False)
    _calls: dict[int, list[str | None]] = field(default_factory=dict[int, "list[str | None]"], init=False, repr=False)
    _template: Template = field(default_factory=Template, init=False, repr=False)
    _number: int = field(default=0, init=False, repr=False)
    _cut: bool = field(default=False, init=False, repr=False)

    def feed(self, item: ServerSentEvent) -> Iterable[Event]:
        return self.feed_all([item])

    def feed_all(self, items: list[ServerSentEvent]) -> Iterable[Event]:
        out: list[Event] = []
        if self.done:
            return out
        try:
            self._read(items, out)
        except (ProtocolError, ProviderError) as error:
            return cut_short(out, error)
        return out

    def flush(self) -> Iterable[Event]:
        if not self.done:
            yield self._end(saw_done=False)

    def _read(self, items: list[ServerSentEvent], out: list[Event]) -> None:
        add, template = out.append, self._template
        head, tail, index = template.head, template.tail, template.index
        before, after, used = len(head), -len(tail), False
        for item in items:
            payload = item.data
            if payload.startswith(head) and payload.endswith(tail) and (text := payload[before:after]):
                if not text.isprintable() or '"' in text or "\\" in text:
                    text = unescape(text)
                if text:
                    used = True
                    add(TextDelta(text, index, payload=payload))
                    continue
            template.used |= used
            self._read_one(item, out)
            if self.done:
                return
            if template.head is not head:
                head, tail, index = template.head, template.tail, template.index
                before, after, used = len(head), -len(tail), False
        template.used |= used

    def _read_one(self, item: ServerSentEvent, out: list[Event]) -> None:
        payload = item.data
        self._number += 1
        try:
            chunk = _decode(payload)
        except msgspec.DecodeError:
            # Not JSON, or JSON of another form than the structs have.
            try:
                chunk = _lenient(payload)
            except msgspec.DecodeError as error:
                return self._not_json(item, error, out)
        if chunk is None or chunk.choices is None or chunk.error is not None:
            return self._unusual(item, chunk, out)
        self._announce(chunk, payload, out)
        for choice in chunk.choices:
            self._choice(choice, payload, out)
        if chunk.prompt_filter_results:
            out.append(ProviderNotice("prompt_filter", chunk.prompt_filter_results, payload=payload))
        if chunk.usage:
            out.append(_usage(chunk.usage, payload))
        if _only_text(chunk) and self._template.worth_learning():
            self._template.learn(payload, chunk.choices[0].index, lambda probe: _same_but(chunk, _decode(probe)))

    def _choice(self, choice: _Choice, payload: str, out: list[Event]) -> None:
        index, add = choice.index, out.append
        self._finished.setdefault(index, None)
        if (message := choice.delta or choice.message) is not None:
            self._tell(message, index, payload, out)
        elif choice.text:
            add(TextDelta(choice.text, index, payload=payload))
        if choice.logprobs:
            add(Logprobs(choice.logprobs, index, payload=payload))
        if choice.content_filter_results:
            add(ProviderNotice("content_filter", choice.content_filter_results, index, payload=payload))
        if choice.finish_reason:
            self._finished[index] = choice.finish_reason
            add(Finish(choice.finish_reason, index, payload=payload))

    def _announce(self, chunk: _Chunk, payload: str, out: list[Event]) -> None:
        # A streamed answer and a plain one are the same response.
        kind = chunk.object.removesuffix(".chunk") if chunk.object else None
        start = (chunk.id, kind, chunk.created, chunk.model, chunk.system_fingerprint, chunk.service_tier)
        if start == self._start:
            return
        # Azure's first chunk has empty strings and a created of 0; they say nothing.
        known = tuple(value or known for value, known in zip(start, self._start, strict=True))
        if known != self._start:
            self._start = known
            out.append(ResponseStart(*(value or None for value in start), payload=payload))

    def _tell(self, message: _Message, index: int, payload: str, out: list[Event]) -> None:
        add = out.append
        if message.role and self._roles.get(index) != message.role:
            self._roles[index] = message.role
            add(RoleDelta(message.role, index, payload=payload))
        if reasoning := message.reasoning_content or message.reasoning:
            add(ReasoningDelta(reasoning, index, payload=payload))
        if message.content:
            add(TextDelta(message.content, index, payload=payload))
        if message.refusal:
            add(RefusalDelta(message.refusal, index, payload=payload))
        for position, call in enumerate(message.tool_calls or ()):
            add(self._tool_call(call, position, index, payload))
        if call := message.function_call:
            add(ToolCallDelta(0, None, call.name, call.arguments or "", index, "function_call", payload=payload))
        if audio := message.audio:
            known = {name: audio.get(name) for name in ("data", "transcript", "id", "expires_at")}
            add(AudioDelta(**known, index=index, payload=payload))
        for annotation in message.annotations or ():
            add(Annotation(annotation, index, payload=payload))

    def _tool_call(self, call: _ToolCall, position: int, index: int, payload: str) -> ToolCallDelta:
        function = call.function or _Function()
        number = call.index if call.index is not None else self._call_number(call.id, position, index)
        return ToolCallDelta(
            number, call.id, function.name, function.arguments or "", index, call.type, payload=payload
        )

    def _call_number(self, id: str | None, position: int, index: int) -> int:
        # Without an index (Mistral, plain responses) another id is another call, and no id goes on with the last one.
        ids = self._calls.setdefault(index, [])
        if id is None:
            return max(len(ids) - 1, position)
        if id not in ids:
            ids.append(id)
        return ids.index(id)

    def _unusual(self, item: ServerSentEvent, chunk: _Chunk | None, out: list[Event]) -> None:
        data = msgspec.json.decode(item.data)
        error = data.get("error") if isinstance(data, dict) else None
        if error or item.event == "error":
            self._provider_error(error or data, out)
        elif chunk is not None and chunk.usage:
            out.append(_usage(chunk.usage, item.data))
        else:
            out.append(ProviderNotice(item.event, data, payload=item.data))

    def _provider_error(self, body: Any, out: list[Event]) -> None:
        self.done = True
        out.append(self._end(saw_done=False, reason="provider_error"))
        if self.errors == "raise":
            raise provider_error(body, self._number)

    def _not_json(self, item: ServerSentEvent, error: msgspec.DecodeError, out: list[Event]) -> None:
        text = item.data.strip()
        if text == "[DONE]":
            self.done = True
            out.append(self._end(saw_done=True))
        elif isinstance(item, UnfinishedEvent):
            self._cut = True
        elif not text and item.event != "message":
            out.append(ProviderNotice(item.event, payload=None))
        else:
            raise ProtocolError(
                f"event {self._number}: expected JSON or [DONE] after 'data:', found {_describe(text, error)}",
                excerpt=text[:80],
            )

    def _end(self, *, saw_done: bool, reason: EndReason | None = None) -> StreamEnd:
        unfinished = tuple(index for index, finish in self._finished.items() if finish is None)
        finishes = set(self._finished.values())
        if reason is None:
            reason = next((end for word, end in _REASONS.items() if word in finishes), "completed")
            # `[DONE]` is evidence by itself: some servers never send a finish reason. So are finish reasons without it.
            if self._cut or not (saw_done or (finishes and not unfinished)):
                reason = "truncated"
        return StreamEnd(reason, saw_done, unfinished)


def _only_text(chunk: _Chunk) -> str | None:
    # The text of a chunk which says nothing else than a piece of text of one choice.
    if len(chunk.choices or ()) != 1 or chunk.usage or chunk.prompt_filter_results:
        return None
    choice = cast(list[_Choice], chunk.choices)[0]
    text = choice.delta.content if choice.delta else choice.text
    alone = _Choice(choice.index, _Message(text) if choice.delta else None, choice.text if choice.delta else text)
    return text if choice == alone else None


def _same_but(chunk: _Chunk, other: _Chunk) -> str | None:
    # The text of `other`, if it is the same chunk in everything else.
    same = msgspec.structs.replace(other, choices=chunk.choices) == chunk
    return _only_text(other) if same else None


def _usage(usage: dict[str, Any], payload: str) -> Usage:
    known = (usage.get(name) for name in ("prompt_tokens", "completion_tokens", "total_tokens"))
    return Usage(*(value if isinstance(value, int) else None for value in known), usage, payload=payload)


def provider_error(body: Any, number: int) -> ProviderError:
    """The error for a provider's error object. Its own words, which may quote the prompt, are not in the message."""
    fields: dict[str, Any] = cast(dict[str, Any], body) if isinstance(body, dict) else {"message": str(body)}
    code, kind = fields.get("code"), fields.get("type")
    status = fields.get("status_code", code)
    shown = ", ".join(f"{name} {value!r}" for name, value in (("code", code), ("type", kind)) if value is not None)
    return ProviderError(
        f"event {number}: the provider reported an error ({shown or 'without a code'}); its own words are in .detail",
        code=code if isinstance(code, str | int) else None,
        type=kind if isinstance(kind, str) else None,
        retryable=status in _RETRYABLE or kind in ("server_error", "overloaded_error", "rate_limit_error"),
        detail=str(fields.get("message", "")),
        body=body,
    )


def _describe(text: str, error: msgspec.DecodeError) -> str:
    # The text itself may be part of the answer; a tag or nothing at all is safe to show, and msgspec names a position only.
    if text.startswith("<"):
        return repr(text[: text.find(">") + 1][:20] or "<")
    return f"{len(text)} characters that are not JSON: {error}" if text else "nothing"


# The lenient reading


def _lenient(payload: str) -> _Chunk | None:
    data = msgspec.json.decode(payload)
    if not isinstance(data, dict):
        return None
    chunk = cast(dict[str, Any], data)
    choices = chunk.get("choices", ())
    return _Chunk(
        choices=[_choice(choice) for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else
        ([] if choices is None else None),
        id=_text(chunk.get("id")),
        object=_text(chunk.get("object")),
        created=_number(chunk.get("created")),
        model=_text(chunk.get("model")),
        system_fingerprint=_text(chunk.get("system_fingerprint")),
        service_tier=_text(chunk.get("service_tier")),
        usage=_dict(chunk.get("usage")),
        error=chunk.get("error"),
        prompt_filter_results=chunk.get("prompt_filter_results"),
    )


def _choice(choice: dict[str, Any]) -> _Choice:
    index = choice.get("index")
    return _Choice(
        index=int(index) if isinstance(index, int | str) and str(index).lstrip("-").isdecimal() else 0,
        delta=_message(choice.get("delta")),
        text=_text(choice.get("text")),
        message=_message(choice.get("message")),
        finish_reason=_text(choice.get("finish_reason")),
        logprobs=_dict(choice.get("logprobs")),
        content_filter_results=_dict(choice.get("content_filter_results")),
    )


def _message(message: Any) -> _Message | None:
    if not isinstance(message, dict):
        return None
    fields = cast(dict[str, Any], message)
    content, thinking = _content(fields.get("content"))
    calls, function = fields.get("tool_calls"), fields.get("function_call")
    annotations = fields.get("annotations")
    return _Message(
        content=content,
        role=_text(fields.get("role")),
        refusal=_text(fields.get("refusal")),
        reasoning_content=_text(fields.get("reasoning_content")) or thinking,
        reasoning=_text(fields.get("reasoning")),
        tool_calls=[_call(call) for call in calls if isinstance(call, dict)] if isinstance(calls, list) else None,
        function_call=_function(function),
        audio=_dict(fields.get("audio")),
        annotations=[a for a in annotations if isinstance(a, dict)] if isinstance(annotations, list) else None,
    )


def _content(content: Any) -> tuple[str | None, str | None]:
    # Mistral sends a list of parts once the model has thought: {"type": "thinking", "thinking": [{"text": …}]}, {"text": …}.
    if not isinstance(content, list):
        return _text(content), None
    texts, thoughts = list[str](), list[str]()
    for part in cast(list[Any], content):
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict):
            fields = cast(dict[str, Any], part)
            texts.append(_text(fields.get("text")) or "")
            text, thought = _content(fields.get("thinking"))
            thoughts.append((text or "") + (thought or ""))
    return "".join(texts), "".join(thoughts) or None


def _call(call: dict[str, Any]) -> _ToolCall:
    index = call.get("index")
    return _ToolCall(
        index=int(index) if isinstance(index, int | str) and str(index).isdecimal() else None,
        id=_text(call.get("id")),
        type=_text(call.get("type")),
        function=_function(call.get("function")),
    )


def _function(function: Any) -> _Function | None:
    if not isinstance(function, dict):
        return None
    fields = cast(dict[str, Any], function)
    arguments = fields.get("arguments")
    # Some servers send the arguments as an object; its JSON is what the others would have sent.
    if isinstance(arguments, dict | list):
        arguments = msgspec.json.encode(arguments).decode()
    return _Function(_text(fields.get("name")), _text(arguments))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _dict(value: Any) -> dict[str, Any] | None:
    return cast(dict[str, Any], value) if isinstance(value, dict) else None


def _number(value: Any) -> int | float | None:
    return value if isinstance(value, int | float) else None
