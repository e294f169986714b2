"""A stream as read by Anthropic's official client."""

from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2


class _Pieces(httpx2.SyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        yield from (self._body[at : at + 7] for at in range(0, len(self._body), 7))


def anthropic_message(body: bytes) -> dict[str, Any]:
    """The message that the client accumulates, as JSON without unset fields."""

    def answer(_: Any) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=_Pieces(body))

    with httpx2.Client(transport=httpx2.MockTransport(answer)) as http:
        client = anthropic.Anthropic(api_key="none", base_url="http://provider.test", http_client=http, max_retries=0)
        asked: Any = {"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
        with client.messages.stream(**asked) as stream:
            message: dict[str, Any] = stream.get_final_message().to_dict()
    # The client adds `stop_details: None` even if the provider sent no such field.
    if message.get("stop_details", "") is None and b"stop_details" not in body:
        del message["stop_details"]
    return message
