"""Record the parts of a request that the target format can't express."""

from collections.abc import Mapping
from typing import NamedTuple

REASONING = "reasoning of earlier turns is not sent to another API"
PROVIDER_FILE = "a file id is only valid at its own provider"
_NOTHING: tuple[object, ...] = (None, [], {})


class Untranslated(NamedTuple):
    """One part of a request that the translation lacks, or has only in another form.

    `path` is its place in the original body, such as `messages[2].content[0].cache_control`. `reason` is the cause, or what was
    written instead. Neither quotes a value of the request.
    """

    path: str
    reason: str


class Losses(list[Untranslated]):
    """The losses of one translation. `target` is the name of the target format for messages."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.target = target

    def add(self, path: str, reason: str | None = None) -> None:
        """Add a loss. The default reason is that the target has no equivalent."""
        self.append(Untranslated(path, reason or f"no equivalent in {self.target}"))

    def rest(self, fields: Mapping[str, object], path: str, reason: str | None = None) -> None:
        """Add the fields except those that are null, an empty list or an empty object."""
        for name, value in fields.items():
            if value not in _NOTHING:
                self.add(below(path, name), reason)


def below(path: str, name: str) -> str:
    """Return the path of a field. A name that is not a plain identifier is shown as `?`: it may be user text."""
    shown = name if name.isascii() and name.replace("-", "_").isidentifier() and len(name) <= 64 else "?"
    return f"{path}.{shown}" if path else shown
