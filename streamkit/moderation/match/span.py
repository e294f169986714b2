"""Matches, and the matchers that find them in text that is still arriving.

A matcher returns after each piece the matches that are certain now, and the place up to which nothing that follows can start
one. Searching the last characters again would find a match after its beginning was released; knowing what is undecided keeps
it buffered. Positions are in code points of the whole text.
"""

from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from streamkit.moderation.rule import Rule

Cause: TypeAlias = Literal["match", "too_long", "timeout"]
"""Why a span is one: it matched, or it was not decided within `max_match` characters, or not in time."""


class Span(NamedTuple):
    """A match that later text can't change."""

    start: int
    end: int
    order: int
    """The rule's position among the rules."""
    rule: Rule
    cause: Cause = "match"


class Matcher(Protocol):
    """Searches one text: one channel of one choice."""

    def feed(self, text: str, final: bool) -> tuple[list[Span], int]:
        """Search more text. Returns the spans that are certain now, and where the undecided text begins.

        Every span that is returned later starts there or after. With `final` the text is complete and all of it is decided.
        """
        ...

    def state(self) -> Any:
        """Return the state of the search as JSON-compatible data, for a checkpoint."""
        ...

    def restore(self, state: Any) -> None:
        """Continue from `state`. Called on a matcher that has searched nothing."""
        ...
