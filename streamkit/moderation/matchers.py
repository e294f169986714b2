"""The matchers that a text needs under its rules, each before the view of the text that its rule asks for."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import regex

from streamkit.moderation import detectors, phrases
from streamkit.moderation.checks import Windows, callable_of
from streamkit.moderation.expressions import compiled
from streamkit.moderation.matcher import Matcher, Span
from streamkit.moderation.patterns import Pattern
from streamkit.moderation.rule import Rule
from streamkit.moderation.views import Composed, Decomposed, View, letters


class Through:
    """A matcher that sees the text through a view. It speaks of places in what it sees, this of those in the text."""

    def __init__(self, view: View, matcher: Matcher) -> None:
        self._view = view
        self._matcher = matcher

    def feed(self, text: str, *, final: bool) -> tuple[list[Span], int]:
        view = self._view
        spans, undecided = self._matcher.feed(view.feed(text, final=final), final=final)
        found = [span._replace(start=view.start(span.start), end=view.end(span.end)) for span in spans]
        start = view.start(undecided)
        view.forget(undecided)
        return found, start

    def state(self) -> Any:
        return {"view": self._view.state(), "matcher": self._matcher.state()}

    def restore(self, state: Any) -> None:
        self._view.restore(state["view"])
        self._matcher.restore(state["matcher"])


@lru_cache(maxsize=128)
def plans(rules: tuple[Rule, ...]) -> list[tuple[bool, Callable[[], Matcher]]]:
    """What makes the matchers for one text under all the rules; true for those whose rules allow.

    A bad pattern, or a check that no package offers, raises `PipelineError`.
    """
    found: list[tuple[bool, Callable[[], Matcher]]] = []
    for allows in (False, True):
        # What is not for this matcher keeps its place, for a rule's place among the rules counts.
        for sought, with_marks in phrases.sought(rules, allows=allows):
            make: Callable[[], Matcher] = partial(phrases.Phrases, sought)
            if sought.letters:
                view = partial(Decomposed, sought.letters, waits=with_marks)
                make = partial(_through, view, make)
            found.append((allows, make))
    for order, rule in enumerate(rules):
        found += [(rule.action == "allow", make) for make in _others(order, rule)]
    return found


def _others(order: int, rule: Rule) -> list[Callable[[], Matcher]]:
    makes: list[Callable[[], Matcher]] = []
    for source in rule.patterns:
        compiled(source, rule.ignore_case)
        make = partial(Pattern, source, order, rule, ignore_case=rule.ignore_case, longest=rule.max_match)
        makes.append(_seen(rule, make))
    for kind in detectors.named(rule.detectors):
        compiled(kind.pattern, False)
        begins = regex.compile(kind.begins)
        make = partial(
            Pattern,
            kind.pattern,
            order,
            rule,
            ignore_case=False,
            longest=kind.longest,
            accept=kind.accept,
            begins=begins,
        )
        makes.append(_seen(rule, make, {"case", "look_alikes"}))
    if rule.check:
        check, window = callable_of(rule)
        makes.append(_seen(rule, partial(Windows, check, order, rule, window)))
    return makes


def _seen(rule: Rule, make: Callable[[], Matcher], without: set[str] | None = None) -> Callable[[], Matcher]:
    # Digits stay digits, for patterns look for these: only letters of other alphabets are taken for Latin ones.
    policy = set[str](rule.normalise) - {"leet"} - (without or set())
    if "look_alikes" in policy:
        policy = policy - {"look_alikes"} | {"alphabets"}
    return partial(_through, partial(Composed, letters(frozenset(policy), False)), make) if policy else make


def _through(view: Callable[[], View], matcher: Callable[[], Matcher]) -> Matcher:
    return Through(view(), matcher())
