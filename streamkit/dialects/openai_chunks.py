"""The chunks of OpenAI's completions as structs, and the reading of chunks that do not fit them.

A chunk of the usual form is decoded straight into the structs; what they don't name costs nothing. One of another form (an
index that is a string, a content that is a list of parts) is read leniently into the same structs.
"""

from typing import Any, cast

import msgspec

from streamkit.dialects.fields import mappings, text, word


class Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class Custom(msgspec.Struct, gc=False):
    # What a custom tool has in the place of a function; its input is text of any form.
    name: str | None = None
    input: str | None = None


class ToolCall(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: Function | None = None
    custom: Custom | None = None


class Message(msgspec.Struct, gc=False):
    # A `delta`, or the `message` of a plain response.
    content: str | None = None
    role: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: Function | None = None
    audio: dict[str, Any] | None = None
    annotations: list[dict[str, Any]] | None = None
    reasoning_details: list[dict[str, Any]] | None = None
    # OpenRouter's; and the parts of a content that is a list which are no text.
    images: list[dict[str, Any]] | None = None


class Choice(msgspec.Struct, gc=False):
    index: int = 0
    delta: Message | None = None
    text: str | None = None
    message: Message | None = None
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None
    content_filter_results: dict[str, Any] | None = None
    content_filter_result: dict[str, Any] | None = None
    content_filter_offsets: dict[str, Any] | None = None


class Chunk(msgspec.Struct, gc=False):
    # `null` is a chunk with nothing in it; without the key it is no chunk.
    choices: list[Choice] | msgspec.UnsetType | None = msgspec.UNSET
    id: str | None = None
    object: str | None = None
    created: int | float | None = None
    model: str | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    usage: dict[str, Any] | None = None
    error: Any = None
    prompt_filter_results: Any = None
    prompt_annotations: Any = None  # what Azure called them before
    moderation: Any = None
    x_groq: dict[str, Any] | None = None  # has Groq's usage
    base_resp: dict[str, Any] | None = None  # has MiniMax's errors


_decode = msgspec.json.Decoder(Chunk).decode


def read_chunk(payload: str) -> Chunk | None:
    """The chunk, `None` for JSON that is no object. What can't be read as JSON raises one of `base.NOT_JSON`."""
    try:
        return _decode(payload)
    except msgspec.DecodeError:
        return _lenient(payload)


def _lenient(payload: str) -> Chunk | None:
    data = msgspec.json.decode(payload)
    if not isinstance(data, dict):
        return None
    chunk = cast(dict[str, Any], data)
    return Chunk(
        choices=[_choice(choice) for choice in mappings(chunk["choices"])] if "choices" in chunk else msgspec.UNSET,
        id=text(chunk.get("id")),
        object=text(chunk.get("object")),
        created=_number(chunk.get("created")),
        model=text(chunk.get("model")),
        system_fingerprint=text(chunk.get("system_fingerprint")),
        service_tier=text(chunk.get("service_tier")),
        usage=_dict(chunk.get("usage")),
        error=chunk.get("error"),
        prompt_filter_results=chunk.get("prompt_filter_results"),
        prompt_annotations=chunk.get("prompt_annotations"),
        moderation=chunk.get("moderation"),
        x_groq=_dict(chunk.get("x_groq")),
        base_resp=_dict(chunk.get("base_resp")),
    )


def _choice(choice: dict[str, Any]) -> Choice:
    return Choice(
        index=_index(choice.get("index")) or 0,
        delta=_message(choice.get("delta")),
        text=text(choice.get("text")),
        message=_message(choice.get("message")),
        finish_reason=word(choice.get("finish_reason")),
        logprobs=_dict(choice.get("logprobs")),
        content_filter_results=_dict(choice.get("content_filter_results")),
        content_filter_result=_dict(choice.get("content_filter_result")),
        content_filter_offsets=_dict(choice.get("content_filter_offsets")),
    )


def _message(message: Any) -> Message | None:
    if not isinstance(message, dict):
        return None
    fields = cast(dict[str, Any], message)
    content, thinking = _content(fields.get("content"))
    return Message(
        content=content,
        role=text(fields.get("role")),
        refusal=text(fields.get("refusal")),
        reasoning_content=text(fields.get("reasoning_content")) or thinking,
        reasoning=text(fields.get("reasoning")),
        tool_calls=[_call(call) for call in mappings(fields.get("tool_calls"))],
        function_call=_function(fields.get("function_call")),
        audio=_dict(fields.get("audio")),
        annotations=mappings(fields.get("annotations")),
        reasoning_details=mappings(fields.get("reasoning_details")),
        images=[*_other_parts(fields.get("content")), *mappings(fields.get("images"))],
    )


def _content(content: Any) -> tuple[str | None, str | None]:
    # Mistral sends a list of parts once the model has thought: {"type": "thinking", "thinking": [{"text": …}]}, {"text": …}.
    if not isinstance(content, list):
        return text(content), None
    texts, thoughts = list[str](), list[str]()
    for part in cast(list[Any], content):
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict):
            fields = cast(dict[str, Any], part)
            texts.append(text(fields.get("text")) or "")
            words, thought = _content(fields.get("thinking"))
            thoughts.append((words or "") + (thought or ""))
    return "".join(texts), "".join(thoughts) or None


def _other_parts(content: Any) -> list[dict[str, Any]]:
    return [part for part in mappings(content) if "text" not in part and "thinking" not in part]


def _call(call: dict[str, Any]) -> ToolCall:
    return ToolCall(
        index=_index(call.get("index")),
        id=text(call.get("id")),
        type=text(call.get("type")),
        function=_function(call.get("function")),
        custom=_custom(call.get("custom")),
    )


def _function(function: Any) -> Function | None:
    if not isinstance(function, dict):
        return None
    fields = cast(dict[str, Any], function)
    arguments = fields.get("arguments")
    # Some servers send the arguments as an object; its JSON is what the others would have sent.
    if isinstance(arguments, dict | list):
        arguments = msgspec.json.encode(arguments).decode()
    return Function(text(fields.get("name")), text(arguments))


def _custom(custom: Any) -> Custom | None:
    if not isinstance(custom, dict):
        return None
    fields = cast(dict[str, Any], custom)
    return Custom(text(fields.get("name")), text(fields.get("input")))


def _index(value: Any) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        return int(value)
    return value if type(value) is int else None


def _dict(value: Any) -> dict[str, Any] | None:
    return cast(dict[str, Any], value) if isinstance(value, dict) else None


def _number(value: Any) -> int | float | None:
    return value if isinstance(value, int | float) else None
