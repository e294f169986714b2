"""Any callable as a matcher, called with the same text for any cuts."""

from collections.abc import Callable, Iterable
from typing import Any, cast

import msgspec

from streamkit.errors import PipelineError, PluginError
from streamkit.moderation.matcher import Span
from streamkit.moderation.rule import Check, Rule
from streamkit.plugins import find


class Windows:
    """A callable over windows of three times `size` characters, one for each `size`, or over the whole text.

    Of what it finds in a window, that counts which begins in its middle third: whatever is there for `size` characters before
    or after was seen. A window is the same for any cuts of the text, and so is what comes of it, whatever the callable does.
    """

    def __init__(
        self, check: Callable[[str], Iterable[tuple[int, int]]], order: int, rule: Rule, size: int | None
    ) -> None:
        self._check = check
        self._order = order
        self._rule = rule
        self._size = size
        self._text = ""  # from `size` characters before the undecided ones
        self._offset = 0
        self._from = 0  # where in the whole the undecided text begins

    def feed(self, text: str, *, final: bool) -> tuple[list[Span], int]:
        self._text += text
        spans: list[Span] = []
        length = self._offset + len(self._text)
        while self._size and self._from + 2 * self._size <= length:
            self._look(self._from + self._size, spans)
        while final and self._from < length:
            self._look(min(length, self._from + (self._size or length)), spans)
        return spans, self._from

    def _look(self, until: int, spans: list[Span]) -> None:
        size = self._size or len(self._text)
        window = self._text[: until + size - self._offset]
        for start, end in self._check(window):
            if not 0 <= start < end <= len(window):
                raise PluginError(
                    f"rule {self._rule.category!r}: expected places in {len(window)} characters of its check, "
                    f"found {(start, end)!r}"
                )
            if self._from <= self._offset + start < until:
                spans.append(Span(self._offset + start, self._offset + end, self._order, self._rule))
        self._from = until
        surplus = max(0, until - size - self._offset)
        self._text = self._text[surplus:]
        self._offset += surplus

    def state(self) -> Any:
        return {"text": self._text, "offset": self._offset, "from": self._from}

    def restore(self, state: Any) -> None:
        # Somebody else's function is given the text.
        known = (state["text"], state["offset"], state["from"])
        self._text, self._offset, self._from = msgspec.convert(known, tuple[str, int, int])


def callable_of(rule: Rule) -> tuple[Callable[[str], Iterable[tuple[int, int]]], int | None]:
    """A rule's check and its window; the rule's own counts before the one that a package's check declares."""
    check: Any = rule.check
    if isinstance(check, str):
        check = find("moderators", check)
        if check is None:
            raise PipelineError(
                f"rule {rule.category!r}: expected a check that an installed package offers "
                f"(entry point streamkit.moderators), found {rule.check!r}"
            )
    if not callable(check):
        raise PipelineError(f"rule {rule.category!r}: expected a callable check, found {type(check).__name__}")
    return cast(Check, check), rule.window or getattr(check, "window", None)
