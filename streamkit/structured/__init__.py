"""JSON that is still growing, and JSON as the caller's types."""

from typing import TYPE_CHECKING, Any, Final

from streamkit.core.lazy import attribute

if TYPE_CHECKING:
    from streamkit.structured.partial_json import PartialJson as PartialJson

__all__ = ["PartialJson"]

_WHERE: Final = {
    "PartialJson": "streamkit.structured.partial_json:PartialJson",
}


def __getattr__(name: str) -> Any:
    found = globals()[name] = attribute(__name__, name, _WHERE)
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
