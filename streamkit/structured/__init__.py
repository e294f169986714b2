"""Incomplete JSON, and JSON validated as the caller's types."""

from typing import TYPE_CHECKING, Final

from streamkit.core.lazy import lazily

if TYPE_CHECKING:
    from streamkit.structured.partial_json import PartialJson as PartialJson

__all__ = ["PartialJson"]

_WHERE: Final = {
    "PartialJson": "streamkit.structured.partial_json:PartialJson",
}
# Hidden from type checkers, which would otherwise accept any name.
if not TYPE_CHECKING:
    __getattr__, __dir__ = lazily(__name__, _WHERE)
