"""Non-streaming responses in the provider's own form and in OpenAI's hold the released content and nothing else."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import streamkit as sk
from streamkit.completion import unregister_form
from streamkit.dialects.openai.response import chat_finish

DATA = Path(__file__).parents[1] / "data" / "dialects"
SECRET = sk.Rule("x", ("서울",), replacement="[city]")


def completion_of(name: str, *stages: Any) -> sk.Completion:
    pipeline: Any = sk.sse.Lines() | sk.Parse() | sk.Extract()
    for stage in (*stages, sk.Accumulate()):
        pipeline = pipeline | stage
    (found,) = (event for event in pipeline.run([(DATA / name).read_bytes()]) if isinstance(event, sk.Completion))
    return found


# OpenAI's form


def test_an_answer_of_another_provider_can_be_built_as_a_chat_completion() -> None:
    completion = completion_of("anthropic-messages.sse")

    assert completion.choices[0].finish_reason == "tool_use"
    assert completion.to_openai() == {
        "id": "msg_1",
        "object": "chat.completion",
        "created": None,
        "model": "claude-x",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": completion.text,
                    "refusal": None,
                    "reasoning_content": "Two cities.",
                    "tool_calls": [
                        {
                            "id": "toolu_1",
                            "type": "function",
                            "function": {"name": "weather", "arguments": '{"city":"Zürich"}'},
                        },
                        {"id": "toolu_2", "type": "function", "function": {"name": "now", "arguments": "{}"}},
                    ],
                    "annotations": [],  # a document's citation has no URL
                },
                "logprobs": None,
                "finish_reason": "tool_calls",
            }
        ],
        "usage": {"prompt_tokens": 125, "completion_tokens": 42, "total_tokens": 167},
        "service_tier": "standard",
    }


def test_a_legacy_completion_can_be_built_as_a_chat_completion() -> None:
    logprobs = {
        "tokens": ["Hi", "é"],
        "token_logprobs": [None, -0.5],
        "top_logprobs": [None, {"é": -0.5, "e": -2.0}],
        "text_offset": [0, 2],
    }
    completion = sk.Completion((sk.events.Choice(0, "Hié", "stop", logprobs=logprobs),), object="text_completion")

    assert completion.to_dict()["choices"][0]["text"] == "Hié"
    assert completion.to_openai()["object"] == "chat.completion"
    assert completion.to_openai()["choices"][0] == {
        "index": 0,
        "message": {"role": "assistant", "content": "Hié", "refusal": None},
        "logprobs": {
            "content": [
                {"token": "Hi", "logprob": None, "bytes": [72, 105], "top_logprobs": []},
                {
                    "token": "é",
                    "logprob": -0.5,
                    "bytes": [195, 169],
                    "top_logprobs": [
                        {"token": "é", "logprob": -0.5, "bytes": [195, 169]},
                        {"token": "e", "logprob": -2.0, "bytes": [101]},
                    ],
                },
            ]
        },
        "finish_reason": "stop",
    }


def test_log_probabilities_that_openais_format_cannot_express_are_left_out() -> None:
    choice = sk.events.Choice(0, "Hi", "STOP", logprobs={"chosenCandidates": [{"token": "Hi"}]})

    assert sk.Completion((choice,)).to_openai()["choices"][0]["logprobs"] is None


@pytest.mark.parametrize(
    ("word", "finish"),
    [
        ("end_turn", "stop"),
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("max_output_tokens", "length"),
        ("SAFETY", "content_filter"),
        ("refusal", "content_filter"),
        ("length", "length"),
        ("a word of its own", None),
        (None, None),
    ],
)
def test_a_finish_reason_is_converted_to_openais_if_it_has_one(word: str | None, finish: str | None) -> None:
    assert chat_finish(word) == finish


@pytest.mark.parametrize("word", ["stop", "STOP", "tool_use", "function_call"])
@pytest.mark.parametrize("called", [None, "tool_calls", "function_call"])
def test_a_normal_finish_reason_depends_on_the_calls(word: str, called: Any) -> None:
    assert chat_finish(word, called) == (called or "stop")


@pytest.mark.parametrize(
    ("end", "finish"), [("completed", "stop"), ("moderated", "content_filter"), ("truncated", "odd"), (None, "odd")]
)
def test_an_answer_with_an_unknown_finish_reason_gets_the_one_of_the_stream_end(end: Any, finish: str) -> None:
    completion = sk.Completion((sk.events.Choice(0, "a", "odd"),), end=end)
    assert completion.to_openai()["choices"][0]["finish_reason"] == finish


def test_a_call_of_any_provider_has_what_openais_clients_need() -> None:
    calls = (
        sk.events.ToolCall(None, "f"),
        sk.events.ToolCall(None, "f", " ", 1),
        sk.events.ToolCall("call_1", "g", "x", 2, "custom"),
    )
    completion = sk.Completion((sk.events.Choice(0, None, "STOP", tool_calls=calls),), end="tool_calls")
    first, second, custom = completion.to_openai()["choices"][0]["message"]["tool_calls"]
    assert (first["type"], first["function"], second["function"]["arguments"]) == (
        "function",
        {"name": "f", "arguments": "{}"},
        "{}",
    )
    assert first["id"] != second["id"]
    assert first["id"] == completion.to_openai()["choices"][0]["message"]["tool_calls"][0]["id"]
    assert custom == {"id": "call_1", "type": "custom", "custom": {"name": "g", "input": "x"}}


@pytest.mark.parametrize("end", ["truncated", "length", "content_filter", "unheard of"])
def test_the_arguments_of_a_cut_call_are_not_completed(end: Any) -> None:
    completion = sk.Completion((sk.events.Choice(0, None, tool_calls=(sk.events.ToolCall(None, "f"),)),), end=end)
    assert completion.to_openai()["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == ""


@pytest.mark.parametrize("action", ["redact", "replace", "block", "stop"])
def test_a_partly_withheld_answer_has_no_citations(action: Any) -> None:
    citation = {"type": "url_citation", "url_citation": {"url": "https://a.b", "title": "secret"}}
    verdict = sk.events.Verdict(action, "x", 0, 1)
    completion = sk.Completion((sk.events.Choice(0, "a", "stop", annotations=(citation,), verdicts=(verdict,)),))
    assert completion.to_openai()["choices"][0]["message"]["annotations"] == []


def test_a_tool_call_of_the_responses_api_ends_like_one_of_the_chat_api() -> None:
    call = sk.events.ToolCall("call_1", "f", "{}")
    completion = sk.Completion((sk.events.Choice(0, None, "completed", tool_calls=(call,)),), object="response")
    assert completion.to_openai()["choices"][0]["finish_reason"] == "tool_calls"


# The provider's own form


@pytest.mark.parametrize("name", ["writer.sse", "assistants.sse", "replicate.sse"])
def test_a_dialect_without_its_own_form_uses_openais(name: str) -> None:
    completion = completion_of(name)

    assert completion.shape is None
    assert completion.to_dict() == completion.to_openai()


def test_a_third_party_dialect_can_have_its_own_form() -> None:
    class Parrot(sk.dialects.Dialect):
        shape = "parrot"
        response_form = staticmethod(lambda completion: {"words": completion.text})

        def take(self, item: sk.sse.ServerSentEvent, data: Any, number: int, out: list[sk.Event]) -> None:
            self.finished[0] = "done"
            out += [sk.events.ResponseDetails(shape=self.shape), sk.TextDelta(data["word"])]

    try:
        (completion,) = (
            event
            for event in (sk.Parse() | sk.Extract(Parrot) | sk.Accumulate()).run(['data: {"word": "Polly"}', ""])
            if isinstance(event, sk.Completion)
        )
        assert completion.to_dict() == {"words": "Polly"}
        assert completion.to_openai()["choices"][0]["message"]["content"] == "Polly"
    finally:
        unregister_form("parrot")


# After moderation


def text_of(plain: Any) -> str:
    return json.dumps(plain, ensure_ascii=False)


def test_a_message_holds_the_released_text() -> None:
    raw = (DATA / "anthropic-messages.sse").read_bytes().decode()
    assert "Two cities." not in raw  # it is streamed in two pieces

    rules = [
        sk.Rule("x", ("cities",), replacement="[places]"),
        sk.Rule("x", ("Zürich",), replacement="[city]"),
    ]
    completion = completion_of("anthropic-messages.sse", sk.Moderate(rules))
    whole, before = completion.to_dict(), completion_of("anthropic-messages.sse").to_dict()

    assert whole["content"][0] == {**before["content"][0], "thinking": "Two [places]."}
    assert whole["content"][0]["signature"] == "c2ln"
    assert whole["content"][2]["text"] == before["content"][2]["text"].replace("Zürich", "[city]")


def test_a_response_holds_the_released_text() -> None:
    whole = completion_of("responses.sse", sk.Moderate(SECRET)).to_dict()
    before = completion_of("responses.sse").to_dict()

    texts = [part["text"] for item in whole["output"] if item["type"] == "message" for part in item["content"]]
    assert "".join(texts).startswith("[city]은 9°C.")
    assert "서울" not in "".join(texts)
    assert [item["type"] for item in whole["output"]] == [item["type"] for item in before["output"]]
    # Log probabilities contain the text.
    assert all(not part.get("logprobs") for item in whole["output"] for part in item.get("content") or ())


def test_generated_content_holds_the_released_text() -> None:
    rule = sk.Rule("x", ("Grüße",), replacement="[greeting]")
    whole = completion_of("gemini-two-candidates.sse", sk.Moderate(rule, choices=2)).to_dict()

    assert whole["candidates"][0]["content"]["parts"][:2] == [
        {"text": "Two places.", "thought": True},
        {"text": "[greeting] 👩‍💻"},
    ]
    assert "Grüße" not in text_of(whole)


def test_a_citation_that_quotes_unreleased_text_is_left_out() -> None:
    rule = sk.Rule("x", ("Grüße",), replacement="[greeting]")

    cohere = completion_of("cohere-chat.sse", sk.Moderate(rule)).to_dict()
    assert "Grüße" in text_of(completion_of("cohere-chat.sse").to_dict()["message"]["citations"])
    assert cohere["message"]["content"] == [{"type": "text", "text": "[greeting] 👩‍💻."}]
    assert "Grüße" not in text_of(cohere)


def test_grounding_that_quotes_unreleased_text_is_left_out() -> None:
    supports = [{"segment": {"endIndex": 2, "text": word}} for word in ("Hi", "Bob")]
    plain = {
        "candidates": [
            {
                "content": {"parts": [{"text": "Hi Bob"}], "role": "model"},
                "finishReason": "STOP",
                "groundingMetadata": {"webSearchQueries": ["q"], "groundingSupports": supports},
            }
        ]
    }
    pipeline = sk.sse.Lines() | sk.Parse() | sk.Extract()
    rule = sk.Rule("x", ("Bob",), replacement="[name]")
    body = json.dumps(plain).encode()

    *_, whole, _ = (pipeline | sk.Accumulate()).run([body])
    *_, moderated, _ = (pipeline | sk.Moderate(rule) | sk.Accumulate()).run([body])

    assert isinstance(whole, sk.Completion)
    assert isinstance(moderated, sk.Completion)
    assert whole.to_dict() == plain
    assert moderated.to_dict()["candidates"][0]["groundingMetadata"] == {
        "webSearchQueries": ["q"],
        "groundingSupports": supports[:1],
    }


BLOCK = {
    "anthropic-messages.sse": ("cities", "content_filter"),
    "responses.sse": ("Look", "content_filter"),
    "gemini-two-candidates.sse": ("places", "content_filter"),
}


@pytest.mark.parametrize("name", BLOCK)
def test_a_blocked_answer_has_nothing_after_the_block(name: str) -> None:
    word, finish = BLOCK[name]
    completion = completion_of(name, sk.Moderate(sk.Rule("x", (word,), action="block")))
    whole = completion.to_dict()

    assert completion.end == "moderated"
    assert word not in text_of(whole)
    assert completion.choices[0].finish_reason == finish
    assert completion.choices[0].content is None
    match name.partition("-")[0].removesuffix(".sse"):
        case "anthropic":
            assert (whole["stop_reason"], [block["type"] for block in whole["content"]]) == (finish, ["thinking"])
            assert whole["content"][0]["thinking"] == "Two "
        case "responses":
            assert (whole["status"], whole["incomplete_details"]) == ("incomplete", {"reason": finish})
        case _:
            assert whole["candidates"][0]["finishReason"] == finish


def test_a_blocked_candidate_has_no_part_after_the_block() -> None:
    code = {"executableCode": {"language": "PYTHON", "code": "print(1)"}}
    chunks = [
        {
            "candidates": [
                {"content": {"parts": [{"text": "Hi Bob."}]}},
                {"index": 1, "content": {"parts": [{"text": "Yes"}]}},
            ]
        },
        {
            "candidates": [
                {"content": {"parts": [code]}},
                {"index": 1, "content": {"parts": [code]}, "finishReason": "STOP"},
            ]
        },
    ]
    body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks).encode()
    moderate = sk.Moderate(sk.Rule("x", ("Bob",), action="block"), choices=2)

    *_, completion, _ = (sk.sse.Lines() | sk.Parse() | sk.Extract() | moderate | sk.Accumulate()).run([body])

    assert isinstance(completion, sk.Completion)
    blocked, other = completion.to_dict()["candidates"]
    assert blocked["content"]["parts"] == [{"text": "Hi "}]
    assert blocked["finishReason"] == "content_filter"
    assert other["content"]["parts"] == [{"text": "Yes"}, code]


@dataclass
class WithoutCalls(sk.Stage[sk.Event, sk.Event]):
    def feed(self, item: sk.Event) -> tuple[sk.Event, ...]:
        return () if isinstance(item, sk.ToolCallDelta) else (item,)


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("anthropic-messages.sse", '"name": "weather"'),
        ("responses.sse", '"name": "coat"'),
        ("gemini-two-candidates.sse", '"name": "weather"'),
        ("cohere-chat.sse", '"name": "weather"'),
        ("ollama-chat.ndjson", '"name": "get_weather"'),
    ],
)
def test_an_unreleased_call_is_left_out(name: str, inside: str) -> None:
    whole, without = completion_of(name).to_dict(), completion_of(name, WithoutCalls()).to_dict()

    assert inside in text_of(whole)
    assert inside not in text_of(without)
    assert "call_" not in text_of(without)
