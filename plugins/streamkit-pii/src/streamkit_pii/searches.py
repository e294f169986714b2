"""Checks for `streamkit.Rule`: functions from a text to the spans of the matches.

Whether a match starts at an offset depends only on the `WINDOW` characters after it and the one before it. A text therefore has
the same matches as a whole and in windows; a test checks this.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import phonenumbers

from streamkit_pii.numbers import EVERYWHERE, NATIONAL, Number

WINDOW = 48
"""Characters of context before and after the text to decide on: more than the longest shape, an IBAN with spaces."""

_BEGINS = re.compile(r"(?<![^\W_])(?=[^\W_])")
_ENDS = re.compile(r"(?<=[^\W_])(?![^\W_])")
_PHONE_BEGINS = re.compile(r"(?:(?<![^\W_])(?=[(\d])|(?=\+))(?=\+?\(?\d(?:[ .()/-]{0,3}\d){6})", re.ASCII)
_PLAIN = {
    # Non-breaking spaces, hyphens and dashes, which models also write between digits.
    **dict.fromkeys(map(ord, "\u00a0\u2007\u2009\u202f"), " "),
    **dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), "-"),
}


@dataclass(frozen=True)
class Numbers:
    """Find one kind of international number: `card` or `iban`."""

    kind: str
    window: ClassVar[int] = WINDOW

    def __call__(self, text: str) -> Iterable[tuple[int, int]]:
        return _found(_plain(text), (EVERYWHERE[self.kind],))


@dataclass(frozen=True)
class NationalIds:
    """Find the national identity numbers of these countries."""

    countries: tuple[str, ...]
    window: ClassVar[int] = WINDOW

    def __call__(self, text: str) -> Iterable[tuple[int, int]]:
        return _found(_plain(text), tuple(number for country in self.countries for number in NATIONAL[country]))


@dataclass(frozen=True)
class Phones:
    """Find phone numbers that are valid in their country's plan: with a country code, or for `countries` also without."""

    countries: tuple[str, ...] = ()
    window: ClassVar[int] = WINDOW

    @staticmethod
    def regions() -> Iterable[str]:
        """Return the codes of the countries whose numbering plans are known."""
        return sorted(phonenumbers.SUPPORTED_REGIONS)

    def __call__(self, text: str) -> Iterable[tuple[int, int]]:
        plain = _plain(text)
        for begin in _PHONE_BEGINS.finditer(plain):
            end = max(self._ends(plain, begin.start()), default=0)
            if end:
                yield begin.start(), end

    def _ends(self, text: str, start: int) -> Iterator[int]:
        before = max(start - 1, 0)
        part = text[before : start + WINDOW - 1]
        for region in self.countries or (None,):
            for match in phonenumbers.PhoneNumberMatcher(part, region):
                if before + match.start == start:
                    yield before + match.end


def _found(text: str, numbers: tuple[Number, ...]) -> Iterator[tuple[int, int]]:
    for begin in _BEGINS.finditer(text):
        start = begin.start()
        for number in numbers:
            candidate = number.shape.match(text, start, start + WINDOW - 1)
            if candidate and (end := _longest(text, start, candidate.end(), number)):
                yield start, end


def _longest(text: str, start: int, until: int, number: Number) -> int:
    # Try shorter candidates too: of a card number followed by a year, only the card number has a valid checksum.
    for place in sorted((match.start() for match in _ENDS.finditer(text, start, until + 1)), reverse=True):
        if place <= until and number.shape.fullmatch(text, start, place) and number.accept(text[start:place]):
            return place
    return 0


def _plain(text: str) -> str:
    """Return a text of the same length with ASCII spaces, hyphens and digits."""
    if text.isascii():
        return text
    return "".join(map(_plain_character, text))


def _plain_character(character: str) -> str:
    if character.isascii():
        return character
    if (digit := unicodedata.decimal(character, None)) is not None:
        return str(digit)
    return _PLAIN.get(ord(character), character)
