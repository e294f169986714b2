"""The current stream of each chat, for clients that resume by the chat's id: Vercel's `useChat({resume: true})`."""

from typing import Any
from uuid import uuid4

from streamkit.core.stage import Stage
from streamkit.core.stream import Stream
from streamkit.emitters.emitter import MakeEmitter
from streamkit.events import Event
from streamkit.relay.log import Takeover
from streamkit.relay.publication import Open
from streamkit.relay.relay import Relay
from streamkit.sse.events import ServerSentEvent


class Chats:
    """The handlers of a chat's routes: `start` for `POST /api/chat`, `resume` for `GET /api/chat/<id>/stream`, `stop`.

    `useChat` sends no `Last-Event-ID` when it resumes and has nothing of the message, so that `resume` begins at the latest
    `Reset` or the beginning, with the same message id. `emit` writes the frames, as in `Relay.frames`; the keys and names of the
    chats begin with `prefix`. Check who may see a chat before you call any of them.
    """

    def __init__(
        self,
        streams: Relay,
        emit: Stage[Event, ServerSentEvent] | str | MakeEmitter = "ai-sdk",
        *,
        prefix: str = "chat:",
    ) -> None:
        self._streams = streams
        self._emit = emit
        self._prefix = prefix

    async def start(
        self, chat: str, open: Open, *, request: Any = None, takeover: Takeover = "truncate", checkpoints: bool = False
    ) -> Stream[ServerSentEvent]:
        """Publish a new answer as the chat's current stream, and return its frames for the response.

        A client that disconnects does not stop it. The parameters are those of `Relay.publish`.
        """
        key = f"{self._prefix}{chat}:{uuid4().hex}"
        publication = await self._streams.publish(
            key, open, request=request, takeover=takeover, checkpoints=checkpoints
        )
        try:
            await self._streams.bind(f"{self._prefix}{chat}", key)
        except BaseException:
            publication.stop()  # nobody would find it
            raise
        return self._streams.frames(key, self._emit)

    async def resume(self, chat: str) -> Stream[ServerSentEvent] | None:
        """The frames of the chat's current stream from their beginning; `None` (status 204) if no stream is active."""
        key = await self._streams.bound(f"{self._prefix}{chat}")
        state = await self._streams.state(key) if key else None
        return self._streams.frames(key, self._emit) if key and state and not state.ended else None

    async def stop(self, chat: str) -> bool:
        """Stop the chat's current stream; False if none is active."""
        key = await self._streams.bound(f"{self._prefix}{chat}")
        return await self._streams.stop(key) if key else False
