"""The syntax of `regex`, as far as it takes to insert a look-ahead beside each element that needs one.

Some elements look at the next character without a partial match saying so: `\\b` and its like, `$`, and the repetition of
what is longer than a character. `with_lookaheads` puts a look-ahead at that character beside each of these, which is always
true. It also cuts long literals, since the time that `regex` takes to match a periodic literal partially grows with the third
power of its length. That nothing is missing, and nothing else changed, is verified afterwards: see `expressions`.
"""

from collections.abc import Callable
from typing import Any

import regex

LOOK = r"(?=[\s\S]|)"
LOOK_AT_TWO = r"(?=\n?[\s\S]|)"
"""`$` also holds before a line feed that is the last character."""
_LITERAL = 16

_COST = r"(?:\d+<=?)?\d*[deis](?:\+\d*[deis])*(?:<=?\d+)?"
_NEVER = regex.compile(
    rf"\\[GKX] | \(\*(?:SKIP|PRUNE)\) | \(\?[R0]\) | \(\?[aiLmsuxbeV01]*[rfwp][a-zA-Z01]*[-:)]"
    rf" | \{{{_COST}(?:,{_COST})*(?::[^}}]*)?\}}",
    regex.VERBOSE,
)
_ESCAPE = regex.compile(r"\\(?:[pPN]\s*\{[^}]*\}|[gL]<[^>]*>|x..|u.{4}|U.{8}|0[0-7]{0,2}|[1-9]\d?|[\s\S])")
_REPEATED = regex.compile(r"\\(?:g<|[1-9R])")
_ATOM = regex.compile(r"\((?:\?(?:P[=>&]|&)[^)]*|\?[+-]?\d+|\*[^)]*)\)")
_COMMENT = regex.compile(r"\(\?\#(?:\\[\s\S]|[^)\\])*\)")
_FLAGS = regex.compile(r"\(\?(?<on>[a-zA-Z01]*)(?:-(?<off>[a-zA-Z]+))?(?<end>[:)])")
_OPEN = regex.compile(r"\(\?\((?!\?)[^)]*\)|\(\?(?:P?<[^=!][^>]*>|<?[=!]|[>|])|\(")
_POSIX = regex.compile(r"\[:\^?[\w &./-]*(?:[:=][\w &./-]*)?:\]")
_QUANTIFIER = regex.compile(r"[*+?]|\{\s*(?<least>\d*)\s*(?<comma>,?)\s*(?<most>\d*)\s*\}")
_SPACE = regex.compile(r"(?:\s|#[^\n]*(?:\n|$))*")
_SET_OPERATORS = ("||", "--", "&&", "~~")


def undecidable(source: str) -> str | None:
    """Find constructs of an expression that can't be decided while text is still arriving, from its tokens.

    A search from the end, or for the longest match of all (POSIX), matches that depend on where the last one ended or that
    begin elsewhere than they are searched, characters and words as UAX #29 has them, folding that makes two letters of one, a
    whole expression within itself, and errors that are allowed.
    """
    found: list[str] = []

    def look(kind: str, token: str) -> None:
        never = _NEVER.match(token)
        if never and kind in ("escape", "open", "atom", "flags", "fuzzy"):
            found.append(never[0])

    _Reader(source, look).read()
    return found[0] if found else None


def with_lookaheads(source: str, *, version1: bool, verbose: bool) -> str:
    """The expression with the looks inserted."""
    writer = _Writer()
    _Reader(source, writer.write, version1=version1, verbose=verbose).read()
    return "".join(writer.parts)


class _Writer:
    def __init__(self) -> None:
        self.parts: list[str] = []
        self._literals = 0

    def write(self, kind: str, token: str) -> None:
        self._literals = self._literals + 1 if kind == "literal" else 0
        match kind:
            case "boundary":
                self.parts += LOOK, token
            case "line end":
                self.parts += LOOK_AT_TWO, token
            # A look-behind is matched from its end.
            case "boundary behind":
                self.parts += token, LOOK
            case "line end behind":
                self.parts += token, LOOK_AT_TWO
            case "repetition":
                self.parts += token, LOOK
            case "literal" if self._literals > _LITERAL:
                self.parts += LOOK, token
                self._literals = 1
            case _:
                self.parts.append(token)


class _Reader:
    """Reads an expression token by token. An expression that is wrong may be read in any way; `regex` has refused it."""

    def __init__(
        self, source: str, write: Callable[[str, str], None], *, version1: bool = False, verbose: bool = False
    ) -> None:
        self._source = source
        self._at = 0
        self._write = write
        self._version1 = version1
        # Of each group that is open: whether white space counts for nothing in it, and whether it looks behind.
        self._scopes = [(verbose, False)]
        self._longer = False  # whether the last element may be longer than a character

    def read(self) -> None:
        source, size = self._source, len(self._source)
        while self._at < size:
            character = source[self._at]
            if self._scopes[-1][0] and (space := _SPACE.match(source, self._at)) and space[0]:
                self._take("space", space)
            elif character == "\\":
                self._escape()
            elif character == "[":
                self._set()
            elif character == "(":
                self._group()
            elif character == ")":
                self._close()
            elif character in "*+?{":
                self._quantifier()
            else:
                kind = "line end" if character == "$" else "other" if character in "|^." else "literal"
                self._put(kind + self._direction * (kind == "line end"), character)

    @property
    def _direction(self) -> str:
        return " behind" if self._scopes[-1][1] else ""

    def _put(self, kind: str, token: str, *, longer: bool = False) -> None:
        self._at += len(token)
        self._longer = longer
        self._write(kind, token)

    def _take(self, kind: str, found: Any) -> None:
        # A token that is no element.
        self._at = found.end()
        self._write(kind, found[0])

    def _escape(self) -> None:
        found = _ESCAPE.match(self._source, self._at)
        token = str(found[0]) if found else "\\"
        kind = "boundary" + self._direction if token[1:] in ("b", "B", "m", "M", "Z", "z") else "escape"
        self._put(kind, token, longer=_REPEATED.match(token) is not None)

    def _set(self) -> None:
        source, start = self._source, self._at
        end = self._set_end(start)
        self._put("set", source[start:end])

    def _set_end(self, at: int) -> int:
        source, at = self._source, at + 1
        at += source.startswith("^", at)
        first = True
        while at < len(source):
            character = source[at]
            if character == "]" and not first:
                return at + 1
            first = False
            posix = _POSIX.match(source, at)
            if posix:
                at = posix.end()
            elif character == "\\":
                escape = _ESCAPE.match(source, at)
                at = escape.end() if escape else at + 1
            elif character == "[" and self._version1:
                at = self._set_end(at)
            elif self._version1 and source[at : at + 2] in _SET_OPERATORS:
                at, first = at + 2, True
            else:
                at += 1
        return at

    def _group(self) -> None:
        source, at = self._source, self._at
        if comment := _COMMENT.match(source, at):
            self._take("comment", comment)
        elif atom := _ATOM.match(source, at):
            self._put("atom", atom[0], longer=True)
        elif flags := _FLAGS.match(source, at):
            self._flags(flags)
        elif source.startswith("(?(?", at):
            # A condition that looks around: another group is open before that is.
            self._scopes.append(self._scopes[-1])
            self._put("open", "(?")
        else:
            found = _OPEN.match(source, at)
            token = str(found[0]) if found else "("
            verbose, behind = self._scopes[-1]
            self._scopes.append((verbose, token.startswith("(?<") if token[-1] in "=!" else behind))
            self._put("open", token)

    def _flags(self, flags: Any) -> None:
        verbose, behind = self._scopes[-1]
        verbose = ("x" in flags["on"] or verbose) and "x" not in (flags["off"] or "")
        if flags["end"] == ":":
            self._scopes.append((verbose, behind))
            self._put("flags", flags[0])
        else:
            self._scopes[-1] = verbose, behind
            self._take("flags", flags)

    def _close(self) -> None:
        if len(self._scopes) > 1:
            self._scopes.pop()
        self._put("close", ")", longer=True)

    def _quantifier(self) -> None:
        source, at = self._source, self._at
        found = _QUANTIFIER.match(source, at)
        if found is None or not (found[0][0] != "{" or found["least"] or found["comma"]):
            fuzzy = _NEVER.match(source, at)
            self._put("fuzzy" if fuzzy else "literal", fuzzy[0] if fuzzy else source[at])
            return
        varies = found[0][0] != "{" or (bool(found["comma"]) and found["least"] != found["most"])
        end = found.end()
        space = _SPACE.match(source, end) if self._scopes[-1][0] else None
        suffix = space.end() if space else end
        lazy = source.startswith("?", suffix)
        if lazy or source.startswith("+", suffix):
            end = suffix + 1
        # After a lazy repetition `regex` searches all of the text for a literal that follows, even beyond what can be repeated.
        self._put("repetition" if varies and (self._longer or lazy) else "quantifier", source[at:end])
