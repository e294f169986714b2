"""Sources of items: HTTP, feeds, recordings, and the streams of other clients."""

from typing import TYPE_CHECKING, Final

from streamkit.core.lazy import lazily

if TYPE_CHECKING:
    from streamkit.sources import adapters as adapters
    from streamkit.sources import faults as faults
    from streamkit.sources import http as http
    from streamkit.sources import ws as ws
    from streamkit.sources.background import BackgroundResponse as BackgroundResponse
    from streamkit.sources.background import background_response as background_response
    from streamkit.sources.counting import count_prompt as count_prompt
    from streamkit.sources.entry_points import from_aiohttp as from_aiohttp
    from streamkit.sources.entry_points import from_anthropic as from_anthropic
    from streamkit.sources.entry_points import from_httpx as from_httpx
    from streamkit.sources.entry_points import from_openai as from_openai
    from streamkit.sources.entry_points import from_queue as from_queue
    from streamkit.sources.entry_points import from_websocket as from_websocket

__all__ = [
    "BackgroundResponse",
    "adapters",
    "background_response",
    "count_prompt",
    "faults",
    "from_aiohttp",
    "from_anthropic",
    "from_httpx",
    "from_openai",
    "from_queue",
    "from_websocket",
    "http",
    "ws",
]

_WHERE: Final = {
    "adapters": "streamkit.sources.adapters",
    "count_prompt": "streamkit.sources.counting:count_prompt",
    "faults": "streamkit.sources.faults",
    "http": "streamkit.sources.http",
    "BackgroundResponse": "streamkit.sources.background:BackgroundResponse",
    "background_response": "streamkit.sources.background:background_response",
    "from_aiohttp": "streamkit.sources.entry_points:from_aiohttp",
    "from_anthropic": "streamkit.sources.entry_points:from_anthropic",
    "from_httpx": "streamkit.sources.entry_points:from_httpx",
    "from_openai": "streamkit.sources.entry_points:from_openai",
    "from_queue": "streamkit.sources.entry_points:from_queue",
    "from_websocket": "streamkit.sources.entry_points:from_websocket",
    "ws": "streamkit.sources.ws",
}
# Hidden from type checkers: with a module `__getattr__` they would accept any name.
if not TYPE_CHECKING:
    __getattr__, __dir__ = lazily(__name__, _WHERE)
