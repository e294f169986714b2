"""Answers shown while they arrive, comparisons and charts."""

from typing import TYPE_CHECKING, Any, Final

from streamkit.core.lazy import attribute

if TYPE_CHECKING:
    from streamkit.display.comparison import Comparison as Comparison
    from streamkit.display.comparison import compare as compare
    from streamkit.display.live import show as show

__all__ = ["Comparison", "compare", "show"]

_WHERE: Final = {
    "Comparison": "streamkit.display.comparison:Comparison",
    "compare": "streamkit.display.comparison:compare",
    "show": "streamkit.display.live:show",
}


def __getattr__(name: str) -> Any:
    found = globals()[name] = attribute(__name__, name, _WHERE)
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
