"""Write the stream of OpenAI's Responses API.

https://platform.openai.com/docs/api-reference/responses-streaming and …/responses/object.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, ClassVar

import msgspec

from streamkit.completion import SUCCESSES, Completion, EndReason, Usage
from streamkit.dialects.openai.citations import Bytes, CitationSpan, chat_annotations
from streamkit.emitters.blocks import Block, BlockEmitter, Kind
from streamkit.emitters.emitter import Frame
from streamkit.emitters.failures import ErrorFrame, Failure, failure_at_end
from streamkit.emitters.openai import error_object, whole_seconds
from streamkit.emitters.replay import events_of, is_withheld
from streamkit.events import PartStart
from streamkit.sse.events import ServerSentEvent
from streamkit.tokens.usage import parts_of

_SHAPE = "responses"
_CONTAINERS = ("message", "reasoning")
_INCOMPLETE: dict[EndReason, str] = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
    "moderated": "content_filter",
}
_TEXT_DELTA = "response.output_text.delta"
_EMPTY: dict[str, Any] = {
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "temperature": None,
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
}


class _Item(msgspec.Struct):
    # The open output item: its fields with the closed parts, the number of the provider's item, and whether it was cut.
    fields: dict[str, Any]
    within: int | None = None
    cut: bool = False


@dataclass
class ResponsesEmitter(BlockEmitter):
    """The events of a response, from `response.created` to `response.completed`, `.incomplete` or `.failed`.

    Items and parts are opened and closed one at a time. Items of OpenAI's own answers keep their ids, and their reasoning keeps
    its encrypted content. Another provider's reasoning is written as the summary of a reasoning item, because clients show only
    that.
    """

    id_prefix: ClassVar[str] = "resp_"
    _number: int = field(default=0, init=False, repr=False)
    _item: _Item | None = field(default=None, init=False, repr=False)
    _output: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]], init=False, repr=False)
    _ids: set[str] = field(default_factory=set[str], init=False, repr=False)
    _begun: bool = field(default=False, init=False, repr=False)

    def opening(self) -> Iterable[Frame]:
        self._begun = True
        response = self._response("in_progress")
        return [
            self._frame("response.created", response=response),
            self._frame("response.in_progress", response=response),
        ]

    def takes(self, part: PartStart) -> bool:
        return self.shape == _SHAPE and part.within is None and part.kind not in _CONTAINERS

    def hidden(self, part: PartStart, data: dict[str, Any]) -> Kind | None:
        # Reasoning without visible text: the client must send its encrypted content back.
        if self.shape == _SHAPE and part.kind == "reasoning" and part.channel is None:
            return "item"
        return None

    # Blocks

    def begin(self, block: Block) -> Iterable[Frame]:
        if not (self._item and block.within is not None and block.within == self._item.within):
            yield from self._close_item()
            yield from self._open_item(block)
        if block.kind in ("call", "item"):
            return
        block.id, block.number = self._opened.fields["id"], len(self._parts_of_item(block))
        added = "reasoning_summary_part" if _is_summary(block) else "content_part"
        yield self._frame(f"response.{added}.added", **self._place(block), part=_part(block, ""))

    def write(self, block: Block, piece: str) -> Iterable[Frame]:
        if block.kind == "text":
            return [self._text_delta(block, piece)]
        return [self._frame(f"response.{_stem(block)}.delta", **self._place(block), delta=piece)]

    def _text_delta(self, block: Block, piece: str) -> Frame:
        # The hot path: a single dict.
        data: dict[str, Any] = {
            "type": _TEXT_DELTA,
            "sequence_number": self._number,
            "item_id": self._opened.fields["id"],
            "output_index": len(self._output),
            "content_index": block.number,
            "delta": piece,
            "logprobs": [],
        }
        self._number += 1
        return ServerSentEvent(_TEXT_DELTA, msgspec.json.encode(data))

    def finish(self, block: Block) -> Iterable[Frame]:
        item = self._opened
        item.cut |= block.cut
        if block.kind == "item":
            yield from self._close_item()
        elif block.kind == "call":
            name = "input" if block.custom else "arguments"
            item.fields[name] = block.text
            whole = {name: block.text} if block.custom else {"name": block.name, name: block.text}
            yield self._frame(f"response.{_stem(block)}.done", **self._place(block), **whole)
            yield from self._close_item()
        else:
            yield from self._finish_part(block)
            if block.within is None:
                yield from self._close_item()

    def _finish_part(self, block: Block) -> Iterable[Frame]:
        text, part = block.text, _part(block, block.text)
        place = self._place(block)
        if block.kind == "text":
            yield from self._annotate_part(part, place, block.annotations)
        name = "refusal" if block.kind == "refusal" else "text"
        more: dict[str, Any] = {"logprobs": []} if block.kind == "text" else {}
        yield self._frame(f"response.{_stem(block)}.done", **place, **{name: text}, **more)
        done = "reasoning_summary_part" if _is_summary(block) else "content_part"
        yield self._frame(f"response.{done}.done", **place, part=part)
        self._parts_of_item(block).append(part)

    def _annotate_part(
        self, part: dict[str, Any], place: dict[str, Any], annotations: list[dict[str, Any]]
    ) -> Iterable[Frame]:
        """Add annotations to a part."""
        for annotation in self._converted(annotations, part["text"]):
            yield self._frame(
                "response.output_text.annotation.added",
                **place,
                annotation_index=len(part["annotations"]),
                annotation=annotation,
            )
            part["annotations"].append(annotation)

    def _annotate_late(self) -> Iterable[Frame]:
        # Their item may be closed. Its `output_item.done` lacks them; the last event has them.
        items = [*self._output, *([self._item.fields] if self._item else [])]
        places = {item["id"]: at for at, item in enumerate(items)}
        for block, annotations in self.late:
            if block.kind == "text":
                at = places[block.id]
                place = {"item_id": block.id, "output_index": at, "content_index": block.number}
                yield from self._annotate_part(items[at]["content"][block.number], place, annotations)

    def _converted(self, annotations: list[dict[str, Any]], text: str) -> list[dict[str, Any]]:
        if self.withheld:
            return []
        found: list[dict[str, Any]] = []
        code_points = Bytes([text])
        for annotation in annotations:
            if self.shape == _SHAPE:
                found.append(annotation)
                continue
            chats = chat_annotations(annotation, CitationSpan(0, len(text)), code_points, self.shape)
            found += [{"type": "url_citation", **chat["url_citation"]} for chat in chats if "url_citation" in chat]
        return found

    # Items

    @property
    def _opened(self) -> _Item:
        assert self._item is not None, "a block has an item"
        return self._item

    def _parts_of_item(self, block: Block) -> list[dict[str, Any]]:
        parts: list[dict[str, Any]] = self._opened.fields["summary" if _is_summary(block) else "content"]
        return parts

    def _place(self, block: Block) -> dict[str, Any]:
        place = {"item_id": self._opened.fields["id"], "output_index": len(self._output)}
        if block.kind in ("call", "item"):
            return place
        return {**place, "summary_index" if _is_summary(block) else "content_index": block.number}

    def _open_item(self, block: Block) -> Iterable[Frame]:
        fields = self._new_item(block)
        self._item = _Item(fields, block.within)
        # The lists of `fields` grow with later parts; this event must have empty ones.
        added: dict[str, Any] = {name: [] if isinstance(value, list) else value for name, value in fields.items()}
        if block.kind != "item":
            added["status"] = "in_progress"
        yield self._frame("response.output_item.added", output_index=len(self._output), item=added)

    def _new_item(self, block: Block) -> dict[str, Any]:
        own = self._own_item(block)
        match block.kind:
            case "item":
                return {**own, "id": self._id(own, "item", block)}
            case "call":
                custom = block.custom
                fields = {"call_id": self.call_id(block), "name": block.name, "input" if custom else "arguments": ""}
                kind = "custom_tool_call" if custom else "function_call"
                return {**own, "id": self._id(own, "ctc" if custom else "fc", block), "type": kind, **fields}
            case "reasoning":
                content: dict[str, Any] = {} if _is_summary(block) else {"content": []}
                return {**own, "id": self._id(own, "rs", block), "type": "reasoning", "summary": [], **content}
            case _:
                return {"id": self._id(own, "msg", block), "type": "message", "role": "assistant", "content": []}

    def _own_item(self, block: Block) -> dict[str, Any]:
        if self.shape != _SHAPE:
            return {}
        return self.data_of(block.within) if block.within is not None else dict(block.data)

    def _id(self, own: dict[str, Any], prefix: str, block: Block) -> str:
        id = own.get("id")
        if not isinstance(id, str) or not id or id in self._ids:
            seed = f"{self.identity['id']} {len(self._output)} {block.kind}"
            id = f"{prefix}_{blake2b(seed.encode(errors='surrogatepass'), digest_size=12).hexdigest()}"
        self._ids.add(id)
        return id

    def _close_item(self) -> Iterable[Frame]:
        if self._item is None:
            return
        item, self._item = self._item, None
        # Fields that the provider sends only at the end, such as the encrypted content of reasoning.
        late = self.data_of(item.within) if self.shape == _SHAPE else {}
        known = ("id", "type", "content", "summary", "status", "role")
        fields = {**item.fields, **{name: value for name, value in late.items() if name not in known}}
        if fields["type"] in (*_CONTAINERS, "function_call", "custom_tool_call"):
            fields["status"] = "incomplete" if item.cut else "completed"
        yield self._frame("response.output_item.done", output_index=len(self._output), item=fields)
        self._output.append(fields)

    # The end

    def end(self, reason: EndReason) -> Iterable[Frame]:
        out = self.settle(reason)
        if reason not in SUCCESSES:
            return [*out, *self.error(failure_at_end(reason))]
        out += [*self._annotate_late(), *self._close_item()]
        status = "incomplete" if reason in _INCOMPLETE else "completed"
        response = self._response(status, self._output)
        if why := _INCOMPLETE.get(reason):
            response["incomplete_details"] = {"reason": why}
        return [*out, self._frame(f"response.{status}", response=response)]

    def error(self, failure: Failure) -> Iterable[Frame]:
        # Like OpenAI: first the error, which its clients raise, then the failed response if it had begun.
        error = error_object(failure)
        data = {"type": "error", "sequence_number": self._number, "error": error}
        self._number += 1
        yield ErrorFrame.with_json(failure, data, "error")
        if self._begun:
            unfinished = [{**self._item.fields, "status": "incomplete"}] if self._item else []
            code = "server_error" if error["code"] is None else str(error["code"])
            response = self._response("failed", [*self._output, *unfinished])
            yield self._frame(
                "response.failed", response={**response, "error": {"code": code, "message": error["message"]}}
            )

    def response(self, completion: Completion, withheld: Container[int] | None) -> dict[str, Any]:
        if 0 in withheld if withheld is not None else is_withheld(completion, 0):
            self._withheld.choices.add(0)
        frames = [*self.events(list(events_of(completion))), *self.end(completion.end or "completed")]
        whole: dict[str, Any] = msgspec.json.decode(frames[-1].payload)["response"]
        return whole

    def _response(self, status: str, output: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        own = self.details if self.shape == _SHAPE else {}
        known = self.identity
        return {
            **_EMPTY,
            **own,
            "id": known["id"],
            "object": "response",
            "created_at": whole_seconds(known["created"]),
            "model": known["model"],
            "status": status,
            "output": output or [],
            "error": None,
            "incomplete_details": None,
            "usage": _usage(self.usage) if output is not None else None,
        }

    def _frame(self, event: str, **fields: Any) -> Frame:
        data = {"type": event, "sequence_number": self._number, **fields}
        self._number += 1
        return ServerSentEvent(event, msgspec.json.encode(data))


def _is_summary(block: Block) -> bool:
    return block.kind == "reasoning" and block.word != "reasoning_text"


def _stem(block: Block) -> str:
    match block.kind:
        case "text":
            return "output_text"
        case "refusal":
            return "refusal"
        case "reasoning":
            return "reasoning_summary_text" if _is_summary(block) else "reasoning_text"
        case _:
            return "custom_tool_call_input" if block.custom else "function_call_arguments"


def _part(block: Block, text: str) -> dict[str, Any]:
    match block.kind:
        case "text":
            return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        case "refusal":
            return {"type": "refusal", "refusal": text}
        case _:
            return {"type": "summary_text" if _is_summary(block) else "reasoning_text", "text": text}


def _usage(usage: Usage | None) -> dict[str, Any] | None:
    """Convert usage to the names of Responses, in which unknown counts are 0; `None` without usage."""
    if usage is None:
        return None
    if "input_tokens_details" in usage.details and usage.responses == 1:
        return usage.details
    parts = parts_of(usage)
    prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": parts.cached or 0, "cache_write_tokens": parts.cache_write or 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": parts.reasoning or 0},
        "total_tokens": prompt + completion if usage.total_tokens is None else usage.total_tokens,
    }
