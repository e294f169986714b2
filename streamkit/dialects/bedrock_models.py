"""Models on Amazon Bedrock with their own format: Titan, Llama, DeepSeek-R1, the text models of Mistral and Cohere.

https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html. In all of them the last chunk has Bedrock's
metrics. Other dialects read Anthropic, Nova, Cohere's chat, and models that send OpenAI's chunks.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from streamkit.completion import ResponseForm
from streamkit.dialects.base import Dialect
from streamkit.dialects.error_objects import error_in
from streamkit.dialects.fields import changed, count, grown, mapping, mappings, text, without, word
from streamkit.dialects.finish_reasons import is_pending
from streamkit.events import Choice, Completion, Event, Finish, ResponseDetails, TextDelta
from streamkit.sse.events import ServerSentEvent
from streamkit.tokens.usage import usage_of

# The non-streaming response


def result(completion: Completion) -> dict[str, Any]:
    """Build the model's own object: one with the text, or with a list of results."""
    whole = dict(completion.details)
    group = next((name for name in _GROUPS if name in whole), None)
    if group is not None:
        return {**whole, group: [_item(group, choice) for choice in completion.choices]}
    return {**whole, **(_item("", completion.choices[0]) if completion.choices else {})}


def _item(group: str, choice: Choice) -> dict[str, Any]:
    name, reason = _FIELDS[group]
    return {**choice.details, name: choice.text, reason: choice.finish_reason}


# The chunks

_METRICS = "amazon-bedrock-invocationMetrics"
# The fields of the text and of the finish reason, by the list that holds them. An object without a list is Llama's.
_FIELDS = {
    "": ("generation", "stop_reason"),
    "outputs": ("text", "stop_reason"),
    "results": ("outputText", "completionReason"),
    "generations": ("text", "finish_reason"),
    "choices": ("text", "stop_reason"),
}
_GROUPS = ("outputs", "results", "generations", "choices")
_TITAN = "outputText"
_COUNTS = {
    "prompt_token_count": "inputTokenCount",
    "generation_token_count": "outputTokenCount",
    "inputTextTokenCount": "inputTokenCount",
    "totalOutputTextTokenCount": "outputTokenCount",
}
"""Fields of running token counts, with Bedrock's names for them."""
_EMITTED = (*_COUNTS, _METRICS, _TITAN, "generation", "stop_reason", "completionReason", "index", "text", "is_finished")


@dataclass
class BedrockModels(Dialect):
    """Chunks of text. A finish reason proves the end; the metrics in the same chunk are the usage."""

    places = (("generation",), ("outputText",), ("outputs", 0, "text"), ("choices", 0, "text"), ("text",))
    shape: ClassVar[str | None] = "bedrock"
    response_form: ClassVar[ResponseForm | None] = result
    _used: dict[str, Any] = field(default_factory=dict[str, Any], init=False, repr=False)
    _own: dict[str, int] = field(default_factory=dict[str, int], init=False, repr=False)
    _known: dict[str, Any] = field(default_factory=dict[str, Any], init=False, repr=False)

    @classmethod
    def recognizes(cls, event: ServerSentEvent, data: object) -> bool:
        fields = mapping(data)
        if isinstance(fields.get(_TITAN), str) and ("completionReason" in fields or "index" in fields):
            return True
        if isinstance(fields.get("generation"), str) and (
            "stop_reason" in fields or "generation_token_count" in fields
        ):
            return True
        if isinstance(fields.get("is_finished"), bool) and ("text" in fields or "finish_reason" in fields):
            return "event_type" not in fields
        return _group(fields) is not None

    def take(self, item: ServerSentEvent, data: Any, number: int, out: list[Event]) -> None:
        fields, payload, known = mapping(data), item.payload, len(out)
        group = _group(fields)
        whole = group if group is not None else _streamed_group(fields)
        if whole is None and (error := error_in(data)):
            self.fail(error, number, out)
            return
        if whole is not None:
            beside = without(fields, (group or "", *_EMITTED)) if group or not whole else {}
            self._emit_details(beside | ({whole: []} if whole else {}), payload, out)
        self._take_usage(fields, payload, out)
        if group:
            for index, choice in enumerate(mappings(fields[group])):
                self._piece(choice, count(choice.get("index")) or index, *_FIELDS[group], payload, out)
        elif whole is not None:
            self._piece(fields, count(fields.get("index")) or 0, *_FIELDS[whole], payload, out)
        if len(out) == known and whole is None:
            self.unknown_event(item.event, data, payload, out)

    def _piece(
        self, fields: dict[str, Any], index: int, name: str, ending: str, payload: bytes, out: list[Event]
    ) -> None:
        self.finished.setdefault(index, None)
        if piece := text(fields.get(name)):
            out.append(TextDelta(piece, index, payload=payload))
        if (reason := word(fields.get(ending))) and not is_pending(reason):
            beside = without(fields, (name, ending, *_EMITTED))
            if (tokens := count(fields.get("totalOutputTextTokenCount"))) is not None:
                beside["tokenCount"] = tokens
            if beside:
                out.append(ResponseDetails(beside, self.shape, index, payload=payload))
            self.finished[index] = reason
            out.append(Finish(reason, index, payload=payload))

    def _emit_details(self, beside: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        if new := changed(beside, self._known):
            self._known |= new
            out.append(ResponseDetails(new, self.shape, payload=payload))

    def _take_usage(self, fields: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        own = {name: counted for name in _COUNTS if (counted := count(fields.get(name))) is not None}
        if any(word(fields.get(ending)) for _, ending in _FIELDS.values()) or "results" in fields:
            # The model's own counts are fields of its response, and final only now.
            self._emit_details(without({**self._own, **own}, ("totalOutputTextTokenCount",)), payload, out)
        self._own |= own
        usage = {_COUNTS[name]: counted for name, counted in own.items()} | mapping(fields.get(_METRICS))
        if counts := [
            counted for each in mappings(fields.get("results")) if (counted := count(each.get("tokenCount")))
        ]:
            usage["outputTokenCount"] = sum(counts)
        if usage and (used := grown(self._used, usage)) != self._used:
            self._used = used
            out.append(usage_of(used, payload))


def _streamed_group(fields: dict[str, Any]) -> str | None:
    """Return the list that holds this chunk's fields in a non-streaming response; `None` if it is not such a chunk."""
    if _TITAN in fields:
        return "results"
    if "is_finished" in fields:
        return "generations"
    return "" if "generation" in fields else None


def _group(fields: dict[str, Any]) -> str | None:
    for group in _GROUPS:
        name, ending = _FIELDS[group]
        if any(isinstance(each.get(name), str) and ending in each for each in mappings(fields.get(group))):
            return group
    return None
