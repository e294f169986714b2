"""Who a tool call is: its id, name and type, merged from deltas that may each have a piece of them, all of them, or none."""

import msgspec

from streamkit.events import ToolCallDelta

_LONGEST = 10_000
"""Longest name or id that is assembled from pieces; providers allow about 64 characters."""
_TYPES = {"function", "custom", "function_call"}


class Identity(msgspec.Struct):
    """The id, name and type of a tool call, as far as they have come.

    OpenAI's official clients concatenate every piece; some providers send a name in pieces, others repeat the whole name, id
    and type in every chunk. Therefore: what equals all that is known is a repetition; a name without an id beside it goes on
    with the name that is known, and so does an id without a name and arguments beside it; anything else that differs
    contradicts, and what came first stays. A name whose next piece equals all of it so far ("go", "go") can't be distinguished
    from a repetition, and is taken for one.
    """

    id: str | None = None
    """The call's id."""
    name: str | None = None
    """The function's name."""
    type: str | None = None
    """The provider's word for the kind of call."""

    @property
    def is_known(self) -> bool:
        """Whether it says which call this is."""
        return bool(self.id or self.name)

    def merge(self, delta: ToolCallDelta) -> tuple[dict[str, str], dict[str, str]]:
        """Take a delta: what of it is new, and what contradicts."""
        new: dict[str, str] = {}
        conflicts: dict[str, str] = {}
        goes_on = {
            "id": not (delta.name or delta.arguments),
            "name": not delta.id,
            "type": self.type not in _TYPES and not delta.id,
        }
        for field, continues in goes_on.items():
            known, said = getattr(self, field), getattr(delta, field)
            if not said or said == known:
                continue
            if known and not (continues and len(known) < _LONGEST):
                conflicts[field] = said
            else:
                setattr(self, field, (known or "") + said)
                new[field] = said
        return new, conflicts
