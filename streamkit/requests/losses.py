"""Parts of a request that another format can't express."""

from collections.abc import Mapping
from typing import NamedTuple

REASONING = "reasoning of earlier turns is not sent to another API"
PROVIDER_FILE = "a file's id is known to its own provider only"
_NOTHING: tuple[object, ...] = (None, [], {})


class Untranslated(NamedTuple):
    """One part of a request that the translation lacks, or has only in another form.

    `path` is its place in the body that was translated, such as `messages[2].content[0].cache_control`, and `reason` says why,
    or what stands for it. Neither quotes a value of the request.
    """

    path: str
    reason: str


class Losses(list[Untranslated]):
    """The losses of one translation to the format `target`, by its name in prose."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.target = target

    def add(self, path: str, reason: str | None = None) -> None:
        """Add a loss; by default the target has nothing like it."""
        self.append(Untranslated(path, reason or f"no equal in {self.target}"))

    def rest(self, fields: Mapping[str, object], path: str, reason: str | None = None) -> None:
        """Add those fields that say something: null, an empty list and an empty object say nothing."""
        for name, value in fields.items():
            if value not in _NOTHING:
                self.add(below(path, name), reason)


def below(path: str, name: str) -> str:
    """The place of a field. A name that is no plain word is not shown: it may be text of a user's."""
    shown = name if name.isascii() and name.replace("-", "_").isidentifier() and len(name) <= 64 else "?"
    return f"{path}.{shown}" if path else shown
