"""OpenAI's completions, chat and legacy, streamed and plain, with what their imitators do to them.

https://platform.openai.com/docs/api-reference/chat-streaming and …/completions.
"""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from streamkit.dialects import fields
from streamkit.dialects.base import ANOTHER, NOT_JSON, Dialect
from streamkit.dialects.error_objects import error_in
from streamkit.dialects.openai_chunks import Choice, Chunk, Function, Message, ToolCall, read_chunk
from streamkit.dialects.openai_plain import details_of
from streamkit.dialects.template import Template, unescape
from streamkit.ends import is_pending
from streamkit.events import (
    Annotation,
    AudioDelta,
    Event,
    Finish,
    Logprobs,
    ProviderNotice,
    ReasoningDelta,
    RefusalDelta,
    ResponseStart,
    RoleDelta,
    TextDelta,
    ToolCallDelta,
)
from streamkit.tokens.usage import usage_of
from streamkit.wire.events import JsonBody, ServerSentEvent

# Calls that the client is to run. Zhipu also reports those of its own tools, such as `web_search`, with their results; Moonshot's
# built-in functions are run when the client has sent their arguments back.
_OF_THE_CLIENT = {"function", "custom", "builtin_function"}


@dataclass
class OpenAICompletions(Dialect):
    """Chat completions and legacy completions. It is `done` at `[DONE]`.

    Calls of tools that the provider runs itself, which have another `type` than a client's, are told as all calls are, but don't
    make the answer end as `tool_calls`.
    """

    _start: tuple[Any, ...] = field(default=(None,) * 6, init=False, repr=False)
    _roles: dict[int, str] = field(default_factory=dict[int, str], init=False, repr=False)
    _calls: dict[int, list[str | None]] = field(default_factory=dict[int, "list[str | None]"], init=False, repr=False)
    # The response id of the chunk that ended a choice.
    _over: dict[int, str] = field(default_factory=dict[int, str], init=False, repr=False)
    # The call that a number of a choice stands for, where the wire has one number for several; and the id of each call.
    _numbers: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int], init=False, repr=False)
    _ids: dict[tuple[int, int], str] = field(default_factory=dict[tuple[int, int], str], init=False, repr=False)
    # It saves time and knows nothing, and is learned anew after a checkpoint.
    _template: Template = field(default_factory=Template, init=False, repr=False, metadata={"state": False})

    @classmethod
    def speaks(cls, event: ServerSentEvent, data: object) -> bool:
        return isinstance(data, dict) and "choices" in data

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
                        call = template.id, template.name, text, index, template.type
                        add(ToolCallDelta(template.tool_index, *call, payload=payload))
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

    def _read_one(self, item: ServerSentEvent, number: int, out: list[Event]) -> None:
        payload, known = item.data, len(out)
        try:
            chunk = read_chunk(payload)
        except NOT_JSON as error:
            self._not_json(item, number, error, out)
            return
        if chunk is None or chunk.choices is msgspec.UNSET or chunk.error:
            self._unusual(item, number, chunk, out)
            return
        if self._over and self._is_another(chunk):
            self.refuse(ANOTHER, number, out)
            return
        self._announce(chunk, payload, out)
        for choice in chunk.choices or ():
            self._choice(choice, payload, out)
        if chunk.moderation:
            out.append(ProviderNotice("moderation", chunk.moderation, payload=payload))
        if verdict := chunk.prompt_filter_results or chunk.prompt_annotations:
            out.append(ProviderNotice("prompt_filter", verdict, payload=payload))
        if (chunk.base_resp or not chunk.choices) and (found := error_in(msgspec.json.decode(payload))):
            self.fail(found, number, out)
            return
        if usage := chunk.usage or (chunk.x_groq and fields.mapping(chunk.x_groq.get("usage"))):
            out.append(usage_of(usage, payload))
        if len(out) == known + 1:
            self._template.consider(payload, out[-1])

    def _choice(self, choice: Choice, payload: str, out: list[Event]) -> None:
        index, add = choice.index, out.append
        self.finished.setdefault(index, None)
        if (message := choice.delta or choice.message) is not None:
            self._tell(message, index, payload, out)
        elif choice.text:
            add(TextDelta(choice.text, index, payload=payload))
        if choice.logprobs:
            add(Logprobs(choice.logprobs, index, payload=payload))
        if verdict := choice.content_filter_results or choice.content_filter_result:
            add(ProviderNotice("content_filter", verdict, index, payload=payload))
        if choice.content_filter_offsets:
            add(ProviderNotice("content_filter_offsets", choice.content_filter_offsets, index, payload=payload))
        if choice.finish_reason and not is_pending(choice.finish_reason):
            self.finished[index] = choice.finish_reason
            if self._start[0]:
                self._over.setdefault(index, self._start[0])
            add(Finish(choice.finish_reason, index, payload=payload))

    def _is_another(self, chunk: Chunk) -> bool:
        # Some servers give each chunk an id of its own, and what comes late, as usage does, may have any: only a choice that has
        # ended and speaks again under another id is that of a second answer.
        return bool(chunk.id) and any(
            self._over.get(choice.index, chunk.id) != chunk.id and _speaks(choice) for choice in chunk.choices or ()
        )

    def _announce(self, chunk: Chunk, payload: str, out: list[Event]) -> None:
        start = (chunk.id, chunk.object, chunk.created, chunk.model, chunk.system_fingerprint, chunk.service_tier)
        if start == self._start:
            return
        # Azure's first chunk has empty strings and a created of 0; they say nothing.
        known = tuple(value or known for value, known in zip(start, self._start, strict=True))
        if known != self._start:
            self._start = known
            # A chunk that fits the template would now say this too.
            self._template.forget()
            id, kind, *rest = [value or None for value in start]
            # A streamed answer and a plain one are the same response.
            kind = kind.removesuffix(".chunk") if isinstance(kind, str) else None
            fields: list[Any] = [id, kind, *rest]
            out.append(ResponseStart(*fields, payload=payload))
            if chunk.choices and chunk.choices[0].message is not None:
                out.extend(details_of(payload))

    def _tell(self, message: Message, index: int, payload: str, out: list[Event]) -> None:
        add = out.append
        if message.role and self._roles.get(index) != message.role:
            self._roles[index] = message.role
            self._template.forget()
            add(RoleDelta(message.role, index, payload=payload))
        if reasoning := message.reasoning_content or message.reasoning:
            add(ReasoningDelta(reasoning, index, payload=payload))
        if message.reasoning_details:
            add(ProviderNotice("reasoning_details", message.reasoning_details, index, payload=payload))
        if message.content:
            add(TextDelta(message.content, index, payload=payload))
        if message.refusal:
            add(RefusalDelta(message.refusal, index, payload=payload))
        for position, call in enumerate(message.tool_calls or ()):
            add(self._tool_call(call, position, index, payload))
        if function := message.function_call:
            self.called.add(index)
            arguments = function.arguments or ""
            add(ToolCallDelta(0, None, function.name, arguments, index, "function_call", payload=payload))
        if audio := message.audio:
            known = {name: audio.get(name) for name in ("data", "transcript", "id", "expires_at")}
            add(AudioDelta(**known, index=index, payload=payload))
        for annotation in message.annotations or ():
            add(Annotation(annotation, index, payload=payload))
        for part in message.images or ():
            add(ProviderNotice(fields.text(part.get("type")) or "content_part", part, index, payload=payload))

    def _tool_call(self, call: ToolCall, position: int, index: int, payload: str) -> ToolCallDelta:
        function = call.function or _custom(call) or Function()
        if (call.id or function.name) and (call.type or "function") in _OF_THE_CLIENT:
            self.called.add(index)
        if call.index is None:
            number = self._call_number(call.id, position, index)
        else:
            number = self._numbered(call.index, call.id, function.name, index)
        return ToolCallDelta(
            number, call.id, function.name, function.arguments or "", index, call.type, payload=payload
        )

    def _numbered(self, number: int, id: str | None, name: str | None, index: int) -> int:
        # Ollama and Mistral number all calls 0. Another id with a name is another call; some servers give each piece of one
        # call an id of its own, but only the first its name. What follows the end of a choice, as in recordings of several
        # responses, is joined by its numbers, which is what the official client does.
        place = (index, number)
        number = self._numbers.get(place, number)
        if id and id != self._ids.setdefault((index, number), id) and name and self.finished[index] is None:
            calls = {known: taken for (choice, taken), known in self._ids.items() if choice == index}
            number = calls.get(id, 1 + max(calls.values()))
            self._numbers[place], self._ids[index, number] = number, id
            # A piece that fits the template would now belong to the other call.
            self._template.forget()
        return number

    def _call_number(self, id: str | None, position: int, index: int) -> int:
        # Without an index (Mistral, plain responses) another id is another call, and no id goes on with the last one.
        ids = self._calls.setdefault(index, [])
        if not id:
            return max(len(ids) - 1, position)
        if id not in ids:
            ids.append(id)
        return ids.index(id)

    def _unusual(self, item: ServerSentEvent, number: int, chunk: Chunk | None, out: list[Event]) -> None:
        data = msgspec.json.decode(item.data)
        error = error_in(data, whole=isinstance(item, JsonBody))
        if error or item.event == "error":
            self.fail(error or data, number, out)
        elif chunk is not None and chunk.usage:
            out.append(usage_of(chunk.usage, item.data))
        else:
            self.not_known(item.event, data, item.data, out)


def _speaks(choice: Choice) -> bool:
    message = choice.delta or choice.message or Message()
    said = message.content, message.reasoning_content, message.reasoning, message.refusal, message.tool_calls
    return bool(choice.text or message.function_call or any(said))


def _custom(call: ToolCall) -> Function | None:
    return None if call.custom is None else Function(call.custom.name, call.custom.input)
