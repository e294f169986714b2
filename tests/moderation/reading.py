"""A text under rules as a reader receives it: the text that the scanner's rulings release, piece by piece."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from streamkit import Rule
from streamkit.events import VerdictSource
from streamkit.moderation.match.scanner import Scanner


class Piece(NamedTuple):
    """A piece that is released. With a `rule` it is what that decided: its text is the replacement."""

    text: str
    start: int
    end: int
    rule: Rule | None = None
    source: VerdictSource = "rules"
    extended: bool = False


class Reading:
    """One text on its way through a scanner."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._scanner = Scanner(tuple(rules))
        self._text = ""
        self._sent = 0

    @property
    def held(self) -> int:
        """Characters that are buffered."""
        return len(self._text)

    @property
    def complete(self) -> bool:
        """Whether nothing is undecided."""
        return self._scanner.complete

    @property
    def ended(self) -> bool:
        """Whether a rule has ended the text."""
        return self._scanner.ended

    def feed(self, text: str, *, final: bool = False) -> list[Piece]:
        """The decisions and the text released after more text, in order."""
        if self.ended:
            return []
        self._text += text
        released: list[Piece] = []
        for start, end, rule, source, kind, _ in self._scanner.feed(text, final=final):
            assert isinstance(rule, Rule)
            if kind != "extended":
                self._release(start, released)
            if kind != "removed":
                shown = rule.replacement if kind == "match" and rule.action in ("redact", "replace") else ""
                released.append(Piece(shown, start, end, rule, source, kind == "extended"))
            if rule.action != "annotate":
                self._skip(end)
        if self.ended:
            self._text = ""
        else:
            self._release(self._scanner.decided, released)
        return released

    def _release(self, until: int, released: list[Piece]) -> None:
        if until > self._sent:
            released.append(Piece(self._text[: until - self._sent], self._sent, until))
            self._skip(until)

    def _skip(self, until: int) -> None:
        if until > self._sent:
            self._text = self._text[until - self._sent :]
            self._sent = until

    def state(self) -> Any:
        """As a checkpoint has it."""
        return {"text": self._text, "sent": self._sent, "scanner": self._scanner.state()}

    def restore(self, state: Any) -> None:
        """Continue from `state`."""
        self._text, self._sent = state["text"], state["sent"]
        self._scanner.restore(state["scanner"])


def read(pieces: Iterable[Piece]) -> str:
    """The text that was released."""
    return "".join(piece.text for piece in pieces)
