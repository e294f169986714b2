"""Read requests of Vercel's `useChat`: `{"id": …, "messages": [UIMessage, …]}`. (https://ai-sdk.dev/docs/reference/ai-sdk-core/ui-message)

Parts are converted as in the AI SDK's own `convertToModelMessages`.
"""

import json
from collections.abc import Iterator

from streamkit.requests.conversation import (
    STREAMED,
    CallPart,
    Content,
    Conversation,
    ResultPart,
    TextPart,
    Turn,
    TurnPart,
)
from streamkit.requests.fields import Fields, unknown
from streamkit.requests.losses import PROVIDER_FILE, REASONING, Losses
from streamkit.requests.openai import from_data_url

OF_THE_CHAT = ("id", "trigger", "messageId")
"""Fields that identify the chat and the message and are not sent to the model."""
_DENIED = "Tool call execution denied."
"""The result of a call that the user denied without a reason, in the AI SDK's wording."""
_UNKNOWN = "unknown error"
"""The result of a call that failed without a message, in the AI SDK's wording."""
_PENDING = "the call has no result yet: run the tool and add one"
_SHOWN = "shown by the front end, not sent to a model"
_TOOL = "tool-"


def read(body: object, losses: Losses) -> Conversation:
    """Read a request body. It has no tools and usually no model; the server adds them."""
    fields = Fields(body, "", losses)
    for name in OF_THE_CHAT:
        fields.value(name)
    options = dict(STREAMED)
    if model := fields.known("model"):
        options["model"] = model
    conversation = Conversation(options=options)
    messages = [Fields(value, path, losses) for path, value in fields.items("messages")]
    roles = [message.needed("role") for message in messages]
    latest = max((at for at, role in enumerate(roles) if role == "user"), default=-1)
    for at, (role, message) in enumerate(zip(roles, messages, strict=True)):
        conversation.turns += _turns(role, message, answered=at < latest)
    fields.close()
    return conversation


def _turns(role: str, message: Fields, *, answered: bool) -> Iterator[Turn]:
    message.value("id")
    message.lose("metadata", _SHOWN)
    parts = [Fields(value, path, message.losses) for path, value in message.items("parts")]
    message.close()
    match role:
        case "system" | "user":
            yield Turn(role, [*_content(parts)], path=message.path)
        case "assistant":
            yield from _answer(parts, message.path, answered=answered)
        case _:
            raise unknown(message.at("role"), "system, user or assistant")


def _content(parts: list[Fields]) -> Iterator[Content]:
    for part in parts:
        kind = part.needed("type")
        if kind not in ("text", "file"):
            part.losses.add(part.path, _SHOWN if _is_shown(kind) else "not allowed in such a message")
        elif (found := _text_or_file(kind, part)) is not None:
            yield found


def _answer(parts: list[Fields], path: str, *, answered: bool) -> Iterator[Turn]:
    # Yield step by step: the assistant's turn, then the results of its tool calls. `answered`: a later user message exists.
    step = _AnswerStep(path, answered=answered)
    for part in parts:
        kind = part.needed("type")
        if kind == "step-start":
            part.close()
            yield from step.turns()
            step = _AnswerStep(path, answered=answered)
        elif kind == "steering-message":
            yield from step.turns()
            step = _AnswerStep(path, answered=answered)
            inner = [Fields(value, at, part.losses) for at, value in part.items("parts")]
            part.value("id")
            part.close()
            yield Turn("user", [*_content(inner)], path=part.path)
        else:
            step.add(kind, part)
    yield from step.turns()


class _AnswerStep:
    def __init__(self, path: str, *, answered: bool) -> None:
        self._path = path
        self._answered = answered
        self._answer_parts: list[TurnPart] = []
        self._results: list[TurnPart] = []

    def turns(self) -> Iterator[Turn]:
        if self._answer_parts:
            yield Turn("assistant", self._answer_parts, path=self._path)
        if self._results:
            yield Turn("user", self._results, path=self._path)

    def add(self, kind: str, part: Fields) -> None:
        if kind in ("text", "file"):
            if (found := _text_or_file(kind, part)) is not None:
                self._answer_parts.append(found)
        elif kind == "dynamic-tool":
            self._call(part.needed("toolName"), part)
        elif kind.startswith(_TOOL):
            self._call(kind.removeprefix(_TOOL), part)
        elif kind in ("reasoning", "reasoning-file"):
            part.losses.add(part.path, REASONING)
        else:
            part.losses.add(part.path, _SHOWN if _is_shown(kind) else None)

    def _call(self, name: str, part: Fields) -> None:
        state, id = part.needed("state"), part.needed("toolCallId")
        if part.flag("providerExecuted"):
            part.losses.add(part.path, "a call that the provider ran itself")
            return
        if state == "approval-requested" and self._answered:
            part.losses.add(part.path, "an approval request superseded by a later message")
            return
        if state == "input-streaming":
            part.losses.add(part.path, "an incomplete call")
            return
        given = part.value("input")
        if given is None and state == "output-error":
            given = part.value("rawInput")
        arguments = "{}" if given is None else _json(given, part.at("input"))
        self._answer_parts.append(CallPart(id, name, arguments, path=part.path))
        approval = part.fields("approval")
        if state == "output-denied" or (state == "approval-responded" and approval.flag("approved") is False):
            self._result(id, approval.text("reason") or _DENIED, part, failed=True)
        elif state == "output-error":
            error = part.text("errorText")
            self._result(id, _UNKNOWN if error is None else error, part, failed=True)
        elif state == "output-available":
            output = part.value("output")
            self._result(id, output if isinstance(output, str) else _json(output, part.at("output")), part)
        elif state in ("input-available", "approval-requested", "approval-responded"):
            part.losses.add(part.at("state"), _PENDING)
        else:
            raise unknown(part.at("state"), "the state of a call")
        approval.close(_SHOWN)
        part.close(_SHOWN)

    def _result(self, id: str, text: str, part: Fields, *, failed: bool = False) -> None:
        self._results.append(ResultPart(id, [TextPart(text, path=part.path)], failed, part.path))


def _text_or_file(kind: str, part: Fields) -> Content | None:
    part.value("state")
    if kind == "text":
        found: Content | None = TextPart(part.needed("text"), path=part.path)
    elif part.has("providerReference"):
        part.losses.add(part.path, PROVIDER_FILE)
        return None
    else:
        media_type, url = part.needed("mediaType"), part.needed("url")
        data, stated = from_data_url(url)
        # The type may be a family only, such as `image`.
        kind = media_type if "/" in media_type and not media_type.endswith("/*") else stated or media_type + "/"
        found = part.media(part.path, data, url if data is None else None, kind, "filename")
        if found is None:
            part.losses.add(part.path)
            return None
    part.close()
    return found


def _is_shown(kind: str) -> bool:
    return kind.startswith(("data-", "source-"))


def _json(value: object, path: str) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError):
        raise unknown(path, "JSON") from None
