"""The effect of rules on a whole text, computed as naively as possible: nothing of the package is used but `Rule`.

A phrase occurs in the stretches of the text that, normalized by `unicodedata`, contain the normalized phrase from their first
character to their last.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import regex

from streamkit import Rule

STRENGTH = ["allow", "annotate", "redact", "replace", "block", "stop"]
INVISIBLE = "\u200b\u00ad\u200d\ufe0f"
ALIKE = str.maketrans("\u0430\u0435\u0415", "aeE")  # of the Cyrillic alphabet


class Decision(NamedTuple):
    """A match that is reported. One that was `extended` says how far beyond the first of several matches text is removed."""

    start: int
    end: int
    rule: Rule
    extended: bool = False


def lower(text: str) -> str:
    """Each character by itself in lower case; the two forms of a small sigma are one letter."""
    return "".join(low if len(low := character.lower()) == 1 else character for character in text).replace("ς", "σ")


def normal(text: str, rule: Rule, *, folds: bool) -> str:
    policy = rule.normalize
    if "zero_width" in policy:
        text = "".join(character for character in text if character not in INVISIBLE)
    if "nfkc" in policy or "accents" in policy:
        text = unicodedata.normalize("NFKD" if "nfkc" in policy else "NFD", text)
    if "accents" in policy:
        text = "".join(character for character in text if unicodedata.category(character) != "Mn")
    if "look_alikes" in policy:
        text = text.translate(ALIKE)
    if "case" in policy:
        text = text.casefold()
    elif rule.ignore_case and folds:
        text = lower(text)
    return unicodedata.normalize("NFC", text) if "nfkc" in policy or "accents" in policy else text


def belongs(character: str, rule: Rule) -> bool:
    """Whether it belongs to the character before it."""
    if "zero_width" in rule.normalize and character in INVISIBLE:
        return True
    return ("nfkc" in rule.normalize or "accents" in rule.normalize) and (
        unicodedata.category(character) == "Mn" or character in "\u1161\u11a8"
    )


def edges(text: str, rule: Rule) -> list[int]:
    return [at for at in range(len(text) + 1) if at == len(text) or at == 0 or not belongs(text[at], rule)]


def phrase_spans(phrase: str, rule: Rule, text: str) -> Iterable[tuple[int, int]]:
    if rule.whole_words:
        sought, text = (lower(phrase), lower(text)) if rule.ignore_case else (phrase, text)
        found = regex.finditer(rf"(?<!\w){regex.escape(sought)}(?!\w)", text, overlapped=True)
        return [match.span() for match in found]
    sought = normal(phrase, rule, folds=True)
    if not rule.normalize:
        seen = normal(text, rule, folds=True)
        return [(at, at + len(sought)) for at in range(len(text)) if seen.startswith(sought, at)]
    places = edges(text, rule)
    # An occurrence is of the characters from the first to the last that it touches, also where it takes only a part of
    # them, as half a ligature: it is in this stretch, and in none that lacks its first character or its last.
    return [
        (start, end)
        for first, start in enumerate(places)
        for last, end in enumerate(places[first + 1 :], first + 1)
        if occurrences(sought, normal(text[start:end], rule, folds=True))
        > occurrences(sought, normal(text[places[first + 1] : end], rule, folds=True))
        + occurrences(sought, normal(text[start : places[last - 1]], rule, folds=True))
        - (
            occurrences(sought, normal(text[places[first + 1] : places[last - 1]], rule, folds=True))
            if last - first > 1
            else 0
        )
    ]


def occurrences(sought: str, text: str) -> int:
    return sum(text.startswith(sought, at) for at in range(len(text)))


def pattern_spans(pattern: str, rule: Rule, text: str) -> Iterable[tuple[int, int]]:
    places = edges(text, rule)
    characters = [(normal(text[at:end], rule, folds=False), at, end) for at, end in pairwise(places)]
    shown = [(at, end) for seen, at, end in characters for _ in seen]
    flags = regex.IGNORECASE if rule.ignore_case else 0
    for match in regex.finditer(pattern, "".join(seen for seen, _, _ in characters), flags):
        if match[0]:
            yield shown[match.start()][0], shown[match.end() - 1][1]


def matches(rules: Sequence[Rule], text: str) -> list[tuple[int, int, Rule]]:
    """All matches that no other allows, in the order in which they are decided."""
    spans = list[tuple[int, int, int, int]]()
    allowed = list[tuple[int, int]]()
    for order, rule in enumerate(rules):
        found = [span for phrase in rule.phrases for span in phrase_spans(phrase, rule, text)]
        found += [span for pattern in rule.patterns for span in pattern_spans(pattern, rule, text)]
        if rule.action == "allow":
            allowed += found
        else:
            spans += [(start, -STRENGTH.index(rule.action), end, order) for start, end in found]
    return [
        (start, end, rules[order])
        for start, _, end, order in sorted(set(spans))
        if not any(a <= start and end <= b for a, b in allowed)
    ]


def decisions(rules: Sequence[Rule], text: str) -> list[Decision]:
    """The decisions in a whole text: of overlapping matches the first is replaced, and the rest of the others removed."""
    found = list[Decision]()
    removed, extended = 0, None
    for start, end, rule in [*matches(rules, text), (len(text) + 1, 0, Rule("end", ("end",), action="stop"))]:
        ends = rule.action in ("replace", "block", "stop")
        if extended and (start >= removed or ends):
            found.append(Decision(extended[0], removed, extended[1], True))
            extended = None
        if start > len(text):
            break
        if rule.action == "annotate":
            found.append(Decision(start, end, rule))
        elif start >= removed or ends:
            found.append(Decision(start, end, rule))
            removed = end
            if ends:
                break
        elif end > removed:
            extended = extended or (removed, rule)
            removed = end
    return found


def readable(text: str, found: Sequence[Decision]) -> str:
    """The part of a whole text that is released."""
    parts, at = list[str](), 0
    for start, end, rule, extended in found:
        if rule.action == "annotate":
            continue
        if extended:
            at = end
            continue
        parts.append(text[at:start])
        at = max(at, end)
        if rule.action in ("redact", "replace"):
            parts.append(rule.replacement)
        if rule.action != "redact":
            return "".join(parts)
    return "".join([*parts, text[at:]])
