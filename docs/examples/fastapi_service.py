"""A gateway on FastAPI: OpenAI's chat completions, moderated and counted, for the official `openai` client.

    streamkit serve-demo --port 8080
    python docs/examples/fastapi_service.py http://127.0.0.1:8080/v1

    client = openai.OpenAI(base_url="http://127.0.0.1:8002/v1", api_key="any")

A client that asks for a stream's usage gets it also when the answer was blocked and the provider could not report it: the count
of what the client got. Who does not ask for a stream gets the same moderated answer in one piece. The provider's key is taken
from OPENAI_API_KEY; clients need none here, so keep it on this machine or ask for theirs.
"""

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

import streamkit as sk
from streamkit.sinks.starlette import EventStreamResponse

RULES = (
    sk.Rule("secret", phrases=("blue heron 42",), action="redact"),
    sk.Rule("weapons", phrases=("how to build a bomb",), action="block", message="I can't help with that."),
)


class Asked(BaseModel, extra="allow"):
    """What matters here of a request; all else goes to the provider as it is."""

    model: str
    messages: list[dict[str, Any]]
    n: int | None = Field(None, ge=1)
    stream: bool = False
    stream_options: Mapping[str, Any] | None = None


@dataclass
class Bill(sk.Stage[sk.Event, sk.Event]):
    """Give the usage from what `Count` counted, if the provider gives none."""

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


def pipeline(asked: Asked) -> sk.Pipeline[str, sk.Event]:
    """`Count` stands behind `Moderate`: it counts what leaves."""
    moderated = sk.Parse() | sk.Extract() | sk.Moderate(RULES, choices=asked.n or 1) | sk.Count(asked.model)
    if (asked.stream_options or {}).get("include_usage"):
        return moderated | Bill(sk.prompt_tokens(asked.messages, asked.model).tokens)
    return moderated


def application(base_url: str, *, key: str = "") -> FastAPI:
    """`base_url` is the provider's, with its `/v1`."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    api = FastAPI()

    @api.post("/v1/chat/completions")
    async def chat(asked: Asked) -> Response:
        body = asked.model_dump(exclude_unset=True)
        answer = sk.http.post(f"{base_url}/chat/completions", json=body, headers=headers) | pipeline(asked)
        return EventStreamResponse(answer | sk.Emit()) if asked.stream else await whole(answer | sk.Accumulate())

    return api


async def whole(answer: sk.Stream[sk.Event]) -> Response:
    """The moderated answer as one JSON object, or the status of a failure."""
    try:
        async with answer as events:
            completions = [event async for event in events if isinstance(event, sk.Completion)]
    except sk.StatusError as error:
        raise HTTPException(error.status if error.status < 500 else 502, "the provider refused the request") from error
    except sk.StreamkitError as error:
        raise HTTPException(502, "the provider failed") from error
    return JSONResponse(completions[-1].to_openai())


if __name__ == "__main__":
    uvicorn.run(application(sys.argv[1], key=os.environ.get("OPENAI_API_KEY", "")), port=8002)
