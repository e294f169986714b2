"""OpenAI's Responses API, streamed and non-streaming.

https://platform.openai.com/docs/api-reference/responses-streaming and …/responses/object. An answer is a list of items, and a
message a list of parts; all of them belong to choice 0, in order. The stream sends a text as deltas and then repeats it in the
whole text, its part, its item and the response. It is emitted once, from the first event that has it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, TypeAlias

import msgspec

from streamkit.completion import EndReason, ResponseForm
from streamkit.dialects.base import ANOTHER, Dialect
from streamkit.dialects.emitted_text import EmittedText
from streamkit.dialects.error_objects import error_in
from streamkit.dialects.fields import changed, count, emptied, mapping, mappings, number, text
from streamkit.dialects.learn import Learnt
from streamkit.dialects.openai.calls import EMPTY
from streamkit.dialects.responses.outline import CHANNELS, Outline
from streamkit.dialects.responses.places import Places
from streamkit.dialects.responses.response import response as full_response
from streamkit.dialects.tool_identity import Identity
from streamkit.events import (
    Annotation,
    AudioDelta,
    Event,
    Finish,
    Logprobs,
    PartChannel,
    PartDelta,
    ProviderNotice,
    ReasoningDelta,
    RefusalDelta,
    ResponseDetails,
    ResponseStart,
    RoleDelta,
    TextDelta,
    ToolCallDelta,
)
from streamkit.sse.events import ServerSentEvent
from streamkit.tokens.usage import usage_of

Piece: TypeAlias = TextDelta | ReasoningDelta | RefusalDelta
Place: TypeAlias = tuple[int, int]
"""The positions of an item and of a part in it."""

# The kinds of parts of a message or of reasoning.
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
# Fields of an item whose text is streamed, by the prefix of its events: the kind of the item, the field, its channel.
# (https://platform.openai.com/docs/api-reference/responses-streaming/response/code_interpreter_call_code/delta and
# …/response/mcp_call_arguments/delta)
_FIELDS: dict[str, tuple[str, str, PartChannel]] = {
    "response.code_interpreter_call_code": ("code_interpreter_call", "code", "code"),
    "response.mcp_call_arguments": ("mcp_call", "arguments", "tool_input"),
}
_PLACE = ("item_id", "output_index", "content_index", "summary_index")
_CALLS = {"function_call": "function", "custom_tool_call": "custom"}
_ENDS = ("completed", "incomplete", "failed", "cancelled")
# Items that the client must answer, with a tool's result or an approval. The provider runs all other calls itself: searches, the
# code interpreter, MCP servers. (https://platform.openai.com/docs/guides/tools)
_WAITING = {
    *_CALLS,
    "computer_call",
    "local_shell_call",
    "shell_call",
    "apply_patch_call",
    "mcp_approval_request",
    "tool_search_call",
}
# Events without information of their own.
_SILENT = {"response.audio.done", "response.audio.transcript.done"}


class _ItemCall(msgspec.Struct):
    number: int
    identity: Identity = msgspec.field(default_factory=Identity)
    arguments: EmittedText = msgspec.field(default_factory=EmittedText)


class _WholeText(NamedTuple):
    # A whole text part.
    kind: str
    place: Place
    text: str


@dataclass
class OpenAIResponses(Dialect):
    """The events named `response.…`, or one response as JSON. It is `done` when the response has ended.

    Only the response's own status proves the end; `[DONE]`, which some servers add, does not. A completed response ends as
    `tool_calls` if it waits for the client: for the result of a function, custom tool, computer, shell or patch, or for an
    approval. Tools that the provider runs itself don't count. Events with a repeated `sequence_number`, as after a reconnect,
    are ignored.

    If a whole text is longer than its deltas, the rest is emitted when the whole text arrives. If it contradicts them, the
    streamed text stands, and a `ProviderNotice("conflict")` names the channel.
    """

    places = (("delta",),)
    shape: ClassVar[str | None] = "responses"
    response_form: ClassVar[ResponseForm | None] = full_response

    _start: ResponseStart = field(default_factory=ResponseStart, init=False, repr=False)
    _role: str | None = field(default=None, init=False, repr=False)
    _places: Places = field(default_factory=Places, init=False, repr=False)
    # The emitted text of each kind, by item and part.
    _texts: dict[str, dict[int, dict[int, EmittedText]]] = field(
        default_factory=dict[str, dict[int, dict[int, EmittedText]]], init=False, repr=False
    )
    # (kind,), (kind, item) and (kind, item, part) for emitted log probabilities and annotations.
    _emitted_beside: set[tuple[str | int, ...]] = field(
        default_factory=set[tuple[str | int, ...]], init=False, repr=False
    )
    _calls: dict[int, _ItemCall] = field(default_factory=dict[int, _ItemCall], init=False, repr=False)
    # The ids of calls that wait for the client, and of calls that the provider has run.
    _waiting: set[str] = field(default_factory=set[str], init=False, repr=False)
    _ran: set[str] = field(default_factory=set[str], init=False, repr=False)
    _outline: Outline = field(default_factory=Outline, init=False, repr=False)
    _details: dict[str, Any] = field(default_factory=dict[str, Any], init=False, repr=False)
    # A cache: the fields that identify the part of the last delta, if no other event followed. Not part of a checkpoint.
    _last: tuple[Any, ...] | None = field(default=None, init=False, repr=False, metadata={"state": False})
    _last_place: Place = field(default=(0, 0), init=False, repr=False, metadata={"state": False})
    _last_text: EmittedText = field(default_factory=EmittedText, init=False, repr=False, metadata={"state": False})
    _last_call: _ItemCall = field(
        default_factory=lambda: _ItemCall(0), init=False, repr=False, metadata={"state": False}
    )

    @classmethod
    def recognizes(cls, event: ServerSentEvent, data: object) -> bool:
        fields = mapping(data)
        kind = text(fields.get("type")) or event.event
        return kind.startswith("response.") or fields.get("object") == "response"

    def record_learnt(self, learnt: Learnt, pieces: list[str], payload: bytes) -> None:
        super().record_learnt(learnt, pieces, payload)
        self._places.saw(learnt.sequence)
        (self._last_text if learnt.tool_index is None else self._last_call.arguments).extend(pieces)

    def take(self, item: ServerSentEvent, data: Any, number: int, out: list[Event]) -> None:
        self.finished.setdefault(0, None)
        fields, payload = mapping(data), item.payload
        if self._places.is_replayed(fields, self._start.id):
            return
        kind = text(fields.get("type")) or item.event
        stem, _, act = kind.rpartition(".")
        piece = text(fields.get("delta")) if act == "delta" else None
        if piece is not None and stem in _STREAMED:
            self._delta(_STREAMED[stem], piece, fields, payload, out)
            return
        self._last = None
        if piece is not None and stem in _ARGUMENTS:
            self._arguments(self._places.of(fields)[0], piece, payload, out)
        elif "type" not in fields and "object" not in fields and (error := error_in(fields)):
            # The body of a failed request.
            self.fail(error, number, out)
        elif kind == "response.created" and self._is_another(mapping(fields.get("response"))):
            self.refuse(ANOTHER, number)
        elif fields.get("object") == "response" or (stem == "response" and act in _ENDS):
            self._response(fields, kind, payload, number, out)
        elif not self._emit(kind, fields, payload, out):
            self.unknown_event(kind, data, payload, out)

    def _emit(self, kind: str, fields: dict[str, Any], payload: bytes, out: list[Event]) -> bool:
        """Convert any event except text deltas and the end. Return whether its kind is known."""
        stem, _, act = kind.rpartition(".")
        item = mapping(fields.get("item"))
        self._note_waiting(item)
        match kind:
            case "response.created" | "response.queued" | "response.in_progress":
                self._announce(mapping(fields.get("response")), payload, out)
                self._detail(mapping(fields.get("response")), payload, out)
                return kind == "response.created"
            case "response.output_item.added":
                self._begin(item, self._places.begin(item, count(fields.get("output_index"))), payload, out)
            case "response.output_item.done":
                self._item(item, self._places.of({**fields, "item_id": item.get("id")})[0], payload, out)
            case "response.content_part.added" | "response.reasoning_summary_part.added":
                self._outline.enter_part(mapping(fields.get("part")), self._places.of(fields), payload, out)
            case "response.content_part.done" | "response.reasoning_summary_part.done":
                part, place = mapping(fields.get("part")), self._places.of(fields)
                self._part(part, place, payload, out)
                self._beside(part, place, self._known(*place), payload, out)
                self._outline.leave_part(part, place, payload, out)
            case "response.output_text.annotation.added":
                annotations = mappings([fields.get("annotation")])
                self._annotations(annotations, "output_text", self._places.of(fields), payload, out)
            case _ if act == "done" and stem in _STREAMED:
                names, place = ("text", "refusal", "logprobs"), self._places.of(fields)
                part = {"type": _STREAMED[stem], **{name: fields[name] for name in names if name in fields}}
                self._part(part, place, payload, out)
                self._beside(part, place, self._known(*place), payload, out)
            case _ if act == "done" and stem in _ARGUMENTS:
                self._whole_arguments(fields, fields.get(_ARGUMENTS[stem]), stem, payload, out)
            case _ if stem in _FIELDS and act in ("delta", "done"):
                at = self._places.of(fields)[0]
                if act == "delta":
                    self._emit_field(stem, text(fields.get("delta")) or "", at, payload, out)
                else:
                    self._whole_field(stem, fields, at, payload, out)
            case "response.audio.delta" if data := text(fields.get("delta")):
                out.append(AudioDelta(data, payload=payload))
            case "response.audio.transcript.delta" if transcript := text(fields.get("delta")):
                out.append(AudioDelta(transcript=transcript, payload=payload))
            case _:
                return kind in _SILENT
        return True

    # The response

    def _is_another(self, response: dict[str, Any]) -> bool:
        return bool(self._texts or self._calls) and text(response.get("id")) != self._start.id

    def _announce(self, response: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        known, created, tier = self._start, number(response.get("created_at")), text(response.get("service_tier"))
        start = ResponseStart(
            id=text(response.get("id")) or known.id,
            object="response",
            created=known.created if created is None else created,
            model=text(response.get("model")) or known.model,
            # Until the response has ended, this is the requested tier; `auto` is not an actual tier.
            service_tier=tier if tier and tier != "auto" else known.service_tier,
            payload=payload,
        )
        if start != known:
            self._start = start
            out.append(start)

    def _detail(self, response: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        details = emptied(response, ("output", "output_text", "usage"))
        if more := changed(details, self._details):
            self._details |= more
            out.append(ResponseDetails(more, self.shape, payload=payload))

    def _response(self, fields: dict[str, Any], kind: str, payload: bytes, number: int, out: list[Event]) -> None:
        response = fields if fields.get("object") == "response" else mapping(fields.get("response"))
        self._announce(response, payload, out)
        status = next((word for word in (response.get("status"), kind.rpartition(".")[2]) if word in _ENDS), None)
        self._detail(response, payload, out)
        self._output(mappings(response.get("output")), payload, out, again=response is not fields)
        if used := mapping(response.get("usage")):
            out.append(usage_of(used, payload))
        if status is None:
            # The response still runs in the background.
            out.append(ProviderNotice(text(response.get("status")) or kind, fields, payload=payload))
            return
        word = text(mapping(response.get("incomplete_details")).get("reason")) if status == "incomplete" else None
        self.finished[0] = word = word or status
        if self._waiting or any(call.identity.type is None for call in self._calls.values()):
            # A call has no type if its item was never received.
            self.called.add(0)
        if status == "completed":
            for call in self._calls.values():
                self._complete(call, payload, out)
        out.append(Finish(word, payload=payload))
        if status == "failed":
            error = mapping(response.get("error")) or {"message": "", "type": "failed"}
            self.fail(error, number, out)
        else:
            self.finish(out, number)

    def _meaning(self, word: str | None) -> EndReason:
        return super()._meaning(word) if word else "truncated"

    def _not_json(self, item: ServerSentEvent, number: int, error: Exception, out: list[Event]) -> None:
        if item.payload.strip() == b"[DONE]":
            self.done = True
            out.append(self._end(*self._outcome(saw_done=False)))
        else:
            super()._not_json(item, number, error, out)

    # Items and their parts

    def _begin(self, item: dict[str, Any], place: int, payload: bytes, out: list[Event]) -> None:
        if text(item.get("type")) in _CALLS:
            self._identify(item, place, payload, out)
        else:
            self._outline.enter(item, place, None, payload, out)
        self._take_role(item, payload, out)

    def _item(self, item: dict[str, Any], place: int, payload: bytes, out: list[Event]) -> None:
        """Emit the content of a whole item that the events before it did not have."""
        missing = self._missing(_wholes(item, place), place, payload, out)
        self._whole_item(item, place, missing, self._known(place), payload, out, again=False)

    def _output(self, items: list[dict[str, Any]], payload: bytes, out: list[Event], *, again: bool) -> None:
        """Emit the content of the response's items that the events before it did not have."""
        placed = [
            (item, self._places.whole(item, at, self._outline.kind_at(self._places.numbers.get(at, at))))
            for at, item in enumerate(items)
        ]
        wholes = [whole for item, place in placed for whole in _wholes(item, place)]
        missing, known = self._missing(wholes, None, payload, out), self._known()
        for item, place in placed:
            self._note_waiting(item)
            self._whole_item(item, place, missing, known, payload, out, again=again)

    def _whole_item(
        self,
        item: dict[str, Any],
        place: int,
        missing: dict[tuple[str, Place], tuple[Place, str]],
        known: set[str],
        payload: bytes,
        out: list[Event],
        *,
        again: bool,
    ) -> None:
        if text(item.get("type")) in _CALLS:
            self._identify(item, place, payload, out)
            self._whole_arguments_of(item, place, payload, out, complete=not again)
        else:
            self._outline.enter(item, place, None, payload, out)
        self._take_role(item, payload, out)
        for name in ("content", "summary") if item.get("type") in ("message", "reasoning") else ():
            for at, part in enumerate(mappings(item.get(name))):
                kind, here = text(part.get("type")) or "", (place, at)
                self._outline.enter_part(part, here, payload, out)
                if found := missing.get((kind, here)):
                    self._piece(kind, found[1], found[0], payload, out)
                self._beside(part, here, known, payload, out)
                self._outline.leave_part(part, here, payload, out, again=True)
        for stem, (kind, _, _) in _FIELDS.items():
            if item.get("type") == kind and place in self._texts.get(stem, {}):
                self._whole_field(stem, item, place, payload, out)
        self._outline.leave(item, place, payload, out, again=again)

    def _emit_field(self, stem: str, piece: str, place: int, payload: bytes, out: list[Event]) -> None:
        kind, name, channel = _FIELDS[stem]
        number = self._outline.text_part(kind, name, place, payload, out)
        if piece:
            self._text(stem, (place, 0)).add(piece)
            out.append(PartDelta(piece, channel, number, (name,), channel == "tool_input", payload=payload))

    def _whole_field(self, stem: str, fields: dict[str, Any], place: int, payload: bytes, out: list[Event]) -> None:
        _, name, channel = _FIELDS[stem]
        whole = text(fields.get(name)) or ""
        rest = self._text(stem, (place, 0)).rest(whole)
        if rest is None:
            self.conflict(channel, 0, payload, out)
        self._emit_field(stem, rest or "", place, payload, out)
        self._outline.set_field(place, name, whole)

    def _part(self, part: dict[str, Any], place: Place, payload: bytes, out: list[Event]) -> None:
        """Emit the text of a whole part that its deltas did not have."""
        self._outline.enter_part(part, place, payload, out)
        for whole in _whole(part, place):
            rest = self._text(whole.kind, place).rest(whole.text)
            if rest is None:
                self.conflict(CHANNELS[whole.kind], 0, payload, out)
            elif rest:
                self._piece(whole.kind, rest, place, payload, out)

    def _missing(
        self, wholes: list[_WholeText], item: int | None, payload: bytes, out: list[Event]
    ) -> dict[tuple[str, Place], tuple[Place, str]]:
        """Return, by kind and position in the whole, the text that the deltas did not have, with its streamed position.

        Parts are matched by position. If a server numbers parts differently in the whole, the unmatched ones are paired in
        order. A rest is left out if it is longer than the difference of the total lengths.
        """
        found: dict[tuple[str, Place], tuple[Place, str]] = {}
        for kind in {whole.kind: None for whole in wholes}:
            of_kind = [whole for whole in wholes if whole.kind == kind]
            items, placed = self._texts.get(kind, {}), {whole.place for whole in of_kind}
            room = sum(len(whole.text) for whole in of_kind)
            for _, streamed in _streamed(items, item):
                room -= streamed.total
                if room <= 0:
                    break  # a short whole need not be compared with all streamed parts
            left = (place for place, _ in _streamed(items, item) if place not in placed)
            for whole in of_kind:
                emitted = items.get(whole.place[0], {}).get(whole.place[1])
                place = whole.place if emitted else next(left, whole.place)
                emitted = emitted or items.get(place[0], {}).get(place[1])
                rest = emitted.rest(whole.text) if emitted else whole.text
                if rest is None:
                    self.conflict(CHANNELS[kind], 0, payload, out)
                elif 0 < len(rest) <= room:
                    room -= len(rest)
                    found[kind, whole.place] = place, rest
        return found

    def _delta(self, kind: str, piece: str, fields: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        # Most deltas continue the part of the previous one.
        names = kind, *map(fields.get, _PLACE)
        if names != self._last:
            place = self._places.of(fields)
            self._last, self._last_place, self._last_text = names if piece else None, place, self._text(kind, place)
            if piece:
                self._outline.part(kind, place, payload, out)
        if piece:
            self._last_text.add(piece)
            out.append(_PIECES[kind](piece, payload=payload))
        if fields.get("logprobs"):
            self._logprobs(fields, kind, self._last_place, payload, out)

    def _piece(self, kind: str, piece: str, place: Place, payload: bytes, out: list[Event]) -> None:
        self._text(kind, place).add(piece)
        self._outline.part(kind, place, payload, out)
        out.append(_PIECES[kind](piece, payload=payload))

    def _text(self, kind: str, place: Place) -> EmittedText:
        parts = self._texts.setdefault(kind, {}).setdefault(place[0], {})
        found = parts.get(place[1])
        if found is None:
            found = parts[place[1]] = EmittedText()
        return found

    def _beside(self, part: dict[str, Any], place: Place, known: set[str], payload: bytes, out: list[Event]) -> None:
        kind = text(part.get("type")) or ""
        if "logprobs" not in known:
            self._logprobs(part, kind, place, payload, out)
        if "annotations" not in known:
            self._annotations(mappings(part.get("annotations")), kind, place, payload, out)

    def _logprobs(self, fields: dict[str, Any], kind: str, place: Place, payload: bytes, out: list[Event]) -> None:
        if logprobs := mappings(fields.get("logprobs")):
            self._mark("logprobs", place)
            number = self._outline.part(kind, place, payload, out)
            out.append(Logprobs({"content": logprobs}, part=number, payload=payload))

    def _annotations(
        self, annotations: list[dict[str, Any]], kind: str, place: Place, payload: bytes, out: list[Event]
    ) -> None:
        for annotation in annotations:
            self._mark("annotations", place)
            number = self._outline.part(kind, place, payload, out)
            out.append(Annotation(annotation, part=number, payload=payload))

    def _mark(self, kind: str, place: Place) -> None:
        self._emitted_beside.update(((kind,), (kind, place[0]), (kind, *place)))

    def _known(self, *place: int) -> set[str]:
        """Return which of "logprobs" and "annotations" were emitted for the response, an item or a part."""
        return {kind for kind in ("logprobs", "annotations") if (kind, *place) in self._emitted_beside}

    def _take_role(self, item: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        role = text(item.get("role")) if item.get("type") == "message" else None
        if role and role != self._role:
            self._role = role
            out.append(RoleDelta(role, payload=payload))

    # Tool calls

    def _note_waiting(self, item: dict[str, Any]) -> None:
        kind, id = text(item.get("type")) or "", text(item.get("call_id")) or text(item.get("id")) or ""
        if kind.endswith("_output"):
            # The provider ran the call itself, as with a shell in a container.
            self._waiting.discard(id)
            self._ran.add(id)
        elif kind in _WAITING and id not in self._ran and not _is_hosted(item):
            self._waiting.add(id)

    def _call(self, place: int) -> _ItemCall:
        if place not in self._calls:
            self._calls[place] = _ItemCall(len(self._calls))
        return self._calls[place]

    def _identify(self, item: dict[str, Any], place: int, payload: bytes, out: list[Event]) -> None:
        call = self._call(place)
        self._outline.enter(item, place, call.number, payload, out)
        # Copilot and others send another id in each event; keep the first.
        id, name = text(item.get("call_id")), text(item.get("name"))
        known = call.identity
        delta = ToolCallDelta(
            call.number,
            None if known.id else id,
            None if known.name else name,
            type=None if known.type else _CALLS[item["type"]],
            payload=payload,
        )
        if delta.id or delta.name or delta.type:
            known.merge(delta)
            out.append(delta)

    def _arguments(self, place: int, piece: str, payload: bytes, out: list[Event]) -> None:
        call = self._last_call = self._call(place)
        if piece:
            call.arguments.add(piece)
            out.append(ToolCallDelta(call.number, arguments=piece, payload=payload))

    def _whole_arguments(
        self, fields: dict[str, Any], whole: object, stem: str, payload: bytes, out: list[Event]
    ) -> None:
        kind = "function_call" if _ARGUMENTS[stem] == "arguments" else "custom_tool_call"
        item = {"type": kind, "name": fields.get("name"), _ARGUMENTS[stem]: whole}
        place = self._places.of(fields)[0]
        call = self._call(place)
        if name := text(fields.get("name")) if not call.identity.name else None:
            call.identity.name = name
            out.append(ToolCallDelta(call.number, name=name, payload=payload))
        self._whole_arguments_of(item, place, payload, out, complete=True)

    def _whole_arguments_of(
        self, item: dict[str, Any], place: int, payload: bytes, out: list[Event], *, complete: bool
    ) -> None:
        call = self._call(place)
        whole = item.get("arguments" if item["type"] == "function_call" else "input")
        arguments = whole if isinstance(whole, str) else msgspec.json.encode(whole).decode() if whole else ""
        rest = call.arguments.rest(arguments)
        if rest is None:
            self.conflict("tool_arguments", 0, payload, out)
        self._arguments(place, rest or "", payload, out)
        if complete and item["type"] == "function_call" and item.get("status") != "incomplete":
            self._complete(call, payload, out)

    def _complete(self, call: _ItemCall, payload: bytes, out: list[Event]) -> None:
        # A complete call without arguments takes none.
        if call.arguments.is_empty and call.identity.type != "custom":
            call.arguments.add(EMPTY)
            out.append(ToolCallDelta(call.number, arguments=EMPTY, payload=payload))


def _streamed(items: dict[int, dict[int, EmittedText]], item: int | None) -> Iterator[tuple[Place, EmittedText]]:
    for place in list(items) if item is None else [item]:
        for at, emitted in items.get(place, {}).items():
            yield (place, at), emitted


def _wholes(item: dict[str, Any], place: int) -> list[_WholeText]:
    if item.get("type") not in ("message", "reasoning"):
        return []
    parts = [(at, part) for name in ("content", "summary") for at, part in enumerate(mappings(item.get(name)))]
    return [whole for at, part in parts for whole in _whole(part, (place, at))]


def _whole(part: dict[str, Any], place: Place) -> list[_WholeText]:
    kind = text(part.get("type")) or ""
    whole = text(part.get("refusal" if kind == "refusal" else "text"))
    return [_WholeText(kind, place, whole)] if kind in _PIECES and whole else []


def _is_hosted(item: dict[str, Any]) -> bool:
    # The server runs tool searches unless `execution` is "client"; a container is the provider's.
    if item.get("type") == "tool_search_call":
        return item.get("execution") != "client"
    return mapping(item.get("environment")).get("type") == "container_reference"
