"""Text as a rule wants to see it, and where each character of that stands in the text itself.

What a view shows is a function of the whole text, whatever the cuts: what later text could still change is not shown yet.
Normalisation works on characters with the marks that follow them, for across the places between these nothing composes
(https://www.unicode.org/reports/tr15/#Stream_Safe_Text_Format).
"""

import unicodedata
from bisect import bisect_right
from functools import lru_cache
from typing import Any, Protocol

import regex

from streamkit.moderation.look_alikes import LEET, LOOK_ALIKES

MARKS = 30
"""Marks on one character, beyond which the next is taken for one. (UAX #15, Stream-Safe Text Format)"""
# Default_Ignorable_Code_Point of the Unicode Character Database: zero-width, soft hyphen, variation selectors, fillers, tags.
_ignorable = regex.compile(r"\p{Default_Ignorable_Code_Point}|[\uFFF9-\uFFFB]").match


class View(Protocol):
    """Shows one text, piece by piece."""

    def feed(self, text: str, *, final: bool) -> str:
        """Take more text, and give what is shown of it and of what came before."""
        ...

    def start(self, place: int) -> int:
        """Where the text's character begins that `place` shows; for the end of what is shown, of the text not shown yet."""
        ...

    def end(self, place: int) -> int:
        """Where the text ends that is shown before `place`, with what follows and shows nothing."""
        ...

    def forget(self, place: int) -> None:
        """Nobody asks for what comes before `place` any more."""
        ...

    def state(self) -> Any: ...

    def restore(self, state: Any) -> None: ...


class Letters:
    """What the characters of a text are worth under a policy, each by itself."""

    def __init__(self, policy: frozenset[str], ignore_case: bool) -> None:
        self._policy = policy
        self._ignore_case = ignore_case
        self.decomposes = bool(policy & {"nfkc", "accents"})
        self.waits = self.decomposes or "zero_width" in policy
        """Whether what follows a character may belong to it."""
        self._shown = dict[str, str]()
        self._extends = dict[str, bool]()

    def show(self, character: str) -> str:
        """The character decomposed, without what the policy ignores."""
        shown = self._shown.get(character)
        if shown is None:
            # Text can't make this grow without end: a million characters are all there are.
            shown = self._shown[character] = self._compute(character)
        return shown

    def extends(self, character: str) -> bool:
        """Whether it belongs to the character before it: a mark, a vowel or final of a Korean syllable, what shows nothing."""
        extends = self._extends.get(character)
        if extends is None:
            extends = self._extends[character] = (self.decomposes and is_mark(character)) or not self.show(character)
        return extends

    def _compute(self, character: str) -> str:
        policy = self._policy
        if "zero_width" in policy and _ignorable(character):
            return ""
        text = character
        if self.decomposes:
            text = unicodedata.normalize("NFKD" if "nfkc" in policy else "NFD", text)
        if "accents" in policy:
            text = "".join(one for one in text if unicodedata.category(one) not in ("Mn", "Me"))
        return "".join(map(self._letter, text))

    def _letter(self, letter: str) -> str:
        if "look_alikes" in self._policy:
            letter = self._alike(letter)
        elif "alphabets" in self._policy and not letter.isascii():
            letter = LOOK_ALIKES.get(letter, letter)
        if "leet" in self._policy:
            letter = LEET.get(letter, letter)
        if "case" in self._policy:
            letter = letter.casefold()
        elif self._ignore_case:
            letter = low if len(low := letter.lower()) == 1 else letter
            letter = "σ" if letter == "ς" else letter
        return unicodedata.normalize("NFKD", letter) if "nfkc" in self._policy else letter

    def _alike(self, letter: str) -> str:
        if letter in LOOK_ALIKES:
            return LOOK_ALIKES[letter]
        if not self._ignore_case and "case" not in self._policy:
            return "l" if letter == "I" else letter
        # В looks like B, and в does not; but they are one letter where case makes no difference.
        return LOOK_ALIKES.get(letter.swapcase(), letter) if not letter.isascii() else letter


@lru_cache(maxsize=256)
def letters(policy: frozenset[str], ignore_case: bool) -> Letters:
    """One of a kind, for what it has found out serves all texts."""
    return Letters(policy, ignore_case)


@lru_cache(maxsize=4096)
def is_mark(character: str) -> bool:
    """Whether it is a mark on the character before it, or continues a Korean syllable, in whatever width it is written."""
    first = unicodedata.normalize("NFKD", character)[0]
    return unicodedata.category(first)[0] == "M" or "\u1160" <= first <= "\u11ff"


class _Places:
    """Where each shown character comes from, as far back as someone may ask."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._forgotten = 0
        self._next = 0  # where the text begins that is not shown

    def start(self, place: int) -> int:
        place -= self._forgotten
        return self._starts[place] if place < len(self._starts) else self._next

    def end(self, place: int) -> int:
        last = place - self._forgotten - 1
        after = bisect_right(self._starts, self._starts[last], last)
        return self._starts[after] if after < len(self._starts) else self._next

    def forget(self, place: int) -> None:
        # In large bites, so that it costs no more than a step for each character.
        if (surplus := place - self._forgotten) > 256 and 2 * surplus > len(self._starts):
            del self._starts[:surplus]
            self._forgotten = place

    def places(self) -> list[Any]:
        return [self._starts, self._forgotten, self._next]

    def restore_places(self, places: Any) -> None:
        self._starts, self._forgotten, self._next = list(places[0]), places[1], places[2]


class Decomposed(_Places):
    """For phrases: each character by itself and decomposed, the marks on it in their canonical order.

    A character is shown before its marks have come, since most cannot be part of a phrase with or without them.
    """

    def __init__(self, letters: Letters, *, waits: bool) -> None:
        super().__init__()
        self._letters = letters
        self._waits = waits  # whether a match may begin in marks that are not yet all there
        self._marks: list[tuple[str, int]] = []
        self._read = 0

    def feed(self, text: str, *, final: bool) -> str:
        shown = list[str]()
        place, show = self._read, self._letters.show
        for place, character in enumerate(text, self._read):
            for letter in show(character):
                if self._letters.decomposes and unicodedata.combining(letter):
                    self._marks.append((letter, place))
                    if len(self._marks) >= MARKS:
                        self._order(shown)
                else:
                    if self._marks:
                        self._order(shown)
                    self._starts.append(place)
                    shown.append(letter)
        self._read += len(text)
        if final:
            self._order(shown)
        self._next = min((place for _, place in self._marks), default=self._read) if self._waits else self._read
        return "".join(shown)

    def end(self, place: int) -> int:
        # A match that ends within a character ends with it: what follows and shows nothing may not have come.
        last = place - self._forgotten - 1
        within = place - self._forgotten < len(self._starts) and self._starts[last + 1] == self._starts[last]
        return self._starts[last] + 1 if within else super().end(place)

    def _order(self, shown: list[str]) -> None:
        # Sorted, marks don't stand where they stood: each of them stands for the whole run.
        ordered = sorted(self._marks, key=lambda mark: unicodedata.combining(mark[0]))
        first = min((place for _, place in ordered), default=0)
        for letter, _ in ordered:
            shown.append(letter)
            self._starts.append(first)
        self._marks.clear()

    def state(self) -> Any:
        return {"places": self.places(), "marks": [list(mark) for mark in self._marks], "read": self._read}

    def restore(self, state: Any) -> None:
        self.restore_places(state["places"])
        self._marks = [(letter, place) for letter, place in state["marks"]]
        self._read = state["read"]


class Composed(_Places):
    """For patterns and checks: each character composed with the marks that follow it, as NFKC writes it."""

    def __init__(self, letters: Letters) -> None:
        super().__init__()
        self._letters = letters
        self._open = ""  # a character, with the marks that have come and what shows nothing

    def feed(self, text: str, *, final: bool) -> str:
        shown = list[str]()
        extends, alone = self._letters.extends, not self._letters.waits
        for character in text:
            if self._open and (alone or len(self._open) > MARKS or not extends(character)):
                self._close(shown)
            self._open += character
        if self._open and (final or alone):
            self._close(shown)
        return "".join(shown)

    def _close(self, shown: list[str]) -> None:
        text = "".join(map(self._letters.show, self._open))
        if self._letters.decomposes:
            text = unicodedata.normalize("NFC", text)
        shown.append(text)
        self._starts += [self._next] * len(text)
        self._next += len(self._open)
        self._open = ""

    def state(self) -> Any:
        return {"places": self.places(), "open": self._open}

    def restore(self, state: Any) -> None:
        self.restore_places(state["places"])
        self._open = state["open"]
