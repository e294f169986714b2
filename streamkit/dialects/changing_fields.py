"""Fields that a format has beside what is emitted, which change while the answer comes."""

from typing import Any

import msgspec

from streamkit.dialects.fields import changed


class ChangingFields(msgspec.Struct):
    """The fields of a response or of a choice. One is emitted when it is first there, and again at the end if it has changed.

    Some servers send times or counters anew with every chunk.
    """

    known: dict[str, Any] = {}
    late: dict[str, Any] = {}

    def take(self, found: dict[str, Any]) -> dict[str, Any]:
        """Return the fields to emit now. Empty values don't replace others."""
        said = {name: value for name, value in found.items() if value not in (None, "", [], {})}
        new = {name: value for name, value in said.items() if name not in self.known}
        for name, value in said.items():
            if name not in new and self.late.get(name, self.known[name]) != value:
                self.late[name] = value
        self.known |= new
        return new

    def rest(self) -> dict[str, Any]:
        """Return the fields to emit at the end of the stream."""
        late = changed(self.late, self.known)
        self.known, self.late = {**self.known, **late}, {}
        return late
