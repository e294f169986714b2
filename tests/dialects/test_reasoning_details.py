"""OpenRouter's reasoning_details: merged entry by entry, with signatures, and visible to moderation."""

from typing import Any

import pytest

import streamkit as sk
from tests.dialects.streams import Result, read, sse

DONE = "[DONE]"


def chunk(
    *details: dict[str, Any], reasoning: str | None = None, index: int = 0, finish: str | None = None
) -> dict[str, Any]:
    delta: dict[str, Any] = {"reasoning_details": list(details)} if details else {}
    if reasoning is not None:
        delta["reasoning"] = reasoning
    return {"object": "chat.completion.chunk", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


END = chunk(finish="stop")


def text(said: str | None = None, **more: Any) -> dict[str, Any]:
    return {"type": "reasoning.text", **({} if said is None else {"text": said}), "format": "x", "index": 0, **more}


def message(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = result.completion.to_dict()["choices"][0]["message"]
    return found


@pytest.mark.parametrize(
    ("chunks", "reasoning", "entries"),
    [
        (
            [chunk(text("Let"), reasoning="Let"), chunk(text(" me"), reasoning=" me"), chunk(text(signature="c2ln"))],
            "Let me",
            [text("Let me", signature="c2ln")],
        ),
        ([chunk(text("Let")), chunk(text(" me"))], "Let me", [text("Let me")]),
        ([chunk(reasoning="Let"), chunk(reasoning=" me")], "Let me", None),
        (
            [chunk(reasoning="Let"), chunk(reasoning=" me"), chunk(text("Let me", signature="c2ln"))],
            "Let me",
            [text("Let me", signature="c2ln")],
        ),
        (
            [chunk(text("A", signature="s0")), chunk(text("B", index=1)), chunk(text("C", index=1, signature="s1"))],
            "ABC",
            [text("A", signature="s0"), text("BC", index=1, signature="s1")],
        ),
        (
            [chunk(text("a")), chunk(text("x", index=1)), chunk(text("b"))],
            "axb",
            [text("ab"), text("x", index=1)],
        ),
        (
            [
                chunk({"type": "reasoning.summary", "summary": "Sum", "index": 0}),
                chunk({"type": "reasoning.summary", "summary": "med", "index": 0}),
                chunk({"type": "reasoning.encrypted", "data": "ZW5j", "id": "rs_1", "index": 0}),
            ],
            "Summed",
            [
                {"type": "reasoning.summary", "summary": "Summed", "index": 0},
                {"type": "reasoning.encrypted", "data": "ZW5j", "id": "rs_1", "index": 0},
            ],
        ),
        (
            [
                chunk({"type": "reasoning.encrypted", "data": "QQ==", "id": "a", "index": 0}),
                chunk({"type": "reasoning.encrypted", "data": "Qg==", "id": "b", "index": 0}),
            ],
            None,
            [
                {"type": "reasoning.encrypted", "data": "QQ==", "id": "a", "index": 0},
                {"type": "reasoning.encrypted", "data": "Qg==", "id": "b", "index": 0},
            ],
        ),
        (
            [
                chunk({"type": "reasoning.encrypted", "data": "QUJD", "id": "a", "index": 0}),
                chunk({"type": "reasoning.encrypted", "data": "REVG", "id": "a", "index": 0}),
            ],
            None,
            [{"type": "reasoning.encrypted", "data": "QUJDREVG", "id": "a", "index": 0}],
        ),
        (
            [chunk({"type": "reasoning.text", "text": "a"}), chunk({"type": "reasoning.text", "text": "b"})],
            "ab",
            [{"type": "reasoning.text", "text": "ab"}],
        ),
        (
            [chunk(text("a", id=None, format=None)), chunk(text("b", id="r1"))],
            "ab",
            [text("ab", id="r1")],
        ),
        ([chunk(text("a", signature="")), chunk(text("b", signature="c2ln"))], "ab", [text("ab", signature="c2ln")]),
        ([chunk(text("a"), text("b", index=1), reasoning="ab")], "ab", [text("a"), text("b", index=1)]),
        (
            [chunk({"type": "reasoning.encrypted", "data": "QQ==", "index": 0}, reasoning="Hm")],
            "Hm",
            [{"type": "reasoning.encrypted", "data": "QQ==", "index": 0}],
        ),
    ],
    ids=[
        "beside reasoning, the signature last",
        "alone (Snowflake)",
        "reasoning alone",
        "whole at the end, after reasoning alone",
        "two entries",
        "in turns",
        "a summary and what is encrypted",
        "two encrypted ones of one index",
        "an encrypted one in pieces",
        "without an index",
        "an id that comes late",
        "an empty signature first (Vercel)",
        "two in one chunk",
        "encrypted beside reasoning",
    ],
)
def test_entries_are_merged_and_their_text_is_emitted_once_as_reasoning(
    chunks: list[Any], reasoning: str | None, entries: list[Any] | None
) -> None:
    result = read(sse(*chunks, END, DONE))

    assert result.choice.reasoning == reasoning
    assert message(result).get("reasoning_details") == entries
    assert "".join(event.text for event in result.of(sk.ReasoningDelta)) == (reasoning or "")


def test_each_choice_has_its_own_entries() -> None:
    chunks = [chunk(text("a")), chunk(text("x"), index=1), chunk(text("b")), END, chunk(index=1, finish="stop")]

    completion = read(sse(*chunks, DONE)).completion

    assert [choice["message"]["reasoning_details"] for choice in completion.to_dict()["choices"]] == [
        [text("ab")],
        [text("x")],
    ]


def test_a_non_streaming_response_is_restored_exactly() -> None:
    entries = [text("Let me", signature="c2ln"), {"type": "reasoning.encrypted", "data": "QQ==", "id": "a", "index": 1}]
    said = {"role": "assistant", "content": "391", "reasoning": "Let me", "reasoning_details": entries}
    whole = {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "provider": "Anthropic",
        "choices": [{"index": 0, "message": said, "finish_reason": "stop", "native_finish_reason": "end_turn"}],
    }

    result = read(sse(whole))

    assert result.completion.to_dict() == whole
    assert result.choice.reasoning == "Let me"


def test_moderation_sees_the_text_of_the_entries() -> None:
    rule = sk.Rule("bird", ("blue heron",), replacement="[bird]")
    body = sse(
        chunk(text("a blue"), reasoning="a blue"),
        chunk(text(" heron"), reasoning=" heron"),
        chunk(text(signature="s")),
        END,
        DONE,
    )
    pipeline = sk.sse.Lines() | sk.Parse() | sk.Extract() | sk.Moderate(rule) | sk.Accumulate()

    events = list(pipeline.run([body]))

    (completion,) = (event for event in events if isinstance(event, sk.Completion))
    assert not any("heron" in repr(event) for event in events)
    assert completion.to_dict()["choices"][0]["message"]["reasoning_details"] == [text("a [bird]", signature="s")]
