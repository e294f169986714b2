"""Options by name: the `TypeError` for an unknown option lists the known ones, which Python's own error does not."""

import difflib
import inspect
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from streamkit.core.wrong_input import shown


class NamedOptions:
    """Base of dataclasses that an application creates with options."""

    # Hidden from type checkers, which find unknown options by the fields.
    if not TYPE_CHECKING:

        def __new__(cls, *_: Any, **options: Any) -> Any:
            known = _known(cls)
            for name in options:
                if known is not None and name not in known:
                    raise TypeError(_unknown(cls.__name__, name, known))
            return super().__new__(cls)


@lru_cache(maxsize=512)
def _known(kind: Any) -> tuple[str, ...] | None:
    """The options of a class, from the signature of its `__init__`; `None` if it accepts any."""
    _, *parameters = inspect.signature(kind.__init__).parameters.values()
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return None
    return tuple(each.name for each in parameters if each.kind is not each.VAR_POSITIONAL)


def _unknown(kind: str, name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"{kind} has no option {shown(name)}{hint}; it has {', '.join(known) or 'none'}"
