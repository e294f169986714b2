"""OpenAI's Responses, streamed and plain.

https://platform.openai.com/docs/api-reference/responses-streaming and …/responses/object. An answer is a list of items, and
a message a list of parts; all of them are told as the one choice 0, in their order. What the stream says once in pieces and
again as a whole (a text, its part, its item, the response) is told once, as it came first.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from streamkit.dialects.base import ANOTHER, Dialect
from streamkit.dialects.error_objects import error_in
from streamkit.dialects.fields import changed, count, emptied, mapping, mappings, text
from streamkit.dialects.responses_outline import Outline
from streamkit.ends import EndReason
from streamkit.events import (
    Annotation,
    AudioDelta,
    Event,
    Finish,
    Logprobs,
    ProviderNotice,
    ReasoningDelta,
    RefusalDelta,
    ResponseDetails,
    ResponseStart,
    RoleDelta,
    TextDelta,
    ToolCallDelta,
)
from streamkit.plain import PlainForm
from streamkit.plain.responses import response as plain_response
from streamkit.tokens.usage import usage_of
from streamkit.wire.events import ServerSentEvent

Piece: TypeAlias = TextDelta | ReasoningDelta | RefusalDelta

# What a part of a message or of reasoning can be.
_PIECES: dict[str, type[Piece]] = {
    "output_text": TextDelta,
    "refusal": RefusalDelta,
    "reasoning_text": ReasoningDelta,
    "summary_text": ReasoningDelta,
}
_STREAMED = {
    "response.output_text": "output_text",
    "response.refusal": "refusal",
    "response.reasoning_text": "reasoning_text",
    "response.reasoning_summary_text": "summary_text",
}
_ARGUMENTS = {"response.function_call_arguments": "arguments", "response.custom_tool_call_input": "input"}
_CALLS = {"function_call": "function", "custom_tool_call": "custom"}
_ENDS = ("completed", "incomplete", "failed", "cancelled")
_KINDS = (*_PIECES, "logprobs", "annotations", "call")
# Items that ask the client for something: what a tool of its own says, or a permission. All other calls, of searches, of an
# interpreter, of a remote server, are run by the provider. (https://platform.openai.com/docs/guides/tools)
_ASKING = {
    *_CALLS,
    "computer_call",
    "local_shell_call",
    "shell_call",
    "apply_patch_call",
    "mcp_approval_request",
    "tool_search_call",
}
# They say nothing that is not said elsewhere.
_SILENT = {"response.audio.done", "response.audio.transcript.done"}


@dataclass
class _Call:
    number: int
    id: str | None = None
    named: bool = False
    spoke: bool = False


@dataclass
class OpenAIResponses(Dialect):
    """The events named `response.…`, or one response as JSON. It is `done` when the response has ended.

    The end that counts is the response's own: `[DONE]`, which some servers add, is no evidence of it. A response that is
    completed and asks the client for something ends as `tool_calls`: for the result of a function, of a custom tool, of a
    computer, a shell or a patch, or for a permission. Tools that the provider runs itself don't count.
    """

    shape: ClassVar[str | None] = "responses"
    plain: ClassVar[PlainForm | None] = plain_response

    _start: ResponseStart = field(default_factory=ResponseStart, init=False, repr=False)
    _role: str | None = field(default=None, init=False, repr=False)
    # (kind,), (kind, item) and (kind, item, part) of all that has been told.
    _told: set[tuple[str | int, ...]] = field(default_factory=set[tuple[str | int, ...]], init=False, repr=False)
    _calls: dict[int, _Call] = field(default_factory=dict[int, _Call], init=False, repr=False)
    _number: int = field(default=0, init=False, repr=False)
    # The calls that wait for the client, and those that the provider has run.
    _asking: set[str] = field(default_factory=set[str], init=False, repr=False)
    _ran: set[str] = field(default_factory=set[str], init=False, repr=False)
    _outline: Outline = field(default_factory=Outline, init=False, repr=False)
    _details: dict[str, Any] = field(default_factory=dict[str, Any], init=False, repr=False)

    @classmethod
    def speaks(cls, event: ServerSentEvent, data: object) -> bool:
        fields = mapping(data)
        kind = text(fields.get("type")) or event.event
        return kind.startswith("response.") or fields.get("object") == "response"

    def take(self, item: ServerSentEvent, data: Any, number: int, out: list[Event]) -> None:
        self.finished.setdefault(0, None)
        fields, payload = mapping(data), item.data
        kind = text(fields.get("type")) or item.event
        stem, _, act = kind.rpartition(".")
        piece = text(fields.get("delta")) if act == "delta" else None
        if piece is not None and stem in _STREAMED:
            self._delta(_STREAMED[stem], piece, fields, payload, out)
        elif piece is not None and stem in _ARGUMENTS:
            self._arguments(_place(fields)[0], piece, payload, out)
        elif _is_error(item, kind, fields):
            self.fail(error_in(data) or data, number, out)
        elif kind == "response.created" and self._is_another(mapping(fields.get("response"))):
            self.refuse(ANOTHER, number, out)
        elif fields.get("object") == "response" or (stem == "response" and act in _ENDS):
            self._response(fields, kind, payload, number, out)
        elif not self._tell(kind, fields, payload, out):
            self.not_known(kind, data, payload, out)

    def _tell(self, kind: str, fields: dict[str, Any], payload: str, out: list[Event]) -> bool:
        """Say what an event beside the deltas and the end says; whether it is of a kind known here."""
        stem, _, act = kind.rpartition(".")
        item, place = mapping(fields.get("item")), _place(fields)
        self._ask(item)
        match kind:
            case "response.created" | "response.queued" | "response.in_progress":
                self._announce(mapping(fields.get("response")), payload, out)
                self._detail(mapping(fields.get("response")), payload, out)
                return kind == "response.created"
            case "response.output_item.added":
                self._begin(item, place[0], payload, out)
            case "response.output_item.done":
                self._item(item, place[0], self._known(place[0]), payload, out)
            case "response.content_part.added" | "response.reasoning_summary_part.added":
                self._outline.enter_part(mapping(fields.get("part")), place, payload, out)
            case "response.content_part.done" | "response.reasoning_summary_part.done":
                part = mapping(fields.get("part"))
                self._part(part, place, self._known(*place), payload, out)
                self._outline.leave_part(part, place, payload, out)
            case "response.output_text.annotation.added":
                self._annotations(mappings([fields.get("annotation")]), "output_text", place, payload, out)
            case _ if act == "done" and stem in _STREAMED:
                names = ("text", "refusal", "logprobs")
                part = {"type": _STREAMED[stem], **{name: fields[name] for name in names if name in fields}}
                self._part(part, place, self._known(*place), payload, out)
            case _ if act == "done" and stem in _ARGUMENTS:
                if not self._call(place[0]).spoke:
                    self._arguments(place[0], text(fields.get(_ARGUMENTS[stem])), payload, out)
            case "response.audio.delta" if data := text(fields.get("delta")):
                out.append(AudioDelta(data, payload=payload))
            case "response.audio.transcript.delta" if transcript := text(fields.get("delta")):
                out.append(AudioDelta(transcript=transcript, payload=payload))
            case _:
                return kind in _SILENT
        return True

    # The response

    def _is_another(self, response: dict[str, Any]) -> bool:
        return bool(self._told) and text(response.get("id")) != self._start.id

    def _announce(self, response: dict[str, Any], payload: str, out: list[Event]) -> None:
        known, created, tier = self._start, response.get("created_at"), text(response.get("service_tier"))
        start = ResponseStart(
            id=text(response.get("id")) or known.id,
            object="response",
            created=created if isinstance(created, int | float) else known.created,
            model=text(response.get("model")) or known.model,
            # Until the response has ended this is what was asked for; `auto` is none of the tiers that serve.
            service_tier=tier if tier and tier != "auto" else known.service_tier,
            payload=payload,
        )
        if start != known:
            self._start = start
            out.append(start)

    def _detail(self, response: dict[str, Any], payload: str, out: list[Event]) -> None:
        details = emptied(response, ("output", "output_text", "usage"))
        if more := changed(details, self._details):
            self._details |= more
            out.append(ResponseDetails(more, self.shape, payload=payload))

    def _response(self, fields: dict[str, Any], kind: str, payload: str, number: int, out: list[Event]) -> None:
        response = fields if fields.get("object") == "response" else mapping(fields.get("response"))
        self._announce(response, payload, out)
        status = next((word for word in (response.get("status"), kind.rpartition(".")[2]) if word in _ENDS), None)
        self._detail(response, payload, out)
        known, streamed = self._known(), response is not fields
        for place, item in enumerate(mappings(response.get("output"))):
            self._ask(item)
            self._item(item, place, known, payload, out, again=streamed)
        if usage := mapping(response.get("usage")):
            out.append(usage_of(usage, payload))
        if status is None:
            # One that still runs in the background.
            out.append(ProviderNotice(text(response.get("status")) or kind, fields, payload=payload))
            return
        word = text(mapping(response.get("incomplete_details")).get("reason")) if status == "incomplete" else None
        self.finished[0] = word = word or status
        self.called |= {0} if self._asking else set()
        out.append(Finish(word, payload=payload))
        if status == "failed":
            error = mapping(response.get("error")) or {"message": "", "type": "failed"}
            self.fail(error, number, out)
        else:
            self.finish(out, number)

    def _meaning(self, word: str | None) -> EndReason:
        return super()._meaning(word) if word else "truncated"

    def _not_json(self, item: ServerSentEvent, number: int, error: Exception, out: list[Event]) -> None:
        if item.data.strip() == "[DONE]":
            self.done = True
            out.append(self._end(*self._outcome(saw_done=False)))
        else:
            super()._not_json(item, number, error, out)

    # Items and their parts

    def _begin(self, item: dict[str, Any], place: int, payload: str, out: list[Event]) -> None:
        if item.get("type") in _CALLS:
            id = text(item.get("call_id"))
            # Where the items are not numbered, the next call has the number of the last.
            if (call := self._calls.get(place)) and call.id and call.id != id:
                del self._calls[place]
            self._identify(item, place, payload, out)
        else:
            self._outline.enter(item, place, None, payload, out)
        if item.get("type") == "message":
            self._take_role(item, payload, out)

    def _item(
        self, item: dict[str, Any], place: int, known: set[str], payload: str, out: list[Event], *, again: bool = False
    ) -> None:
        """Say what a whole item says, but for the kinds that are known."""
        match item.get("type"):
            case "function_call" | "custom_tool_call" as kind:
                self._whole_call(item, kind, place, known, payload, out)
            case _:
                self._outline.enter(item, place, None, payload, out)
        if item.get("type") == "message":
            self._take_role(item, payload, out)
        for name in ("content", "summary") if item.get("type") in ("message", "reasoning") else ():
            for at, part in enumerate(mappings(item.get(name))):
                self._part(part, (place, at), known, payload, out)
                self._outline.leave_part(part, (place, at), payload, out, again=True)
        self._outline.leave(item, place, payload, out, again=again)

    def _whole_call(
        self, item: dict[str, Any], kind: str, place: int, known: set[str], payload: str, out: list[Event]
    ) -> None:
        if "call" in known and place not in self._calls:
            self._outline.enter(item, place, self._number, payload, out)
            return
        self._identify(item, place, payload, out)
        call = self._call(place)
        # The number of the item may be that of another call, where items are not numbered.
        if not call.spoke and call.id == text(item.get("call_id")):
            self._arguments(place, text(item.get("arguments" if kind == "function_call" else "input")), payload, out)

    def _part(
        self, part: dict[str, Any], place: tuple[int, int], known: set[str], payload: str, out: list[Event]
    ) -> None:
        kind = text(part.get("type")) or ""
        said = text(part.get("refusal" if kind == "refusal" else "text"))
        self._outline.enter_part(part, place, payload, out)
        if kind in _PIECES and kind not in known and said:
            self._piece(kind, said, place, payload, out)
        if "logprobs" not in known:
            self._logprobs(part, kind, place, payload, out)
        if "annotations" not in known:
            self._annotations(mappings(part.get("annotations")), kind, place, payload, out)

    def _delta(self, kind: str, piece: str, fields: dict[str, Any], payload: str, out: list[Event]) -> None:
        place = _place(fields)
        if piece:
            self._piece(kind, piece, place, payload, out)
        self._logprobs(fields, kind, place, payload, out)

    def _piece(self, kind: str, said: str, place: tuple[int, int], payload: str, out: list[Event]) -> None:
        self._mark(kind, place)
        self._outline.part(kind, place, payload, out)
        out.append(_PIECES[kind](said, payload=payload))

    def _logprobs(
        self, fields: dict[str, Any], kind: str, place: tuple[int, int], payload: str, out: list[Event]
    ) -> None:
        if logprobs := mappings(fields.get("logprobs")):
            self._mark("logprobs", place)
            number = self._outline.part(kind, place, payload, out)
            out.append(Logprobs({"content": logprobs}, part=number, payload=payload))

    def _annotations(
        self, annotations: list[dict[str, Any]], kind: str, place: tuple[int, int], payload: str, out: list[Event]
    ) -> None:
        for annotation in annotations:
            self._mark("annotations", place)
            number = self._outline.part(kind, place, payload, out)
            out.append(Annotation(annotation, part=number, payload=payload))

    def _take_role(self, item: dict[str, Any], payload: str, out: list[Event]) -> None:
        role = text(item.get("role"))
        if role and role != self._role:
            self._role = role
            out.append(RoleDelta(role, payload=payload))

    # Calls of tools

    def _ask(self, item: dict[str, Any]) -> None:
        kind, id = text(item.get("type")) or "", text(item.get("call_id")) or text(item.get("id")) or ""
        if kind.endswith("_output"):
            # The provider ran it itself, as it does with a shell in a container.
            self._asking.discard(id)
            self._ran.add(id)
        elif kind in _ASKING and id not in self._ran and not _is_hosted(item):
            self._asking.add(id)

    def _call(self, place: int) -> _Call:
        if place not in self._calls:
            self._calls[place] = _Call(self._number)
            self._number += 1
            self._mark("call", (place, 0))
        return self._calls[place]

    def _identify(self, item: dict[str, Any], place: int, payload: str, out: list[Event]) -> None:
        call = self._call(place)
        self._outline.enter(item, place, call.number, payload, out)
        if call.named:
            return
        call.named, call.id = True, text(item.get("call_id"))
        kind = _CALLS[item["type"]]
        out.append(ToolCallDelta(call.number, call.id, text(item.get("name")), type=kind, payload=payload))

    def _arguments(self, place: int, piece: str | None, payload: str, out: list[Event]) -> None:
        call = self._call(place)
        if piece:
            call.spoke = True
            if not call.named:  # its item never came
                self.called.add(0)
            out.append(ToolCallDelta(call.number, arguments=piece, payload=payload))

    # What has been told

    def _mark(self, kind: str, place: tuple[int, int]) -> None:
        self._told.update(((kind,), (kind, place[0]), (kind, *place)))

    def _known(self, *place: int) -> set[str]:
        """The kinds of which something was told: of the response, of an item or of a part."""
        return {kind for kind in _KINDS if (kind, *place) in self._told}


def _place(fields: dict[str, Any]) -> tuple[int, int]:
    part = fields.get("content_index", fields.get("summary_index"))
    return count(fields.get("output_index")) or 0, count(part) or 0


def _is_hosted(item: dict[str, Any]) -> bool:
    # A search for tools is the server's, unless it says that the client is to do it; a container is the provider's computer.
    if item.get("type") == "tool_search_call":
        return item.get("execution") != "client"
    return mapping(item.get("environment")).get("type") == "container_reference"


def _is_error(item: ServerSentEvent, kind: str, fields: dict[str, Any]) -> bool:
    # Three forms: the event `error` with its fields beside `type` or in `error`, and the body of a request that failed.
    bare = "type" not in fields and "object" not in fields
    return kind == "error" or item.event == "error" or (bare and error_in(fields) is not None)
