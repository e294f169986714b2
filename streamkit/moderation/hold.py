"""The text that waits: released up to the first place that is not decided, and never beyond. (Law 8)"""

from typing import NamedTuple

from streamkit.moderation.matchers import Matcher, Span, matchers
from streamkit.moderation.rules import Rule

_STRENGTH = {"flag": 0, "redact": 1, "block": 2}


class Released(NamedTuple):
    """A piece of the text that may leave; if `rule` is set, the text `start:end` was matched by it."""

    text: str
    start: int
    end: int
    rule: Rule | None = None


class Hold:
    """One text under rules. Matches that overlap are decided as one, so that no character of any match is ever released
    beside a replacement; the strictest action of them counts, and of equals the first."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self._matchers: list[Matcher] = matchers(rules)
        self._text = ""  # not yet released
        self._offset = 0  # where it begins in the whole
        self._sent = 0  # up to where the whole was released
        self._spans: list[Span] = []

    @property
    def held(self) -> int:
        """Characters that wait."""
        return len(self._text)

    def feed(self, text: str, *, final: bool = False) -> list[Released]:
        """Take more text, and give what is decided now, in order."""
        self._text += text
        decided = self._offset + len(self._text)
        for matcher in self._matchers:
            spans, undecided = matcher.feed(text, final=final)
            self._spans += spans
            decided = min(decided, undecided)
        released: list[Released] = []
        if self._spans:
            decided = self._decide(decided, released)
        self._release(decided, released)
        self._text = self._text[self._sent - self._offset :]
        self._offset = self._sent
        return released

    def _decide(self, decided: int, released: list[Released]) -> int:
        groups = _overlapping(sorted(self._spans, key=lambda span: span[:3]))
        self._spans = []
        for group in groups:
            start, end = group[0].start, max(span.end for span in group)
            if end > decided:
                # Something that overlaps it may still come.
                self._spans += group
                decided = min(decided, start)
                continue
            self._release(start, released)
            rule = max(group, key=lambda span: _STRENGTH[span.rule.action]).rule
            matched = self._text[start - self._offset : end - self._offset]
            self._sent = end
            shown = {"flag": matched, "redact": rule.replacement, "block": ""}[rule.action]
            released.append(Released(shown, start, end, rule))
        return decided

    def _release(self, until: int, released: list[Released]) -> None:
        if until > self._sent:
            released.append(Released(self._text[self._sent - self._offset : until - self._offset], self._sent, until))
            self._sent = until


def _overlapping(spans: list[Span]) -> list[list[Span]]:
    groups: list[list[Span]] = []
    end = -1
    for span in spans:
        if span.start < end:
            groups[-1].append(span)
        else:
            groups.append([span])
        end = max(end, span.end)
    return groups
