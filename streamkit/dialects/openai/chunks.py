"""The chunks of OpenAI's completions as structs, and a lenient reader for chunks that don't fit them.

A chunk of the usual form is decoded directly into the structs. A chunk of another form (an index that is a string, content that
is a list of parts) is read leniently into the same structs. So is a chunk with unknown fields at its top or in a choice; a
`ChunkReader` learns their names and decodes later chunks with them directly.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, TypeAlias, cast

import msgspec

from streamkit.dialects.fields import MOST, count, mappings, number, text, without, word

_NO_NAME = "\ufdd0"
_IN_PIECES = "\ufdd1"
"""Names that no JSON field has: Unicode noncharacters are never interchanged."""


Index: TypeAlias = Annotated[int, msgspec.Meta(ge=-MOST, le=MOST)]


class ChunkFunction(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class Custom(msgspec.Struct, gc=False):
    # A custom tool has this in place of `function`; its input is free text.
    name: str | None = None
    input: str | None = None


class ChunkToolCall(msgspec.Struct, gc=False):
    index: Index | None = None
    id: str | None = None
    type: str | None = None
    function: ChunkFunction | None = None
    custom: Custom | None = None


class ChunkMessage(msgspec.Struct, gc=False):
    # A `delta`, or the `message` of a non-streaming response.
    content: str | None = None
    role: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[ChunkToolCall] | None = None
    function_call: ChunkFunction | None = None
    audio: dict[str, Any] | None = None
    annotations: list[dict[str, Any]] | None = None
    reasoning_details: list[dict[str, Any]] | None = None
    # OpenRouter's images, and the parts of a content list that are not text.
    images: list[dict[str, Any]] | None = None


class ChunkChoice(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    index: Index = 0
    delta: ChunkMessage | None = None
    text: str | None = None
    message: ChunkMessage | None = None
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None
    content_filter_results: dict[str, Any] | None = None
    content_filter_result: dict[str, Any] | None = None
    content_filter_offsets: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None  # Moonshot's place for usage
    obfuscation: Any = None
    token_ids: Any = None
    prompt_token_ids: Any = None
    # Other fields, by the provider's names.
    beside: dict[str, Any] | None = msgspec.field(default=None, name=_NO_NAME)
    # Whether `message` is a delta, as Mistral's models on Bedrock send it.
    in_pieces: bool = msgspec.field(default=False, name=_IN_PIECES)


class Chunk(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    # `null` is an empty chunk; an object without the key is not a chunk.
    choices: list[ChunkChoice] | msgspec.UnsetType | None = msgspec.UNSET
    id: str | None = None
    object: str | None = None
    created: int | float | None = None
    model: str | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    usage: dict[str, Any] | None = None
    error: Any = None
    prompt_filter_results: Any = None
    prompt_annotations: Any = None  # Azure's former name for it
    moderation: Any = None
    base_resp: dict[str, Any] | None = None  # MiniMax's errors
    # Padding of OpenAI and Mistral, and echoed request fields: they are not part of a response.
    obfuscation: Any = None
    p: Any = None
    stream_options: Any = None
    prompt_token_ids: Any = None
    beside: dict[str, Any] | None = msgspec.field(default=None, name=_NO_NAME)


_MOST_NAMES = 64
_NAME = re.compile(r"[ !#-\[\]-~]{1,100}")


class ChunkReader:
    """Reads the chunks of one stream, and learns the names of fields that the structs don't have."""

    def __init__(self) -> None:
        self._of_chunks: dict[str, str] = {}
        self._of_choices: dict[str, str] = {}
        self._decode = _decoder((), ())
        self.decode: Callable[[bytes], Chunk] = self._decode
        """Read a chunk that has only known and learnt fields; any other raises one of `NOT_JSON`."""

    def __reduce__(self) -> Any:
        # Decoders can't be copied; a copy learns again.
        return ChunkReader, ()

    def state(self) -> Any:
        """The learnt names as plain data for a checkpoint."""
        return [list(self._of_chunks), list(self._of_choices)]

    def restore(self, state: Any) -> None:
        """Restore from `state()`."""
        of_chunks, of_choices = msgspec.convert(state, tuple[list[str], list[str]])
        beside = ChunkChoice(beside=dict.fromkeys(of_choices))
        self._learn(Chunk(choices=[beside], beside=dict.fromkeys(of_chunks)))

    def read(self, payload: bytes) -> Chunk | None:
        """Read any chunk; `None` for JSON that is not an object. Invalid JSON raises one of `NOT_JSON`."""
        found = _lenient(payload)
        if found is not None:
            self._learn(found)
        return found

    def _decode_named(self, payload: bytes) -> Chunk:
        chunk = self._decode(payload)
        chunk.beside = _named(chunk, self._of_chunks)
        for choice in chunk.choices or ():
            choice.beside = _named(choice, self._of_choices)
        return chunk

    def _learn(self, chunk: Chunk) -> None:
        of_choices = [name for choice in chunk.choices or () for name in choice.beside or ()]
        known = len(self._of_chunks) + len(self._of_choices)
        for names, found in ((self._of_chunks, chunk.beside or ()), (self._of_choices, of_choices)):
            for name in found:
                # Bound the memory for a server that generates new names. Not every name can be a struct field.
                if len(names) < _MOST_NAMES and _NAME.fullmatch(name):
                    names.setdefault(name, f"beside_{len(names)}")
        if len(self._of_chunks) + len(self._of_choices) > known:
            self._decode = _decoder(tuple(self._of_chunks.items()), tuple(self._of_choices.items()))
            self.decode = self._decode_named


@lru_cache(maxsize=64)
def _decoder(
    of_chunks: tuple[tuple[str, str], ...], of_choices: tuple[tuple[str, str], ...]
) -> Callable[[bytes], Chunk]:
    choice = _with(ChunkChoice, of_choices)
    choices = ("choices", list[choice] | msgspec.UnsetType | None, msgspec.UNSET)  # type: ignore[valid-type]
    decode: Callable[[bytes], Chunk] = msgspec.json.Decoder(_with(Chunk, of_chunks, choices)).decode
    return decode


def _with(kind: Any, names: tuple[tuple[str, str], ...], *fields: Any) -> Any:
    more = [(attribute, Any, msgspec.field(default=None, name=name)) for name, attribute in names]
    return msgspec.defstruct(kind.__name__, [*fields, *more], bases=(kind,), gc=False, forbid_unknown_fields=True)


def _named(found: Any, names: dict[str, str]) -> dict[str, Any]:
    values = ((name, getattr(found, attribute)) for name, attribute in names.items())
    return {name: value for name, value in values if value is not None}


def _lenient(payload: bytes) -> Chunk | None:
    data = msgspec.json.decode(payload)
    if not isinstance(data, dict):
        return None
    chunk = cast(dict[str, Any], data)
    return Chunk(
        choices=[_choice(choice) for choice in mappings(chunk["choices"])] if "choices" in chunk else msgspec.UNSET,
        id=text(chunk.get("id")),
        object=text(chunk.get("object")),
        created=number(chunk.get("created")),
        model=text(chunk.get("model")),
        system_fingerprint=text(chunk.get("system_fingerprint")),
        service_tier=text(chunk.get("service_tier")),
        usage=_dict(chunk.get("usage")),
        error=chunk.get("error"),
        prompt_filter_results=chunk.get("prompt_filter_results"),
        prompt_annotations=chunk.get("prompt_annotations"),
        moderation=chunk.get("moderation"),
        base_resp=_dict(chunk.get("base_resp")),
        beside=_rest(chunk, Chunk),
    )


def _choice(choice: dict[str, Any]) -> ChunkChoice:
    # Mistral's models on Bedrock have `stop_reason` instead of `finish_reason`; vLLM has both.
    # (https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-mistral-chat-completion.html)
    in_pieces = "stop_reason" in choice and "finish_reason" not in choice
    return ChunkChoice(
        index=_index(choice.get("index")) or 0,
        delta=_message(choice.get("delta")),
        text=text(choice.get("text")),
        message=_message(choice.get("message")),
        finish_reason=word(choice.get("stop_reason" if in_pieces else "finish_reason")),
        logprobs=_dict(choice.get("logprobs")),
        content_filter_results=_dict(choice.get("content_filter_results")),
        content_filter_result=_dict(choice.get("content_filter_result")),
        content_filter_offsets=_dict(choice.get("content_filter_offsets")),
        usage=_dict(choice.get("usage")),
        beside=_rest(without(choice, ("stop_reason",)) if in_pieces else choice, ChunkChoice),
        in_pieces=in_pieces,
    )


_OURS = ("beside", "in_pieces")
_KNOWN = {kind: {name for name in kind.__struct_fields__ if name not in _OURS} for kind in (Chunk, ChunkChoice)}


def _rest(fields: dict[str, Any], kind: type[Chunk] | type[ChunkChoice]) -> dict[str, Any]:
    known = _KNOWN[kind]
    return {name: value for name, value in fields.items() if name not in known and value is not None}


def _message(message: Any) -> ChunkMessage | None:
    if not isinstance(message, dict):
        return None
    fields = cast(dict[str, Any], message)
    content, thinking = _content(fields.get("content"))
    return ChunkMessage(
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
    # Mistral's reasoning models send a list of parts: {"type": "thinking", "thinking": [{"text": …}]}, {"text": …}.
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


def _call(call: dict[str, Any]) -> ChunkToolCall:
    return ChunkToolCall(
        index=_index(call.get("index")),
        id=text(call.get("id")),
        type=text(call.get("type")),
        function=_function(call.get("function")),
        custom=_custom(call.get("custom")),
    )


def _function(function: Any) -> ChunkFunction | None:
    if not isinstance(function, dict):
        return None
    fields = cast(dict[str, Any], function)
    arguments = fields.get("arguments")
    # Some servers send the arguments as an object instead of its JSON text. An empty object before a string is a placeholder,
    # which `Calls` recognizes as `{}`.
    if isinstance(arguments, dict | list):
        arguments = msgspec.json.encode(arguments).decode()
    return ChunkFunction(text(fields.get("name")), text(arguments))


def _custom(custom: Any) -> Custom | None:
    if not isinstance(custom, dict):
        return None
    fields = cast(dict[str, Any], custom)
    return Custom(text(fields.get("name")), text(fields.get("input")))


def _index(value: Any) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        return int(value)
    return count(value)


def _dict(value: Any) -> dict[str, Any] | None:
    return cast(dict[str, Any], value) if isinstance(value, dict) else None
