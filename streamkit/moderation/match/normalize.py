"""Incremental Unicode normalization with a map from normalized offsets back to original offsets.

What is returned is a function of the whole text, however it is split: what later text could still change is not returned yet.
Normalization works on characters with the marks that follow them, since nothing composes across the boundaries between these
(https://www.unicode.org/reports/tr15/#Stream_Safe_Text_Format).
"""

import unicodedata
from bisect import bisect_right
from functools import lru_cache
from typing import Any, Protocol

import regex

MARKS = 30
"""Marks on one character, beyond which the next is treated as a character. (UAX #15, Stream-Safe Text Format)"""
# Default_Ignorable_Code_Point of the Unicode Character Database: zero-width, soft hyphen, variation selectors, fillers, tags.
_ignorable = regex.compile(r"\p{Default_Ignorable_Code_Point}|[\uFFF9-\uFFFB]").match
_ASCII = "".join(map(chr, range(128)))

# Single characters of the Cyrillic, Greek, Armenian, Cherokee and extended Latin alphabets whose prototype in Unicode Technical
# Standard #39 is one of A to Z or a to z. (https://www.unicode.org/reports/tr39/,
# https://www.unicode.org/Public/security/latest/confusables.txt) Two differ from it on purpose: a capital I stays one (its
# prototype is l) unless case is compared, and the small к and κ go with their capitals.
_LETTERS = {
    "a": "аαɑ", "b": "ЬьƄ", "c": "сϲᴄ", "d": "ԁ", "e": "еҽ", "f": "ք", "g": "ɡցƍ", "h": "һհ", "i": "іιıɩ", "j": "јϳ",
    "k": "кκ", "l": "ӏӀǀ1|", "n": "ոռ", "o": "оοσօᴏ", "p": "рρϱ", "q": "ԛգզ", "r": "гᴦ", "s": "ѕƽꜱ", "u": "υսʋᴜ",
    "v": "νѵᴠ", "w": "ԝաɯѡᴡ", "x": "х×", "y": "уγүɣʏ", "z": "ᴢ",
    "A": "АΑᎪ", "B": "ВΒᏴ", "C": "СϹᏟ", "D": "Ꭰ", "E": "ЕΕᎬ", "F": "Ϝ", "G": "ԌᏀ", "H": "НΗᎻ", "I": "ІΙ", "J": "ЈͿᎫ",
    "K": "КΚᏦ", "L": "Ꮮ", "M": "МΜϺᎷ", "N": "Ν", "O": "ОΟՕ0", "P": "РΡᏢ", "Q": "Ԛ", "R": "ᎡᏒ", "S": "ЅՏᏚ", "T": "ТΤᎢ",
    "U": "Ս", "V": "ѴᏙ", "W": "ԜᎳ", "X": "ХΧ", "Y": "УΥҮ", "Z": "ΖᏃ",
}  # fmt: skip
LOOK_ALIKES = {look: letter for letter, looks in _LETTERS.items() for look in looks}
"""The letter that each is taken for. Where the standard has a capital alone, its small letter is not one by itself."""

LEET = {
    look: letter
    for letter, looks in {"a": "4@", "b": "8", "e": "3", "g": "9", "i": "1!|lL", "o": "0", "s": "5$", "t": "7"}.items()
    for look in looks
}
"""Digits and signs written for letters. 1 stands for i and for l: these are one letter here."""


class Normalized(Protocol):
    """One text, normalized piece by piece."""

    def feed(self, text: str, final: bool) -> str:
        """Take more text, and return what is normalized of it and of earlier text."""
        ...

    def start(self, offset: int) -> int:
        """Where the original character of that normalized offset begins; for the end, where the rest of the text begins."""
        ...

    def end(self, offset: int) -> int:
        """Where the original text before that normalized offset ends, with what follows it and is ignored."""
        ...

    def forget(self, offset: int) -> None:
        """Nothing before that normalized offset is needed any more."""
        ...

    def state(self) -> Any: ...

    def restore(self, state: Any) -> None: ...


class Normalizer:
    """Maps each single character to its normalized form under a policy."""

    def __init__(self, policy: frozenset[str], ignore_case: bool) -> None:
        self._policy = policy
        self._ignore_case = ignore_case
        self.decomposes = bool(policy & {"nfkc", "accents"})
        self.delays = self.decomposes or "zero_width" in policy
        """Whether what follows a character may belong to it."""
        self._known = dict[str, str]()
        self._extends = dict[str, bool]()
        self.ascii = str.maketrans(_ASCII, "".join(map(self.normalize, _ASCII)))
        """The translation of ASCII, one character for each."""

    def normalize(self, character: str) -> str:
        """The character decomposed, without what the policy ignores."""
        known = self._known.get(character)
        if known is None:
            # Bounded: there are a million characters.
            known = self._known[character] = self._compute(character)
        return known

    def extends(self, character: str) -> bool:
        """Whether it belongs to the character before it: a mark, a vowel or final of a Korean syllable, what is ignored."""
        extends = self._extends.get(character)
        if extends is None:
            extends = self._extends[character] = (self.decomposes and is_mark(character)) or not self.normalize(
                character
            )
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


def fold(text: str) -> str:
    """Lower case, character by character, so that positions don't change."""
    if text.isascii():
        return text.lower()
    # A final sigma is the one letter whose lower case depends on its place in the word, which a split would change.
    text = text.replace("Σ", "σ").replace("ς", "σ")
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(low if len(low := character.lower()) == 1 else character for character in text)


@lru_cache(maxsize=256)
def normalizer(policy: frozenset[str], ignore_case: bool) -> Normalizer:
    """One of each kind, since what it has computed serves all texts."""
    return Normalizer(policy, ignore_case)


@lru_cache(maxsize=4096)
def is_mark(character: str) -> bool:
    """Whether it is a mark on the character before it, or continues a Korean syllable, in whatever width it is written."""
    first = unicodedata.normalize("NFKD", character)[0]
    return unicodedata.category(first)[0] == "M" or "\u1160" <= first <= "\u11ff"


class _Offsets:
    # The original place of each normalized character, as far back as it may be needed.

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._forgotten = 0
        self._next = 0  # where the text begins that is not normalized yet

    def start(self, offset: int) -> int:
        offset -= self._forgotten
        return self._starts[offset] if offset < len(self._starts) else self._next

    def end(self, offset: int) -> int:
        last = offset - self._forgotten - 1
        after = bisect_right(self._starts, self._starts[last], last)
        return self._starts[after] if after < len(self._starts) else self._next

    def forget(self, offset: int) -> None:
        # In large steps, so that it costs no more than a step for each character.
        if (surplus := offset - self._forgotten) > 256 and 2 * surplus > len(self._starts):
            del self._starts[:surplus]
            self._forgotten = offset

    def offsets(self) -> list[Any]:
        return [self._starts, self._forgotten, self._next]

    def restore_offsets(self, offsets: Any) -> None:
        self._starts, self._forgotten, self._next = list(offsets[0]), offsets[1], offsets[2]


class Decomposed(_Offsets):
    """For phrases: each character by itself and decomposed, the marks on it in their canonical order.

    A character is returned before its marks have arrived, since most cannot be part of a phrase with or without them.
    """

    def __init__(self, normalizer: Normalizer, *, delays: bool) -> None:
        super().__init__()
        self._normalizer = normalizer
        self._delays = delays  # whether a match may begin in marks of which more may follow
        self._marks: list[tuple[str, int]] = []
        self._read = 0

    def feed(self, text: str, final: bool) -> str:
        if not self._marks and text.isascii():
            self._starts += range(self._read, self._read + len(text))
            self._read = self._next = self._read + len(text)
            return text.translate(self._normalizer.ascii)
        found = list[str]()
        normalize, decomposes = self._normalizer.normalize, self._normalizer.decomposes
        for offset, character in enumerate(text, self._read):
            for letter in normalize(character):
                if decomposes and unicodedata.combining(letter):
                    self._marks.append((letter, offset))
                    if len(self._marks) >= MARKS:
                        self._order(found)
                else:
                    if self._marks:
                        self._order(found)
                    self._starts.append(offset)
                    found.append(letter)
        self._read += len(text)
        if final:
            self._order(found)
        self._next = min((offset for _, offset in self._marks), default=self._read) if self._delays else self._read
        return "".join(found)

    def end(self, offset: int) -> int:
        # A match that ends within a character ends with it: what follows and is ignored may not have arrived.
        last = offset - self._forgotten - 1
        within = offset - self._forgotten < len(self._starts) and self._starts[last + 1] == self._starts[last]
        return self._starts[last] + 1 if within else super().end(offset)

    def _order(self, found: list[str]) -> None:
        # Sorted, marks are no longer where they were: each of them stands for the whole run.
        ordered = sorted(self._marks, key=lambda mark: unicodedata.combining(mark[0]))
        first = min((offset for _, offset in ordered), default=0)
        for letter, _ in ordered:
            found.append(letter)
            self._starts.append(first)
        self._marks.clear()

    def state(self) -> Any:
        return {"offsets": self.offsets(), "marks": [list(mark) for mark in self._marks], "read": self._read}

    def restore(self, state: Any) -> None:
        self.restore_offsets(state["offsets"])
        self._marks = [(letter, offset) for letter, offset in state["marks"]]
        self._read = state["read"]


class Composed(_Offsets):
    """For patterns and checks: each character composed with the marks that follow it, as NFKC writes it."""

    def __init__(self, normalizer: Normalizer) -> None:
        super().__init__()
        self._normalizer = normalizer
        self._open = ""  # a character with the marks that have arrived, and what is ignored

    def feed(self, text: str, final: bool) -> str:
        found = list[str]()
        extends, alone = self._normalizer.extends, not self._normalizer.delays
        if len(text) > 1 and text.isascii():
            # Nothing in ASCII belongs to the character before it.
            if self._open:
                self._close(found)
            text = self._whole(text, found, len(text) - 1)
        for character in text:
            if self._open and (alone or len(self._open) > MARKS or not extends(character)):
                self._close(found)
            self._open += character
        if self._open and (final or alone):
            self._close(found)
        return "".join(found)

    def _whole(self, text: str, found: list[str], until: int) -> str:
        found.append(text[:until].translate(self._normalizer.ascii))
        self._starts += range(self._next, self._next + until)
        self._next += until
        return text[until:]

    def _close(self, found: list[str]) -> None:
        text = "".join(map(self._normalizer.normalize, self._open))
        if self._normalizer.decomposes:
            text = unicodedata.normalize("NFC", text)
        found.append(text)
        self._starts += [self._next] * len(text)
        self._next += len(self._open)
        self._open = ""

    def state(self) -> Any:
        return {"offsets": self.offsets(), "open": self._open}

    def restore(self, state: Any) -> None:
        self.restore_offsets(state["offsets"])
        self._open = state["open"]
