"""Errors of every shape are recognized; an ordinary event is never an error, whatever its text."""

import json
from typing import Any

import pytest

import streamkit as sk
from streamkit.dialects.error_objects import error_in
from tests.dialects.streams import read, sse, wire

DONE = b"data: [DONE]\n\n"
SECRET = "a secret of Alice"
# Error objects with their code, type and text.
ERRORS: dict[str, tuple[Any, str | int | None, str | None, str]] = {
    "OpenAI": ({"error": {"message": SECRET, "type": "t", "param": None, "code": "c"}}, "c", "t", SECRET),
    "Azure": ({"error": {"code": "429", "message": SECRET, "innererror": {}}}, "429", None, SECRET),
    "OpenRouter": ({"error": {"code": 502, "message": SECRET, "metadata": {}}, "user_id": "u"}, 502, None, SECRET),
    "Anthropic": ({"type": "error", "error": {"type": "api_error", "message": SECRET}}, None, "api_error", SECRET),
    "Google": (
        {"error": {"code": 400, "message": SECRET, "status": "INVALID_ARGUMENT"}},
        400,
        "INVALID_ARGUMENT",
        SECRET,
    ),
    "Google, in an array": ([{"error": {"code": 429, "message": SECRET}}], 429, None, SECRET),
    "Ollama": ({"error": SECRET}, None, None, SECRET),
    "TGI": ({"error": SECRET, "error_type": "validation"}, None, "validation", SECRET),
    "xAI": ({"code": "bad request", "error": SECRET}, "bad request", None, SECRET),
    "a flag and a message": ({"error": True, "message": SECRET, "code": 7}, 7, None, SECRET),
    "a list of texts": ({"error": [SECRET, "more"]}, None, None, SECRET),
    "Cloudflare": (
        {"success": False, "errors": [{"code": 7003, "message": SECRET}], "result": None},
        7003,
        None,
        SECRET,
    ),
    "watsonx": (
        {"errors": [{"code": "invalid", "message": SECRET}], "trace": "t", "status_code": 404},
        "invalid",
        None,
        SECRET,
    ),
    "LMDeploy": (
        {"error_type": "BadRequestError", "error_message": SECRET, "code": "too_long"},
        "too_long",
        "BadRequestError",
        SECRET,
    ),
    "an error's text alone": ({"error_message": SECRET}, None, None, SECRET),
    "ERNIE": ({"error_code": 110, "error_msg": SECRET, "id": "x"}, 110, None, SECRET),
    "ERNIE, as text": ({"error_code": "110", "error_msg": SECRET}, "110", None, SECRET),
    "Databricks": ({"error_code": "BAD_REQUEST", "message": SECRET}, "BAD_REQUEST", None, SECRET),
    "in camel case": ({"errorCode": "E1", "errorMessage": SECRET}, "E1", None, SECRET),
    "FastChat": ({"text": SECRET, "error_code": 50001}, 50001, None, SECRET),
    "vLLM": (
        {"object": "error", "message": SECRET, "type": "BadRequestError", "param": None, "code": 400},
        400,
        "BadRequestError",
        SECRET,
    ),
    "Mistral": (
        {"object": "error", "message": {"detail": [{"msg": SECRET}]}, "type": "invalid"},
        None,
        "invalid",
        SECRET,
    ),
    "Responses": ({"type": "error", "code": "c", "message": SECRET, "sequence_number": 3}, "c", None, SECRET),
    "Dify": (
        {"event": "error", "task_id": "t", "status": 400, "code": "invalid_param", "message": SECRET},
        "invalid_param",
        None,
        SECRET,
    ),
    "MiniMax": ({"base_resp": {"status_code": 1004, "status_msg": SECRET}}, 1004, None, SECRET),
    "MiniMax, with choices": (
        {"choices": None, "base_resp": {"status_code": 1008, "status_msg": SECRET}},
        1008,
        None,
        SECRET,
    ),
    "Spark": ({"header": {"code": 10013, "message": SECRET, "sid": "s", "status": 2}}, 10013, None, SECRET),
    "Spark, over HTTP": ({"code": 10163, "message": SECRET, "sid": "s"}, 10163, None, SECRET),
    "DashScope": ({"code": "InvalidParameter", "message": SECRET, "request_id": "r"}, "InvalidParameter", None, SECRET),
    "Zhipu, older": ({"success": False, "code": 500, "msg": SECRET}, 500, None, SECRET),
    "Coze": ({"code": 4000, "msg": SECRET, "data": None}, 4000, None, SECRET),
    "Cerebras": (
        {"message": SECRET, "type": "too_many_requests_error", "param": "q", "code": "request_quota"},
        "request_quota",
        "too_many_requests_error",
        SECRET,
    ),
    "FastAPI": ({"detail": SECRET}, None, None, SECRET),
    "FastAPI, validation": (
        {"detail": [{"loc": ["body"], "msg": SECRET, "type": "missing"}]},
        None,
        "missing",
        f"body: {SECRET}",
    ),
    "FastAPI, an object": ({"detail": {"message": SECRET, "code": "c"}}, "c", None, SECRET),
    "RFC 9457": ({"type": "about:blank", "title": "t", "status": 401, "detail": SECRET}, 401, "about:blank", SECRET),
    "Azure's gateway": ({"statusCode": 401, "message": SECRET}, 401, None, SECRET),
    "Amazon": ({"__type": "ThrottlingException", "message": SECRET}, None, "ThrottlingException", SECRET),
    "Bedrock": ({"modelStreamErrorException": {"message": SECRET}}, None, "modelStreamErrorException", SECRET),
    "Apigee": ({"fault": {"faultstring": SECRET, "detail": {"errorcode": "q"}}}, "q", None, SECRET),
    "Tencent": (
        {"Response": {"Error": {"Code": "AuthFailure", "Message": SECRET}, "RequestId": "r"}},
        "AuthFailure",
        None,
        SECRET,
    ),
    "Tencent, in a stream": ({"ErrorMsg": {"Msg": SECRET, "Code": 2001}}, 2001, None, SECRET),
    "a status": ({"status": "error", "message": SECRET}, None, None, SECRET),
}
each_error = pytest.mark.parametrize(("data", "code", "kind", "detail"), ERRORS.values(), ids=ERRORS)


def check(error: sk.StreamkitError | None, code: Any, kind: Any, detail: str) -> None:
    assert isinstance(error, sk.ProviderError)
    assert (error.code, error.type, error.detail) == (code, kind, detail)
    assert "Alice" not in str(error) + repr(error)
    assert "Alice" in json.dumps(error.body)


@pytest.mark.parametrize("done", [b"", DONE], ids=["", "[DONE]"])
@each_error
def test_an_error_without_other_events(data: Any, code: Any, kind: Any, detail: str, done: bytes) -> None:
    result = read(sse(data) + done)

    check(result.error, code, kind, detail)
    assert result.end.reason == result.completion.end == "provider_error"


@each_error
def test_an_error_instead_of_a_stream(data: Any, code: Any, kind: Any, detail: str) -> None:
    check(read(json.dumps(data).encode()).error, code, kind, detail)
    check(read(json.dumps(data, indent=2).encode()).error, code, kind, detail)


OPENAI = sse({"choices": [{"index": 0, "delta": {"content": "Hi"}}]})
ANTHROPIC = wire(
    (
        {"type": "message_start", "message": {"id": "m", "content": []}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
    )
)
GEMINI = sse({"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]})
WATSONX = sse({"results": [{"generated_text": "Hi", "stop_reason": "not_finished"}]})
OLLAMA = b'{"model":"m","created_at":"x","message":{"role":"assistant","content":"Hi"},"done":false}\n'
BEGUN = {
    "openai": OPENAI,
    "gemini": GEMINI,
    "watsonx": WATSONX,
    "anthropic": ANTHROPIC,
    "ollama": OLLAMA,
    "tgi": sse({"index": 1, "token": {"id": 1, "text": "Hi", "special": False}, "generated_text": None}),
    "cloudflare": sse({"response": "Hi"}),
    "dashscope": sse({"output": {"choices": [{"message": {"content": "Hi"}}]}, "request_id": "r"}),
    "interactions": sse({"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": "Hi"}}),
}


@pytest.mark.parametrize("name", BEGUN)
@each_error
def test_an_error_in_the_middle_of_an_answer(name: str, data: Any, code: Any, kind: Any, detail: str) -> None:
    # `type` names the kind of an event in Anthropic's format.
    if name == "anthropic" and isinstance(data, dict) and data.get("type", "error") != "error" != data.get("object"):
        return
    error = json.dumps(data).encode() + b"\n" if name == "ollama" else sse(data)

    result = read(BEGUN[name] + error)

    check(result.error, code, kind, detail)
    assert (result.completion.text, result.end.reason) == ("Hi", "provider_error")


@each_error
def test_with_errors_emit_nothing_is_raised_and_the_end_has_the_code_or_the_type(
    data: Any, code: Any, kind: Any, detail: str
) -> None:
    result = read(OPENAI + sse(data), errors="emit")

    assert result.error is None
    assert result.end.reason == "provider_error"
    assert result.end.provider_reason == (kind if code is None else str(code))


def test_minimax_sends_an_error_together_with_the_rest_of_the_answer() -> None:
    last = {"choices": [{"index": 0, "delta": {"content": "!"}}], "base_resp": {"status_code": 1027, "status_msg": "m"}}

    result = read(OPENAI + sse(last))

    check_code(result.error, 1027)
    assert result.completion.text == "Hi!"


def test_a_success_of_minimax_is_not_an_error() -> None:
    last = {"choices": [{"index": 0, "finish_reason": "stop"}], "base_resp": {"status_code": 0, "status_msg": ""}}

    assert read(OPENAI + sse(last)).end == sk.StreamEnd("completed")


@pytest.mark.parametrize(
    "data",
    [{"message": SECRET}, {"message": SECRET, "id": "x"}, {"message": SECRET, "request_id": "r"}, {"Message": SECRET}],
    ids=["Cohere", "with an id", "Mistral's gateway", "Amazon"],
)
def test_a_message_is_an_error_if_it_is_the_whole_body(data: Any) -> None:
    error = read(json.dumps(data).encode()).error

    check(error, None, None, SECRET)
    assert isinstance(read(sse(data)).error, sk.errors.UnknownDialect)


ORDINARY: dict[str, Any] = {
    "Cloudflare": {"response": "an error"},
    "a text called message": {"message": "Hello", "id": 3, "role": "assistant"},
    "a ping": {"type": "ping"},
    "a status": {"type": "status", "message": "Searching"},
    "a queue": {"status": "queued", "message": "Wait"},
    "an error that is none": {"error": None, "text": "x"},
    "an empty error": {"error": {}, "text": "x"},
    "no errors": {"errors": [], "text": "x"},
    "Spark": {"header": {"code": 0, "message": "Success"}, "payload": {"choices": {}}},
    "Spark, over HTTP": {"code": 0, "message": "Success", "sid": "s"},
    "MiniMax": {"base_resp": {"status_code": 0, "status_msg": "success"}, "reply": "x"},
    "FastChat": {"text": "x", "error_code": 0},
    "ERNIE": {"id": "x", "object": "chat.completion", "result": "x", "is_end": False},
    "a code of a success": {"code": 200, "message": "ok"},
    "a code as a text": {"code": "0", "msg": "success"},
    "code of a program": {"code": "print('error')", "message": "run it"},
    "code beside a language": {"code": "x = 1", "language": "python"},
    "a detail of something": {"detail": "x", "text": "y"},
    "a success": {"success": True, "message": "m"},
    "no message": {"error_message": "", "text": "x"},
    "the word": {"content": "error"},
    "data": {"code": 1, "msg": "m", "data": {"text": "x"}},
    "a list": ["error"],
}


@pytest.mark.parametrize("data", ORDINARY.values(), ids=ORDINARY)
def test_an_ordinary_event_is_not_an_error(data: Any) -> None:
    assert error_in(data) is None


def test_an_answer_about_errors_is_an_answer() -> None:
    said = json.dumps({"error": {"message": "m", "code": 500}})
    chunk = {"choices": [{"index": 0, "delta": {"content": said}, "finish_reason": "stop"}], "error": None}

    result = read(sse(chunk, "[DONE]"))

    assert (result.completion.text, result.end.reason) == (said, "completed")


@pytest.mark.parametrize(
    ("data", "retryable"),
    [
        ({"error": {"type": "overloaded_error"}}, True),
        ({"base_resp": {"status_code": 503, "status_msg": "m"}}, True),
        ({"detail": "x", "status": 429, "title": "Too Many Requests"}, True),
        ({"error_code": 400, "error_msg": "m"}, False),
        ({"choices": [{"index": 0, "finish_reason": "insufficient_system_resource"}]}, True),
        ({"choices": [{"index": 0, "finish_reason": "malformed_tool_use"}]}, False),
    ],
    ids=str,
)
def test_whether_an_error_is_retryable(data: Any, retryable: bool) -> None:
    error = read(sse(data)).error

    assert isinstance(error, sk.ProviderError)
    assert error.retryable is retryable


def check_code(error: sk.StreamkitError | None, code: int) -> None:
    assert isinstance(error, sk.ProviderError)
    assert error.code == code
