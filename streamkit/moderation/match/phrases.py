"""Many phrases at once, in text that is still arriving."""

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

import ahocorasick

from streamkit.core.wrong_input import shown
from streamkit.errors import PipelineError
from streamkit.moderation.match.normalize import MARKS, Decomposed, Normalizer, fold, is_mark, normalizer
from streamkit.moderation.match.span import Span
from streamkit.moderation.rule import Rule

_Automaton: Any = ahocorasick.Automaton  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] # it has no types
LONG, PERIODS = 256, 8
"""Beyond so many characters, or so many beginnings that it ends in itself, a phrase is searched by `LongPhrases`."""
Entry: TypeAlias = tuple[int, int, Rule]
"""A phrase that ends here: its length, its rule and the rule's position."""


class PhraseSearch(NamedTuple):
    """Phrases that are compared in one way."""

    ignore_case: bool
    whole_words: bool
    normalizer: Normalizer | None
    find: Any = None
    end: str = ""
    """The character that ends a text in the automaton; it is in no phrase."""


class Phrases:
    """All occurrences of any number of phrases, overlapping ones too (Aho and Corasick, 1975).

    The automaton contains, beside the phrases, all their beginnings, each followed by a character that ends the text. With
    that character appended it finds at the last place which beginnings the text ends in, the longest first.
    """

    def __init__(self, sought: PhraseSearch) -> None:
        self._find = sought.find
        self._end = sought.end
        self._folds = sought.ignore_case and sought.normalizer is None
        self._whole_words = sought.whole_words
        self._normalizer = sought.normalizer
        # Whether the character after a match matters: it may continue the word, or be a mark on the last letter.
        self._looks_ahead = sought.whole_words or (sought.normalizer is not None and sought.normalizer.delays)
        self._pending = ""  # from the first place where a match is undecided
        self._before = ""  # the character before that
        self._length = 0

    def feed(self, text: str, final: bool) -> tuple[list[Span], int]:
        if self._folds:
            text = text.lower() if text.isascii() else fold(text)
        self._length = length = self._length + len(text)
        if pending := self._pending:
            text = pending + text
        whole = len(text)
        spans: list[Span] = []
        undecided = self._search(text, len(pending), final, spans)
        if final or undecided == whole:
            undecided, self._pending = whole, ""
        else:
            self._pending = text[undecided:] if undecided else text
        if undecided and self._whole_words:
            self._before = text[undecided - 1]
        return spans, length - whole + undecided

    def _search(self, text: str, known: int, final: bool, spans: list[Span]) -> int:
        # What is pending leads the automaton back to its state. To continue with one iterator, by its `set`, corrupts the heap
        # when strings of different widths arrive (https://github.com/WojciechMula/pyahocorasick/issues/221).
        undecided = whole = len(text)
        for end, found in self._find(text + self._end):
            if type(found) is int:
                if end == whole and (not self._whole_words or self._may_begin(text, whole - found)):
                    return whole - found if whole - found < undecided else undecided
            elif self._looks_ahead:
                undecided = min(undecided, self._decide(text, end + 1, found, known, final, spans))
            elif end >= known:  # or it was found when it arrived
                self._add(spans, self._length - whole, end + 1, found)
        return undecided

    @staticmethod
    def _add(spans: list[Span], offset: int, end: int, found: Iterable[Entry]) -> None:
        spans += [Span(offset + end - length, offset + end, order, rule) for length, order, rule in found]

    def _decide(self, text: str, end: int, found: Iterable[Entry], known: int, final: bool, spans: list[Span]) -> int:
        # The matches that end there, if enough text has arrived for that; else where the first of them starts.
        whole = undecided = len(text)
        after, needed = self._after(text, end)
        if needed <= known:
            return undecided
        offset = self._length - whole
        for length, order, rule in found:
            start = end - length
            if not self._may_begin(text, start):
                continue
            if needed > whole and not final:
                undecided = min(undecided, start)
            elif self._stands_alone(text, end, after):
                spans.append(Span(offset + start, offset + after, order, rule))
        return undecided

    def _may_begin(self, text: str, start: int) -> bool:
        if not self._whole_words:
            return True
        return start >= 0 and not _in_word(text[start - 1] if start else self._before)

    def _after(self, text: str, end: int) -> tuple[int, int]:
        """Where the marks end that are on the last character of a match, and how much text it takes to know that."""
        after = end
        if self._normalizer and self._normalizer.decomposes:
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


class LongPhrases(Phrases):
    """The same for phrases of which a beginning is too long to be searched again with every piece.

    Of a row of "a", a phrase of 800 "a" and a "b" has 800 beginnings at each character. pyahocorasick visits all of them for
    each character, and its iterators can't carry a state; these tables do, and cost a step per character.
    """

    def __init__(self, sought: PhraseSearch, tables: "Tables") -> None:
        super().__init__(sought)
        self._tables = tables
        self._state = 0
        self._undecided: list[tuple[int, list[Entry]]] = []  # by their end, from the end of the text

    def _search(self, text: str, known: int, final: bool, spans: list[Span]) -> int:
        undecided = whole = len(text)
        ends, self._undecided = [(known + end, found) for end, found in self._undecided], []
        for end, found in (*ends, *self._ends(text, known)):
            if self._looks_ahead:
                first = self._decide(text, end, found, known, final, spans)
                if first < whole:
                    self._undecided.append((end - whole, found))
                    undecided = min(undecided, first)
            else:
                self._add(spans, self._length - whole, end, found)
        state, tables = self._state, self._tables
        while state and not self._may_begin(text, whole - tables.depth[state]):
            state = tables.fail[state]
        return min(undecided, whole - tables.depth[state])

    def _ends(self, text: str, known: int) -> Iterator[tuple[int, list[Entry]]]:
        goto, fail, entries, state = self._tables.goto, self._tables.fail, self._tables.entries, self._state
        for end in range(known, len(text)):
            character = text[end]
            while (following := goto[state].get(character)) is None and state:
                state = fail[state]
            state = following or 0
            if found := entries[state]:
                yield end + 1, found
        self._state = state

    def restore(self, state: Any) -> None:
        super().restore(state)
        pending = self._pending
        for end, found in self._ends(pending, 0):
            if self._looks_ahead and self._after(pending, end)[1] > len(pending):
                self._undecided.append((end - len(pending), found))


class Tables:
    """The automaton as plain tables: a dictionary per state, the state to fall back to, and the phrases that end in it."""

    def __init__(self, phrases: dict[str, list[Entry]]) -> None:
        self.goto: list[dict[str, int]] = [{}]
        self.depth = [0]
        self.entries: list[list[Entry]] = [[]]
        for phrase, found in phrases.items():
            self._add(phrase, found)
        self.fail = [0] * len(self.goto)
        self._link()

    def _add(self, phrase: str, found: list[Entry]) -> None:
        state = 0
        for depth, character in enumerate(phrase, 1):
            if character not in self.goto[state]:
                self.goto[state][character] = len(self.goto)
                self.goto.append({})
                self.depth.append(depth)
                self.entries.append([])
            state = self.goto[state][character]
        self.entries[state] = list(found)

    def _link(self) -> None:
        queue = list(self.goto[0].values())
        for state in queue:
            for character, following in self.goto[state].items():
                back = self.fail[state]
                while back and character not in self.goto[back]:
                    back = self.fail[back]
                self.fail[following] = self.goto[back].get(character, 0)
                self.entries[following] = self.entries[following] + self.entries[self.fail[following]]
                queue.append(following)


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _in_word(character: str) -> bool:
    return bool(character) and (
        character.isalnum()
        or character == "_"
        or (not character.isascii() and unicodedata.category(character)[0] == "M")
    )


def sought(
    rules: tuple[Rule, ...], *, allows: bool
) -> Iterator[tuple[Callable[[], Phrases], Callable[[], Decomposed] | None]]:
    """Return factories of the matchers for the phrases of all rules that allow, or of all others: one for each way of
    comparing them, with the normalization that it needs."""
    ways: dict[tuple[bool, bool, frozenset[str], bool], dict[str, list[Entry]]] = {}
    for order, rule in enumerate(rules):
        if rule.phrases and (rule.action == "allow") is allows:
            for phrase in rule.phrases:
                for form in _forms(phrase, rule):
                    way = (rule.ignore_case, rule.whole_words, frozenset[str](rule.normalize), _is_long(form))
                    found = ways.setdefault(way, {}).setdefault(form, [])
                    if (len(form), order, rule) not in found[-1:]:
                        found.append((len(form), order, rule))
    for kind, phrases in ways.items():
        yield _matcher(phrases, *kind)


def _forms(phrase: str, rule: Rule) -> list[str]:
    if not rule.normalize:
        return [fold(phrase) if rule.ignore_case else phrase]
    seen = normalizer(frozenset(rule.normalize), rule.ignore_case)
    # The capitals of ν and υ look like other letters than they do.
    cases = rule.ignore_case and "look_alikes" in rule.normalize
    written = {phrase, phrase.lower(), phrase.upper(), phrase.title()} if cases else {phrase}
    forms = sorted({Decomposed(seen, delays=False).feed(form, final=True) for form in written})
    if not forms[0]:
        raise PipelineError(
            f"rule {shown(rule.category)}: normalized, the phrase {shown(phrase)} has no character left"
        )
    return forms


def _matcher(
    phrases: dict[str, list[Entry]], ignore_case: bool, whole_words: bool, policy: frozenset[str], long: bool
) -> tuple[Callable[[], Phrases], Callable[[], Decomposed] | None]:
    form = normalizer(policy, ignore_case) if policy else None
    delays = any(is_mark(phrase[0]) for phrase in phrases)
    normalized = (lambda: Decomposed(form, delays=delays)) if form else None
    sought = PhraseSearch(ignore_case, whole_words, form)
    if long:
        tables = Tables(phrases)
        return lambda: LongPhrases(sought, tables), normalized
    beginnings = {phrase[:length]: length for phrase in phrases for length in range(1, len(phrase))}
    find, end = automaton(phrases, beginnings)
    sought = sought._replace(find=find, end=end)
    return lambda: Phrases(sought), normalized


def _is_long(phrase: str) -> bool:
    if not PERIODS < len(phrase) <= LONG:
        return len(phrase) > LONG
    counts: list[int] = []
    for length in borders(phrase):
        counts.append(counts[length - 1] + 1 if length else 0)
    return max(counts) > PERIODS


def borders(text: str) -> list[int]:
    """For each beginning of a text, how long the longest shorter one is that it ends in. (Knuth, Morris and Pratt, 1977)"""
    length, found = 0, [0]
    for character in text[1:]:
        while length and text[length] != character:
            length = found[length - 1]
        length += text[length] == character
        found.append(length)
    return found


def automaton(texts: dict[str, Any], beginnings: dict[str, Any]) -> tuple[Any, str]:
    """Compile a search for these texts, and for their beginnings at the end of a text that the returned character ends."""
    used = set[str]().union(*texts)
    end = next(character for character in map(chr, range(0x110000)) if character not in used)
    built: Any = _Automaton()
    for text, value in texts.items():
        built.add_word(text, value)
    for text, value in beginnings.items():
        built.add_word(text + end, value)
    built.make_automaton()
    return built.iter, end
