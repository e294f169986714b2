"""Many regular expressions over text that is still arriving."""

from collections.abc import Callable
from time import thread_time
from typing import Any, NamedTuple, cast

from streamkit.moderation.match.expressions import Expression, Guard, fold_text
from streamkit.moderation.match.phrases import automaton
from streamkit.moderation.match.span import Cause, Span
from streamkit.moderation.rule import Rule

STREAM_SECONDS = 0.1
"""How long the patterns of a choice may search in all, beyond what text of that length may take."""
_AFTER_A_TIMEOUT = 0.001
_SECONDS_A_SEARCH, _SECONDS_A_CHARACTER = 25e-6, 1e-6
"""Seconds of a search that are not counted: a fixed share, and one for each character that has just arrived."""
_CHUNK = 1_024
"""How many characters are searched at a time."""
_OFTEN, _SHARE = 256, 8
"""While no more is undecided, a pattern is searched at each delta; then when an eighth of that has arrived, or less."""
_SURPLUS = 256
"""Text before what can still be seen is removed in steps, so that it costs no more than a step for each character."""
# The positional arguments of `regex`'s search are the text, its part, whether the GIL is released (which takes as long as a
# short search), whether a partial match is one, and the time limit.


def _due(start: int, at: int, often: int, end: int) -> int:
    """Where a search from `start` is due after `at`. To search anew at each delta would take quadratic time.

    The places are the same however the text is split, and so is what is buffered.
    """
    if at - start < often:
        return min(start + often, end)
    while True:
        step = _step(at - start)
        at += step - at % step
        if at % _step(at - 1 - start) == 0:
            return at


def _step(undecided: int) -> int:
    return 1 << (undecided // _SHARE).bit_length() >> 1 or 1


class SearchBudget:
    """The time that the patterns of one choice have left. Times are those of this thread's processor, so that a busy machine
    does not use them up."""

    def __init__(self, seconds: float = STREAM_SECONDS) -> None:
        self.left = seconds
        self.timed_out = False
        """Whether a search has timed out in this call: a single call must not take all that is left."""

    def limit(self, seconds: float) -> float:
        """How long the next search may take, of at most `seconds`."""
        return min(seconds, self.left, _AFTER_A_TIMEOUT if self.timed_out else seconds)

    def spend(self, seconds: float, characters: int) -> None:
        """A search took so long, of which so many characters are new."""
        spent = seconds - _SECONDS_A_SEARCH - characters * _SECONDS_A_CHARACTER
        self.left = max(self.left - max(spent, 0.0), 0.0)

    def time_out(self, seconds: float) -> None:
        """A search that took so long has timed out. Nothing of that is free, or the last microseconds were never spent."""
        self.left = max(self.left - seconds, 0.0)
        self.timed_out = True


class Pattern(NamedTuple):
    """One expression of a rule.

    `accept` returns how much of what matched is a match; of what it refuses, the search continues at the second character.
    Every match contains what `anchor` finds, with at most `lead` characters before it in the match, of which those at the end
    of the text that no anchor has followed yet are found by `tail`, or else by searching these.
    """

    expression: Expression
    order: int
    rule: Rule
    longest: int
    accept: Callable[[str], int] | None = None
    anchor: Callable[..., Any] | None = None
    lead: int = 0
    tail: Callable[..., Any] | None = None

    @property
    def searched_where_it_begins(self) -> bool:
        """Whether it is searched only where a text is that all its matches begin with."""
        prefixes = self.expression.prefixes
        return bool(prefixes) and all(len(prefix.text) < self.longest for prefix in prefixes)


class PatternSearch:
    """Patterns that are searched in one text, and the automaton of what their matches begin with."""

    def __init__(self, patterns: tuple[Pattern, ...]) -> None:
        self.patterns = patterns
        self.always = [number for number, pattern in enumerate(patterns) if not pattern.searched_where_it_begins]
        self.behind = max(pattern.expression.behind for pattern in patterns)
        # What most searches need: they find nothing, and take no time worth to be limited.
        self.quick: list[tuple[Callable[..., Any], int, int, bool]] = [
            (pattern.anchor, pattern.longest, _OFTEN, True)
            if pattern.anchor
            else (pattern.expression.probe.search, pattern.longest, pattern.expression.safe, False)
            for pattern in patterns
        ]
        found: dict[str, list[tuple[int, int, tuple[Guard, ...]]]] = {}
        beginnings: dict[str, tuple[int, set[Guard] | None]] = {}
        for number in set(range(len(patterns))) - set(self.always):
            for text, guards in patterns[number].expression.prefixes:
                found.setdefault(text, []).append((number, len(text), guards))
                for length in range(1, len(text)):
                    _, known = beginnings.get(text[:length], (0, set[Guard]()))
                    # With several guards a match can't begin if one of them says so; kept are single ones only.
                    alone = known is not None and len(guards) == 1
                    beginnings[text[:length]] = length, {*known, *guards} if alone and known is not None else None
        self.find: Any = None
        self.end = ""
        if found:
            self.find, self.end = automaton(found, beginnings)


class Patterns:
    """Each pattern's matches, the same as in the whole text: leftmost, not overlapping.

    A pattern whose matches all begin with certain texts is searched where these occur, the others in all of the text. At every
    `longest` characters, what a pattern has left undecided for that many counts as matched, and its search continues after it;
    so neither the buffered text nor the work per character grows without end, and both are the same however the text is split.
    """

    def __init__(self, sought: PatternSearch, budget: SearchBudget) -> None:
        self._sought = sought
        self._budget = budget
        self._text = ""  # the undecided text, with what is before it
        self._offset = 0  # where that begins in the whole
        self._end = 0
        self._pending = ""  # folded: the beginning of a text that matches begin with
        self._from = dict.fromkeys(sought.always, 0)  # where the undecided text of each pattern begins that is searched
        self._free: dict[int, int] = {}  # where the last match ends of a pattern that is not
        self._off: set[int] = set()

    def feed(self, text: str, final: bool) -> tuple[list[Span], int]:
        spans: list[Span] = []
        last = max(len(text) - 1, 0) // _CHUNK * _CHUNK
        for at in range(0, last, _CHUNK):
            self._feed(text[at : at + _CHUNK], spans, False)
        return spans, self._feed(text[last:], spans, final)

    def _feed(self, text: str, spans: list[Span], final: bool) -> int:
        before = self._end
        end = undecided = self._end = before + len(text)
        self._text += text
        if self._sought.find:
            undecided = self._begin(text, final)
        if self._from:
            quick, text, offset = self._sought.quick, self._text, self._offset
            for number, start in list(self._from.items()):
                search, longest, most, anchored = quick[number]
                if start == end:
                    pass
                elif final or end - start > most or before // longest != end // longest:
                    start = self._search(number, start, before, final, spans)
                elif anchored:
                    at, stop = start - offset, end - offset
                    if search(text, at, stop):
                        start = self._search(number, start, before, final, spans)
                    else:
                        start = offset + self._tail(self._sought.patterns[number], at, stop)
                elif (found := search(text, start - offset, None, False, True)) is None:
                    start = end
                elif found.partial:
                    start = int(found.start()) + offset
                else:
                    start = self._search(number, start, before, final, spans)
                self._from[number] = start
                if start == end:
                    self._rest(number)
                elif start < undecided:
                    undecided = start
        surplus = undecided - self._sought.behind - self._offset
        if surplus > _SURPLUS:
            self._text = self._text[surplus:]
            self._offset += surplus
        return undecided

    def _rest(self, number: int) -> None:
        # Nothing of its text is undecided.
        if number in self._off:
            del self._from[number]
        elif self._sought.patterns[number].searched_where_it_begins:
            self._free[number] = self._from.pop(number)

    def _begin(self, text: str, final: bool) -> int:
        """Find where matches may begin. Returns where a text begins of which the rest may still arrive."""
        known = len(self._pending)
        folded = self._pending + fold_text(text)
        whole, offset = len(folded), self._end - len(folded)
        undecided = whole
        for end, found in self._sought.find(folded + self._sought.end):
            if type(found) is list:
                if end >= known:
                    self._start(offset + end + 1, cast("list[Any]", found))
            elif end == whole and not final and self._may_begin(offset + whole - found[0], found[1]):
                undecided = whole - found[0]
                break
        self._pending = folded[undecided:]
        return offset + undecided

    def _start(self, end: int, found: list[tuple[int, int, tuple[Guard, ...]]]) -> None:
        for number, length, guards in found:
            start = end - length
            if number in self._from or number in self._off or start < self._free.get(number, 0):
                continue
            before = self._before(start)
            if not any(guard(before) for guard in guards):
                self._from[number] = start

    def _may_begin(self, start: int, guards: set[Guard] | None) -> bool:
        if guards is None:
            return True
        before = self._before(start)
        return not all(guard(before) for guard in guards)

    def _before(self, place: int) -> str:
        return self._text[place - self._offset - 1] if place > self._offset else ""

    # One pattern

    def _search(self, number: int, start: int, before: int, final: bool, spans: list[Span]) -> int:
        """Search from `start`. Returns where the pattern's undecided text begins now."""
        longest, end = self._sought.patterns[number].longest, self._end
        until = (before // longest + 1) * longest
        while until <= end:
            if start < until:
                start, searched = self._search_when_due(number, start, before, until, spans)
                if start < until and searched < until:
                    start = self._search_until(number, start, searched, until, False, spans)
                if until - start >= longest:
                    start = self._give_up(number, start, until, "too_long", spans)
            before, until = until, until + longest
        if start < end and not final:
            start, _ = self._search_when_due(number, start, before, end, spans)
        elif start < end:
            start = self._search_until(number, start, before, end, True, spans)
        return start

    def _search_when_due(self, number: int, start: int, at: int, end: int, spans: list[Span]) -> tuple[int, int]:
        """Search at each place after `at` where that is due. Returns where the undecided text begins, and the last of them."""
        often = max(self._sought.patterns[number].expression.safe, _OFTEN)
        while start < end and at < end:
            due = _due(start, max(start, at), often, end) if self._budget.left > 0 else end
            if due > end:
                break
            start, at = self._search_until(number, start, at, due, False, spans), due
        return start, at

    def _search_until(self, number: int, start: int, before: int, end: int, final: bool, spans: list[Span]) -> int:
        pattern, offset = self._sought.patterns[number], self._offset
        at, stop = start - offset, end - offset
        if pattern.anchor and not pattern.anchor(self._text, at, stop):
            return end if final else offset + self._tail(pattern, at, stop)
        if stop - at <= pattern.expression.safe:
            return offset + self._matches(pattern, at, stop, final, None, spans)
        limit = self._budget.limit(pattern.rule.seconds)
        if limit <= 0:
            self._off.add(number)
            return self._give_up(number, start, end, "timeout", spans)
        known, fresh, began = len(spans), end - max(start, before), thread_time()
        try:
            undecided = self._search_limited(pattern, at, stop, final, limit, spans)
        except TimeoutError:
            start = max([start, *(span.end for span in spans[known:])])
            slow = offset + self._first_slow(pattern, start - offset, stop)
            self._budget.time_out(max(limit, thread_time() - began))
            return self._give_up(number, slow, end, "timeout", spans)
        self._budget.spend(thread_time() - began, fresh)
        return offset + undecided

    def _search_limited(
        self, pattern: Pattern, at: int, stop: int, final: bool, limit: float, spans: list[Span]
    ) -> int:
        # Where it was undecided it mostly still is; to search the rest for that, `regex` would try every place in it.
        first = None if final else pattern.expression.probe.match(self._text, at, stop, None, True, limit)
        return at if first and first.partial else self._matches(pattern, at, stop, final, limit, spans)

    def _first_slow(self, pattern: Pattern, at: int, stop: int) -> int:
        # Where a search took too long, or might find something; nothing begins before.
        match, until = pattern.expression.probe.match, thread_time() + _AFTER_A_TIMEOUT
        try:
            while at < stop and not match(self._text, at, stop, None, True, _AFTER_A_TIMEOUT / 2):
                at += 1
                if thread_time() > until:
                    break
        except TimeoutError:
            pass
        return at

    def _tail(self, pattern: Pattern, at: int, stop: int) -> int:
        if pattern.tail:
            return int(pattern.tail(self._text, at, stop, False).start())
        # The first of them that a match may begin with, if one does.
        return self._first_undecided(pattern, max(at, stop - pattern.lead), stop, None) if pattern.lead else stop

    def _matches(
        self, pattern: Pattern, at: int, stop: int, final: bool, seconds: float | None, spans: list[Span]
    ) -> int:
        text, expression = self._text, pattern.expression
        if not final:
            found = expression.probe.search(text, at, stop, None if seconds else False, True, seconds)
            if found is None:
                return stop
            if found.partial:
                return int(found.start())
        undecided = stop if final else self._first_undecided(pattern, at, stop, seconds)
        searching = True
        while searching:
            searching = False
            for match in expression.pattern.finditer(text, at, stop, timeout=seconds):
                start, end = match.span()
                if start >= undecided:
                    break
                # A match of nothing hides nothing.
                if start == end:
                    continue
                accepted = end - start if pattern.accept is None else pattern.accept(match[0])
                at = start + (accepted or 1)
                if accepted:
                    spans.append(Span(self._offset + start, self._offset + at, pattern.order, pattern.rule))
                if at > undecided:
                    undecided = self._first_undecided(pattern, at, stop, seconds)
                if at != end:
                    searching = True
                    break
        return undecided

    def _first_undecided(self, pattern: Pattern, at: int, stop: int, seconds: float | None) -> int:
        at = max(at, stop - pattern.expression.ahead)
        found = pattern.expression.undecided.search(self._text, at, stop, None if seconds else False, True, seconds)
        return int(found.start()) if found else stop

    def _give_up(self, number: int, start: int, end: int, cause: Cause, spans: list[Span]) -> int:
        pattern = self._sought.patterns[number]
        spans.append(Span(start, end, pattern.order, pattern.rule, cause))
        return end

    def state(self) -> Any:
        return {
            "text": self._text,
            "offset": self._offset,
            "pending": len(self._pending),
            "from": sorted(self._from.items()),
            "free": sorted(self._free.items()),
            "off": sorted(self._off),
        }

    def restore(self, state: Any) -> None:
        self._text, self._offset = state["text"], state["offset"]
        self._end = self._offset + len(self._text)
        self._pending = fold_text(self._text[len(self._text) - state["pending"] :])
        self._from, self._free = dict(map(tuple, state["from"])), dict(map(tuple, state["free"]))
        self._off = set(state["off"])
