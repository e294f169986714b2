"""One exchange in a line of JSON, decoded to the bytes that the provider sent.

Supported forms; the first that matches is used:

    {"id": "a", "body": "data: {…}\\n\\n"}                     the body as text (or `b64`), such as an event stream
    {"id": "b", "pieces": [{"t": 0.4, "text": "data: …"}, …]}  a recording's lines, with times; `headers` as in its first line
    {"custom_id": "c", "response": {"body": {…}}, …}           a result of OpenAI's batch API
    {"custom_id": "d", "result": {"message": {…}}}             a result of Anthropic's message batches
    {"object": "chat.completion", …}                           a response without streaming, of any dialect
"""

import msgspec

from streamkit.core.wrong_input import bounded
from streamkit.errors import ProtocolError
from streamkit.sources.recording import head_line
from streamkit.sse.json_text import NOT_JSON

_NONE = msgspec.Raw()


class _Exchange(msgspec.Struct):
    custom_id: msgspec.Raw = _NONE
    id: msgspec.Raw = _NONE
    body: msgspec.Raw = _NONE
    b64: msgspec.Raw = _NONE
    pieces: msgspec.Raw = _NONE
    headers: dict[str, str] = {}
    response: msgspec.Raw = _NONE
    result: msgspec.Raw = _NONE
    error: msgspec.Raw = _NONE


class _Response(msgspec.Struct):
    # https://platform.openai.com/docs/api-reference/batch/request-output
    body: msgspec.Raw = _NONE


class _BatchResult(msgspec.Struct):
    # https://docs.claude.com/en/api/retrieving-message-batch-results
    type: str = ""
    message: msgspec.Raw = _NONE
    error: msgspec.Raw = _NONE


def read_line(line: bytes) -> tuple[str | None, bytes]:
    """Return the id of the exchange, if it has one, and its bytes: a body or a recording. Raises `ProtocolError` otherwise."""
    try:
        found = msgspec.json.decode(line, type=_Exchange)
        content = _content(found)
        if content is None:
            return None, line
        return _id(found.custom_id) or _id(found.id), content
    except NOT_JSON as error:
        raise ProtocolError(f"expected an exchange as a JSON object: {bounded(str(error))}") from error


def _content(found: _Exchange) -> bytes | None:
    if _given(found.body):
        return _body(found.body)
    if _given(found.b64):
        return msgspec.json.decode(found.b64, type=bytes)
    if _given(found.pieces):
        return _recording(found.pieces, found.headers)
    if _begins(found.result, b"{"):
        return _of_result(msgspec.json.decode(found.result, type=_BatchResult))
    # A string in `response` is Ollama's format: https://docs.ollama.com/api/generate
    if _begins(found.response, b"{"):
        body = msgspec.json.decode(found.response, type=_Response).body
        return _body(body if _given(body) else found.response)
    if _begins(found.response, b"null") and _given(found.error):
        return b'{"error":' + bytes(found.error) + b"}"
    return None


def _of_result(result: _BatchResult) -> bytes:
    if _given(result.message):
        return bytes(result.message)
    if _given(result.error):
        error = bytes(result.error)
        # Either the whole error response, or only its `error` field.
        whole = "error" in msgspec.json.decode(error, type=dict[str, msgspec.Raw])
        return error if whole else b'{"type":"error","error":' + error + b"}"
    kind = result.type if result.type in ("canceled", "expired") else "another one"
    raise ProtocolError(f"expected a result with a message or an error, found {kind}")


def _body(raw: msgspec.Raw) -> bytes:
    """Return the body: a JSON string contains it as text; any other JSON value is the body itself."""
    return msgspec.json.decode(raw, type=str).encode() if _begins(raw, b'"') else bytes(raw)


def _recording(pieces: msgspec.Raw, headers: dict[str, str]) -> bytes:
    lines = msgspec.json.decode(pieces, type=list[msgspec.Raw])
    return b"".join(
        [head_line({"headers": headers}), *(msgspec.json.format(line, indent=-1) + b"\n" for line in lines)]
    )


def _id(raw: msgspec.Raw) -> str | None:
    return _body(raw).decode() if _given(raw) else None


def _given(raw: msgspec.Raw) -> bool:
    return bytes(raw) not in (b"", b"null")


def _begins(raw: msgspec.Raw, start: bytes) -> bool:
    return bytes(raw).startswith(start)
