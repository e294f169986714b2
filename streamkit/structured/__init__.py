"""JSON that is still growing, and JSON as the caller's types."""

from typing import TYPE_CHECKING, Final

from streamkit.core.lazy import lazily

if TYPE_CHECKING:
    from streamkit.structured.partial_json import PartialJson as PartialJson

__all__ = ["PartialJson"]

_WHERE: Final = {
    "PartialJson": "streamkit.structured.partial_json:PartialJson",
}
# Not for type checkers, which would accept any name.
if not TYPE_CHECKING:
    __getattr__, __dir__ = lazily(__name__, _WHERE)
