"""OpenAI's completions, chat and legacy, streamed and plain, with what their imitators do to them.

https://platform.openai.com/docs/api-reference/chat-streaming and …/completions.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import msgspec

from streamkit.dialects.openai_chunks import Choice, Chunk, Function, Message, ToolCall, read_chunk
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
    _seen: int = field(default=0, init=False, repr=False)
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
        head, tail, kind, index = template.head, template.tail, template.kind, template.index
        before, after, used = len(head), -len(tail), False
        for number, item in enumerate(items, self._seen + 1):
            payload = item.data
            if payload.startswith(head) and payload.endswith(tail) and (text := payload[before:after]):
                plain = text.isprintable() and '"' not in text and "\\" not in text
                if plain or (text := unescape(text)):
                    used = True
                    if kind is None:
                        add(ToolCallDelta(template.tool_index, None, None, text, index, payload=payload))
                    else:
                        add(kind(text, index, payload=payload))
                    continue
            template.used |= used
            self._read_one(item, number, out)
            if self.done:
                return
            if template.head is not head:
                head, tail, kind, index = template.head, template.tail, template.kind, template.index
                before, after, used = len(head), -len(tail), False
        template.used |= used
        self._seen += len(items)

    def _read_one(self, item: ServerSentEvent, number: int, out: list[Event]) -> None:
        payload, known = item.data, len(out)
        try:
            chunk = read_chunk(payload)
        except msgspec.DecodeError as error:
            self._not_json(item, number, error, out)
            return
        if chunk is None or chunk.choices is None or chunk.error is not None:
            self._unusual(item, number, chunk, out)
            return
        self._announce(chunk, payload, out)
        for choice in chunk.choices:
            self._choice(choice, payload, out)
        if chunk.prompt_filter_results:
            out.append(ProviderNotice("prompt_filter", chunk.prompt_filter_results, payload=payload))
        if chunk.usage:
            out.append(_usage(chunk.usage, payload))
        if len(out) == known + 1:
            self._template.consider(payload, out[-1])

    def _choice(self, choice: Choice, payload: str, out: list[Event]) -> None:
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

    def _announce(self, chunk: Chunk, payload: str, out: list[Event]) -> None:
        start = (chunk.id, chunk.object, chunk.created, chunk.model, chunk.system_fingerprint, chunk.service_tier)
        if start == self._start:
            return
        # Azure's first chunk has empty strings and a created of 0; they say nothing.
        known = tuple(value or known for value, known in zip(start, self._start, strict=True))
        if known != self._start:
            self._start = known
            id, kind, *rest = [value or None for value in start]
            # A streamed answer and a plain one are the same response.
            kind = kind.removesuffix(".chunk") if isinstance(kind, str) else None
            fields: list[Any] = [id, kind, *rest]
            out.append(ResponseStart(*fields, payload=payload))

    def _tell(self, message: Message, index: int, payload: str, out: list[Event]) -> None:
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
        if function := message.function_call:
            arguments = function.arguments or ""
            add(ToolCallDelta(0, None, function.name, arguments, index, "function_call", payload=payload))
        if audio := message.audio:
            known = {name: audio.get(name) for name in ("data", "transcript", "id", "expires_at")}
            add(AudioDelta(**known, index=index, payload=payload))
        for annotation in message.annotations or ():
            add(Annotation(annotation, index, payload=payload))

    def _tool_call(self, call: ToolCall, position: int, index: int, payload: str) -> ToolCallDelta:
        function = call.function or Function()
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

    def _unusual(self, item: ServerSentEvent, number: int, chunk: Chunk | None, out: list[Event]) -> None:
        data = msgspec.json.decode(item.data)
        error = cast(dict[str, Any], data).get("error") if isinstance(data, dict) else None
        if error or item.event == "error":
            self._provider_error(error or data, number, out)
        elif chunk is not None and chunk.usage:
            out.append(_usage(chunk.usage, item.data))
        else:
            out.append(ProviderNotice(item.event, data, payload=item.data))

    def _provider_error(self, body: Any, number: int, out: list[Event]) -> None:
        self.done = True
        out.append(self._end(saw_done=False, reason="provider_error"))
        if self.errors == "raise":
            raise provider_error(body, number)

    def _not_json(self, item: ServerSentEvent, number: int, error: msgspec.DecodeError, out: list[Event]) -> None:
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
                f"event {number}: expected JSON or [DONE] after 'data:', found {_describe(text, error)}",
                excerpt=text[:80],
            )

    def _end(self, *, saw_done: bool, reason: EndReason | None = None) -> StreamEnd:
        unfinished = tuple(index for index, finish in self._finished.items() if finish is None)
        return StreamEnd(reason or self._reason(saw_done, unfinished), saw_done, unfinished)

    def _reason(self, saw_done: bool, unfinished: tuple[int, ...]) -> EndReason:
        finishes = set(self._finished.values())
        # `[DONE]` is evidence by itself: some servers never send a finish reason. So are finish reasons without it.
        if self._cut or not (saw_done or (finishes and not unfinished)):
            return "truncated"
        ends: list[EndReason] = [end for word, end in _REASONS.items() if word in finishes]
        return ends[0] if ends else "completed"


def _usage(usage: dict[str, Any], payload: str) -> Usage:
    known = [usage.get(name) for name in ("prompt_tokens", "completion_tokens", "total_tokens")]
    prompt, completion, total = (value if isinstance(value, int) else None for value in known)
    return Usage(prompt, completion, total, usage, payload=payload)


def provider_error(body: Any, number: int) -> ProviderError:
    """The error for a provider's error object. Its own words, which may quote the prompt, are not in the message."""
    fields = cast(dict[str, Any], body) if isinstance(body, dict) else {"message": str(body)}
    code, kind = fields.get("code"), fields.get("type")
    status = fields.get("status_code", code)
    shown = ", ".join(f"{name} {value!r}" for name, value in (("code", code), ("type", kind)) if value is not None)
    return ProviderError(
        f"event {number}: the provider reported an error ({shown or 'without a code'}); its own words are in .detail",
        code=code if isinstance(code, str | int) else None,
        type=kind if isinstance(kind, str) else None,
        retryable=status in _RETRYABLE or kind in ("server_error", "overloaded_error", "rate_limit_error"),
        detail=str(fields.get("message", "")),
        body=cast(object, body),
    )


def _describe(text: str, error: msgspec.DecodeError) -> str:
    # The text itself may be part of the answer; a tag or nothing at all is safe to show, and msgspec names a position only.
    if text.startswith("<"):
        return repr(text[: text.find(">") + 1][:20] or "<")
    return f"{len(text)} characters that are not JSON: {error}" if text else "nothing"
