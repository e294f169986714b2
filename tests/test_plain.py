"""Every provider's answer as OpenAI's chat response, so that an application can change the provider without noticing."""

import pytest

import streamkit as sk
from streamkit.plain import chat_finish

ANTHROPIC = b"""event: message_start
data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[],\
"usage":{"input_tokens":9,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":4}}

event: message_stop
data: {"type":"message_stop"}

"""


def test_an_answer_of_another_provider_has_openais_chat_shape() -> None:
    (completion,) = [
        event
        for event in (sk.Lines() | sk.Parse() | sk.Extract() | sk.Accumulate()).run([ANTHROPIC])
        if isinstance(event, sk.Completion)
    ]
    assert completion.choices[0].finish_reason == "end_turn"
    assert completion.to_dict() == {
        "id": "msg_1",
        "object": "chat.completion",
        "created": None,
        "model": "claude",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hi", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13},
    }


@pytest.mark.parametrize(
    ("word", "finish"),
    [
        ("end_turn", "stop"),
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("max_output_tokens", "length"),
        ("tool_use", "tool_calls"),
        ("SAFETY", "content_filter"),
        ("refusal", "content_filter"),
        ("length", "length"),
        ("a word of its own", "a word of its own"),
    ],
)
def test_a_word_for_the_end_is_openais_where_that_has_one(word: str, finish: str) -> None:
    assert chat_finish(word) == finish


def test_a_call_of_tools_in_the_responses_api_ends_as_one_in_the_chat_api() -> None:
    call = sk.ToolCall("call_1", "f", "{}")
    completion = sk.Completion((sk.Choice(0, None, "completed", tool_calls=(call,)),), object="response")
    assert completion.to_dict()["choices"][0]["finish_reason"] == "tool_calls"
