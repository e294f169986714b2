"""One text under rules: all matchers of its rules, and what is decided where their matches overlap."""

import dataclasses
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from heapq import heapify, heappop, heappush
from typing import Any, NamedTuple, TypeAlias

import msgspec

from streamkit.errors import PipelineError
from streamkit.events import Channel, VerdictSource
from streamkit.moderation import detectors
from streamkit.moderation.match import phrases
from streamkit.moderation.match.callable import Called, callable_of
from streamkit.moderation.match.expressions import compiled
from streamkit.moderation.match.normalize import Composed, Normalized, normalizer
from streamkit.moderation.match.patterns import Pattern, Patterns, PatternSearch, SearchBudget
from streamkit.moderation.match.span import Cause, Matcher, Span
from streamkit.moderation.rule import Rule, Ruling
from streamkit.moderation.slices import SLICE

_STRENGTH = {"allow": 0, "annotate": 1, "redact": 2, "replace": 3, "block": 4, "stop": 5}
_MILD = ("allow", "annotate")
_ENDS = {"replace", "block", "stop"}
_OF_NO_CHOICE = -1
_MOST_PLACES = 256
_PER_TEXT = 64
"""To how many characters the search of a text of its own is comparable."""
_STEP = 1_024
"""Characters of structure that are searched between two turns of other tasks: it may be full of matches."""
_MOST_PREPARED = 1 << 20


class Scanner:
    """Decides about one text in order, as soon as it can be decided, and the same however the text is split.

    Matches are ordered by their start, then the strictest action, then their end, then the rules. A match that a rule redacts
    is decided as soon as nothing can start at or before its start; what overlaps it is removed with it. `replace`, `block` and
    `stop` end the text when they are decided. `annotate` takes no part in this: it removes nothing and is always reported. A
    match that lies within one of a rule that allows is none.
    """

    def __init__(self, rules: tuple[Rule, ...], budget: SearchBudget | None = None) -> None:
        budget = budget or SearchBudget()
        found = plans(rules)
        self._rules = rules
        self._budget = budget
        self._matchers: list[Matcher] = [make(budget) for allows, make in found if not allows]
        self._exceptions: list[Matcher] = [make(budget) for allows, make in found if allows]
        self._only = self._matchers[0].feed if len(self._matchers) == 1 and not self._exceptions else None
        self.length = 0
        self.decided = 0
        """Text before that may be released, but for what was removed."""
        self.ended = False
        """Whether a rule has ended the text, so that nothing more of it is released."""
        self._pending: list[_Found] = []  # a heap
        self._allowed: list[tuple[int, int]] = []  # a heap
        self._reach = 0  # how far the exceptions go that begin where matches are decided
        self._last: _Found | None = None
        self._removed = 0  # where the removed text ends that later matches may extend
        self._extended: tuple[int, int] | None = None  # from where, and by which rule

    @property
    def complete(self) -> bool:
        """Whether nothing of what has arrived is undecided."""
        return self.decided == self.length

    def feed(self, text: str, *, final: bool = False) -> Sequence[Ruling]:
        """Search more text, and return what is decided now, in order."""
        if self.ended:
            return ()
        self.length += len(text)
        self._budget.timed_out = False
        if self._only and not (self._pending or self._removed):
            # What most texts need.
            spans, undecided = self._only(text, final)
            if not spans:
                self.decided = undecided
                return ()
            self._pending = [_found(span) for span in spans]
            heapify(self._pending)
            limit = undecided
        else:
            undecided, limit = self._search(text, final)
        rulings: Sequence[Ruling] = ()
        if self._pending or self._removed:
            rulings = self._decide(limit)
        pending = self._pending
        self.decided = min(undecided, pending[0].start) if pending else undecided
        return rulings

    def _search(self, text: str, final: bool) -> tuple[int, int]:
        # Returns where the undecided text begins, and where that begins which an exception may still allow.
        undecided = allowing = self.length
        for matcher in self._matchers:
            spans, first = matcher.feed(text, final)
            if spans:
                for span in spans:
                    heappush(self._pending, _found(span))
            if first < undecided:
                undecided = first
        for matcher in self._exceptions:
            spans, first = matcher.feed(text, final)
            for span in spans:
                if span.cause == "match":
                    heappush(self._allowed, (span.start, span.end))
            allowing = min(allowing, first)
        return undecided, min(undecided, allowing)

    def _decide(self, limit: int) -> list[Ruling]:
        rulings: list[Ruling] = []
        pending = self._pending
        while pending and pending[0].start < limit and not self.ended:
            found = heappop(pending)
            if found != self._last and not self._is_allowed(found):
                self._rule(found, rulings)
            self._last = found
        if self.ended:
            pending.clear()
        elif self._removed and limit >= self._removed:
            self._close(rulings)
        return rulings

    def _rule(self, found: "_Found", rulings: list[Ruling]) -> None:
        start, end = found.start, found.end
        rule = self._rule_of(found)
        self.ended = rule.action in _ENDS
        if start >= self._removed or self.ended:
            self._close(rulings)
        source: VerdictSource = "rules" if found.cause == "match" else found.cause
        if rule.action == "annotate":
            rulings.append(Ruling(start, end, rule, source))
        elif not self._removed:
            rulings.append(Ruling(start, end, rule, source))
            self._removed = end
        elif end > self._removed:
            rulings.append(Ruling(self._removed, end, rule, source, "removed"))
            self._extended = self._extended or (self._removed, found.order)
            self._removed = end

    def _close(self, rulings: list[Ruling]) -> None:
        if self._extended:
            start, order = self._extended
            rulings.append(Ruling(start, self._removed, self._rules[order], kind="extended"))
        self._removed, self._extended = 0, None

    def _is_allowed(self, found: "_Found") -> bool:
        while self._allowed and self._allowed[0][0] <= found.start:
            self._reach = max(self._reach, heappop(self._allowed)[1])
        return found.end <= self._reach

    def _rule_of(self, found: "_Found") -> Rule:
        return _as_decided(self._rules[found.order], found.cause)

    def state(self) -> Any:
        """Return the state as JSON-compatible data, for a checkpoint."""
        return {
            "rules": _fingerprint(self._rules),
            "length": self.length,
            "decided": self.decided,
            "ended": self.ended,
            "pending": self._pending,
            "allowed": self._allowed,
            "reach": self._reach,
            "last": self._last,
            "removed": self._removed,
            "extended": self._extended,
            "matchers": [matcher.state() for matcher in (*self._matchers, *self._exceptions)],
        }

    def restore(self, state: Any) -> None:
        """Continue from `state`. That of other rules raises `PipelineError`."""
        if state["rules"] != _fingerprint(self._rules):
            raise PipelineError("expected the state of a text under the same rules, found that of others")
        self.length, self.decided, self.ended = state["length"], state["decided"], state["ended"]
        self._pending = [_Found(*found) for found in state["pending"]]
        self._allowed = [(start, end) for start, end in state["allowed"]]
        self._reach, self._removed = state["reach"], state["removed"]
        self._last = state["last"] and _Found(*state["last"])
        self._extended = state["extended"] and tuple(state["extended"])
        for matcher, known in zip((*self._matchers, *self._exceptions), state["matchers"], strict=True):
            matcher.restore(known)


class Scanners:
    """The scanners of a stream, as judges of what is released of it. Rules decide in the call in which text arrives."""

    def __init__(self, rules: tuple[Rule, ...], channels: Iterable[Channel], *, always: Iterable[Channel] = ()) -> None:
        plans(rules)  # a bad pattern is a mistake of whoever configured it, and is raised before anything runs
        self._rules_of: dict[Channel, tuple[Rule, ...]] = dict.fromkeys(always, ())
        for channel in channels:
            if chosen := tuple(rule for rule in rules if rule.channels is None or channel in rule.channels):
                self._rules_of[channel] = chosen
        self.moderated = frozenset(self._rules_of)
        searched = {id(rule) for some in self._rules_of.values() for rule in some}
        self._searched = tuple(rule for rule in rules if id(rule) in searched)
        self._budgets: dict[int, SearchBudget] = {}
        self._pieces: dict[tuple[Channel, str], Scanner] = {}
        self._prepared: dict[tuple[Channel | None, str], bool] = {}
        self._withholding = frozenset(
            channel for channel, chosen in self._rules_of.items() if any(rule.action not in _MILD for rule in chosen)
        )
        self.undecided = 0

    def rules_of(self, channel: Channel) -> tuple[Rule, ...]:
        """The rules of a channel."""
        return self._rules_of.get(channel, ())

    def moderates(self, channel: Channel) -> bool:
        """Whether a channel is searched."""
        return channel in self.moderated

    def withholds(self, *channels: Channel) -> bool:
        """Whether something of one of those channels can be withheld."""
        return not self._withholding.isdisjoint(channels)

    def judge(self, index: int, channel: Channel) -> Scanner:
        """A scanner for a channel of a choice. Those of a choice share the time that its patterns have."""
        return Scanner(self.rules_of(channel), self._budgets.setdefault(index, SearchBudget()))

    def forbids(self, text: str, channel: Channel | None, *, whole: bool = True) -> bool:
        """Whether a rule of a channel, or of any, withholds that text, or, if it is not whole, could withhold what it becomes."""
        if whole and (known := self._prepared.get((channel, text))) is not None:
            return known
        rules = self._searched if channel is None else self.rules_of(channel)
        if not rules:
            return False
        scanner = Scanner(rules, self._budgets.setdefault(_OF_NO_CHOICE, SearchBudget()))
        return _withholds(scanner.feed(text, final=whole)) or not (whole or scanner.complete)

    def prepare(self, texts: Iterable[str], channel: Channel) -> Iterator[None]:
        """Decide, slice by slice, what `forbids` is going to be called with, for whole texts of a channel."""
        if sum(len(text) + _PER_TEXT for _, text in self._prepared) > _MOST_PREPARED:
            self._prepared.clear()
        spent = 0
        for text in texts:
            scanner, found = self._of_no_choice(channel), False
            for at in range(0, len(text), _STEP):
                found = _withholds(scanner.feed(text[at : at + _STEP], final=at + _STEP >= len(text))) or found
                if (spent := spent + _PER_TEXT + min(len(text), _STEP)) >= _STEP:
                    spent = 0
                    yield
            self._prepared[channel, text] = found

    def _of_no_choice(self, channel: Channel) -> Scanner:
        return Scanner(self.rules_of(channel), self._budgets.setdefault(_OF_NO_CHOICE, SearchBudget()))

    def forbids_piece(self, text: str, channel: Channel, place: str) -> bool:
        """Whether that text, behind those that had the same place, completes what a rule of a channel withholds.

        For text beside the answer that may come in pieces. Of the places, the last ones are known.
        """
        if not self.withholds(channel):
            return False
        scanner = self._pieces.pop((channel, place), None)
        if scanner is None:
            scanner = self._of_no_choice(channel)
            if len(self._pieces) >= _MOST_PLACES:
                del self._pieces[next(iter(self._pieces))]
        pieces = [text]
        if (channel, text) in self._prepared and len(text) > 2 * SLICE:
            # All of it was searched by itself; what matters here is where it joins others.
            pieces = [text[:SLICE], text[-SLICE:]]
        withholds = scanner.ended
        for piece in pieces:
            withholds = _withholds(scanner.feed(piece)) or withholds
        self._pieces[channel, place] = scanner
        return withholds

    def end_pieces(self, of: str) -> bool:
        """Whether one of the texts whose place begins so contains what is withheld, now that they are complete."""
        ended = [key for key in self._pieces if key[1].startswith(of)]
        return any([_withholds(self._pieces.pop(key).feed("", final=True)) for key in ended])  # noqa: C419 -- all of them

    def discard(self, index: int) -> None:
        """Nothing is decided later."""

    def reset(self) -> None:
        """Another answer has as much time."""
        self._budgets.clear()
        self._pieces.clear()

    def state(self) -> Any:
        """Return the state beside that of the texts as JSON-compatible data, for a checkpoint."""
        budgets = [[index, budget.left] for index, budget in self._budgets.items()]
        pieces = [[channel, place, scanner.state()] for (channel, place), scanner in self._pieces.items()]
        return {"budgets": budgets, "pieces": pieces}

    def restore(self, state: Any) -> None:
        """Continue from `state`."""
        self._budgets = {index: SearchBudget(left) for index, left in state["budgets"]}
        for channel, place, known in state["pieces"]:
            scanner = self._of_no_choice(channel)
            scanner.restore(known)
            self._pieces[channel, place] = scanner


def _withholds(rulings: Sequence[Ruling]) -> bool:
    return any(ruling.by.action != "annotate" for ruling in rulings)


class _Found(NamedTuple):
    # A match, so that they sort as they are decided.
    start: int
    mildness: int
    end: int
    order: int
    cause: Cause


def _found(span: Span) -> _Found:
    strength = _STRENGTH[_as_decided(span.rule, span.cause).action]
    return _Found(span.start, -strength, span.end, span.order, span.cause)


def _as_decided(rule: Rule, cause: Cause) -> Rule:
    if cause != "timeout":
        return rule
    return dataclasses.replace(rule, action="block" if rule.fail == "closed" else "annotate")


@lru_cache(maxsize=128)
def _fingerprint(rules: tuple[Rule, ...]) -> int:
    named = [
        dataclasses.replace(rule, check=getattr(rule.check, "__qualname__", "check")) if callable(rule.check) else rule
        for rule in rules
    ]
    return zlib.crc32(msgspec.json.encode(named))


# The matchers of rules


class _Normalizing:
    # A matcher over normalized text. Its offsets are in that, those that are returned in the original text.

    def __init__(self, normalized: Normalized, matcher: Matcher) -> None:
        self._normalized = normalized
        self._matcher = matcher

    def feed(self, text: str, final: bool) -> tuple[list[Span], int]:
        normalized = self._normalized
        spans, undecided = self._matcher.feed(normalized.feed(text, final), final)
        found = [span._replace(start=normalized.start(span.start), end=normalized.end(span.end)) for span in spans]
        start = normalized.start(undecided)
        normalized.forget(undecided)
        return found, start

    def state(self) -> Any:
        return {"normalized": self._normalized.state(), "matcher": self._matcher.state()}

    def restore(self, state: Any) -> None:
        self._normalized.restore(state["normalized"])
        self._matcher.restore(state["matcher"])


Make: TypeAlias = Callable[[SearchBudget], Matcher]


@lru_cache(maxsize=128)
def plans(rules: tuple[Rule, ...]) -> list[tuple[bool, Make]]:
    """Return factories of the matchers for one text under all the rules; true for those whose rules allow.

    A bad pattern, or a check that no package offers, raises `PipelineError`.
    """
    found: list[tuple[bool, Make]] = []
    for allows in (False, True):
        # A rule that is not for these matchers keeps its position, which counts.
        for make, normalized in phrases.sought(rules, allows=allows):
            found.append((allows, partial(_phrases, make, normalized)))
        patterns: dict[frozenset[str], list[Pattern]] = {}
        for order, rule in enumerate(rules):
            if (rule.action == "allow") is allows:
                for policy, pattern in _patterns_of(order, rule):
                    patterns.setdefault(policy, []).append(pattern)
                if rule.check:
                    called = partial(Called, callable_of(rule)[0], order, rule, callable_of(rule)[1])
                    found.append((allows, partial(_checked, called, _policy(rule, set()))))
        found += [(allows, partial(_searched, PatternSearch(tuple(some)), policy)) for policy, some in patterns.items()]
    return found


def _patterns_of(order: int, rule: Rule) -> Iterator[tuple[frozenset[str], Pattern]]:
    for source in rule.patterns:
        yield _policy(rule, set()), Pattern(compiled(source, rule.ignore_case), order, rule, rule.max_match)
    for kind in detectors.named(rule.detectors):
        yield (
            _policy(rule, {"case", "look_alikes"}),
            Pattern(
                compiled(kind.pattern, False),
                order,
                rule,
                kind.longest,
                None if kind.accept is len else kind.accept,
                kind.anchored,
                kind.lead,
                kind.tails,
            ),
        )


def _policy(rule: Rule, without: set[str]) -> frozenset[str]:
    # Digits stay digits, since patterns search for these: only letters of other alphabets are taken for Latin ones.
    policy = set[str](rule.normalize) - {"leet"} - without
    return frozenset(policy - {"look_alikes"} | {"alphabets"} if "look_alikes" in policy else policy)


def _phrases(make: Callable[[], Matcher], normalized: Callable[[], Normalized] | None, budget: SearchBudget) -> Matcher:
    return _Normalizing(normalized(), make()) if normalized else make()


def _searched(sought: PatternSearch, policy: frozenset[str], budget: SearchBudget) -> Matcher:
    return _composed(Patterns(sought, budget), policy)


def _checked(called: Callable[[], Matcher], policy: frozenset[str], budget: SearchBudget) -> Matcher:
    return _composed(called(), policy)


def _composed(matcher: Matcher, policy: frozenset[str]) -> Matcher:
    return _Normalizing(Composed(normalizer(policy, False)), matcher) if policy else matcher
