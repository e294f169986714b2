"""Error objects in the shapes of providers, gateways and web frameworks, distinguished from ordinary events.

    {"error": {…}}, {"error": "…"}, {"errors": […]}, [{"error": {…}}]   OpenAI, Ollama, watsonx, Google
    {"error_type": …, "error_message": …}, {"error_code": …, "error_msg": …}   Baidu, Databricks, FastChat
    {"object": "error", "message": …}, {"type": "error", …}             vLLM, Mistral, Responses, Dify
    {"base_resp": {"status_code": 1004}}, {"header": {"code": 10013}}   MiniMax, iFlytek Spark; 0 is a success
    {"code": …, "message": …}, {"statusCode": 401, "message": …}        DashScope, Azure, gateways
    {"detail": …}, {"title": …, "status": 404}                          FastAPI, RFC 9457
    {"modelStreamErrorException": {…}}                                  Bedrock

An ordinary event may have any of these fields. Therefore a `message` alone is an error only if it is the whole body, and a
code is an error only if it is not a success code. Objects that a dialect reads as chunks are not examined.
"""

import re
from typing import Any, cast

from streamkit.dialects.fields import mapping, mappings

_CODES = ("code", "errorcode", "errcode", "errno", "errorno", "statuscode", "status")
_ERROR_CODES = _CODES[1:5]
_ERROR_TEXTS = ("errormessage", "errormsg", "errmsg", "errortype")
_TYPES = ("type", "errortype", "tpe", "status")
_TEXTS = (
    "message",
    "msg",
    "errormessage",
    "errormsg",
    "errmsg",
    "statusmsg",
    "errordescription",
    "detail",
    "faultstring",
    "title",
    "error",
)
_MARKED = ("object", "type", "event", "status")
# Other fields of an error object, besides its code and its text. An object with any field beyond these is not an error.
_OTHERS = (
    "param id requestid sid logid traceid trace instance timestamp path help docs reason retryable success data result"
)
_BESIDE = {*_CODES, *_TYPES, *_TEXTS, *_OTHERS.split(" ")}
# The fields that name the type of an event or an object, and fields of an event that contains only an error.
_KINDS = ("type", "object", "event_type", "event")
_OF_GATEWAYS = "errors event eventtype eventid object sequencenumber model provider created userid"
_AROUND = {*_BESIDE, *_OF_GATEWAYS.split(" ")}
_NO_ERROR = {"", "0", "ok", "success", "succeeded", "none", "null", "200"}
_WORD = re.compile(r"[A-Za-z][\w.:/-]{2,63}|-?[0-9]{1,9}")


def error_in(data: object, *, whole: bool = False) -> object | None:
    """Return the error object in an event's JSON, or `None`. `whole`: the JSON is a whole body, not an event of a stream."""
    if isinstance(data, list):
        # Google's API also sends errors in an array.
        return error_in(next(iter(mappings(cast(list[object], data))), None), whole=whole)
    if not isinstance(data, dict):
        return None
    fields = _plain(cast(dict[str, Any], data))
    if (error := fields.get("error") or fields.get("errors")) and not _is_explained(error, fields):
        return _first_of(error)
    is_error = bool(error) or any(test(fields) for test in _TESTS) or (whole and _is_message(fields))
    return cast(object, data) if is_error else None


def is_error_event(data: object) -> bool:
    """Return whether an event of a stream is an error in every dialect: it is marked as one, or contains only an error.

    Gateways send the errors of OpenAI and Anthropic in streams of any provider. False for `error` in an event that names its
    own type, such as a failed tool call, or that has fields of an answer: a dialect must examine such events itself.
    """
    if isinstance(data, list):
        items = cast(list[object], data)
        return len(items) == 1 and not isinstance(items[0], list) and is_error_event(items[0])
    if not isinstance(data, dict):
        return False
    fields = cast(dict[str, Any], data)
    kinds = [fields[name] for name in _KINDS if fields.get(name) is not None]
    if "error" in kinds:
        return True
    return not kinds and bool(fields.get("error") or fields.get("errors")) and _plain(fields).keys() <= _AROUND


def _names_exception(name: str) -> bool:
    return name.endswith("exception")


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    # Treat `errorCode`, `error_code` and `ErrorCode` as the same name.
    return {re.sub("[^a-z]", "", name.lower()): value for name, value in fields.items()}


def _first_of(errors: object) -> object:
    items = cast(list[object], errors) if isinstance(errors, list) else [errors]
    return next(iter(mappings(items)), items[0] if items else "")


# Which objects are errors


def _is_explained(error: object, fields: dict[str, Any]) -> bool:
    # `error` is a string, flag or number, and fields beside it have the code, type or text: the whole object is the error.
    return not isinstance(error, dict | list) and not (fields.keys() - {"error", "errors", "id"}).isdisjoint(_BESIDE)


def _has_error_code(fields: dict[str, Any]) -> bool:
    codes = [fields[name] for name in _ERROR_CODES if name in fields]
    texts = [] if codes else [fields.get(name) for name in _ERROR_TEXTS]
    return any(_is_code(code) or _is_text(code) for code in codes) or any(map(_is_text, texts))


def _holds_error(fields: dict[str, Any]) -> bool:
    within = {name: mapping(fields.get(name)) for name in ("baseresp", "header", "response", "fault", "errormsg")}
    if _is_code(within["baseresp"].get("status_code")) or _is_code(within["header"].get("code")):
        return True
    return bool(within["response"].get("Error") or within["fault"].get("faultstring") or within["errormsg"])


def _is_exception(fields: dict[str, Any]) -> bool:
    # https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ResponseStream.html
    return len(fields) == 1 and all(_names_exception(name) and isinstance(fields[name], dict) for name in fields)


def _is_marked(fields: dict[str, Any]) -> bool:
    marks = {name: str(fields[name]).lower() for name in _MARKED if isinstance(fields.get(name), str)}
    if "error" in marks.values():
        # `"status": "error"` alone may be the status of a part of the answer.
        return marks.get("status") != "error" or _has_text(fields)
    return _has_text(fields) and any(word.endswith(("error", "exception")) for word in marks.values())


def _failed(fields: dict[str, Any]) -> bool:
    return fields.get("success") is False or fields.get("ok") is False


def _is_detail(fields: dict[str, Any]) -> bool:
    detail = fields.get("detail") or (fields.get("title") and _is_status(fields.get("status")))
    return bool(detail) and _has_nothing_else(fields)


def _is_coded(fields: dict[str, Any]) -> bool:
    coded = _is_code(fields.get("code")) or any(_is_status(fields.get(name)) for name in ("statuscode", "status"))
    return coded and _is_message(fields)


def _is_message(fields: dict[str, Any]) -> bool:
    return _has_text(fields) and _has_nothing_else(fields)


def _has_nothing_else(fields: dict[str, Any]) -> bool:
    return fields.keys() <= _BESIDE and not fields.get("data") and not fields.get("result")


def _has_text(fields: dict[str, Any]) -> bool:
    return any(fields.get(name) for name in ("message", "msg", "detail"))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.lower() not in _NO_ERROR


def _is_status(value: object) -> bool:
    return type(value) is int and 400 <= value < 600


def _is_code(value: object) -> bool:
    if type(value) is int:
        return value != 0 and not 200 <= value < 300
    return _is_text(value) and _WORD.fullmatch(cast(str, value)) is not None


_TESTS = (_has_error_code, _holds_error, _is_exception, _is_marked, _failed, _is_detail, _is_coded)
