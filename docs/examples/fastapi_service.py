"""A gateway on FastAPI: OpenAI's chat completions, moderated and counted, for the official `openai` client.

    streamkit serve-demo --port 8080
    python docs/examples/fastapi_service.py http://127.0.0.1:8080/v1

    client = openai.OpenAI(base_url="http://127.0.0.1:8002/v1", api_key="any")

A client that requests a stream's usage also gets it when the answer was blocked and the provider could not report it: the count
of the released text. Without `stream=True` a client gets the same moderated answer as one JSON object. If a client disconnects,
the answer is cancelled at the provider; a log line has the tokens of every answer. The provider's key is taken
from OPENAI_API_KEY; clients need no key here, so serve it on this machine only, or check their keys.
"""

import logging
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Response
from pydantic import BaseModel, Field

import streamkit as sk
from streamkit.sinks.starlette import EventStreamResponse

RULES = (
    sk.Rule("secret", phrases=("blue heron 42",), action="redact"),
    sk.Rule("weapons", phrases=("how to build a bomb",), action="block", message="I can't help with that."),
)
log = logging.getLogger("gateway")


class ChatRequest(BaseModel, extra="allow"):
    """The fields of a request that the gateway reads; all others are sent to the provider unchanged."""

    model: str
    messages: list[dict[str, Any]]
    n: int | None = Field(None, ge=1)
    stream: bool = False
    stream_options: Mapping[str, Any] | None = None


@dataclass
class Bill(sk.Stage[sk.Event, sk.Event]):
    """Emit the usage that `Count` counted, if the provider reports none."""

    prompt_tokens: int
    _counted: int = field(default=0, init=False, repr=False)
    _known: bool = field(default=False, init=False, repr=False)

    def feed(self, item: sk.Event) -> Iterable[sk.Event]:
        match item:
            case sk.Usage():
                self._known = True
            case sk.TokenCount(tokens=tokens):
                self._counted += tokens
            case sk.StreamEnd() if not self._known:
                yield sk.Usage(self.prompt_tokens, self._counted, self.prompt_tokens + self._counted)
        yield item


def pipeline(request: ChatRequest) -> sk.Pipeline[bytes, sk.Event]:
    """`Count` comes after `Moderate`, so it counts the released text."""
    moderate = sk.Moderate(RULES, choices=request.n or 1)
    bill = Bill(sk.tokens.prompt_tokens(request.messages, request.model).tokens)
    return sk.Parse() | sk.Extract() | moderate | sk.Count(request.model) | bill


def application(base_url: str, *, key: str = "") -> FastAPI:
    """`base_url` is the provider's, with its `/v1`."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    api = FastAPI()

    @api.post("/v1/chat/completions")
    async def chat(request: ChatRequest) -> Response:
        body = request.model_dump(exclude_unset=True)
        stream = sk.http.post(f"{base_url}/chat/completions", json=body, headers=headers) | pipeline(request)
        return EventStreamResponse(stream, body=body, on_end=lambda: report(request, stream))

    return api


def report(request: ChatRequest, stream: sk.Stream[sk.Event]) -> None:
    """Called at every end, also when the client has disconnected."""
    end = stream.end.reason if stream.end else "not opened"
    log.info("%s: %s, %s tokens released", request.model, end, stream.stage(sk.Count).tokens())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    uvicorn.run(application(sys.argv[1], key=os.environ.get("OPENAI_API_KEY", "")), port=8002)
