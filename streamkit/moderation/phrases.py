"""Many phrases at once, over text that is still coming."""

import unicodedata
from typing import Any, NamedTuple

import ahocorasick

from streamkit.errors import PipelineError
from streamkit.moderation.matcher import Span
from streamkit.moderation.rule import Rule
from streamkit.moderation.views import MARKS, Decomposed, Letters, is_mark, letters

_Automaton: Any = ahocorasick.Automaton  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] # it has no types


class Sought(NamedTuple):
    """Phrases that are sought in one way."""

    automaton: Any
    end: str
    """The character that ends a text here; it is in no phrase."""
    ignore_case: bool
    whole_words: bool
    letters: Letters | None
    """What the characters are worth, if the text is normalised."""


class Phrases:
    """All occurrences of any number of phrases, overlapping ones too (Aho and Corasick, 1975).

    The automaton knows, beside the phrases, all their beginnings, each followed by a character that ends the text. That
    character appended, it tells at the last place which beginnings the text ends in, the longest first.
    """

    def __init__(self, sought: Sought) -> None:
        self._find = sought.automaton.iter
        self._end = sought.end
        self._folds = sought.ignore_case and sought.letters is None
        self._whole_words = sought.whole_words
        self._letters = sought.letters
        # Whether the character after a match has a say: it may go on with the word, or be a mark on the last letter.
        self._looks_ahead = sought.whole_words or (sought.letters is not None and sought.letters.waits)
        self._pending = ""  # from the first place where a match is not decided
        self._before = ""  # the character before that
        self._length = 0

    def feed(self, text: str, *, final: bool) -> tuple[list[Span], int]:
        if self._folds:
            text = fold(text)
        # What is pending leads the automaton back to where it was. To go on with one iterator, by its `set`, corrupts the heap
        # as soon as strings of different widths come (https://github.com/WojciechMula/pyahocorasick/issues/221).
        known, offset = len(self._pending), self._length - len(self._pending)
        self._length += len(text)
        text = self._pending + text
        whole, undecided = len(text), len(text)
        spans: list[Span] = []
        for end, found in self._find(text + self._end):
            if type(found) is int:
                if end == whole and self._may_begin(text, whole - found):
                    undecided = min(undecided, whole - found)
                    break
                continue
            end += 1
            after, needed = self._after(text, end)
            if needed <= known:
                continue  # it was found when that came
            for length, order, rule in found:
                start = end - length
                if not self._may_begin(text, start):
                    continue
                if needed > whole and not final:
                    undecided = min(undecided, start)
                elif self._stands_alone(text, end, after):
                    spans.append(Span(offset + start, offset + after, order, rule))
        if final:
            undecided = whole
        if undecided:
            self._before = text[undecided - 1]
        self._pending = text[undecided:]
        return spans, offset + undecided

    def _may_begin(self, text: str, start: int) -> bool:
        return not self._whole_words or not _in_word(text[start - 1] if start else self._before)

    def _after(self, text: str, end: int) -> tuple[int, int]:
        """Where the marks end that are on the last character of a match, and how much text it takes to know that."""
        if not self._looks_ahead:
            return end, end
        after = end
        if self._letters and self._letters.decomposes:
            most = min(len(text), end + MARKS)
            while after < most and is_mark(text[after]):
                after += 1
        return after, after if after == end + MARKS else after + 1

    def _stands_alone(self, text: str, end: int, after: int) -> bool:
        if self._whole_words and _in_word(text[after : after + 1]):
            return False
        # é is no e, if accents count; marks that don't compose with the last character leave it what it is.
        first = end - 1
        while first and is_mark(text[first]):
            first -= 1
        return end == after or _composed(text[first:after]).startswith(_composed(text[first:end]))

    def state(self) -> Any:
        return {"pending": self._pending, "before": self._before, "length": self._length}

    def restore(self, state: Any) -> None:
        self._pending, self._before, self._length = state["pending"], state["before"], state["length"]


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _in_word(character: str) -> bool:
    return bool(character) and (
        character.isalnum()
        or character == "_"
        or (not character.isascii() and unicodedata.category(character)[0] == "M")
    )


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


def sought(rules: tuple[Rule, ...], *, allows: bool) -> list[tuple[Sought, bool]]:
    """The phrases of all rules that allow, or of all others, in one automaton for each way of seeking; and whether one of
    them begins with a mark."""
    ways: dict[tuple[bool, bool, frozenset[str]], dict[str, list[tuple[int, int, Rule]]]] = {}
    for order, rule in enumerate(rules):
        if rule.phrases and (rule.action == "allow") is allows:
            phrases = ways.setdefault((rule.ignore_case, rule.whole_words, frozenset(rule.normalise)), {})
            for phrase in rule.phrases:
                for form in _forms(phrase, rule):
                    found = phrases.setdefault(form, [])
                    if (len(form), order, rule) not in found[-1:]:
                        found.append((len(form), order, rule))
    return [_sought(phrases, *way) for way, phrases in ways.items()]


def _forms(phrase: str, rule: Rule) -> list[str]:
    if not rule.normalise:
        return [fold(phrase) if rule.ignore_case else phrase]
    seen = letters(frozenset(rule.normalise), rule.ignore_case)
    # The capitals of ν and υ look like other letters than they do.
    cases = rule.ignore_case and "look_alikes" in rule.normalise
    written = {phrase, phrase.lower(), phrase.upper(), phrase.title()} if cases else {phrase}
    forms = sorted({Decomposed(seen, waits=False).feed(form, final=True) for form in written})
    if not forms[0]:
        raise PipelineError(f"rule {rule.category!r}: normalised, the phrase {phrase!r} has no character left")
    return forms


def _sought(
    phrases: dict[str, list[tuple[int, int, Rule]]], ignore_case: bool, whole_words: bool, policy: frozenset[str]
) -> tuple[Sought, bool]:
    used = set[str]().union(*phrases)
    end = next(character for character in map(chr, range(0x110000)) if character not in used)
    automaton: Any = _Automaton()
    for phrase, found in phrases.items():
        automaton.add_word(phrase, found)
        for length in range(1, len(phrase)):
            automaton.add_word(phrase[:length] + end, length)
    automaton.make_automaton()
    seen = letters(policy, ignore_case) if policy else None
    return Sought(automaton, end, ignore_case, whole_words, seen), any(is_mark(p[0]) for p in phrases)
