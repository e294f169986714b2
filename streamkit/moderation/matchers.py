"""Matchers over text that is still coming.

A matcher is asked after each piece for the spans that are now certain, and for the place up to which nothing can still become
part of a match. Looking back over the last characters would detect a match after its beginning had left; knowing what is
undecided lets it leave only when it may.

Positions are in code points of the whole text.
"""

from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import ahocorasick
import regex

from streamkit.errors import PipelineError
from streamkit.moderation.rules import Rule

_Automaton: Any = ahocorasick.Automaton  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] # it has no types
CONTEXT = 64
"""Characters kept before the undecided text, for `\\b` and look-behind."""


class Span(NamedTuple):
    """A match that nothing can change any more."""

    start: int
    end: int
    order: int
    """The rule's place among the rules."""
    rule: Rule


class Matcher(Protocol):
    """What watches one text. One instance is for one channel of one choice."""

    def feed(self, text: str, *, final: bool) -> tuple[list[Span], int]:
        """Take more text. Gives the spans that are certain now, and where the undecided text begins.

        Every span that comes later starts there or after. With `final` the text is complete and everything is decided.
        """
        ...


def matchers(rules: tuple[Rule, ...]) -> list[Matcher]:
    """Matchers for one text under all the rules."""
    found: list[Matcher] = []
    for ignore_case in (True, False):
        phrases = tuple(
            (phrase, order, rule)
            for order, rule in enumerate(rules)
            if rule.ignore_case is ignore_case
            for phrase in rule.phrases
        )
        if phrases:
            found.append(Phrases(*_automata(phrases, ignore_case), ignore_case))
    for order, rule in enumerate(rules):
        found += [Pattern(*_compiled(source, rule.ignore_case), order, rule) for source in rule.patterns]
    return found


class Phrases:
    """All occurrences of any number of phrases, overlapping ones too (Aho and Corasick, 1975)."""

    def __init__(self, automaton: Any, beginnings: Any, longest: int, ignore_case: bool) -> None:
        self._automaton = automaton
        self._begins = beginnings.match
        self._longest = longest
        self._ignore_case = ignore_case
        self._pending = ""  # the longest end of the text that is the beginning of a phrase, and not yet all of it
        self._length = 0

    def feed(self, text: str, *, final: bool) -> tuple[list[Span], int]:
        if self._ignore_case:
            text = fold(text)
        # What is pending leads the automaton back to where it was. To go on with one iterator, by its `set`, corrupts the heap
        # as soon as strings of different widths come (https://github.com/WojciechMula/pyahocorasick/issues/221).
        known, offset = len(self._pending), self._length - len(self._pending)
        self._length += len(text)
        text = self._pending + text
        spans = [
            Span(offset + end + 1 - length, offset + end + 1, order, rule)
            for end, found in self._automaton.iter(text)
            if end >= known
            for length, order, rule in found
        ]
        if final:
            return spans, self._length
        start, begins = max(0, len(text) - self._longest), self._begins
        while start < len(text) and not begins(text[start:] if start else text):
            start += 1
        self._pending = text[start:]
        return spans, self._length - len(self._pending)


class Pattern:
    """A regular expression's matches, the same as in the whole text: leftmost, not overlapping.

    `(?:P)(?!)` never matches, but searched with `partial=True` it tells the first place from which P looks beyond the end of
    the text, so that more text may make, change or undo a match there.
    """

    def __init__(self, pattern: Any, undecided: Any, order: int, rule: Rule) -> None:
        self._pattern = pattern
        self._undecided = undecided
        self._order = order
        self._rule = rule
        self._text = ""  # the undecided text, with some context before it
        self._offset = 0  # where _text begins in the whole
        self._from = 0  # where in _text the undecided part begins

    def feed(self, text: str, *, final: bool) -> tuple[list[Span], int]:
        self._text += text
        spans: list[Span] = []
        hold = self._first_undecided(final)
        for match in self._pattern.finditer(self._text, self._from):
            start, end = match.span()
            if start >= hold:
                break
            # A match of nothing hides nothing.
            if start < end:
                spans.append(Span(self._offset + start, self._offset + end, self._order, self._rule))
                self._from = end
                if end > hold:
                    hold = self._first_undecided(final)
        self._from = hold
        if (surplus := self._from - CONTEXT) > 0:
            self._text = self._text[surplus:]
            self._offset += surplus
            self._from = CONTEXT
        return spans, self._offset + self._from

    def _first_undecided(self, final: bool) -> int:
        partial = None if final else self._undecided.search(self._text, self._from, partial=True)
        return int(partial.start()) if partial else len(self._text)


def fold(text: str) -> str:
    """Lower case, character by character, so that positions stay what they are."""
    if text.isascii():
        return text.lower()
    # A final sigma is the one letter that is lowered by its place in the word, which a cut would change.
    text = text.replace("Σ", "σ").replace("ς", "σ")
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(low if len(low := character.lower()) == 1 else character for character in text)


@lru_cache(maxsize=128)
def _automata(phrases: tuple[tuple[str, int, Rule], ...], ignore_case: bool) -> tuple[Any, Any, int]:
    # One that finds the phrases, a trie of their beginnings, and the length of the longest of these. A phrase that is all
    # there is not one of its beginnings: if no other can begin in it, it is decided at once.
    known: dict[str, list[tuple[int, int, Rule]]] = {}
    for phrase, order, rule in phrases:
        known.setdefault(fold(phrase) if ignore_case else phrase, []).append((len(phrase), order, rule))
    automaton: Any = _Automaton()
    beginnings: Any = _Automaton()
    for phrase, found in known.items():
        automaton.add_word(phrase, found)
        if len(phrase) > 1:
            beginnings.add_word(phrase[:-1], True)
    automaton.make_automaton()
    return automaton, beginnings, max(map(len, known)) - 1


@lru_cache(maxsize=1024)
def _compiled(source: str, ignore_case: bool) -> tuple[Any, Any]:
    flags = regex.IGNORECASE if ignore_case else 0
    try:
        pattern = regex.compile(source, flags)
        end = "\n" if pattern.flags & regex.VERBOSE else ""  # of a comment that may be in the last line
        return pattern, regex.compile(f"(?:{_looking_ahead(source)}{end})(?!)", flags)
    except regex.error as error:
        raise PipelineError(f"pattern {source!r}: {error}") from error


# What the `partial` search takes for decided at the end of the text, though the next character decides it: `\b` and its like,
# and whether a group is repeated once more. Beside each stands a look at that character, whatever it is, so that the search
# finds it missing. `$` also holds before a line feed that is the last character.
_LOOK = r"(?=[\s\S]|)"
_UNDECIDED = regex.compile(
    r"""
    (?P<before>\\[bBmMZ])
    | (?P<line>\$)
    | (?P<after>\)(?:[*+?]|\{\d*,?\d*\})[+?]?)
    | \\[pPN]\{[^}]*\} | \\. | \[\^?\]?(?:\\.|[^\]\\])*\] | \(\?\#[^)]*\)  # in which those are something else
    """,
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
