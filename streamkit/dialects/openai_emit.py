"""Events into the chunks of OpenAI's completions, so that its clients read them as they read OpenAI's own.

https://platform.openai.com/docs/api-reference/chat-streaming and …/completions.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from streamkit.dialects.openai_errors import SUCCESSES, failure_at_end
from streamkit.events import (
    Annotation,
    AudioDelta,
    EndReason,
    Event,
    Finish,
    Logprobs,
    ReasoningDelta,
    RefusalDelta,
    ResponseStart,
    RoleDelta,
    StreamEnd,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from streamkit.plain import chat_finish, chat_usage
from streamkit.stage import Stage, cut_short
from streamkit.wire.events import ServerSentEvent

DONE = ServerSentEvent(data="[DONE]")
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


@dataclass
class OpenAIChunks(Stage[Event, ServerSentEvent]):
    """Chunks of a chat completion, or with `legacy` of a completion, `[DONE]` at the end; see `Emit`."""

    id: str | None = None
    created: int = 0
    model: str = "unknown"
    legacy: bool = False
    _identity: dict[str, Any] = field(default_factory=dict[str, Any], init=False, repr=False)
    _head: str = field(default="", init=False, repr=False)
    _roles: dict[int, str] = field(default_factory=dict[int, str], init=False, repr=False)
    # The id and the name that were said of each call.
    _calls: dict[tuple[int, int], list[str | None]] = field(
        default_factory=dict[tuple[int, int], "list[str | None]"], init=False, repr=False
    )
    _usage: Usage | None = field(default=None, init=False, repr=False)
    _ended: bool = field(default=False, init=False, repr=False)

    def feed(self, item: Event) -> Iterable[ServerSentEvent]:
        return self.feed_all([item])

    def feed_all(self, items: list[Event]) -> Iterable[ServerSentEvent]:
        out: list[ServerSentEvent] = []
        choice_of = text_choice if self.legacy else chat_choice
        try:
            for event in items:
                if type(event) is ToolCallDelta:
                    event = self._once(event)
                if choice := choice_of(event):
                    if choice.index not in self._roles:
                        self._take_role("assistant", choice.index, out)
                    out.append(self._chunk(choice))
                else:
                    self._take(event, out)
        # What is no JSON: a value that someone put into an event, or half of a surrogate pair.
        except (TypeError, ValueError) as error:
            return cut_short(out, error)
        return out

    def flush(self) -> Iterable[ServerSentEvent]:
        # Nothing said that the answer is complete, so that nobody must take it for complete. (Law 5)
        return () if self._ended else (failure_at_end("truncated"),)

    def _take(self, event: Event, out: list[ServerSentEvent]) -> None:
        match event:
            case ResponseStart():
                self._identify(event)
            case RoleDelta(role=role, index=index):
                self._take_role(role, index, out)
            case Usage():
                # Some providers send it with every chunk, cumulative; OpenAI sends it once, last.
                self._usage = event
            case StreamEnd(reason=reason):
                self._end(reason, out)
            case _:
                pass

    def _once(self, event: ToolCallDelta) -> ToolCallDelta:
        # Clients join what comes twice, `f` and `f` to `ff`, and take another id for another call.
        if event.id is None and event.name is None:
            return event
        said = self._calls.setdefault((event.index, event.tool_index), [None, None])
        id, name = None if said[0] else event.id, None if event.name == said[1] else event.name
        self._calls[event.index, event.tool_index] = [said[0] or id, said[1] or name]
        return msgspec.structs.replace(event, id=id, name=name)

    def _identify(self, event: ResponseStart) -> None:
        # The same in every chunk, whatever a later one of the provider's says: clients tell responses apart by it.
        for name in _IDENTITY:
            if name not in self._identity and (value := getattr(event, name)) is not None:
                self._identity[name] = value
                self._head = ""

    def _take_role(self, role: str, index: int, out: list[ServerSentEvent]) -> None:
        if self._roles.get(index) != role:
            self._roles[index] = role
            if not self.legacy:
                out.append(self._chunk(ChatChoice(index, {"role": role})))

    def _end(self, reason: EndReason, out: list[ServerSentEvent]) -> None:
        self._ended = True
        if self._usage:
            out.append(self._chunk(None, chat_usage(self._usage)))
        out.append(DONE if reason in SUCCESSES else failure_at_end(reason))

    def _chunk(self, choice: ChatChoice | TextChoice | None, usage: dict[str, Any] | None = None) -> ServerSentEvent:
        head = self._head or self._begin()
        tail = "}" if usage is None else f',"usage":{_json(usage).decode()}}}'
        return ServerSentEvent(data=f"{head}{_json(choice).decode() if choice else ''}]{tail}")

    def _begin(self) -> str:
        # What was said once stays, also where it was this stage that said it.
        id = self.id or ("cmpl-streamkit" if self.legacy else "chatcmpl-streamkit")
        self._identity = {"id": id, "created": self.created, "model": self.model, **self._identity}
        kind = "text_completion" if self.legacy else "chat.completion.chunk"
        self._head = _json({"object": kind, **self._identity}).decode()[:-1] + ',"choices":['
        return self._head


def chat_choice(event: Event) -> ChatChoice | None:
    """What a chunk of a chat says of one choice for this event; `None` for events that are not on the wire."""
    match event:
        case TextDelta(text=text, index=index):
            return ChatChoice(index, {"content": text})
        case ReasoningDelta(text=text, index=index):
            return ChatChoice(index, {"reasoning_content": text})
        case RefusalDelta(text=text, index=index):
            return ChatChoice(index, {"refusal": text})
        case ToolCallDelta(index=index):
            return ChatChoice(index, _tool_call(event))
        case AudioDelta(index=index):
            known = {name: getattr(event, name) for name in ("id", "data", "transcript", "expires_at")}
            return ChatChoice(index, {"audio": {name: value for name, value in known.items() if value is not None}})
        case Annotation(annotation=annotation, index=index):
            return ChatChoice(index, {"annotations": [annotation]})
        case Logprobs(logprobs=logprobs, index=index):
            return ChatChoice(index, {}, logprobs)
        case Finish(reason=reason, index=index):
            return ChatChoice(index, {}, None, chat_finish(reason))
        case _:
            return None


def text_choice(event: Event) -> TextChoice | None:
    """The same for a chunk of a completion, which has text and nothing else."""
    match event:
        case TextDelta(text=text, index=index):
            return TextChoice(text, index)
        case Logprobs(logprobs=logprobs, index=index):
            return TextChoice("", index, logprobs)
        case Finish(reason=reason, index=index):
            return TextChoice("", index, None, chat_finish(reason))
        case _:
            return None


def _tool_call(event: ToolCallDelta) -> dict[str, Any]:
    name = {} if event.name is None else {"name": event.name}
    function = {**name, "arguments": event.arguments}
    if event.type == "function_call":
        return {"function_call": function}
    call: dict[str, Any] = {"index": event.tool_index}
    if event.id is not None:
        call["id"] = event.id
    if event.type or event.id is not None:
        call["type"] = event.type or "function"
    return {"tool_calls": [{**call, "function": function}]}
