"""Live display of responses, comparisons and charts."""

from typing import TYPE_CHECKING, Final

from streamkit.core.lazy import lazily

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
# Hidden from type checkers: with a module `__getattr__` they would accept any name.
if not TYPE_CHECKING:
    __getattr__, __dir__ = lazily(__name__, _WHERE)
