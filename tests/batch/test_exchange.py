"""Lines of JSON as the bytes that a provider sent."""

import json
from typing import Any

import pytest

import streamkit as sk
from streamkit.batch.exchange import read_line
from streamkit.errors import ProtocolError
from streamkit.sources.replay import Recorded

CHAT = {"object": "chat.completion", "id": "r1", "choices": [{"index": 0, "message": {"content": "Hi"}}]}
MESSAGE = {
    "type": "message",
    "role": "assistant",
    "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn",
}
STREAM = 'data: {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "Hi"}}]}\n\ndata: [DONE]\n\n'


@pytest.mark.parametrize(
    ("line", "id", "content"),
    [
        ({"id": "a", "body": STREAM}, "a", STREAM),
        ({"id": 7, "body": CHAT}, "7", CHAT),
        ({"b64": "SGk="}, None, "Hi"),
        (
            {"custom_id": "c", "id": "batch_req_1", "response": {"status_code": 200, "body": CHAT}, "error": None},
            "c",
            CHAT,
        ),
        ({"custom_id": "c", "response": CHAT}, "c", CHAT),
        ({"custom_id": "c", "response": None, "error": {"code": "expired"}}, "c", {"error": {"code": "expired"}}),
        ({"custom_id": "d", "result": {"type": "succeeded", "message": MESSAGE}}, "d", MESSAGE),
        (
            {"custom_id": "d", "result": {"type": "errored", "error": {"type": "invalid_request"}}},
            "d",
            {"type": "error", "error": {"type": "invalid_request"}},
        ),
        (
            {"custom_id": "d", "result": {"type": "errored", "error": {"type": "error", "error": {"type": "x"}}}},
            "d",
            {"type": "error", "error": {"type": "x"}},
        ),
        (CHAT, None, CHAT),
        (
            {"model": "llama3", "response": "Hi", "done": True},
            None,
            {"model": "llama3", "response": "Hi", "done": True},
        ),
    ],
    ids=[
        "sse",
        "body",
        "b64",
        "openai",
        "response",
        "openai-error",
        "anthropic",
        "errored",
        "errored-2",
        "bare",
        "ollama",
    ],
)
def test_known_forms(line: dict[str, Any], id: str | None, content: Any) -> None:
    found, body = read_line(json.dumps(line).encode())

    assert found == id
    assert (body.decode() if isinstance(content, str) else json.loads(body)) == content


@pytest.mark.anyio
async def test_pieces_have_their_times(anyio_backend: str) -> None:
    line = {"id": "p", "pieces": [{"t": 0.5, "text": STREAM}, {"t": 0.75, "end": "eof"}], "headers": {"x": "y"}}
    _, content = read_line(json.dumps(line, indent=1).encode())

    stream = Recorded(content, "p") | (sk.Parse() | sk.Extract() | sk.Timing())
    assert await stream.text() == "Hi"
    assert stream.stage(sk.Timing).timings.first_content == 0.5
    assert stream.stage(sk.Timing).timings.total == 0.5


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"not json", "expected an exchange as a JSON object"),
        (b"[1]", "expected an exchange as a JSON object: Expected `object`, got `array`"),
        (b'{"body": "\xff"}', "expected an exchange as a JSON object"),
        (b'{"b64": "*"}', "expected an exchange as a JSON object"),
        (b'{"pieces": 3}', "expected an exchange as a JSON object: Expected `array`, got `int`"),
        (b'{"result": {"type": "expired"}}', "expected a result with a message or an error, found expired"),
        (b'{"result": {"type": "secret text"}}', "expected a result with a message or an error, found another one"),
    ],
)
def test_what_is_none_is_a_typed_error(line: bytes, message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        read_line(line)
