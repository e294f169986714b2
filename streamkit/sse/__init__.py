"""Server-sent events: parse bytes into lines and events, and encode events. Nothing here is specific to language models."""

from typing import TYPE_CHECKING, Final

from streamkit.core.lazy import lazily

if TYPE_CHECKING:
    from streamkit.sse.amazon import AmazonEvent as AmazonEvent
    from streamkit.sse.encode import Encode as Encode
    from streamkit.sse.events import Comment as Comment
    from streamkit.sse.events import JsonBody as JsonBody
    from streamkit.sse.events import ServerSentEvent as ServerSentEvent
    from streamkit.sse.events import UnfinishedEvent as UnfinishedEvent
    from streamkit.sse.lines import Lines as Lines
    from streamkit.sse.parse import Parse as Parse

__all__ = ["AmazonEvent", "Comment", "Encode", "JsonBody", "Lines", "Parse", "ServerSentEvent", "UnfinishedEvent"]

_WHERE: Final = {
    "AmazonEvent": "streamkit.sse.amazon:AmazonEvent",
    "Comment": "streamkit.sse.events:Comment",
    "Encode": "streamkit.sse.encode:Encode",
    "JsonBody": "streamkit.sse.events:JsonBody",
    "Lines": "streamkit.sse.lines:Lines",
    "Parse": "streamkit.sse.parse:Parse",
    "ServerSentEvent": "streamkit.sse.events:ServerSentEvent",
    "UnfinishedEvent": "streamkit.sse.events:UnfinishedEvent",
}
# Hidden from type checkers, which would otherwise accept any name.
if not TYPE_CHECKING:
    __getattr__, __dir__ = lazily(__name__, _WHERE)
