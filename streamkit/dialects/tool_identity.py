"""Merge the id, name and type of a tool call from deltas, each of which may have a piece of them, all of them, or none."""

import msgspec

from streamkit.events import ToolCallDelta

_LONGEST = 10_000
"""Longest name, id or type that is assembled from pieces; providers allow about 64 characters."""
_TYPES = {"function", "custom", "function_call"}


class Identity(msgspec.Struct):
    """The id, name and type of a tool call received so far.

    OpenAI's official clients concatenate every piece. Some providers send a name in pieces; others repeat the whole name, id
    and type in every chunk. Therefore a value equal to the known one is a repetition. A different name is appended if the delta
    has no id, and a different id if the delta has neither a name nor arguments. Any other different value is a conflict, and the
    first value is kept. A name whose second piece equals the first ("go", "go") can't be distinguished from a repetition and is
    treated as one.
    """

    id: str | None = None
    """The call's id."""
    name: str | None = None
    """The function's name."""
    type: str | None = None
    """The provider's kind of call."""

    @property
    def is_known(self) -> bool:
        """Whether the id or the name is known."""
        return bool(self.id or self.name)

    def merge(self, delta: ToolCallDelta) -> tuple[dict[str, str], dict[str, str]]:
        """Merge a delta. Return its new pieces and its conflicting values, both by field."""
        new: dict[str, str] = {}
        conflicts: dict[str, str] = {}
        may_continue = {
            "id": not (delta.name or delta.arguments),
            "name": not delta.id,
            "type": self.type not in _TYPES and not delta.id,
        }
        for field, continues in may_continue.items():
            known, received = getattr(self, field), getattr(delta, field)
            if not received or received == known:
                continue
            if known and not (continues and len(known) < _LONGEST):
                conflicts[field] = received
            else:
                setattr(self, field, (known or "") + received)
                new[field] = received
        return new, conflicts
