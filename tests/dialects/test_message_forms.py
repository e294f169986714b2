"""Messages that continue a conversation, and results of tool calls, in four request formats."""

import json
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
                "parts": [
                    {"text": "Let me see."},
                    {"functionCall": {"id": "call_1", "name": "weather", "args": {"city": "Oslo"}}},
                ],
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


# What providers refuse

TO: tuple[Any, ...] = ("openai", "anthropic", "responses", "gemini")


def with_call(call: ToolCall) -> sk.Completion:
    return sk.Completion((Choice(0, None, "tool_calls", tool_calls=(call,)),), id="r1", end="tool_calls")


def arguments_in(message: dict[str, Any]) -> tuple[Any, Any]:
    """The name and the arguments of its one call."""
    match message:
        case {"tool_calls": [{"function": {"name": name, "arguments": arguments}}]}:
            return name, arguments
        case {"content": [{"type": "tool_use", "name": name, "input": arguments}]}:
            return name, arguments
        case {"type": "function_call", "name": name, "arguments": arguments}:
            return name, arguments
        case _:
            (part,) = message["parts"]
            return part["functionCall"]["name"], part["functionCall"]["args"]


@pytest.mark.parametrize("arguments", ['{"city": "Os', "[1]", '"Oslo"', "1"])
def test_arguments_that_are_no_object_stand_in_one_where_the_format_takes_no_others(arguments: str) -> None:
    answer = with_call(ToolCall("c1", "weather", arguments))

    found = {to: arguments_in(answer.message(to))[1] for to in TO}

    wrapped = {"INVALID_JSON": arguments}
    assert found == {"openai": arguments, "anthropic": wrapped, "responses": arguments, "gemini": wrapped}


def test_the_same_for_anthropics_own_answer() -> None:
    events = [
        {"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "model": "c", "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"city": "Os'}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
        {"type": "message_stop"},
    ]  # fmt: skip
    body = b"".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode() for each in events)
    answer = list((sk.Parse() | sk.Extract() | sk.Accumulate()).run([body]))[-2]

    assert isinstance(answer, sk.Completion)
    assert answer.message()["content"] == [
        {"type": "tool_use", "id": "t", "name": "f", "input": {"INVALID_JSON": '{"city": "Os'}}
    ]


@pytest.mark.parametrize("to", TO)
def test_a_call_without_a_name_has_one_in_a_request(to: Any) -> None:
    answer = with_call(ToolCall("c1", None, "{}"))

    assert arguments_in(answer.message(to))[0] == "unknown"
    assert "None" not in str(answer.tool_result(answer.choices[0].tool_calls[0], "x", to))


def test_an_empty_answer_is_no_message_where_the_format_allows_none() -> None:
    answer = sk.Completion((Choice(0, None, "stop"),), end="completed")

    assert {to: answer.messages(to) for to in TO} == {
        "openai": [{"role": "assistant", "content": ""}],
        "anthropic": [],
        "responses": [],
        "gemini": [],
    }
    with pytest.raises(sk.PipelineError, match="the answer has no items"):
        answer.message("anthropic")


def test_a_refusal_is_the_text_of_formats_that_have_no_field_for_it() -> None:
    answer = sk.Completion((Choice(0, None, "stop", refusal="I can't."),), end="completed")

    assert {to: answer.message(to) for to in TO} == {
        "openai": {"role": "assistant", "content": None, "refusal": "I can't."},
        "anthropic": {"role": "assistant", "content": [{"type": "text", "text": "I can't."}]},
        "responses": {"role": "assistant", "content": "I can't."},
        "gemini": {"role": "model", "parts": [{"text": "I can't."}]},
    }


@pytest.mark.parametrize("to", TO)
def test_a_result_can_be_sent_as_json_or_is_an_error(to: Any) -> None:
    for content in ("so \ud83d", float("nan"), b"\xff", {1: 2}, {3}):
        json.dumps(ANSWER.tool_result(CALL, content, to), allow_nan=False).encode()
        assert "\ud83d" not in str(ANSWER.tool_result(CALL, content, to))
    with pytest.raises(
        sk.PipelineError, match="expected a result that is JSON-compatible data, found an object of type object"
    ):
        ANSWER.tool_result(CALL, object(), to)
    wrong: Any = "call_1"
    with pytest.raises(sk.PipelineError, match="expected the result of a ToolCall, found str"):
        ANSWER.tool_result(wrong, "x", to)
