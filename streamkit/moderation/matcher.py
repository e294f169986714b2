"""What a matcher is: it watches text that is still coming.

A matcher is asked after each piece for the spans that are now certain, and for the place up to which nothing can still become
part of a match. Looking back over the last characters would detect a match after its beginning had left; knowing what is
undecided lets it leave only when it may.

Positions are in code points of the whole text.
"""

from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from streamkit.moderation.rule import Rule

Cause: TypeAlias = Literal["match", "too_long", "timeout"]
"""Why a span is one: it matched, or it could not be decided within `max_match` characters, or not in time."""


class Span(NamedTuple):
    """A match that nothing can change any more."""

    start: int
    end: int
    order: int
    """The rule's place among the rules."""
    rule: Rule
    cause: Cause = "match"


class Matcher(Protocol):
    """What watches one text. One instance is for one channel of one choice."""

    def feed(self, text: str, *, final: bool) -> tuple[list[Span], int]:
        """Take more text. Gives the spans that are certain now, and where the undecided text begins.

        Every span that comes later starts there or after. With `final` the text is complete and everything is decided.
        """
        ...

    def state(self) -> Any:
        """What it has seen, in what JSON has."""
        ...

    def restore(self, state: Any) -> None:
        """Go on from there. Called on a matcher that has seen nothing."""
        ...
