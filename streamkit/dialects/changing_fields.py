"""Fields of a format that have no event of their own and may change during the stream."""

from typing import Any

import msgspec

from streamkit.dialects.fields import changed


class ChangingFields(msgspec.Struct):
    """The fields of a response or of a choice. Each is emitted when it first appears, and again at the end if it changed.

    Some servers send changing times or counters with every chunk.
    """

    known: dict[str, Any] = {}
    late: dict[str, Any] = {}

    def take(self, found: dict[str, Any]) -> dict[str, Any]:
        """Return the fields to emit now. Empty values don't replace other values."""
        received = {name: value for name, value in found.items() if value not in (None, "", [], {})}
        new = {name: value for name, value in received.items() if name not in self.known}
        for name, value in received.items():
            if name not in new and self.late.get(name, self.known[name]) != value:
                self.late[name] = value
        self.known |= new
        return new

    def rest(self) -> dict[str, Any]:
        """Return the fields to emit at the end of the stream."""
        if not self.late:
            return {}
        late = changed(self.late, self.known)
        self.known, self.late = {**self.known, **late}, {}
        return late
