"""The Responses API of the demo provider, with background responses that can be resumed from any event."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Annotated, Any

import msgspec

from streamkit.cli.script import ScriptedTurn
from streamkit.cli.wire import Json, WireMessage
from streamkit.completion import EndReason
from streamkit.emitters.emit import Emit
from streamkit.events import Event, Finish, StreamEnd, TextDelta, ToolCallDelta, Usage
from streamkit.sse.encode import encode
from streamkit.sse.events import ServerSentEvent
from streamkit.stages.accumulate import Accumulate

KEPT = 1000
"""Maximum number of stored responses; the oldest are removed first."""


class ResponseTool(msgspec.Struct):
    name: str = ""


class ResponseRequest(msgspec.Struct, kw_only=True):
    """Request fields of the Responses API."""

    input: str | Annotated[list[WireMessage], msgspec.Meta(min_length=1)]
    model: str = "gpt-4o-mini"
    stream: bool | None = None
    background: bool | None = None
    max_output_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    tools: list[ResponseTool] | None = None

    @property
    def prompt(self) -> str:
        """The text of the last user message."""
        if isinstance(self.input, str):
            return self.input
        texts = [message.text for message in self.input if message.role == "user"]
        return texts[-1] if texts else ""

    @property
    def texts(self) -> list[str]:
        return [self.input] if isinstance(self.input, str) else [message.text for message in self.input]

    @property
    def offered(self) -> set[str]:
        """The tools that this turn may call."""
        if isinstance(self.input, list) and self.input[-1].role != "user":
            return set()
        return {tool.name for tool in self.tools or () if tool.name}


@dataclass
class StoredResponse:
    """A response: its frames, each with the time of its generation in seconds after `began`."""

    emit: Emit
    events: list[Event]
    frames: list[tuple[float, bytes]]
    began: float
    background: bool
    streams: bool
    cancelled: float | None = None

    @property
    def seconds(self) -> float:
        """The total duration."""
        return self.frames[-1][0]

    def behind(self, number: int, now: float) -> Iterator[tuple[float, bytes]]:
        """Yield the frames after a sequence number, each with the seconds from `now`."""
        for at, data in self.frames[number + 1 :]:
            if self.cancelled is not None and self.began + at > self.cancelled:
                return
            yield max(0.0, self.began + at - now), data

    def status(self, now: float) -> Json:
        """Return the response object in its current state."""
        if self.cancelled is None and now >= self.began + self.seconds:
            return self.emit.fresh().response(_completion(self.events))
        status = "in_progress" if self.cancelled is None else "cancelled"
        whole = self.emit.fresh().response(_completion(self.events))
        return {**whole, "status": status, "output": [], "usage": None}


def _completion(events: Sequence[Event]) -> Any:
    stage = Accumulate().fresh()
    stage.feed_all(list(events))
    return stage.snapshot


def respond(
    request: ResponseRequest,
    take: ScriptedTurn,
    waits: Sequence[float],
    identity: tuple[str, int, str],
    usage: Usage,
    began: float,
) -> StoredResponse:
    """Return the response of a scripted turn. `identity`: id, creation time, and the id of a tool call."""
    id, created, call_id = identity
    deltas: list[Event] = [TextDelta(piece) for piece in take.pieces]
    if take.tool:
        first = ToolCallDelta(0, call_id, take.tool, type="function")
        deltas = [first, *(ToolCallDelta(0, arguments=piece) for piece in take.pieces)]
    reasons: dict[str, EndReason] = {"length": "length", "tool_calls": "tool_calls"}
    end = StreamEnd(reasons.get(take.finish_reason, "completed"))
    events: list[Event] = [*deltas, Finish(take.finish_reason), usage, end]
    emit = Emit("responses", id=id, created=created, model=request.model, request=msgspec.to_builtins(request)).fresh()
    moments = [0.0, *accumulate(waits)]
    frames: list[tuple[float, bytes]] = []
    for number, event in enumerate(events):
        # The start of a tool call is sent with its first piece, the end with the last one.
        at = moments[min(number + (0 if take.tool else 1), len(moments) - 1)]
        frames += [(at, encode(frame)) for frame in emit.feed(event) if isinstance(frame, ServerSentEvent)]
    return StoredResponse(emit, events, frames, began, bool(request.background), bool(request.stream))
