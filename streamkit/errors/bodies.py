"""The reason that a provider gives for an error, read from any of the shapes that error bodies have.

    {"error": {"message", "type", "code"}}                  OpenAI, Azure, Groq, llama.cpp; OpenRouter adds `metadata.raw`
    {"type": "error", "error": {"type", "message"}}         Anthropic
    {"error": {"code", "message", "status"}}, also [{…}]    Google
    {"message"}                                             Cohere, Amazon Bedrock, gateways; with `statusCode` Azure's
    {"object": "error", "message", "type", "code"}          Mistral and vLLM; `message` may be {"detail": […]}
    {"error": "…"}                                          Ollama; with `error_type` Hugging Face's TGI, with `code` xAI
    {"errors": [{"code", "message"}]}                       watsonx, Cloudflare
    {"detail": "…"} or {"detail": [{"loc", "msg"}]}         FastAPI, Replicate (RFC 9457)
    {"base_resp": {"status_code", "status_msg"}}            MiniMax; {"header": {"code", "message"}} iFlytek's Spark
    {"Response": {"Error": {"Code", "Message"}}}            Tencent, in streams {"ErrorMsg": {"Code", "Msg"}}
    {"error_code", "text"}                                  FastChat
    {"modelStreamErrorException": {"message"}}              Amazon Bedrock, in a stream
    data: {…}                                               any of these as a server-sent event, as DashScope sends it
    text or a page                                          proxies

What a provider writes may quote the prompt or a key, so it never becomes part of a message: it is in `code`, `type` and
`detail`, without control characters and no longer than a bound. `known` shows the codes that are known.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple, cast

WORD_CHARS = 100
DETAIL_CHARS = 2000
_DEPTH = 6
_CODES = ("code", "Code", "error_code", "errorCode", "errorcode")
_STATUSES = ("status_code", "statusCode", "status")
_TYPES = ("type", "error_type", "__type", "status")
_TEXTS = (
    "message",
    "Message",
    "error_description",
    "msg",
    "Msg",
    "error_msg",
    "error_message",
    "errorMessage",
    "detail",
    "faultstring",
    "status_msg",
    "error",
    "errors",
    "title",
    "text",
)
_BOM = "\ufeff"
_UNREADABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]+")
_INVISIBLE = re.compile(r"<(script|style|svg)\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^<>]*>?")
_SSE = re.compile(r"(?:data|event|id|retry)?:")

KNOWN: Final[frozenset[str]] = frozenset(
    """
    invalid_api_key insufficient_quota rate_limit_exceeded model_not_found context_length_exceeded invalid_request_error
    server_error tokens requests content_filter content_policy_violation billing_hard_limit_reached billing_not_active
    invalid_organization unsupported_country_region_territory unsupported_value unsupported_parameter invalid_value invalid_type
    missing_required_parameter string_above_max_length invalid_prompt invalid_json_schema access_terminated account_deactivated

    authentication_error billing_error permission_error not_found_error request_too_large rate_limit_error api_error
    timeout_error overloaded_error

    CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED RESOURCE_EXHAUSTED
    FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED

    BadRequestError AuthenticationError PermissionDeniedError NotFoundError UnprocessableEntityError RateLimitError
    InternalServerError ServiceUnavailableError
    validation generation incomplete_generation overloaded request_timeout

    DeploymentNotFound OperationNotSupported ResponsibleAIPolicyViolation NoCapacity
    AccessDeniedException ExpiredTokenException ModelErrorException ModelNotReadyException ModelStreamErrorException
    ModelTimeoutException InternalServerException ResourceNotFoundException ServiceQuotaExceededException
    ServiceUnavailableException ThrottlingException UnrecognizedClientException ValidationException
    """.lower().split()
)
"""Codes and types that are safe to show, in lower case: those that the providers' references list.

https://platform.openai.com/docs/guides/error-codes, https://docs.claude.com/en/api/errors,
https://grpc.io/docs/guides/status-codes/, https://learn.microsoft.com/en-us/azure/ai-foundry/openai/reference,
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html; vLLM's and TGI's are in their sources.
"""


class ProviderReason(NamedTuple):
    """A provider's description of an error: its code, its type, and its message."""

    code: str | int | None = None
    type: str | None = None
    detail: str = ""


def reason_of(body: object) -> ProviderReason:
    """The reason in an error body: bytes or text as it was received, or JSON that is already decoded."""
    match body:
        case bytes() | bytearray():
            return _of_text(body.decode("utf-8", "replace"))
        case str():
            return _of_text(body)
        case _:
            return _of_json(body, 0)


def known(code: str | int | None, type: str | None) -> str:
    """The code and the type for a message, such as `code 429, type 'rate_limit_error'`, as far as they are known words or HTTP
    statuses. Of others it says only where they are; empty if there is neither."""
    named = {name: value for name, value in (("code", code), ("type", type)) if value is not None}
    shown = [f"{name} {value!r}" for name, value in named.items() if _is_known(value)]
    return ", ".join(shown or [f"see .{name}" for name in named])


def code_of(value: object) -> str | int | None:
    """An error's code, safe to keep: a number, or a bounded word. `None` for anything else."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is int:
        return value if abs(value) < 1 << 63 else None
    return word_of(value)


def word_of(value: object) -> str | None:
    """A provider's word, safe to keep: at most 100 characters, all of them printable. `None` for what has none."""
    if not isinstance(value, str) or value in ("None", "null"):
        return None
    word = "".join(character for character in value[: 4 * WORD_CHARS] if character.isprintable()).strip()
    return _bounded(word, WORD_CHARS) or None


def detail_of(text: str) -> str:
    """A provider's own words, safe to keep: at most 2,000 characters, without control characters other than line ends."""
    text = text[: 4 * DETAIL_CHARS].replace("\r\n", "\n").strip()
    return _bounded(_UNREADABLE.sub("\ufffd", text), DETAIL_CHARS)


def _bounded(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _is_known(value: str | int) -> bool:
    return str(value).lower() in KNOWN or re.fullmatch("[1-5][0-9]{2}", str(value)) is not None


# Text


def _of_text(text: str) -> ProviderReason:
    text = text.lstrip(_BOM).strip()
    if _SSE.match(text):
        text = _first_data(text) or text
    if text[:1] in ("{", "[", '"') and (found := _decoded(text)) is not None:
        reason = _of_json(found, 0)
        # JSON without any of the words that say why is its own explanation.
        return reason if any(reason) else ProviderReason(detail=detail_of(text))
    return ProviderReason(detail=detail_of(_text_of_page(text) if text.startswith("<") else text))


def _decoded(text: str) -> object:
    # Not msgspec, which refuses half of a surrogate pair. `raw_decode` reads the first document of several lines.
    try:
        found: object = json.JSONDecoder(parse_int=_number).raw_decode(text)[0]
    except (ValueError, RecursionError):
        return None
    return found


def _number(digits: str) -> object:
    # `int` refuses more than 4,300 digits, which would make the rest of the body unreadable.
    return int(digits) if len(digits) < 20 else None


def _first_data(text: str) -> str:
    data: list[str] = []
    for line in re.split("\r\n|\r|\n", text):
        if line.startswith("data:"):
            data.append(line[5:])
        elif data and not line:
            break
    return "\n".join(data).strip()


def _text_of_page(page: str) -> str:
    import html

    return " ".join(html.unescape(_TAG.sub(" ", _INVISIBLE.sub(" ", page))).split())


# JSON


def _of_json(value: object, depth: int) -> ProviderReason:
    match value:
        case dict() if depth < _DEPTH:
            return _of_fields(cast("dict[str, Any]", value), depth)
        case list() if depth < _DEPTH:
            return _of_list(cast("list[object]", value), depth)
        case str():
            return ProviderReason(detail=detail_of(value))
        case _:
            return ProviderReason()


def _of_fields(fields: dict[str, Any], depth: int) -> ProviderReason:
    def within(*names: str) -> Iterator[ProviderReason]:
        return (_of_json(fields[name], depth + 1) for name in names if isinstance(fields.get(name), dict | list))

    detail = _first(detail_of(value) for name in _TEXTS if isinstance(value := fields.get(name), str)) or ""
    # `type` of an object that wraps the error says only that it is one, as does that of the event that carries it.
    kind = _first(word_of(fields.get(name)) for name in _TYPES if fields.get(name) != "error")
    own = ProviderReason(_first(code_of(fields.get(name)) for name in _CODES), _after_hash(kind), detail)
    exceptions = [name for name in fields if name.endswith("Exception") and isinstance(fields[name], dict)]
    reasons = [
        *within("error"),
        own,
        *within(
            "errors", "fault", "base_resp", "header", "response", "Response", "Error", "ErrorMsg", "message", "detail"
        ),
        *(ProviderReason(None, word_of(name), "") for name in exceptions),
        *within(*exceptions),
        ProviderReason(_oauth_code(fields, detail)),
        ProviderReason(_first(value for name in _STATUSES if type(value := code_of(fields.get(name))) is int)),
    ]
    code, found, words = map(_first, zip(*reasons, strict=True))
    return ProviderReason(code, found, _with_raw(_with_place(words or "", fields), fields))


def _of_list(values: list[object], depth: int) -> ProviderReason:
    reasons = [_of_json(value, depth + 1) for value in values[:10]]
    details = "; ".join(reason.detail for reason in reasons if reason.detail)
    return ProviderReason(
        _first(reason.code for reason in reasons), _first(reason.type for reason in reasons), detail_of(details)
    )


def _first(values: Iterable[Any]) -> Any:
    return next((value for value in values if value not in (None, "")), None)


def _after_hash(kind: str | None) -> str | None:
    # Amazon's `__type` has the namespace before it. (https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html)
    return kind and (kind.rpartition("#")[2] or kind)


def _oauth_code(fields: dict[str, Any], detail: str) -> str | None:
    # RFC 6749, 5.2: `error` is the code, where something else is the description.
    word = word_of(fields.get("error"))
    return word if word != detail else None


def _with_place(detail: str, fields: dict[str, Any]) -> str:
    place = fields.get("loc")
    if not (detail and isinstance(place, list)):
        return detail
    path = ".".join(str(part) for part in cast("list[object]", place)[:10] if isinstance(part, str | int))
    return detail_of(f"{path}: {detail}")


def _with_raw(detail: str, fields: dict[str, Any]) -> str:
    # OpenRouter's own message is "Provider returned error". (https://openrouter.ai/docs/api-reference/errors)
    match fields.get("metadata"):
        case {"raw": str(raw)} if raw:
            return detail_of(f"{detail}: {raw}")
        case _:
            return detail
