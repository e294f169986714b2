"""Messages that continue a conversation, and results of tool calls, in four request formats."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

import streamkit as sk
from streamkit.completion import ToolResult
from streamkit.events import Choice, ToolCall

DATA = Path(__file__).parents[1] / "data"
CALL = ToolCall("call_1", "weather", '{"city":"Oslo"}')
ANSWER = sk.Completion((Choice(0, "Let me see.", "tool_calls", None, "hm", (CALL,)),), id="c1", end="tool_calls")


def completion_of(name: str) -> sk.Completion:
    *_, completion, _end = (sk.Parse() | sk.Extract() | sk.Accumulate()).run([(DATA / name).read_bytes()])
    assert isinstance(completion, sk.Completion)
    return completion


FORMATS: dict[Any, tuple[list[Any], list[Any]]] = {
    "openai": (
        [
            {
                "role": "assistant",
                "content": "Let me see.",
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"city":"Oslo"}'},
                    }
                ],
            }
        ],
        [{"role": "tool", "tool_call_id": "call_1", "content": '{"degrees":18}'}],
    ),
    "anthropic": (
        [
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "Let me see."},
                    {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Oslo"}},
                ],
            }
        ],
        [
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "call_1", "content": '{"degrees":18}', "is_error": True}
                ],
            }
        ],
    ),
    "responses": (
        [
            {"role": "assistant", "content": "Let me see."},
            {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city":"Oslo"}'},
        ],
        [{"type": "function_call_output", "call_id": "call_1", "output": '{"degrees":18}'}],
    ),
    "gemini": (
        [
            {
                "role": "model",
                "parts": [{"text": "Let me see."}, {"functionCall": {"name": "weather", "args": {"city": "Oslo"}}}],
            }
        ],
        [
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"id": "call_1", "name": "weather", "response": {"error": {"degrees": 18}}}}
                ],
            }
        ],
    ),
}


@pytest.mark.parametrize("to", FORMATS)
def test_another_format_receives_text_calls_and_failed_results(to: Any) -> None:
    answer = msgspec.structs.replace(ANSWER, shape="cohere" if to == "openai" else None)
    messages, results = FORMATS[to]

    found = answer.messages(to)
    if to == "openai":
        assert found[0].pop("reasoning_content", "hm") == "hm"
    assert found == messages
    assert answer.tool_results([ToolResult(CALL, {"degrees": 18}, failed=True)], to) == results


def test_all_results_of_anthropic_and_gemini_are_one_message_and_of_openai_one_each() -> None:
    results = [ToolResult(CALL, "18"), ToolResult(msgspec.structs.replace(CALL, id="call_2"), {"degrees": 18})]

    lengths = {to: len(ANSWER.tool_results(results, to)) for to in ("openai", "anthropic", "responses", "gemini")}

    assert lengths == {"openai": 2, "anthropic": 1, "responses": 2, "gemini": 1}
    assert ANSWER.tool_result(CALL, "18") == {"role": "tool", "tool_call_id": "call_1", "content": "18"}
    assert ANSWER.tool_results(results, "gemini")[0]["parts"][1]["functionResponse"]["response"] == {"degrees": 18}


def test_anthropic_receives_its_thinking_with_the_signature() -> None:
    answer = completion_of("dialects/anthropic-messages.sse")

    message = answer.message()

    assert message == {"role": "assistant", "content": answer.to_dict()["content"]}
    assert [block for block in message["content"] if block["type"] == "thinking" and block["signature"]]
    other = answer.message("openai")
    assert "signature" not in str(other)
    assert "reasoning_content" not in other


def test_the_responses_api_receives_its_own_items() -> None:
    answer = completion_of("dialects/responses.sse")

    assert answer.messages() == answer.to_dict()["output"]
    with pytest.raises(sk.PipelineError, match=r"the answer has \d+ items: extend the conversation with messages\(\)"):
        answer.message()


def test_gemini_receives_its_own_parts() -> None:
    answer = completion_of("dialects/gemini-two-candidates.sse")

    for index in (0, 1):
        content = answer.to_dict()["candidates"][index]["content"]
        assert answer.message(index=index) == {"role": "model", **content}


def test_chat_tools_as_openai_sent_them() -> None:
    answer = completion_of("chat-tools.sse")
    message = answer.message()

    assert message["role"] == "assistant"
    assert [call["function"]["name"] for call in message["tool_calls"]] == [
        call.name for call in answer.choices[0].tool_calls
    ]


def test_a_call_without_an_id_gets_the_same_id_in_the_message_and_its_result() -> None:
    call = ToolCall(None, "weather", "{}")
    answer = sk.Completion((Choice(0, None, "STOP", tool_calls=(call,)),), id="r1", end="completed")

    for to, message, result in (
        ("openai", lambda m: m["tool_calls"][0]["id"], lambda r: r["tool_call_id"]),
        ("anthropic", lambda m: m["content"][0]["id"], lambda r: r["content"][0]["tool_use_id"]),
        ("responses", lambda m: m["call_id"], lambda r: r["call_id"]),
    ):
        form: Any = to
        assert message(answer.message(form)) == result(answer.tool_result(call, "x", form))


def test_an_unknown_format_or_choice_is_an_error() -> None:
    wrong: Any = "telegram"
    with pytest.raises(sk.PipelineError, match=r"expected a request format \(anthropic, .*\), found 'telegram'"):
        ANSWER.message(wrong)
    with pytest.raises(sk.PipelineError, match="the answer has no choice 3"):
        ANSWER.message(index=3)
