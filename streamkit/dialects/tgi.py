"""Hugging Face's Text Generation Inference: its own API `/generate_stream`, `/generate`, and `/` of an inference endpoint.

https://huggingface.co/docs/text-generation-inference/messages_api and
https://huggingface.github.io/text-generation-inference/. Its `/v1/chat/completions` sends OpenAI's chunks.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from streamkit.completion import ResponseForm
from streamkit.dialects.base import Dialect
from streamkit.dialects.emitted_text import EmittedText
from streamkit.dialects.error_objects import error_in
from streamkit.dialects.fields import count, emptied, mapping, mappings, text, without, word
from streamkit.dialects.finish_reasons import is_pending
from streamkit.events import Completion, Event, Finish, Logprobs, ResponseDetails, TextDelta
from streamkit.sse.events import ServerSentEvent
from streamkit.tokens.usage import usage_of

# The non-streaming response


def generation(completion: Completion) -> dict[str, Any]:
    """Build the object with the text, and with its details and tokens if they were sent."""
    whole: dict[str, Any] = {"generated_text": completion.text, **completion.details}
    choice = completion.choices[0] if completion.choices else None
    tokens = ((choice.logprobs if choice else None) or {}).get("generated")
    if "details" in whole:
        details = mapping(whole["details"])
        if choice and choice.finish_reason:
            details = {**details, "finish_reason": choice.finish_reason}
        whole["details"] = {**details, "tokens": tokens} if tokens else details
    return whole


# The events

_COUNTS = ("input_length", "generated_tokens")


@dataclass
class TextGenerationInference(Dialect):
    """One event per `token`. It is `done` at the event with the `generated_text`, which may have more text than the tokens.

    Special tokens, such as the end token, are not part of the text. Tokens and their log probabilities are `Logprobs`.
    """

    shape: ClassVar[str | None] = "tgi"
    response_form: ClassVar[ResponseForm | None] = generation
    _emitted: EmittedText = field(default_factory=EmittedText, init=False, repr=False)

    @classmethod
    def recognizes(cls, event: ServerSentEvent, data: object) -> bool:
        fields = mapping(next(iter(mappings(data)), data))
        return "text" in mapping(fields.get("token")) or isinstance(fields.get("generated_text"), str)

    def take(self, item: ServerSentEvent, data: Any, number: int, out: list[Event]) -> None:
        # An inference endpoint returns a list with one object.
        answers = mappings(data)
        fields, payload = answers[0] if len(answers) == 1 else mapping(data), item.payload
        token, whole = mapping(fields.get("token")), text(fields.get("generated_text"))
        # https://huggingface.co/docs/text-generation-inference: `error` is a text, with `error_type` beside it.
        error = error_in(data) if not token and whole is None else None
        if error:
            self.fail(error, number, out)
            return
        if not token and whole is None:
            self.unknown_event(item.event, data, payload, out)
            return
        if 0 not in self.finished:
            self.finished[0] = None
            out.append(ResponseDetails(shape=self.shape, payload=payload))
        if token:
            self._token(fields, token, payload, out)
        if whole is not None:
            self._conclude(fields, whole, payload, out)
            self.finish(out, number)

    def _token(self, fields: dict[str, Any], token: dict[str, Any], payload: bytes, out: list[Event]) -> None:
        piece = text(token.get("text"))
        if piece and token.get("special") is not True:
            self._emitted.add(piece)
            out.append(TextDelta(piece, payload=payload))
        logprobs = {"generated": [token]}
        if top := mappings(fields.get("top_tokens")):
            logprobs["top_tokens"] = [top]  # type: ignore[list-item]
        out.append(Logprobs(logprobs, payload=payload))

    def _conclude(self, fields: dict[str, Any], whole: str, payload: bytes, out: list[Event]) -> None:
        rest = self._emitted.rest(whole)
        if rest is None:
            # For example, `return_full_text` puts the prompt before the text.
            self.conflict("content", 0, payload, out)
        if rest:
            out.append(TextDelta(rest, payload=payload))
        details = mapping(fields.get("details"))
        if tokens := mappings(details.get("tokens")):
            out.append(Logprobs({"generated": tokens}, payload=payload))
        if details:
            beside = {"details": emptied(without(details, ("input_length",)), ("tokens",))}
            out.append(ResponseDetails(beside, payload=payload))
            if used := {name: details[name] for name in _COUNTS if count(details.get(name)) is not None}:
                out.append(usage_of(used, payload))
        if (reason := word(details.get("finish_reason"))) and not is_pending(reason):
            self.finished[0] = reason
            out.append(Finish(reason, payload=payload))
