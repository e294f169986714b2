"""The provider's own reason, from every shape of error body, and nothing that a provider chose in any message."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamkit as sk
from streamkit.errors.bodies import DETAIL_CHARS, KNOWN, WORD_CHARS, ProviderReason, known, reason_of

BODIES: dict[str, tuple[str, ProviderReason]] = {
    "OpenAI": (
        '{"error": {"message": "Incorrect API key", "type": "invalid_request_error", "param": null, "code": "invalid_api_key"}}',
        ProviderReason("invalid_api_key", "invalid_request_error", "Incorrect API key"),
    ),
    "OpenAI, only the object": (
        '{"message": "Slow down", "type": "requests", "code": "rate_limit_exceeded"}',
        ProviderReason("rate_limit_exceeded", "requests", "Slow down"),
    ),
    "Anthropic": (
        '{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_1"}',
        ProviderReason(None, "overloaded_error", "Overloaded"),
    ),
    "Google": (
        '{"error": {"code": 400, "message": "Bad key", "status": "INVALID_ARGUMENT", "details": [{"reason": "KEY"}]}}',
        ProviderReason(400, "INVALID_ARGUMENT", "Bad key"),
    ),
    "Google, an array": (
        '[{\n  "error": {"code": 404, "message": "No model", "status": "NOT_FOUND"}\n}\n]',
        ProviderReason(404, "NOT_FOUND", "No model"),
    ),
    "Azure's filter": (
        '{"error": {"innererror": {"code": "ResponsibleAIPolicyViolation"}, "code": "content_filter",'
        ' "message": "Filtered", "param": "prompt", "type": null, "status": 400}}',
        ProviderReason("content_filter", None, "Filtered"),
    ),
    "Azure's gateway": (
        '{"statusCode": 401, "message": "No subscription"}',
        ProviderReason(401, None, "No subscription"),
    ),
    "Cohere": ('{"id": "1", "message": "invalid api token"}', ProviderReason(None, None, "invalid api token")),
    "Mistral": (
        '{"object": "error", "message": "Not in your tier", "type": "tier_not_allowed", "param": null, "code": "1910"}',
        ProviderReason("1910", "tier_not_allowed", "Not in your tier"),
    ),
    "Mistral's validation": (
        '{"object": "error", "message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "n"], "msg": "Not permitted",'
        ' "input": "text of the request"}]}, "type": "invalid_request_error", "code": null}',
        ProviderReason(None, "invalid_request_error", "body.n: Not permitted"),
    ),
    "vLLM": (
        '{"object": "error", "message": "No model", "type": "NotFoundError", "param": null, "code": 404}',
        ProviderReason(404, "NotFoundError", "No model"),
    ),
    "Ollama": ('{"error": "model \'x\' not found"}', ProviderReason(None, None, "model 'x' not found")),
    "TGI": (
        '{"error": "Input is too long", "error_type": "validation"}',
        ProviderReason(None, "validation", "Input is too long"),
    ),
    "Hugging Face, a list": ('{"error": ["Too long", "Too many"]}', ProviderReason(None, None, "Too long; Too many")),
    "xAI": (
        '{"code": "Some requested entity was not found", "error": "No model grok-0"}',
        ProviderReason("Some requested entity was not found", None, "No model grok-0"),
    ),
    "FastAPI": ('{"detail": "Not Found"}', ProviderReason(None, None, "Not Found")),
    "FastAPI's validation": (
        '{"detail": [{"type": "missing", "loc": ["body", "model"], "msg": "Field required", "input": {"prompt": "…"}},'
        ' {"type": "int_type", "loc": ["body", "messages", 0], "msg": "Not a number"}]}',
        ProviderReason(None, "missing", "body.model: Field required; body.messages.0: Not a number"),
    ),
    "FastAPI, an object": (
        '{"detail": {"status": "quota_exceeded", "message": "Empty"}}',
        ProviderReason(None, "quota_exceeded", "Empty"),
    ),
    "RFC 9457": (
        '{"title": "Unauthenticated", "detail": "No token", "status": 401}',
        ProviderReason(401, None, "No token"),
    ),
    "watsonx": (
        '{"errors": [{"code": "model_not_supported", "message": "No model"}], "trace": "t", "status_code": 404}',
        ProviderReason("model_not_supported", None, "No model"),
    ),
    "Cloudflare": (
        '{"result": null, "success": false, "errors": [{"code": 7000, "message": "No route"}], "messages": []}',
        ProviderReason(7000, None, "No route"),
    ),
    "OpenRouter": (
        '{"error": {"code": 502, "message": "Provider returned error", "metadata": {"raw": "Busy", "provider_name": "X"}}}',
        ProviderReason(502, None, "Provider returned error: Busy"),
    ),
    "LiteLLM": (
        '{"error": {"message": "No key", "type": "None", "param": "None", "code": "401"}}',
        ProviderReason("401", None, "No key"),
    ),
    "Amazon": (
        '{"__type": "com.amazon.coral.service#ThrottlingException", "Message": "Slow down"}',
        ProviderReason(None, "ThrottlingException", "Slow down"),
    ),
    "Apigee": (
        '{"fault": {"faultstring": "Quota", "detail": {"errorcode": "policies.quota"}}}',
        ProviderReason("policies.quota", None, "Quota"),
    ),
    "Minimax": (
        '{"base_resp": {"status_code": 1004, "status_msg": "No login"}}',
        ProviderReason(1004, None, "No login"),
    ),
    "Spark": (
        '{"header": {"code": 10013, "message": "Filtered", "sid": "s", "status": 2}}',
        ProviderReason(10013, None, "Filtered"),
    ),
    "Tencent": (
        '{"Response": {"Error": {"Code": "AuthFailure", "Message": "No key"}, "RequestId": "r"}}',
        ProviderReason("AuthFailure", None, "No key"),
    ),
    "Tencent, in a stream": ('{"ErrorMsg": {"Msg": "Busy", "Code": 2001}}', ProviderReason(2001, None, "Busy")),
    "FastChat": ('{"text": "Out of memory", "error_code": 50002}', ProviderReason(50002, None, "Out of memory")),
    "Bedrock, in a stream": (
        '{"modelStreamErrorException": {"message": "Broken", "originalStatusCode": 424}}',
        ProviderReason(None, "modelStreamErrorException", "Broken"),
    ),
    "OAuth": (
        '{"error": "invalid_grant", "error_description": "Expired"}',
        ProviderReason("invalid_grant", None, "Expired"),
    ),
    "Spring": ('{"status": 404, "error": "Not Found", "path": "/v1"}', ProviderReason(404, None, "Not Found")),
    "a server-sent event": (
        'id:1\nevent:error\n:HTTP_STATUS/400\ndata:{"code": "InvalidParameter", "message": "Too hot"}\n\n',
        ProviderReason("InvalidParameter", None, "Too hot"),
    ),
    "several documents": ('{"error": "first"}\n{"error": "second"}\n', ProviderReason(None, None, "first")),
    "a byte order mark": ('\ufeff{"error": "first"}', ProviderReason(None, None, "first")),
    "a JSON string": ('"Unauthorized"', ProviderReason(None, None, "Unauthorized")),
    "text": ("upstream connect error\n", ProviderReason(None, None, "upstream connect error")),
    "a page": (
        "<!DOCTYPE html><html><head><title>502 Bad Gateway</title><style>h1 {color: red}</style></head>\n"
        "<body><!-- 7 --><h1>Bad &amp; gone</h1><script>x()</script></body></html>",
        ProviderReason(None, None, "502 Bad Gateway Bad & gone"),
    ),
    "nothing": ("", ProviderReason()),
    "JSON that says nothing": ('{"ok": false}', ProviderReason(None, None, '{"ok": false}')),
    "JSON that is cut off": ('{"error": {"message": "Too', ProviderReason(None, None, '{"error": {"message": "Too')),
    "a number of 5,000 digits": (
        f'{{"error": {{"message": "Odd", "code": {"1" * 5000}}}}}',
        ProviderReason(None, None, "Odd"),
    ),
    "a truth": ('{"error": {"message": "Odd", "code": true, "type": 5}}', ProviderReason(None, None, "Odd")),
    "half of a surrogate pair": (
        '{"error": {"message": "Odd \\ud83d", "code": "a\\ud83d\\u0000\\nb"}}',
        ProviderReason("ab", None, "Odd \ufffd"),
    ),
}
every_body = pytest.mark.parametrize(("body", "reason"), BODIES.values(), ids=BODIES.keys())


@every_body
def test_the_reason_is_read_from_every_shape(body: str, reason: ProviderReason) -> None:
    assert reason_of(body.encode()) == reason
    assert reason_of(body) == reason


@every_body
def test_an_error_of_the_status_has_the_providers_reason(body: str, reason: ProviderReason) -> None:
    error = sk.StatusError("no", status=400, body=body.encode())

    assert (error.code, error.type, error.detail) == reason


@pytest.mark.parametrize(
    ("code", "type", "words"),
    [
        (429, "rate_limit_error", "code 429, type 'rate_limit_error'"),
        ("401", None, "code '401'"),
        ("not_a_known_code", "server_error", "type 'server_error'"),
        ("my prompt was this", "and that", "see .code, see .type"),
        (1910, None, "see .code"),
        (None, None, ""),
    ],
)
def test_only_known_codes_are_shown(code: str | int | None, type: str | None, words: str) -> None:
    assert known(code, type) == words


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "errors", "message", "code", "type", "status", "detail", "metadata", "raw", "loc"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


def check_bounds(reason: ProviderReason) -> None:
    for word in (reason.code, reason.type):
        assert word is None or type(word) is int or (str(word).isprintable() and 0 < len(str(word)) <= WORD_CHARS)
    assert len(reason.detail) <= DETAIL_CHARS
    assert all(character in "\n\t" or character.isprintable() or ord(character) > 0x9F for character in reason.detail)
    reason.detail.encode()


@given(JSON)
def test_no_body_is_too_odd_to_be_read(body: Any) -> None:
    check_bounds(reason_of(body))
    check_bounds(reason_of(json.dumps(body)))


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_bytes_are_too_odd_to_be_read(body: bytes) -> None:
    check_bounds(reason_of(body))


@pytest.mark.parametrize(
    "unit", ["x", "[", '{"error":', "<", "<script", "<!--", "</script ", "data:\n", "&amp", "\x00"]
)
def test_what_is_kept_of_a_long_body_is_bounded(unit: str) -> None:
    check_bounds(reason_of(unit * 100_000))
    check_bounds(reason_of({"error": {"message": unit * 100_000, "code": unit * 100_000, "type": [unit]}}))


@given(st.text(min_size=4).filter(lambda text: text.lower() not in KNOWN), st.text(min_size=4))
def test_words_that_a_provider_chose_are_in_no_message(code: str, message: str) -> None:
    body = {"error": {"message": message, "code": code, "type": code}}
    stream = sk.Extract().run([sk.sse.ServerSentEvent.of(json.dumps(body))])

    with pytest.raises(sk.ProviderError) as caught:
        list(stream)

    assert str(caught.value) in {
        "event 1: the provider reported an error (see .code, see .type); its message is in .detail",
        "event 1: the provider reported an error (without a code); its message is in .detail",
    }
    check_bounds(ProviderReason(caught.value.code, caught.value.type, caught.value.detail))


@pytest.mark.parametrize(
    ("kind", "found"),
    [("abc#", "abc#"), ("#", "#"), ("a#b#", "a#b#"), ("a#b", "b"), ("#b", "b"), ("b", "b"), ("", None)],
)
def test_only_a_name_after_a_namespace_replaces_the_type(kind: str, found: str | None) -> None:
    assert reason_of({"__type": kind, "message": "m"}) == ProviderReason(None, found, "m")


def test_a_lone_surrogate_in_a_code_is_removed() -> None:
    with pytest.raises(sk.ProviderError) as caught:
        list(
            sk.Extract().run(
                [sk.sse.ServerSentEvent.of('{"error":{"message":"a \\ud83d","code":"b\\ud83d","type":"\\udc00"}}')]
            )
        )

    assert (caught.value.code, caught.value.type, caught.value.detail) == ("b\ufffd", "\ufffd", "a \ufffd")
    assert caught.value.body == {"message": "a \ufffd", "code": "b\ufffd", "type": "\ufffd"}
