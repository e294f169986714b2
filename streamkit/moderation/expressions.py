"""Regular expressions, compiled twice: as they are, and so that they tell where they are undecided.

`(?:P)(?!)` never matches, but searched with `partial=True` it tells the first place from which P looks beyond the end of the
text, so that more text may make, change or undo a match there.
"""

from functools import lru_cache
from typing import Any

import regex

from streamkit.errors import PipelineError
from streamkit.misfits import shown


@lru_cache(maxsize=1024)
def compiled(source: str, ignore_case: bool) -> tuple[Any, Any]:
    """The expression, and what finds the first place where it is undecided. A bad one raises `PipelineError`, and so does one
    whose matches can't be told from the text that has come."""
    quoted = shown(source)
    for token in _UNDECIDED.finditer(source):
        if token.lastgroup == "never":
            raise PipelineError(f"pattern {quoted}: {token[0]!r} can't be decided while text is still coming")
    flags = regex.IGNORECASE if ignore_case else 0
    try:
        pattern = regex.compile(source, flags)
        if pattern.flags & regex.FULLCASE and pattern.flags & regex.IGNORECASE:
            raise PipelineError(f"pattern {quoted}: full case folding can't be decided while text is still coming")
        end = "\n" if pattern.flags & regex.VERBOSE else ""  # of a comment that may be in the last line
        return pattern, regex.compile(f"(?:{_looking_ahead(source)}{end})(?!)", flags)
    except regex.error as error:
        raise PipelineError(f"pattern {quoted}: {error}") from error
    except RecursionError:
        raise PipelineError(f"pattern {quoted}: its groups are nested too deep") from None


# What the `partial` search takes for decided at the end of the text, though the next character decides it: `\b` and its like,
# and whether a group is repeated once more. Beside each stands a look at that character, whatever it is, so that the search
# finds it missing. `$` also holds before a line feed that is the last character.
#
# Some have to be refused: a search from the end, matches that depend on where the last one ended or that begin elsewhere than
# they are sought, characters as readers see them and words as UAX #29 has them, folding that makes two letters of one, a whole
# expression within itself, and errors that are allowed.
_LOOK = r"(?=[\s\S]|)"
_UNDECIDED = regex.compile(
    r"""
    (?P<before>\\[bBmMZ])
    | (?P<line>\$)
    | (?P<after>\)(?:[*+?]|\{\d*,?\d*\})[+?]?)
    | (?P<never>\\[GKX] | \(\*(?:SKIP|PRUNE)\) | \(\?[R0]\) | \(\?[aiLmsuxbepV01]*[rfw][a-zA-Z01]*[-:)]
        | \{CONSTRAINT(?:,CONSTRAINT)*(?::[^}]*)?\})
    | \\[pPN]\{[^}]*\} | \\. | \[\^?\]?(?:\\.|[^\]\\])*\] | \(\?\#[^)]*\)  # in which those are something else
    """.replace("CONSTRAINT", r"(?:\d+<=?)?\d*[deis](?:\+\d*[deis])*(?:<=?\d+)?"),
    regex.VERBOSE | regex.DOTALL,
)


def _looking_ahead(source: str) -> str:
    def look(found: Any) -> str:
        token = str(found[0])
        match found.lastgroup:
            case "before":
                return _LOOK + token
            case "line":
                return r"(?=\n?[\s\S]|)" + token
            case "after":
                return token + _LOOK
            case _:
                return token

    return str(_UNDECIDED.sub(look, source))
