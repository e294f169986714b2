"""Helpers of the emitters' tests: recordings as events, and official clients that read frames without a network."""

import json
from collections.abc import Iterable
from functools import cache
from typing import Any

import anthropic
import httpx2
import openai
from openai.types.responses import Response

import streamkit as sk
from streamkit.sse import Encode, ServerSentEvent
from tests.clients.gateway import recordings

CITATION = {
    "type": "char_location",
    "cited_text": "a",
    "document_index": 0,
    "document_title": None,
    "start_char_index": 0,
    "end_char_index": 1,
    "file_id": None,
}
"""A citation as Anthropic sends it."""


@cache
def answers() -> dict[str, list[sk.Event]]:
    """The events of all recordings that end without a failure, including the `Completion`."""
    read = sk.Parse() | sk.Extract(errors="emit") | sk.Accumulate()
    found = {recording.name: list(read.run([recording.path.read_bytes()])) for recording in recordings()}
    return {name: events for name, events in found.items() if completion_of(events).end in sk.completion.SUCCESSES}


def completion_of(events: list[sk.Event]) -> sk.Completion:
    return [event for event in events if isinstance(event, sk.Completion)][-1]


def body_of(frames: Iterable[ServerSentEvent]) -> bytes:
    return b"".join(Encode().run(list(frames)))


def data_of(frames: Iterable[ServerSentEvent]) -> list[Any]:
    """The data of the frames, decoded if it is JSON."""
    return [frame.data if frame.data == "[DONE]" else json.loads(frame.payload) for frame in frames]


def written(dialect: str, *events: sk.Event, **options: Any) -> list[Any]:
    return data_of(sk.Emit(dialect, **options).run(list(events)))


def _transport(body: bytes) -> httpx2.Client:
    def respond(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)

    return httpx2.Client(transport=httpx2.MockTransport(respond))


def read_message(frames: Iterable[ServerSentEvent]) -> anthropic.types.Message:
    """Return the message that Anthropic's client assembles."""
    with (
        _transport(body_of(frames)) as http,
        anthropic.Anthropic(api_key="any", base_url="http://test", max_retries=0, http_client=http) as client,
        client.messages.stream(model="any", max_tokens=1, messages=[{"role": "user", "content": "Hi"}]) as stream,
    ):
        return stream.get_final_message()


def read_response(frames: Iterable[ServerSentEvent]) -> Response:
    """Return the response that the stream helper of OpenAI's client assembles; it only accepts `completed` responses."""
    with (
        _transport(body_of(frames)) as http,
        openai.OpenAI(api_key="any", base_url="http://test", max_retries=0, http_client=http) as client,
        client.responses.stream(model="any", input="Hi") as stream,
    ):
        return stream.get_final_response()


def last_response(frames: Iterable[ServerSentEvent]) -> Response:
    """Return the response in the last event, whatever its status."""
    with (
        _transport(body_of(frames)) as http,
        openai.OpenAI(api_key="any", base_url="http://test", max_retries=0, http_client=http) as client,
        client.responses.stream(model="any", input="Hi") as stream,
    ):
        events: list[Any] = list(stream)
    response: Response = events[-1].response
    return response
