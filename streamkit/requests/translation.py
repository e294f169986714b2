"""Translate a request of one API into a request of another."""

import copy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from streamkit.errors import PipelineError, ProtocolError
from streamkit.requests import ag_ui, ai_sdk, anthropic, chat, gemini, responses
from streamkit.requests.conversation import CallPart, Conversation, TextPart, Turn, TurnPart
from streamkit.requests.fields import Fields
from streamkit.requests.losses import Losses, Untranslated
from streamkit.sse.json_text import DEEPEST, depth_of

Read: TypeAlias = Callable[[object, Losses], Conversation]
Write: TypeAlias = Callable[[Conversation, Losses, int], dict[str, Any]]

SOURCES: Mapping[str, Read] = {
    "openai": chat.read,
    "anthropic": anthropic.read,
    "responses": responses.read,
    "gemini": gemini.read,
    "ai-sdk": ai_sdk.read,
    "ag-ui": ag_ui.read,
}
TARGETS: Mapping[str, Write] = {
    "openai": chat.write,
    "anthropic": anthropic.write,
    "responses": responses.write,
    "gemini": gemini.write,
}
_PROSE = {"openai": "chat completions", "anthropic": "Messages", "responses": "Responses", "gemini": "Gemini"}
REQUIRED: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("openai", "anthropic", "ai-sdk", "ag-ui"), ("messages",)),
    # "One of 'input' or 'previous_response_id' or 'prompt' or 'conversation_id' must be provided": the error of OpenAI's API.
    "responses": ("input", "previous_response_id", "conversation", "prompt"),
    "gemini": ("contents",),
}
"""The fields of which every request of a source has at least one."""
MAX_TOKENS = 8192
MIXED = ("responses",)
"""APIs whose instructions may have more than text."""
NO_BLANKS = ("anthropic", "gemini")
"""APIs that reject text without a visible character."""


class Translation(NamedTuple):
    """The body for the other API, and the parts of the request that it lacks or has only in another form."""

    body: dict[str, Any]
    untranslated: list[Untranslated]


def translate(body: Mapping[str, Any], *, source: str, target: str, max_tokens: int = MAX_TOKENS) -> Translation:
    """Translate a request body into that of another API. `body` is not changed, and only the fields that are read are checked.

    `source` and `target` are `openai` (chat completions), `anthropic` (Messages), `responses` or `gemini` (generateContent).
    `source` may also be a front end's request, `ai-sdk` (`useChat`) or `ag-ui` (`RunAgentInput`); `Emit` with the same name
    writes the answer to it. If both are equal, the body is copied unchanged. `max_tokens`: the limit for Messages, which require
    one, if the request has none. The caller chooses the target's model. Gemini's API has the model and whether to stream in its
    URL, not in the body: for a request from there, add `model` and `stream` to the result. A front end's request usually has no
    model.

    Fields that are null or empty are not reported as losses, nor are ids that Responses gave to earlier items.

    A body that is not a request of the source raises `ProtocolError` with the path and the type of what was found; so does one
    without `messages`, `contents` or, for Responses, `input` or a reference to stored content. An unknown `source` or `target`
    raises `PipelineError`.
    """
    for name, value, known in (("source", source, [*SOURCES]), ("target", target, [*TARGETS])):
        if value not in known:
            raise PipelineError(f"{name}: expected one of {', '.join(known)}; found {value!r}")
    if depth_of(body) > DEEPEST:
        raise ProtocolError(f"expected a request that is nested at most {DEEPEST} levels deep, found a deeper one")
    losses = Losses(_PROSE[target])
    _check_content(Fields(body, "", losses), source)
    if source == target:
        return Translation(copy.deepcopy(dict(body)), [])
    conversation = SOURCES[source](body, losses)
    turns = (_prepared(turn, target, losses) for turn in conversation.turns)
    conversation.turns = [turn for turn in turns if turn.parts]
    _note_prefill(conversation, target, losses)
    return Translation(TARGETS[target](conversation, losses, max_tokens), losses)


def _check_content(fields: Fields, source: str) -> None:
    if any(map(fields.has, REQUIRED[source])):
        return
    first, *others = REQUIRED[source]
    if others:
        raise ProtocolError(f"request: expected {', '.join((first, *others[:-1]))} or {others[-1]}, found none of them")
    raise ProtocolError(f"{first}: expected an array, found nothing")


def _prepared(turn: Turn, target: str, losses: Losses) -> Turn:
    """Return the turn with the parts that the target accepts from its role. A turn without parts is a loss."""
    parts: list[TurnPart] = []
    for part in turn.parts:
        if turn.role in ("system", "developer") and target not in MIXED and not isinstance(part, TextPart):
            losses.add(part.path, f"instructions of {losses.target} can only have text")
        elif target not in NO_BLANKS or not isinstance(part, TextPart) or part.text.strip():
            parts.append(part)
        elif part.text:
            losses.add(part.path, f"only white space, which {losses.target} would reject")
    if not parts:
        losses.add(turn.path, "left out, because it has no content")
    return Turn(turn.role, parts, turn.name, turn.path)


def _note_prefill(conversation: Conversation, target: str, losses: Losses) -> None:
    last = conversation.turns[-1] if conversation.turns else None
    if last is None or last.role != "assistant" or any(isinstance(part, CallPart) for part in last.parts):
        return
    if conversation.prefills and target != "anthropic":
        losses.add(last.path, "a final assistant message is treated as an earlier answer, not as a prefill to continue")
    elif target == "anthropic":
        losses.add(last.path, "a final assistant message is treated as a prefill to continue, not as an earlier answer")
