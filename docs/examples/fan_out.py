"""Fan-out: one upstream request, and every viewer gets the answer from its beginning, also late and slow viewers.

    streamkit serve-demo --port 8080
    python docs/examples/fan_out.py http://127.0.0.1:8080/v1 "Count to 100"

    curl -N http://127.0.0.1:8004/                              as often as you like, also when the answer is complete
    curl -N http://127.0.0.1:8004/ -H 'last-event-id: 190'      the rest alone

A viewer that falls too far behind is disconnected, so it neither delays others nor takes memory. An `EventSource` then
reconnects automatically, with the id of its last event, and gets the events that it missed.
"""

import json
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from dataclasses import dataclass, field

from aiohttp import web

import streamkit as sk
from streamkit.sinks.aiohttp import respond

Hub = sk.hops.Broadcast[sk.sse.ServerSentEvent | sk.StreamEnd]
HUB: web.AppKey[Hub] = web.AppKey("hub")
EVENTS = 100_000
"""How many events are kept for late viewers: more than an answer has."""
END = "end"
"""The id of the last event: a viewer that sends it has everything."""


@dataclass
class Number(sk.Stage[sk.Event, sk.sse.ServerSentEvent]):
    """Text as JSON; each event has its number as its id, and the reconnection time of viewers in milliseconds."""

    retry: int
    _number: int = field(default=0, init=False, repr=False)

    def feed(self, item: sk.Event) -> Iterable[sk.sse.ServerSentEvent]:
        match item:
            case sk.TextDelta(text=text):
                self._number += 1
                yield sk.sse.ServerSentEvent.of(json.dumps(text), id=str(self._number), retry=self.retry)
            case sk.StreamEnd(reason=reason):
                yield sk.sse.ServerSentEvent.of(json.dumps(reason), "end", id=END)


def application(base_url: str, prompt: str, *, key: str = "", behind: int = 256, retry: int = 1000) -> web.Application:
    """`behind`: how many events a viewer may lag behind the answer, in addition to the events before it connected."""
    body = {"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": prompt}]}
    headers = {"authorization": f"Bearer {key}"} if key else {}

    async def answer(app: web.Application) -> AsyncIterator[None]:
        source = sk.http.post(f"{base_url}/chat/completions", json=body, headers=headers)
        numbered = source | sk.Parse() | sk.Extract() | Number(retry)
        async with sk.hops.broadcast(numbered, size=behind, history=EVENTS) as app[HUB]:
            yield

    async def view(request: web.Request) -> web.StreamResponse:
        last = request.headers.get("last-event-id", "")
        if last == END:
            return web.Response(status=204)  # stops an `EventSource` from reconnecting
        return await respond(request, rest(request.app[HUB], int(last) if last.isdecimal() else 0))

    app = web.Application()
    app.cleanup_ctx.append(answer)
    app.router.add_get("/", view)
    return app


async def rest(hub: Hub, seen: int) -> AsyncGenerator[sk.sse.ServerSentEvent | sk.StreamEnd, None]:
    """The events after the first `seen`."""
    events = hub.subscribe()
    seen -= events.dropped
    try:
        async for event in events:
            if seen > 0:
                seen -= 1
            else:
                yield event
    except sk.errors.QueueOverflow:
        return  # the response ends in the middle of the answer, and the viewer reconnects
    finally:
        await events.aclose()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    app = application(*sys.argv[1:3], key=os.environ.get("OPENAI_API_KEY", ""))
    web.run_app(app, host="127.0.0.1", port=8004, shutdown_timeout=2)
