"""Any callable as a matcher, called with the same text however that is split."""

from collections.abc import Callable, Iterable
from typing import Any, cast

import msgspec

from streamkit.errors import PipelineError, PluginError
from streamkit.moderation.match.span import Span
from streamkit.moderation.rule import Check, Rule
from streamkit.plugins import find
from streamkit.plugins.entry_points import unknown


class Called:
    """A callable over windows of three times `size` characters, one for each `size`, or over the whole text.

    Of what it finds in a window, that counts which begins in its middle third: whatever is there for `size` characters before
    or after was seen. A window is the same however the text is split, and so is what is found in it, whatever the callable
    does.
    """

    def __init__(
        self, check: Callable[[str], Iterable[tuple[int, int]]], order: int, rule: Rule, size: int | None
    ) -> None:
        self._check = check
        self._order = order
        self._rule = rule
        self._size = size
        self._pieces: list[str] = []  # from `size` characters before the undecided ones
        self._offset = 0  # where they begin
        self._length = 0
        self._from = 0  # where the undecided text begins

    def feed(self, text: str, final: bool) -> tuple[list[Span], int]:
        self._pieces.append(text)
        self._length += len(text)
        spans: list[Span] = []
        enough = self._size is not None and self._from + 2 * self._size <= self._length
        if enough or (final and self._from < self._length):
            self._search("".join(self._pieces), spans, final)
        return spans, self._from

    def _search(self, text: str, spans: list[Span], final: bool) -> None:
        size = self._size or self._length
        while self._from + 2 * size <= self._length:
            self._look(text, self._from + size, size, spans)
        while final and self._from < self._length:
            self._look(text, min(self._length, self._from + size), size, spans)
        self._forget(text, max(self._offset, self._from - size))

    def _forget(self, text: str, before: int) -> None:
        self._pieces, self._offset = [text[before - self._offset :]], before

    def _look(self, text: str, until: int, size: int, spans: list[Span]) -> None:
        first = max(self._offset, self._from - size)
        window = text[first - self._offset : until + size - self._offset]
        for place in self._places(window):
            match place:
                case (int(start), int(end)) if 0 <= start < end <= len(window):
                    pass
                case (int(), int()):
                    raise PluginError(
                        f"rule {self._rule.category!r}: expected places in {len(window)} characters of its check, found {place!r}"
                    )
                case _:
                    raise self._unexpected(place)
            if self._from <= first + start < until:
                spans.append(Span(first + start, first + end, self._order, self._rule))
        self._from = until

    def _places(self, window: str) -> Iterable[object]:
        found: object = self._check(window)
        if not isinstance(found, Iterable) or isinstance(found, str | bytes):
            raise self._unexpected(found)
        return cast("Iterable[object]", found)

    def _unexpected(self, found: object) -> PluginError:
        # Its value may be text of the answer.
        return PluginError(
            f"rule {self._rule.category!r}: expected of its check an iterable of pairs (start, end), "
            f"found an object of type {type(found).__name__}"
        )

    def state(self) -> Any:
        return {"text": "".join(self._pieces), "offset": self._offset, "from": self._from}

    def restore(self, state: Any) -> None:
        # A third-party function receives the text.
        known = msgspec.convert((state["text"], state["offset"], state["from"]), tuple[str, int, int])
        text, self._offset, self._from = known
        self._pieces, self._length = [text], self._offset + len(text)


def callable_of(rule: Rule) -> tuple[Callable[[str], Iterable[tuple[int, int]]], int | None]:
    """A rule's check and its window; the rule's own counts before the one that a package's check declares."""
    check: Any = rule.check
    if isinstance(check, str):
        check = find("moderators", check)
        if check is None:
            raise PipelineError(f"rule {rule.category!r}, check: {unknown('moderators', str(rule.check))}")
    if not callable(check):
        raise PipelineError(f"rule {rule.category!r}: expected a callable check, found {type(check).__name__}")
    return cast(Check, check), rule.window or getattr(check, "window", None)
