"""The end of an answer is the same in every dialect, for every provider's finish reason; only a known one is a success."""

import json
from collections.abc import Callable
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamkit as sk
from streamkit.completion import FAILURES, SUCCESSES, EndReason
from streamkit.dialects import DIALECTS
from streamkit.dialects.finish_reasons import is_pending, meaning
from tests.dialects.streams import read, read_data, sse

# Providers' finish reasons and their meanings.
WORDS: dict[str, EndReason] = {
    # OpenAI, Azure, Groq, Together, xAI, Fireworks, Perplexity, Moonshot, Writer, AI21
    "stop": "completed",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "eos": "completed",
    # Responses and Assistants
    "max_output_tokens": "length",
    "max_messages": "length",
    "max_prompt_tokens": "length",
    "max_completion_tokens": "length",
    "requires_action": "tool_calls",
    "expired": "timeout",
    "cancelled": "cancelled",
    "steered": "cancelled",
    # vLLM, SGLang, TGI, llama.cpp, LM Studio
    "abort": "provider_error",
    "error": "provider_error",
    "repetition": "length",
    "eos_token": "completed",
    "limit": "length",
    "eosFound": "completed",
    "maxPredictedTokensReached": "length",
    "contextLengthReached": "length",
    "userStopped": "cancelled",
    # DeepSeek, Zhipu, Mistral, Baidu, Reka, GigaChat
    "insufficient_system_resource": "provider_error",
    "network_error": "provider_error",
    "sensitive": "content_filter",
    "model_context_window_exceeded": "length",
    "model_length": "length",
    "normal": "completed",
    "context": "length",
    "blacklist": "content_filter",
    # Anthropic
    "end_turn": "completed",
    "stop_sequence": "completed",
    "pause_turn": "completed",
    "compaction": "completed",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    # Cohere, both versions
    "COMPLETE": "completed",
    "STOP_SEQUENCE": "completed",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR": "provider_error",
    "ERROR_TOXIC": "content_filter",
    "ERROR_LIMIT": "length",
    "USER_CANCEL": "cancelled",
    # Gemini
    "STOP": "completed",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "OTHER": "unknown",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "JAILBREAK": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "IMAGE_OTHER": "unknown",
    "NO_IMAGE": "provider_error",
    "MALFORMED_FUNCTION_CALL": "provider_error",
    "MALFORMED_RESPONSE": "provider_error",
    "UNEXPECTED_TOOL_CALL": "provider_error",
    "TOO_MANY_TOOL_CALLS": "provider_error",
    "MISSING_THOUGHT_SIGNATURE": "provider_error",
    "FinishReason.STOP": "completed",
    "FINISH_REASON_MAX_TOKENS": "length",
    # Ollama, watsonx, Replicate
    "load": "completed",
    "unload": "completed",
    "token_limit": "length",
    "time_limit": "timeout",
    "canceled": "cancelled",
    # Bedrock and its proxies
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "malformed_model_output": "provider_error",
    "malformed_tool_use": "provider_error",
    "FINISH": "completed",
    "endoftext": "completed",
    # No provider
    "a word of tomorrow": "unknown",
    "stopped_halfway": "unknown",
    "완료": "unknown",
}


def openai(word: Any, content: str = "Hi", key: str = "delta") -> bytes:
    chunk = {"id": "c", "choices": [{"index": 0, key: {"content": content}, "finish_reason": None}]}
    return sse(chunk, {"id": "c", "choices": [{"index": 0, key: {}, "finish_reason": word}]})


def legacy(word: Any) -> bytes:
    return sse({"choices": [{"index": 0, "text": "Hi", "finish_reason": word}]})


def anthropic(word: Any) -> bytes:
    return sse(
        {"type": "message_start", "message": {"id": "m", "role": "assistant", "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": word}},
    )


def gemini(word: Any) -> bytes:
    return sse({"candidates": [{"index": 0, "content": {"parts": [{"text": "Hi"}]}, "finishReason": word}]})


def cohere(word: Any) -> bytes:
    return sse(
        {"type": "message-start", "id": "m", "delta": {"message": {"role": "assistant"}}},
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hi"}}}},
        {"type": "message-end", "delta": {"finish_reason": word}},
    )


def responses(word: Any) -> bytes:
    response = {"object": "response", "id": "r", "output": [], "status": "incomplete"}
    return sse(
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Hi"},
        {"type": "response.incomplete", "response": {**response, "incomplete_details": {"reason": word}}},
    )


def ollama(word: Any) -> bytes:
    line = {"model": "m", "created_at": "x", "message": {"role": "assistant", "content": "Hi"}}
    return (json.dumps({**line, "done": True, "done_reason": word}) + "\n").encode()


def watsonx(word: Any) -> bytes:
    return sse({"model_id": "m", "results": [{"generated_text": "Hi", "stop_reason": word}]})


def assistants(word: Any) -> bytes:
    run = {"id": "r", "object": "thread.run", "incomplete_details": {"reason": word}}
    return f"event: thread.run.incomplete\ndata: {json.dumps(run)}\n\n".encode()


def replicate(word: Any) -> bytes:
    return f"event: output\ndata: Hi\n\nevent: done\ndata: {json.dumps({'reason': word})}\n\n".encode()


def tgi(word: Any) -> bytes:
    token = {"index": 1, "token": {"id": 1, "text": "Hi", "special": False}}
    return sse({**token, "generated_text": "Hi", "details": {"finish_reason": word}})


def cloudflare(word: Any) -> bytes:
    return sse({"response": "Hi"}, {"response": "", "finish_reason": word})


def dashscope(word: Any) -> bytes:
    return sse({"output": {"choices": [{"message": {"content": "Hi"}, "finish_reason": word}]}, "request_id": "r"})


def interactions(word: Any) -> bytes:
    return sse(
        {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": "Hi"}},
        {"event_type": "interaction.completed", "interaction": {"id": "i", "status": word}},
    )


WIRES: dict[str, Callable[[Any], bytes]] = {
    "openai": openai,
    "openai, not streamed": lambda word: openai(word, key="message"),
    "openai, legacy": legacy,
    "anthropic": anthropic,
    "gemini": gemini,
    "cohere": cohere,
    "responses": responses,
    "ollama": ollama,
    "watsonx": watsonx,
    "assistants": assistants,
    "replicate": replicate,
    "tgi": tgi,
    "cloudflare": cloudflare,
    "dashscope": dashscope,
    "interactions": interactions,
}
each_wire = pytest.mark.parametrize("name", WIRES)


@each_wire
def test_a_finish_reason_has_the_same_meaning_in_every_dialect(name: str) -> None:
    results = {word: read(WIRES[name](word)) for word in WORDS}

    assert {word: result.end.reason for word, result in results.items()} == WORDS
    # The finish reasons are kept as they were sent.
    assert {word: result.end.provider_reason for word, result in results.items()} == {word: word for word in WORDS}
    assert all(result.choice.finish_reason == word for word, result in results.items())


@each_wire
def test_an_end_marker_does_not_change_the_meaning_of_a_finish_reason(name: str) -> None:
    results = {
        word: read(WIRES[name](word) + b"data: [DONE]\n\n") for word in WORDS if name not in ("ollama", "replicate")
    }

    assert {word: result.end.reason for word, result in results.items()} == {word: WORDS[word] for word in results}


@each_wire
def test_only_a_finish_reason_that_reports_a_failure_raises(name: str) -> None:
    raised = {word for word in WORDS if isinstance(read(WIRES[name](word)).error, sk.ProviderError)}

    assert raised == {word for word, end in WORDS.items() if end == "provider_error"}


def test_a_dialects_own_meanings_take_precedence() -> None:
    assert meaning("TIMEOUT") == "timeout"
    assert read(cohere("TIMEOUT")).end.reason == "provider_error"
    assert read(openai("TIMEOUT")).end.reason == "timeout"


@each_wire
@given(word=st.text(min_size=1).filter(lambda word: meaning(word) == "unknown" and not is_pending(word)))
def test_no_unknown_finish_reason_is_a_success(name: str, word: str) -> None:
    end = read(WIRES[name](word)).end

    assert end.reason == "unknown"
    assert end.reason not in SUCCESSES
    assert end.provider_reason == word


@given(st.sampled_from(sorted(WORDS)), st.sampled_from(["upper", "lower", "title", "-", " ", ""]))
def test_case_and_punctuation_are_ignored(word: str, how: str) -> None:
    spelled = word.replace("_", how) if how in ("-", " ", "") else getattr(word, how)()

    assert meaning(spelled) == meaning(word)


@pytest.mark.parametrize("word", [None, "", "null", "None", "none"])
@pytest.mark.parametrize(
    "name", ["openai", "openai, not streamed", "openai, legacy", "anthropic", "gemini", "watsonx", "dashscope"]
)
def test_a_placeholder_ends_nothing(name: str, word: Any) -> None:
    result = read(WIRES[name](word))

    assert result.end == sk.StreamEnd("truncated", open_choices=(0,))
    assert result.end.provider_reason is None
    assert result.choice.finish_reason is None


def test_the_placeholders_of_gemini_and_watsonx_end_nothing() -> None:
    assert read(gemini("FINISH_REASON_UNSPECIFIED")).end.reason == "truncated"
    assert read(watsonx("not_finished")).end.reason == "truncated"


@pytest.mark.parametrize(
    ("reason", "end", "word"),
    [
        ({"type": "length", "length": 5}, "length", "length"),
        ({"reason": "endoftext"}, "completed", "endoftext"),
        ({"type": "abort", "message": "m"}, "provider_error", "abort"),
        ({"why": "x"}, "unknown", '{"why":"x"}'),
        (3, "unknown", "3"),
        (["odd"], "unknown", '["odd"]'),
        (True, "unknown", "true"),
        (False, "completed", None),
    ],
    ids=str,
)
def test_a_finish_reason_that_is_not_text_is_kept(reason: Any, end: str, word: str | None) -> None:
    result = read(openai(reason) + b"data: [DONE]\n\n")

    assert (result.end.reason, result.end.provider_reason) == (end, word)


@pytest.mark.parametrize("reason", [{"type": "odd"}, {"why": 1}, 7, ["odd"]], ids=str)
@pytest.mark.parametrize("name", [name for name in WIRES if name not in ("responses", "assistants")])
def test_a_finish_reason_that_is_not_text_is_never_a_success(name: str, reason: Any) -> None:
    result = read(WIRES[name](reason) + b"data: [DONE]\n\n" * (name not in ("ollama", "replicate")))

    assert (result.end.reason, result.error) == ("unknown", None)


def test_every_end_reason_is_a_success_a_failure_or_caused_by_the_user() -> None:
    others = {"cancelled", "limit"}

    assert SUCCESSES | FAILURES | others == set(get_args(EndReason))
    assert not SUCCESSES & FAILURES
    assert "unknown" in FAILURES


# Several choices


def choices(*words: str | None) -> bytes:
    entries = [{"index": index, "delta": {"content": "x"}, "finish_reason": word} for index, word in enumerate(words)]
    return sse({"choices": entries})


@pytest.mark.parametrize(
    ("words", "reason", "word"),
    [
        (["stop", "eos"], "completed", "stop"),
        (["stop", "length", "max_tokens"], "length", "length"),
        (["stop", "odd", "length"], "unknown", "odd"),
        (["sensitive", "odd", "even"], "unknown", "odd"),
        (["odd", "abort", "error"], "provider_error", "abort"),
        (["length", "content_filter"], "content_filter", "content_filter"),
        (["tool_calls", "stop"], "tool_calls", "tool_calls"),
        (["cancelled", "expired", "odd"], "cancelled", "cancelled"),
        (["stop", None], "truncated", None),
        (["odd", None], "truncated", None),
    ],
    ids=str,
)
def test_the_worst_choice_determines_the_reason_and_the_first_such_choice_the_word(
    words: list[str | None], reason: str, word: str | None
) -> None:
    end = read(choices(*words)).end

    assert (end.reason, end.provider_reason) == (reason, word)


def test_the_first_choice_is_first_by_index_not_by_arrival() -> None:
    late = sse({"choices": [{"index": 1, "finish_reason": "max_tokens"}, {"index": 0, "finish_reason": "length"}]})

    assert read(late).end.provider_reason == "length"


def test_the_provider_reason_is_not_compared_and_is_in_the_json() -> None:
    openais, anthropics = read(openai("stop")).end, read(anthropic("end_turn")).end

    assert openais == anthropics
    assert hash(openais) == hash(anthropics)
    assert (openais.provider_reason, anthropics.provider_reason) == ("stop", "end_turn")


def test_the_provider_reason_of_an_error_is_its_code_or_its_type() -> None:
    def end(error: dict[str, Any]) -> sk.StreamEnd:
        return read(sse({"error": {"message": "a secret", **error}})).end

    assert end({"code": "model_not_found", "type": "invalid_request_error"}).provider_reason == "model_not_found"
    assert end({"code": 503}).provider_reason == "503"
    assert end({"type": "overloaded_error"}).provider_reason == "overloaded_error"
    assert end({}).provider_reason is None


@pytest.mark.parametrize("reason", ["SAFETY", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "IMAGE_SAFETY", "JAILBREAK"])
def test_a_prompt_blocked_by_gemini_has_a_reason(reason: str) -> None:
    end = read(sse({"promptFeedback": {"blockReason": reason}, "usageMetadata": {"promptTokenCount": 3}})).end

    assert (end.reason, end.provider_reason) == ("content_filter", reason)


# Tool calls


def call(**fields: Any) -> dict[str, Any]:
    return {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}, **fields}


def chat(*deltas: dict[str, Any], word: str | None = "stop", key: str = "delta") -> bytes:
    chunks = [{"choices": [{"index": 0, key: delta, "finish_reason": None}]} for delta in deltas]
    return sse(*chunks, {"choices": [{"index": 0, key: {}, "finish_reason": word}]}, "[DONE]")


ITEM = {"type": "function_call", "id": "fc", "call_id": "c", "name": "f", "arguments": "{}"}


def items(*found: dict[str, Any], streamed: bool = True, status: str = "completed") -> bytes:
    """A response with these items, each in its own event, or all only in the last event."""
    events = [{"type": "response.output_item.done", "output_index": at, "item": item} for at, item in enumerate(found)]
    output = [] if streamed else [*found]
    response = {"object": "response", "id": "r", "status": status, "output": output}
    return sse(*(events if streamed else ()), {"type": f"response.{status}", "response": response})


def block(**content: Any) -> bytes:
    return sse(
        {"type": "message_start", "message": {"id": "m", "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": content},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"type": "message_stop"},
    )


def ollama_call(*lines: dict[str, Any]) -> bytes:
    line = {"model": "m", "created_at": "x", "done": False, "message": {"role": "assistant", "content": ""}}
    return "".join(json.dumps(line | more) + "\n" for more in lines).encode()


OLLAMA_CALL = {
    "message": {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}
}
CALLED = {
    "openai": chat({"tool_calls": [call()]}, word="tool_calls"),
    "openai, a function that was asked for": chat({"tool_calls": [call()]}),
    "openai, without a finish reason": chat({"tool_calls": [call()]}, word=None),
    "openai, legacy function": chat({"function_call": {"name": "f", "arguments": "{}"}}),
    "openai, a custom tool": chat(
        {"tool_calls": [{"index": 0, "id": "a", "type": "custom", "custom": {"name": "f", "input": "x"}}]}
    ),
    "openai, not streamed": chat({"tool_calls": [call()]}, key="message"),
    "moonshot, a built-in function": chat({"tool_calls": [call(type="builtin_function")]}),
    "mistral": chat({"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]}),
    "in Anthropic's word": chat({"tool_calls": [call()]}, word="end_turn"),
    "anthropic": block(type="tool_use", id="t", name="f", input={}),
    "gemini": sse(
        {"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": {}}}]}, "finishReason": "STOP"}]}
    ),
    "cohere": sse(
        {"type": "message-start", "delta": {"message": {}}},
        {
            "type": "tool-call-start",
            "index": 0,
            "delta": {"message": {"tool_calls": {"id": "a", "function": {"name": "f"}}}},
        },
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE"}},
    ),
    "ollama": ollama_call(OLLAMA_CALL, {"done": True, "done_reason": "stop"}),
    "ollama, in the last line": ollama_call({**OLLAMA_CALL, "done": True, "done_reason": "stop"}),
    "cloudflare": sse({"response": "", "tool_calls": [{"name": "f", "arguments": {}}]}, "[DONE]"),
    "cloudflare, a finish reason": sse({"response": "", "tool_calls": [call()], "finish_reason": "stop"}, "[DONE]"),
    "dashscope": sse(
        {"request_id": "r", "output": {"choices": [{"message": {"tool_calls": [call()]}, "finish_reason": "stop"}]}}
    ),
    "interactions": sse(
        {"event_type": "step.start", "index": 0, "step": {"type": "function_call", "id": "a", "name": "f"}},
        {"event_type": "interaction.completed", "interaction": {"id": "i", "status": "completed"}},
    ),
    "responses, function": items(ITEM),
    "responses, function, not streamed": items(ITEM, streamed=False),
    "responses, custom": items({"type": "custom_tool_call", "id": "x", "call_id": "c", "name": "f", "input": "x"}),
    "responses, no item, only arguments": sse(
        {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": "{}"},
        {"type": "response.completed", "response": {"object": "response", "status": "completed", "output": []}},
    ),
    "responses, computer": items({"type": "computer_call", "id": "x", "call_id": "c", "action": {"type": "click"}}),
    "responses, local shell": items({"type": "local_shell_call", "id": "x", "call_id": "c"}),
    "responses, patch": items({"type": "apply_patch_call", "id": "x", "call_id": "c"}),
    "responses, shell of the client": items({"type": "shell_call", "call_id": "c", "environment": {"type": "local"}}),
    "responses, a permission": items({"type": "mcp_approval_request", "id": "x", "name": "f", "arguments": "{}"}),
    "responses, a search of the client": items({"type": "tool_search_call", "id": "x", "execution": "client"}),
}


@pytest.mark.parametrize("body", CALLED.values(), ids=CALLED)
def test_an_answer_with_tool_calls_ends_as_tool_calls_in_every_dialect(body: bytes) -> None:
    assert read(body).end.reason == "tool_calls"


HOSTED = {
    "anthropic, server tool": block(type="server_tool_use", id="t", name="web_search", input={}),
    "anthropic, remote server": block(type="mcp_tool_use", id="t", name="f", server_name="s", input={}),
    "gemini, code": sse(
        {
            "candidates": [
                {
                    "content": {"parts": [{"executableCode": {"code": "1"}}, {"codeExecutionResult": {"output": "1"}}]},
                    "finishReason": "STOP",
                }
            ]
        }
    ),
    "interactions, search": sse(
        {"event_type": "step.start", "index": 0, "step": {"type": "google_search_call", "id": "a"}},
        {"event_type": "interaction.completed", "interaction": {"id": "i", "status": "completed"}},
    ),
    "zhipu, search": chat(
        {"tool_calls": [{"index": 0, "id": "a", "type": "web_search", "web_search": {}}]}, {"content": "x"}
    ),
    **{
        f"responses, {kind}": items(
            {"type": kind, "id": "x", "status": "completed"}, {"type": "message", "content": []}
        )
        for kind in (
            "web_search_call",
            "file_search_call",
            "code_interpreter_call",
            "image_generation_call",
            "mcp_call",
            "mcp_list_tools",
            "reasoning",
            "compaction",
        )
    },
    "responses, not streamed": items({"type": "web_search_call", "id": "x", "status": "completed"}, streamed=False),
    "responses, shell in a container": items(
        {"type": "shell_call", "call_id": "c", "environment": {"type": "container_reference"}}
    ),
    "responses, shell with its output": items(
        {"type": "shell_call", "call_id": "c"}, {"type": "shell_call_output", "call_id": "c", "output": []}
    ),
    "responses, search of the server": items({"type": "tool_search_call", "id": "x", "execution": "server"}),
    "assistants, a run that has got its results": b"event: thread.run.step.delta\ndata: "
    + json.dumps({"id": "s", "delta": {"step_details": {"tool_calls": [call()]}}}).encode()
    + b'\n\nevent: thread.run.completed\ndata: {"id": "r"}\n\ndata: [DONE]\n\n',
}


@pytest.mark.parametrize("body", HOSTED.values(), ids=HOSTED)
def test_tools_that_the_provider_runs_itself_leave_the_answer_completed(body: bytes) -> None:
    assert read(body).end.reason == "completed"


@pytest.mark.parametrize("word", ["length", "content_filter", "odd", "abort"])
def test_a_cut_call_ends_with_the_reason_of_the_cut(word: str) -> None:
    assert read(chat({"tool_calls": [call()]}, word=word)).end.reason == WORDS.get(word, "unknown")


def test_an_incomplete_response_with_a_call_does_not_end_as_tool_calls() -> None:
    assert read(items(ITEM, status="incomplete")).end.reason == "truncated"


def test_one_choice_that_calls_tools_is_enough() -> None:
    body = sse({"choices": [{"index": 0, "delta": {"content": "x"}}, {"index": 1, "delta": {"tool_calls": [call()]}}]})

    assert read(body + choices("stop", "stop")).end.reason == "tool_calls"
    assert read(body + choices("length", "stop")).end.reason == "length"


# Without the end marker


ENDS_ITSELF = ("responses", "ollama", "replicate", "cohere", "tgi", "interactions")
"""Dialects with the finish reason in the end marker."""
FINISHED = {name: make for name, make in WIRES.items() if name not in ENDS_ITSELF}
CUTS = {
    "nothing more": b"",
    "a cut event": b'data: {"id": "c", "usa',
    "a comment": b": still here\n\n",
    "half a line": b"da",
}


@pytest.mark.parametrize("more", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("name", FINISHED)
def test_a_body_cut_after_the_finish_reasons_is_complete(name: str, more: bytes) -> None:
    word = "end_turn" if name == "anthropic" else "stop"

    assert read(FINISHED[name](word) + more).end == sk.StreamEnd("completed")
    assert read(FINISHED[name]("MAX_TOKENS") + more).end == sk.StreamEnd("length")


@pytest.mark.parametrize("more", CUTS.values(), ids=CUTS)
def test_a_choice_without_its_finish_reason_is_truncated(more: bytes) -> None:
    assert read(choices("stop", None) + more).end == sk.StreamEnd("truncated", open_choices=(1,))


def test_usage_that_was_cut_off_is_unknown() -> None:
    result = read(openai("stop") + b'data: {"choices": [], "usage": {"prompt_tok')

    assert (result.end.reason, result.completion.usage, result.error) == ("completed", None, None)


def test_a_finish_reason_in_every_chunk_does_not_prove_the_end() -> None:
    """Some Gemini models send one."""
    chunks = [{"candidates": [{"index": 0, "content": {"parts": [{"text": t}]}, "finishReason": "STOP"}]} for t in "ab"]

    assert read(sse(*chunks)).end.reason == "completed"
    assert read(sse(*chunks) + b'data: {"candidates": [{"ind').end.reason == "truncated"
    assert read(sse(chunks[0]) + b'data: {"usageMeta').end.reason == "completed"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n\n",
        b": hello\n\n",
        b'event: ping\ndata: {"type": "ping"}\n\n',
        b"data:\n\n",
        b"data: {}\n\n",
        b"id: 7\n\n",
    ],
    ids=["nothing", "blank lines", "a comment", "a ping", "no data", "an empty object", "an id"],
)
@pytest.mark.parametrize("done", [b"", b"data: [DONE]\n\n"], ids=["", "[DONE]"])
@pytest.mark.parametrize("dialect", [None, *DIALECTS])
def test_a_stream_without_an_answer_is_never_completed(dialect: str | None, done: bytes, body: bytes) -> None:
    result = read(body + done, dialect=dialect)

    assert result.end.reason == "truncated"
    assert result.error is None


def test_usage_alone_is_not_an_answer() -> None:
    assert read_data({"choices": [], "usage": {"total_tokens": 1}}).end.reason == "truncated"
    assert read(sse({"choices": [], "prompt_filter_results": [{}]}, "[DONE]")).end.reason == "truncated"
