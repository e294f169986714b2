"""Where items come from: HTTP, feeds, recordings, and the streams of other clients."""

from typing import TYPE_CHECKING, Any, Final

from streamkit.core.lazy import attribute

if TYPE_CHECKING:
    from streamkit.sources import adapters as adapters
    from streamkit.sources import faults as faults
    from streamkit.sources import http as http
    from streamkit.sources.counting import count_prompt as count_prompt

__all__ = ["adapters", "count_prompt", "faults", "http"]

_WHERE: Final = {
    "adapters": "streamkit.sources.adapters",
    "count_prompt": "streamkit.sources.counting:count_prompt",
    "faults": "streamkit.sources.faults",
    "http": "streamkit.sources.http",
}


def __getattr__(name: str) -> Any:
    found = globals()[name] = attribute(__name__, name, _WHERE)
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
