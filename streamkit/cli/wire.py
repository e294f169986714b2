"""The wire format of OpenAI's completion APIs, as far as the demo provider supports it: requests and responses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Annotated, ClassVar, Literal, TypeAlias

import msgspec

from streamkit.cli.script import ScriptedTurn

Json: TypeAlias = dict[str, object]


@dataclass(frozen=True, slots=True)
class WireChoice:
    """One choice of a response."""

    index: int
    take: ScriptedTurn
    call_id: str

    def call(self, arguments: str) -> Json:
        return {"id": self.call_id, "type": "function", "function": {"name": self.take.tool, "arguments": arguments}}


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class WirePart(msgspec.Struct):
    text: str = ""


class WireMessage(msgspec.Struct):
    role: str
    content: str | list[WirePart] | None = None

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content or ())


class WireFunction(msgspec.Struct):
    name: str


class WireTool(msgspec.Struct):
    function: WireFunction | None = None


class WireRequest(msgspec.Struct, kw_only=True):
    """Request fields of both completion APIs. The subclasses add the prompt and build the response."""

    model: str = "gpt-4o-mini"
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None

    def __post_init__(self) -> None:
        given = {"n": self.n, "max_tokens": self.max_tokens, "max_completion_tokens": self.max_completion_tokens}
        for name, value in given.items():
            most = 128 if name == "n" else 1_000_000
            if value is not None and not 1 <= value <= most:
                raise ValueError(f"Expected `int` from 1 to {most}, got {value} - at `$.{name}`")

    @property
    def limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    @property
    def wants_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


class ChatRequest(WireRequest):
    messages: Annotated[list[WireMessage], msgspec.Meta(min_length=1)]
    tools: list[WireTool] | None = None
    tool_choice: object = None

    id_prefix: ClassVar[str] = "chatcmpl-"
    kind: ClassVar[str] = "chat.completion"
    chunk_kind: ClassVar[str] = "chat.completion.chunk"
    head: ClassVar[Json] = {"service_tier": "default", "system_fingerprint": "fp_demo"}
    usage_details: ClassVar[Json] = {
        "prompt_tokens_details": dict.fromkeys(("cached_tokens", "audio_tokens"), 0),
        "completion_tokens_details": dict.fromkeys(
            ("reasoning_tokens", "audio_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens"), 0
        ),
    }

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.messages]

    @property
    def prompts(self) -> list[str]:
        texts = [message.text for message in self.messages if message.role == "user"]
        return texts[-1:] or [""]

    @property
    def offered(self) -> set[str]:
        """The tools that this turn may call: none if the request contains a tool result."""
        if self.tool_choice == "none" or self.messages[-1].role != "user":
            return set()
        return {tool.function.name for tool in self.tools or () if tool.function}

    def entries_by_token(self, choice: WireChoice) -> list[list[Json]]:
        def entry(delta: Json, finish_reason: str | None = None) -> Json:
            return {"index": choice.index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}

        opening: Json = {"role": "assistant", "content": "", "refusal": None}
        deltas: list[Json] = [{"content": piece} for piece in choice.take.pieces]
        if choice.take.tool:
            opening |= {"content": None, "tool_calls": [{"index": 0, **choice.call("")}]}
            deltas = [{"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in choice.take.pieces]
        return _by_token([entry(opening)], map(entry, deltas), entry({}, choice.take.finish_reason))

    def whole(self, choice: WireChoice) -> Json:
        take = choice.take
        message: Json = {"role": "assistant", "content": take.text, "refusal": None, "annotations": []}
        if take.tool:
            message |= {"content": None, "tool_calls": [choice.call(take.text)]}
        return {"index": choice.index, "message": message, "logprobs": None, "finish_reason": take.finish_reason}


class TextRequest(WireRequest):
    prompt: str | Annotated[list[str], msgspec.Meta(min_length=1)]

    id_prefix: ClassVar[str] = "cmpl-"
    kind: ClassVar[str] = "text_completion"
    chunk_kind: ClassVar[str] = "text_completion"
    head: ClassVar[Json] = {}
    usage_details: ClassVar[Json] = {}
    offered: ClassVar[frozenset[str]] = frozenset()

    @property
    def texts(self) -> list[str]:
        return self.prompts

    @property
    def prompts(self) -> list[str]:
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt

    def entries_by_token(self, choice: WireChoice) -> list[list[Json]]:
        def entry(text: str, finish_reason: str | None = None) -> Json:
            return {"text": text, "index": choice.index, "logprobs": None, "finish_reason": finish_reason}

        return _by_token([], map(entry, choice.take.pieces), entry("", choice.take.finish_reason))

    def whole(self, choice: WireChoice) -> Json:
        take = choice.take
        return {"text": take.text, "index": choice.index, "logprobs": None, "finish_reason": take.finish_reason}


class Image(msgspec.Struct):
    url: str


class ModerationPart(msgspec.Struct):
    type: Literal["text", "image_url"]
    text: str | None = None
    image_url: Image | None = None

    def __post_init__(self) -> None:
        if getattr(self, self.type) is None:
            raise ValueError(f"Expected a part of type {self.type} to have one, got none")


class ModerationRequest(msgspec.Struct):
    input: str | Annotated[list[str | ModerationPart], msgspec.Meta(min_length=1)]
    model: str = "omni-moderation-latest"

    def __post_init__(self) -> None:
        if len({isinstance(item, str) for item in self.input}) > 1:
            raise ValueError("Expected strings or parts, got both - at `$.input`")
        if self.images and not self.omni:
            raise ValueError(f"Expected text alone for the model {self.model}, got an image - at `$.input`")

    @property
    def omni(self) -> bool:
        """Whether the model accepts images; older models also have fewer categories."""
        return not self.model.startswith("text-moderation-")

    @property
    def texts(self) -> list[str]:
        """The texts to moderate separately; the parts of one message are moderated as one text."""
        if isinstance(self.input, str):
            return [self.input]
        return [item for item in self.input if isinstance(item, str)] or [
            "".join(item.text or "" for item in self.input if isinstance(item, ModerationPart))
        ]

    @property
    def images(self) -> list[str]:
        """The URLs of the images."""
        parts = () if isinstance(self.input, str) else self.input
        return [part.image_url.url for part in parts if isinstance(part, ModerationPart) and part.image_url]


Completion: TypeAlias = ChatRequest | TextRequest


def bursts(request: Completion, head: Json, choices: Iterable[WireChoice], usage: Json) -> Iterator[bytes]:
    """Encode a stream: each burst has the n-th tokens of all choices; the last one is the end."""
    no_usage = {"usage": None} if request.wants_usage else {}
    for entries in zip_longest(*map(request.entries_by_token, choices), fillvalue=list[Json]()):
        yield b"".join(_event({**head, "choices": [entry], **no_usage}) for entry in chain.from_iterable(entries))
    last = _event({**head, "choices": [], "usage": usage}) if request.wants_usage else b""
    yield last + b"data: [DONE]\n\n"


def _by_token(opening: list[Json], tokens: Iterable[Json], closing: Json) -> list[list[Json]]:
    """Group the entries of a choice by token: the opening with the first token, the closing with the last."""
    groups = [[token] for token in tokens] or [[]]
    groups[0][:0] = opening
    groups[-1].append(closing)
    return groups


def _event(payload: Json) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(payload)
