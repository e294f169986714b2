"""A regular expression over text that is still coming."""

from collections.abc import Callable
from typing import Any

from streamkit.moderation.expressions import compiled
from streamkit.moderation.matcher import Cause, Span
from streamkit.moderation.rule import Rule

CONTEXT = 64
"""Characters kept before the undecided text, for `\\b` and look-behind."""
_SECONDS_A_CHARACTER = 1e-6


class Pattern:
    """A regular expression's matches, the same as in the whole text: leftmost, not overlapping.

    `accept` says how much of what matched is a match; of what it refuses, the search goes on at the second character.
    `begins` is what every match begins with, compiled: where nothing does, no more is looked for.

    At every `longest` characters of the text, what has been undecided for that many counts as matched, and the search goes on
    after it; so neither the text that waits nor the work for a character grows without end, and both are the same for any cuts.
    """

    def __init__(
        self,
        source: str,
        order: int,
        rule: Rule,
        *,
        ignore_case: bool,
        longest: int,
        accept: Callable[[str], int] = len,
        begins: Any = None,
    ) -> None:
        self._pattern, self._undecided = compiled(source, ignore_case)
        self._order = order
        self._rule = rule
        self._longest = longest
        self._accept = accept
        self._begins = begins
        self._text = ""  # the undecided text, with some context before it
        self._offset = 0  # where _text begins in the whole
        self._from = 0  # where in _text the undecided part begins

    def feed(self, text: str, *, final: bool) -> tuple[list[Span], int]:
        spans: list[Span] = []
        read, length = 0, self._offset + len(self._text)
        while (step := self._longest - (length + read) % self._longest) <= len(text) - read:
            self._search(text[read : read + step], spans, final=False)
            read += step
            if len(self._text) - self._from >= self._longest:
                self._give_up("too_long", spans)
        self._search(text[read:], spans, final)
        return spans, self._offset + self._from

    def _search(self, text: str, spans: list[Span], final: bool) -> None:
        self._text += text
        if not self._idle(final):
            seconds = self._rule.seconds + len(self._text) * _SECONDS_A_CHARACTER
            try:
                self._from = self._matches(spans, final, seconds)
            except TimeoutError:
                self._give_up("timeout", spans)
        if (surplus := self._from - CONTEXT) > 0:
            self._text = self._text[surplus:]
            self._offset += surplus
            self._from = CONTEXT

    def _idle(self, final: bool) -> bool:
        """Whether nothing begins that is complete; then what is undecided is at most a beginning at the end of the text."""
        if self._begins is None:
            return False
        found = self._begins.search(self._text, self._from, partial=True)
        if found and not found.partial:
            return False
        self._from = found.start() if found and not final else len(self._text)
        return True

    def _matches(self, spans: list[Span], final: bool, seconds: float) -> int:
        hold = self._first_undecided(final, seconds)
        searching = True
        while searching:
            searching = False
            for match in self._pattern.finditer(self._text, self._from, timeout=seconds):
                start, end = match.span()
                if start >= hold:
                    break
                # A match of nothing hides nothing.
                if start == end:
                    continue
                accepted = self._accept(match[0])
                self._from = start + (accepted or 1)
                if accepted:
                    spans.append(Span(self._offset + start, self._offset + self._from, self._order, self._rule))
                if self._from > hold:
                    hold = self._first_undecided(final, seconds)
                if self._from != end:
                    searching = True
                    break
        return hold

    def _first_undecided(self, final: bool, seconds: float) -> int:
        if final:
            return len(self._text)
        partial = self._undecided.search(self._text, self._from, partial=True, timeout=seconds)
        return int(partial.start()) if partial else len(self._text)

    def _give_up(self, cause: Cause, spans: list[Span]) -> None:
        spans.append(Span(self._offset + self._from, self._offset + len(self._text), self._order, self._rule, cause))
        self._from = len(self._text)

    def state(self) -> Any:
        return {"text": self._text, "offset": self._offset, "from": self._from}

    def restore(self, state: Any) -> None:
        self._text, self._offset, self._from = state["text"], state["offset"], state["from"]
