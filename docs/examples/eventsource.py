"""An answer for a browser's `EventSource`. A browser that loses its connection resumes without duplicates.

    streamkit serve-demo --port 8080
    python docs/examples/eventsource.py http://127.0.0.1:8080/v1

Then open http://127.0.0.1:8003 and ask. POST /answers sends the request once. GET /answers/… reads the answer from its
beginning, or after the event of `Last-Event-ID`. An answer without a reader is read for a while, then cancelled at the
provider.
"""

import json
import os
import sys
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import inf
from uuid import uuid4

import anyio
import uvicorn
from anyio.abc import TaskStatus
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

import streamkit as sk
from streamkit.sinks.starlette import EventStreamResponse

PAGE = """<!doctype html>
<title>Ask</title>
<form id="form"><input id="question" value="Count to 100" size="60"> <button>Ask</button></form>
<p id="answer" style="white-space: pre-wrap"></p>
<script>
form.onsubmit = async submitted => {
  submitted.preventDefault()
  answer.textContent = ""
  const asked = await fetch("/answers", {method: "POST", body: JSON.stringify({prompt: question.value})})
  const events = new EventSource((await asked.json()).url)
  events.addEventListener("text", event => { answer.textContent += JSON.parse(event.data) })
  events.addEventListener("blocked", event => { answer.textContent += `[${JSON.parse(event.data)}]` })
  events.addEventListener("end", event => { events.close(); answer.dataset.end = JSON.parse(event.data) })
  events.onerror = () => { if (events.readyState == EventSource.CLOSED) answer.dataset.end = "failed" }
}
</script>
"""
END = "end"
"""The id of the last event: a reader that sends it has everything."""


@dataclass
class ForBrowser(sk.Stage[sk.Event, sk.sse.ServerSentEvent]):
    """Give each event its number as its id, and the reconnection time of browsers in milliseconds."""

    retry: int
    _number: int = field(default=0, init=False, repr=False)

    def feed(self, item: sk.Event) -> Iterable[sk.sse.ServerSentEvent]:
        match item:
            case sk.TextDelta(text=said):
                yield self._event("text", said)
            case sk.Blocked(category=said):
                yield self._event("blocked", said)
            case sk.StreamEnd(reason=said):
                yield self._event("end", said, END)

    def _event(self, name: str, said: str, id: str = "") -> sk.sse.ServerSentEvent:
        self._number += 1
        return sk.sse.ServerSentEvent.of(json.dumps(said), name, id=id or str(self._number), retry=self.retry)


@dataclass
class Answer:
    """The events so far, for late viewers, and the time left while there is no viewer."""

    hub: sk.hops.Broadcast[sk.sse.ServerSentEvent | sk.StreamEnd]
    life: anyio.CancelScope
    patience: float
    readers: int = 0

    async def behind(self, seen: int) -> AsyncGenerator[sk.sse.ServerSentEvent | sk.StreamEnd, None]:
        events = self.hub.subscribe()
        seen -= events.dropped
        self.readers, self.life.deadline = self.readers + 1, inf
        try:
            async for event in events:
                if seen > 0:
                    seen -= 1
                else:
                    yield event
        finally:
            await events.aclose()
            self.readers -= 1
            if not self.readers:
                self.life.deadline = anyio.current_time() + self.patience


def application(base_url: str, *, key: str = "", retry: int = 1000, patience: float = 60.0) -> Starlette:
    """`retry`: milliseconds until a browser connects again. `patience`: seconds until an answer without a reader is dropped."""
    answers: dict[str, Answer] = {}
    headers = {"authorization": f"Bearer {key}"} if key else {}
    pipeline = (
        sk.Parse() | sk.Extract() | sk.Moderate(sk.Rule("secret", phrases=("blue heron 42",))) | ForBrowser(retry)
    )

    async def ask(request: Request) -> Response:
        try:
            prompt = str((await request.json())["prompt"])
        except (ValueError, TypeError, KeyError):
            return JSONResponse({"error": "expected a JSON object with a prompt"}, status_code=400)
        messages = [{"role": "user", "content": prompt}]
        body = {"model": "gpt-4o-mini", "stream": True, "messages": messages}
        stream = sk.http.post(f"{base_url}/chat/completions", json=body, headers=headers) | pipeline
        number = await request.state.tasks.start(keep, stream)
        return JSONResponse({"url": f"/answers/{number}"}, status_code=201)

    async def keep(stream: sk.Stream[sk.sse.ServerSentEvent], *, task_status: TaskStatus[str]) -> None:
        number = uuid4().hex
        with anyio.CancelScope(deadline=anyio.current_time() + patience) as life:
            async with sk.hops.broadcast(stream, overflow="wait") as hub:
                answers[number] = Answer(hub, life, patience)
                task_status.started(number)
                await anyio.sleep_forever()
        del answers[number]

    async def read(request: Request) -> Response:
        answer = answers.get(request.path_params["number"])
        last = request.headers.get("last-event-id", "")
        if answer is None or last == END:
            return Response(status_code=204)  # stops an `EventSource` from reconnecting
        return EventStreamResponse(answer.behind(int(last) if last.isdecimal() else 0))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[dict[str, object], None]:
        async with anyio.create_task_group() as tasks:
            yield {"tasks": tasks}
            tasks.cancel_scope.cancel()

    async def page(_: Request) -> Response:
        return HTMLResponse(PAGE)

    routes = [Route("/", page), Route("/answers", ask, methods=["POST"]), Route("/answers/{number}", read)]
    return Starlette(routes=routes, lifespan=lifespan)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    api = application(sys.argv[1], key=os.environ.get("OPENAI_API_KEY", ""))
    uvicorn.run(api, port=8003, timeout_graceful_shutdown=1)
