"""A request of one API as a request of another."""

import copy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from streamkit.errors import PipelineError, ProtocolError
from streamkit.requests import ag_ui, ai_sdk, anthropic, chat, gemini, responses
from streamkit.requests.conversation import CallPart, Conversation, TextPart, Turn, TurnPart
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
MAX_TOKENS = 8192
MIXED = ("responses",)
"""APIs whose instructions have more than text."""
NO_BLANKS = ("anthropic", "gemini")
"""APIs that refuse text without a visible character."""


class Translation(NamedTuple):
    """The body for the other API, and what of the request it lacks, or has only in another form."""

    body: dict[str, Any]
    untranslated: list[Untranslated]


def translate(body: Mapping[str, Any], *, source: str, target: str, max_tokens: int = MAX_TOKENS) -> Translation:
    """A request's body in the form of another API. `body` is not changed, and not checked further than it is read.

    `source` and `target` are `openai` (chat completions), `anthropic` (Messages), `responses` or `gemini` (generateContent);
    `source` may be a front end's as well, `ai-sdk` (`useChat`) or `ag-ui` (`RunAgentInput`), whose answer `Emit` of that name
    writes. Between two equal ones the body stays as it is. `max_tokens` is the limit for Messages, which demand one, if the
    request has none. The target's model is the caller's to choose. Gemini's API has the model and whether it streams in its
    address, not in the body: from there, add `model` and `stream` to the result. A front end's request has no model at all.

    A field that is null or empty says nothing and is no loss; neither are the ids that Responses gave to earlier items.

    A body that is no request of the source raises `ProtocolError`, with the place and the type of what was found, and an unknown
    `source` or `target` `PipelineError`.
    """
    for name, value, known in (("source", source, [*SOURCES]), ("target", target, [*TARGETS])):
        if value not in known:
            raise PipelineError(f"{name}: expected one of {', '.join(known)}; found {value!r}")
    if depth_of(body) > DEEPEST:
        raise ProtocolError(f"expected a request that is nested at most {DEEPEST} levels deep, found a deeper one")
    if source == target:
        return Translation(copy.deepcopy(dict(body)), [])
    losses = Losses(_PROSE[target])
    conversation = SOURCES[source](body, losses)
    turns = (_prepared(turn, target, losses) for turn in conversation.turns)
    conversation.turns = [turn for turn in turns if turn.parts]
    _note_prefill(conversation, target, losses)
    return Translation(TARGETS[target](conversation, losses, max_tokens), losses)


def _prepared(turn: Turn, target: str, losses: Losses) -> Turn:
    """The turn with the parts that the target takes from its speaker; one without any is left out."""
    parts: list[TurnPart] = []
    for part in turn.parts:
        if turn.speaker in ("system", "developer") and target not in MIXED and not isinstance(part, TextPart):
            losses.add(part.path, f"instructions of {losses.target} are text")
        elif target not in NO_BLANKS or not isinstance(part, TextPart) or part.text.strip():
            parts.append(part)
        elif part.text:
            losses.add(part.path, f"{losses.target} take no text of white space alone")
    if not parts:
        losses.add(turn.path, "left out, since it has no content")
    return Turn(turn.speaker, parts, turn.name, turn.path)


def _note_prefill(conversation: Conversation, target: str, losses: Losses) -> None:
    last = conversation.turns[-1] if conversation.turns else None
    if last is None or last.speaker != "assistant" or any(isinstance(part, CallPart) for part in last.parts):
        return
    if conversation.prefills and target != "anthropic":
        losses.add(
            last.path, "a last message of the assistant is an earlier answer, and not a beginning that is continued"
        )
    elif target == "anthropic":
        losses.add(
            last.path, "a last message of the assistant is a beginning that is continued, and not an earlier answer"
        )
