"""Answers as providers send them today, for the benchmarks: five shapes of chunk, and how their bytes arrive.

OpenAI's chat chunks have an `obfuscation` of varying length, and `usage` and `logprobs` that are null; Gemini's repeat the usage
so far. The text is that of tokens: one to seven characters, some of them escaped or not ASCII.
"""

import json
import random
from collections.abc import Callable
from typing import Any

import msgspec

_WORDS = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "is",
    "that",
    "for",
    "it",
    "as",
    "was",
    "with",
    "be",
    "by",
    "on",
    "not",
    "he",
    "his",
    "but",
    "at",
    "are",
    "this",
    "have",
    "from",
    "or",
    "had",
    "an",
    "they",
]
_SPICE = [
    "café",
    "→",
    "“quoted”",
    "日本語",
    "🙂",
    '"json"',
    "C:\\path",
    "\n\n",
    "\n- ",
    "**bold**",
    "`code()`",
    "3.14159",
]
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_CHAT = {
    "id": "chatcmpl-0123456789abcdefghijklmnopqr",
    "object": "chat.completion.chunk",
    "created": 1764000000,
    "model": "gpt-4.1-2025-04-14",
    "service_tier": "default",
    "system_fingerprint": "fp_0123456789",
}


_ENDS = (". The ", ". A ", "? I ", "! He ", ", e.g. the ", ".\n\n1. First, ")


def pieces(count: int, seed: int = 1, *, sentences: bool = False) -> list[str]:
    """The text of that many deltas. With `sentences` one ends behind about every twelfth word, and a paragraph behind some."""
    pick = random.Random(seed)

    def behind() -> str:
        return pick.choice(_ENDS) if sentences and pick.random() < 0.08 else " "

    text = "".join(
        (pick.choice(_SPICE) if pick.random() < 0.06 else pick.choice(_WORDS)) + behind() for _ in range(count * 2)
    )
    found, at = list[str](), 0
    for _ in range(count):
        size = pick.randint(1, 7)
        found.append(text[at : at + size] or "x")
        at += size
    return found


def _sse(data: dict[str, Any], event: str | None = None, *, ascii: bool = False) -> bytes:
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {json.dumps(data, separators=(',', ':'), ensure_ascii=ascii)}\n\n".encode()


def _chat(delta: dict[str, Any], pick: random.Random, finish: str | None = None) -> bytes:
    padding = "".join(pick.choices(_LETTERS, k=pick.randint(1, 14)))
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    chunk = {**_CHAT, "choices": [choice], "usage": None, "obfuscation": padding}
    return _sse(chunk, ascii=pick.random() < 0.5)


def chat(count: int) -> list[bytes]:
    """OpenAI's chat completion: text."""
    pick = random.Random(2)
    usage = {"prompt_tokens": 12, "completion_tokens": count, "total_tokens": count + 12}
    return [
        _chat({"role": "assistant", "content": "", "refusal": None}, pick),
        *[_chat({"content": piece}, pick) for piece in pieces(count)],
        _chat({}, pick, "stop"),
        _sse({**_CHAT, "choices": [], "usage": usage, "obfuscation": "x"}),
        b"data: [DONE]\n\n",
    ]


def tools(count: int) -> list[bytes]:
    """OpenAI's chat completion: the arguments of one tool call."""
    pick = random.Random(3)
    call = {
        "index": 0,
        "id": "call_0123456789",
        "type": "function",
        "function": {"name": "write_file", "arguments": ""},
    }
    parts = ['{"text":"', *[json.dumps(piece)[1:-1] for piece in pieces(count)], '"}']
    return [
        _chat({"role": "assistant", "content": None, "tool_calls": [call], "refusal": None}, pick),
        *[_chat({"tool_calls": [{"index": 0, "function": {"arguments": part}}]}, pick) for part in parts],
        _chat({}, pick, "tool_calls"),
        b"data: [DONE]\n\n",
    ]


def anthropic(count: int) -> list[bytes]:
    """Anthropic's messages: text."""
    message = {
        "id": "msg_0123456789abcdefghij",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 12, "cache_read_input_tokens": 0, "output_tokens": 1},
    }
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *[
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
            for piece in pieces(count)
        ],
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": count},
        },
        {"type": "message_stop"},
    ]
    return [_sse(event, event["type"]) for event in events]


def responses(count: int) -> list[bytes]:
    """OpenAI's Responses: text."""
    pick = random.Random(4)
    item, text = "msg_0123456789abcdef0123456789abcdef", "".join(pieces(count))
    response = {
        "id": "resp_0123456789",
        "object": "response",
        "created_at": 1764000000,
        "model": "gpt-4.1",
        "output": [],
    }
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
    place = {"item_id": item, "output_index": 0, "content_index": 0}
    message = {"id": item, "type": "message", "status": "in_progress", "content": [], "role": "assistant"}
    whole = {**message, "status": "completed", "content": [{**part, "text": text}]}
    usage = {"input_tokens": 12, "output_tokens": count, "total_tokens": count + 12}
    done = {**response, "status": "completed", "output": [whole], "usage": usage}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**response, "status": "in_progress"}},
        {"type": "response.output_item.added", "output_index": 0, "item": message},
        {"type": "response.content_part.added", **place, "part": part},
        *[
            {
                "type": "response.output_text.delta",
                **place,
                "delta": piece,
                "logprobs": [],
                "obfuscation": "".join(pick.choices(_LETTERS, k=pick.randint(1, 14))),
            }
            for piece in pieces(count)
        ],
        {"type": "response.output_text.done", **place, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": {**part, "text": text}},
        {"type": "response.output_item.done", "output_index": 0, "item": whole},
        {"type": "response.completed", "response": done},
    ]
    numbered = [{"type": event.pop("type"), "sequence_number": number, **event} for number, event in enumerate(events)]
    return [_sse(event, event["type"]) for event in numbered]


def gemini(count: int) -> list[bytes]:
    """Gemini's generateContent: text, with the usage so far in every chunk."""
    head = {"modelVersion": "gemini-2.5-flash", "responseId": "0123456789abcdefghijkl"}

    def chunk(text: str, number: int, finish: str | None = None) -> bytes:
        candidate: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
        if finish:
            candidate["finishReason"] = finish
        details = [{"modality": "TEXT", "tokenCount": 12}]
        usage = {"promptTokenCount": 12, "candidatesTokenCount": number, "totalTokenCount": 12 + number}
        return _sse({"candidates": [candidate], "usageMetadata": {**usage, "promptTokensDetails": details}, **head})

    texts = pieces(count)
    return [*[chunk(text, number) for number, text in enumerate(texts[:-1], 1)], chunk(texts[-1], count, "STOP")]


SHAPES: dict[str, Callable[[int], list[bytes]]] = {
    "OpenAI text": chat,
    "OpenAI tool arguments": tools,
    "Anthropic": anthropic,
    "Responses": responses,
    "Gemini": gemini,
}


def delivered(events: list[bytes], how: str) -> list[bytes]:
    """The bytes as reads: `one event`, `64 KiB`, or `random` pieces of 1 to 700 bytes."""
    if how == "one event":
        return events
    data = b"".join(events)
    if how == "64 KiB":
        return [data[at : at + 65536] for at in range(0, len(data), 65536)]
    pick, found, at = random.Random(5), list[bytes](), 0
    while at < len(data):
        size = pick.randint(1, 700)
        found.append(data[at : at + size])
        at += size
    return found


# The floor: what each payload costs whoever reads its text at all.


class _ChatDelta(msgspec.Struct, gc=False):
    content: str | None = None
    tool_calls: "list[_Call] | None" = None


class _Function(msgspec.Struct, gc=False):
    arguments: str | None = None


class _Call(msgspec.Struct, gc=False):
    function: _Function | None = None


class _ChatChoice(msgspec.Struct, gc=False):
    delta: _ChatDelta


class _ChatChunk(msgspec.Struct, gc=False):
    choices: list[_ChatChoice] = []


class _Delta(msgspec.Struct, gc=False):
    text: str = ""


class _AnthropicEvent(msgspec.Struct, gc=False):
    type: str
    delta: _Delta | None = None


class _ResponsesEvent(msgspec.Struct, gc=False):
    type: str
    delta: str = ""


class _GeminiContent(msgspec.Struct, gc=False):
    parts: list[_Delta] = []


class _GeminiCandidate(msgspec.Struct, gc=False):
    content: _GeminiContent


class _GeminiChunk(msgspec.Struct, gc=False):
    candidates: list[_GeminiCandidate] = []


FLOORS: dict[str, Any] = {
    "OpenAI text": _ChatChunk,
    "OpenAI tool arguments": _ChatChunk,
    "Anthropic": _AnthropicEvent,
    "Responses": _ResponsesEvent,
    "Gemini": _GeminiChunk,
}


def payloads(events: list[bytes]) -> list[bytes]:
    """The JSON of each event, already split."""
    found = [event.rpartition(b"data: ")[2][:-2] for event in events]
    return [payload for payload in found if payload != b"[DONE]"]
