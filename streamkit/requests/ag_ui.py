"""Read requests of the Agent User Interaction Protocol, `RunAgentInput`. (https://docs.ag-ui.com/sdk/js/core/types)"""

from collections.abc import Iterator

from streamkit.requests.conversation import (
    STREAMED,
    CallPart,
    Content,
    Conversation,
    OfferedTool,
    ResultPart,
    TextPart,
    Turn,
    TurnPart,
)
from streamkit.requests.fields import Fields, items_of, unknown
from streamkit.requests.losses import PROVIDER_FILE, REASONING, Losses

OF_THE_RUN = ("threadId", "runId", "parentRunId", "protocolVersion")
"""Fields that identify the run and are not sent to the model."""
_MEDIA = ("image", "audio", "video", "document")


def read(body: object, losses: Losses) -> Conversation:
    """Read a request body. It has no model; the server chooses one."""
    fields = Fields(body, "", losses, camel_case=True)
    for name in OF_THE_RUN:
        fields.value(name)
    conversation = Conversation(options=dict(STREAMED))
    for path, value in fields.items("messages"):
        _read_message(Fields(value, path, losses, camel_case=True), conversation.turns)
    for path, value in fields.items("tools"):
        tool = Fields(value, path, losses, camel_case=True)
        description, schema = tool.text("description"), tool.mapping("parameters")
        conversation.tools.append(OfferedTool(tool.needed("name"), description, schema, path=path))
        tool.close()
    for name in ("state", "context", "forwardedProps", "resume"):
        fields.lose(name, "not a message: put what the model needs from it into the instructions")
    fields.close()
    return conversation


def _read_message(message: Fields, turns: list[Turn]) -> None:
    message.value("id")
    match message.needed("role"):
        case "system" | "developer" | "user" as role:
            turns.append(Turn(role, [*_content(message)], message.text("name"), message.path))
        case "assistant":
            calls = [_call(path, value, message.losses) for path, value in message.items("toolCalls")]
            parts: list[TurnPart] = [*_content(message), *calls]
            turns.append(Turn("assistant", parts, message.text("name"), message.path))
        case "tool":
            part = _result(message)
            if turns and turns[-1].parts and isinstance(turns[-1].parts[0], ResultPart):
                turns[-1].parts.append(part)
            else:
                turns.append(Turn("user", [part], path=message.path))
        case "reasoning":
            message.losses.add(message.path, REASONING)
            return
        case "activity":
            message.losses.add(message.path, "shown by the front end, not sent to a model")
            return
        case _:
            raise unknown(message.at("role"), "system, developer, user, assistant, tool, reasoning or activity")
    message.close()


def _call(path: str, value: object, losses: Losses) -> CallPart:
    call = Fields(value, path, losses, camel_case=True)
    if (call.text("type") or "function") != "function":
        raise unknown(call.at("type"), "function")
    function = call.fields("function")
    found = CallPart(call.needed("id"), function.needed("name"), function.text("arguments") or "", path=path)
    function.close()
    call.close()
    return found


def _result(message: Fields) -> ResultPart:
    id, error = message.needed("toolCallId"), message.text("error")
    content = [*_content(message)]
    if error is not None:
        # Clients send the error instead of content, or in addition to it.
        content = [part for part in content if not (isinstance(part, TextPart) and part.text in ("", error))]
        content.append(TextPart(error, path=message.at("error")))
    return ResultPart(id, content, error is not None, message.path)


def _content(message: Fields) -> Iterator[Content]:
    value = message.value("content")
    if isinstance(value, str):
        if value:
            yield TextPart(value, path=message.at("content"))
    else:
        for path, item in items_of(value, message.at("content")):
            if (found := _part(Fields(item, path, message.losses, camel_case=True))) is not None:
                yield found


def _part(part: Fields) -> Content | None:
    part.value("id")
    kind = part.needed("type")
    if kind == "text":
        found: Content | None = TextPart(part.needed("text"), path=part.path)
    elif kind in _MEDIA:
        source = part.fields("source")
        place, value, media_type = source.needed("type"), source.needed("value"), source.text("mimeType")
        if place == "file":
            part.losses.add(part.path, PROVIDER_FILE)
            return None
        if place not in ("data", "url"):
            raise unknown(source.at("type"), "data, url or file")
        media_type = media_type or {"image": "image/", "document": "application/pdf"}.get(kind)
        data, url = (value, None) if place == "data" else (None, value)
        found = source.media(part.path, data, url, media_type)
        source.close()
    elif kind == "binary":  # before version 1.0
        data = part.text("data")
        url = None if data else part.text("url")
        found = part.media(part.path, data, url, part.needed("mimeType"), "filename") if data or url else None
    else:
        raise unknown(part.at("type"), "text, image, audio, video or document")
    if found is None:
        part.losses.add(part.path)
        return None
    part.close()
    return found
