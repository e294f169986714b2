"""IBM watsonx.ai's text generation: `/ml/v1/text/generation_stream`, and `/ml/v1/text/generation` without streaming.

https://cloud.ibm.com/apidocs/watsonx-ai#text-generation-stream. Its chat API sends OpenAI's chunks.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from streamkit.completion import ResponseForm
from streamkit.dialects.base import Dialect
from streamkit.dialects.error_objects import error_in
from streamkit.dialects.fields import changed, count, mapping, mappings, text, without, word
from streamkit.dialects.finish_reasons import is_pending
from streamkit.dialects.times import seconds
from streamkit.events import Completion, Event, Finish, ProviderNotice, ResponseDetails, ResponseStart, TextDelta
from streamkit.sse.events import ServerSentEvent
from streamkit.tokens.usage import usage_of

# The non-streaming response


def generation(completion: Completion) -> dict[str, Any]:
    """Build the object with the results."""
    results = [
        {**choice.details, "generated_text": choice.text, "stop_reason": choice.finish_reason or "not_finished"}
        for choice in completion.choices
    ]
    return {**completion.details, "results": results}


# The events

_COUNTS = _INPUT, _GENERATED = ("input_token_count", "generated_token_count")


@dataclass
class Watsonx(Dialect):
    """Chunks with `results`. There is no end marker: a `stop_reason` other than `not_finished` proves the end."""

    shape: ClassVar[str | None] = "watsonx"
    response_form: ClassVar[ResponseForm | None] = generation
    _model: str | None = field(default=None, init=False, repr=False)
    _details: dict[str, Any] = field(default_factory=dict[str, Any], init=False, repr=False)
    _results: dict[int, dict[str, Any]] = field(default_factory=dict[int, dict[str, Any]], init=False, repr=False)
    _generated: dict[int, int] = field(default_factory=dict[int, int], init=False, repr=False)
    _used: dict[str, int] = field(default_factory=dict[str, int], init=False, repr=False)

    @classmethod
    def recognizes(cls, event: ServerSentEvent, data: object) -> bool:
        return any("generated_text" in result for result in mappings(mapping(data).get("results")))

    def take(self, item: ServerSentEvent, data: Any, number: int, out: list[Event]) -> None:
        fields, payload, known = mapping(data), item.payload, len(out)
        results = mappings(fields.get("results"))
        error = error_in(data) if fields.get("errors") or not results else None
        if error:
            self.fail(error, number, out)
            return
        model = text(fields.get("model_id"))
        if model and model != self._model:
            self._model = model
            out.append(ResponseStart(created=seconds(fields.get("created_at")), model=model, payload=payload))
        details = without(changed(fields, self._details), ("results",))
        if details and results:
            self._details |= details
            out.append(ResponseDetails(details, self.shape, payload=payload))
        for index, result in enumerate(results):
            self._result(result, index, payload, out)
        if fields.get("system"):
            out.append(ProviderNotice("system", fields["system"], payload=payload))
        if len(out) == known and not results:
            self.unknown_event(item.event, data, payload, out)

    def _result(self, result: dict[str, Any], index: int, payload: bytes, out: list[Event]) -> None:
        self.finished.setdefault(index, None)
        if piece := text(result.get("generated_text")):
            out.append(TextDelta(piece, index, payload=payload))
        counts = {name: count(result.get(name)) for name in _COUNTS}
        if any(counts.values()):
            self._take_usage(counts, index, payload, out)
        beside = without(result, ("generated_text", "stop_reason"))
        known = self._results.setdefault(index, beside)
        known |= {name: value for name, value in beside.items() if value}
        if (reason := word(result.get("stop_reason"))) and not is_pending(reason):
            out.append(ResponseDetails(dict(known), self.shape, index, payload=payload))
            self.finished[index] = reason
            out.append(Finish(reason, index, payload=payload))

    def _take_usage(self, counts: dict[str, int | None], index: int, payload: bytes, out: list[Event]) -> None:
        # Both are running counts. The input count is sent once and is 0 afterwards; it is the same for every result.
        used, known = self._used, self._generated.get(index, 0)
        if prompt := counts[_INPUT]:
            used[_INPUT] = max(used.get(_INPUT, 0), prompt)
        if (generated := counts[_GENERATED]) is not None:
            self._generated[index] = max(known, generated)
            used[_GENERATED] = used.get(_GENERATED, 0) + self._generated[index] - known
        out.append(usage_of(used, payload))
