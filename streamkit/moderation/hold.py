"""The text that waits: released up to the first place that is not decided, and never beyond. (Law 8)"""

import zlib
from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

import msgspec
import regex

from streamkit.errors import PipelineError
from streamkit.moderation.matcher import Cause, Matcher, Span
from streamkit.moderation.matchers import plans
from streamkit.moderation.rule import Rule

_STRENGTH = {"allow": 0, "annotate": 1, "redact": 2, "replace": 3, "block": 4, "stop": 5}
_ENDS = {"replace", "block", "stop"}
_LONGEST_CHARACTER = 64  # code points, beyond which one that is drawn as one is let go in pieces
# A character of UTF-16 that came in two halves is one character too.
_character: Any = regex.compile(r"[\uD800-\uDBFF][\uDC00-\uDFFF]|\X")


class Released(NamedTuple):
    """A piece of the text that may leave; if `rule` is set, the text `start:end` was matched by it.

    `cause` tells a match from text that could not be decided within the bounds of a pattern, and for which `rule` is a copy
    whose action is what the rule's `fail` says.
    """

    text: str
    start: int
    end: int
    rule: Rule | None = None
    cause: Cause = "match"


class Hold:
    """One text under rules. Matches that overlap are decided as one, so that no character of any match is ever released
    beside a replacement; the strictest action of them counts, and of equals the first.

    A match that lies within one of a rule that allows is none. After a rule that replaces, blocks or stops, nothing more of
    the text is released. With `characters`, what is drawn as one character (UAX #29: a letter with its marks, an emoji of
    several) leaves in one piece, and so waits for the next.
    """

    def __init__(self, rules: tuple[Rule, ...], *, characters: bool = False) -> None:
        self._rules = rules
        found = plans(rules)
        self._matchers: list[Matcher] = [make() for allows, make in found if not allows]
        self._exceptions: list[Matcher] = [make() for allows, make in found if allows]
        self._characters = characters
        self._text = ""  # not yet released
        self._offset = 0  # where it begins in the whole
        self._sent = 0  # up to where the whole was released
        self._spans: list[Span] = []
        self._allowed: list[tuple[int, int]] = []
        self._ended = False

    @property
    def held(self) -> int:
        """Characters that wait."""
        return len(self._text)

    @property
    def ended(self) -> bool:
        """Whether a rule has ended the text, so that nothing more of it is released."""
        return self._ended

    def feed(self, text: str, *, final: bool = False) -> list[Released]:
        """Take more text, and give what is decided now, in order."""
        if self._ended:
            return []
        self._text += text
        decided = length = self._offset + len(self._text)
        for matcher in self._matchers:
            spans, undecided = matcher.feed(text, final=final)
            self._spans += spans
            decided = min(decided, undecided)
        allowing = length
        for matcher in self._exceptions:
            spans, undecided = matcher.feed(text, final=final)
            self._allowed += [(span.start, span.end) for span in spans if span.cause == "match"]
            allowing = min(allowing, undecided)
        released: list[Released] = []
        if self._spans:
            decided = self._decide(decided, allowing, released)
        if not self._ended:
            self._release(decided if final or not self._characters else self._whole_characters(decided), released)
        self._text = "" if self._ended else self._text[self._sent - self._offset :]
        self._offset = self._sent
        if self._allowed:
            self._allowed = [span for span in self._allowed if span[1] > self._sent]
        return released

    def _decide(self, decided: int, allowing: int, released: list[Released]) -> int:
        spans = sorted(self._not_allowed(), key=lambda span: span[:3])
        self._spans = []
        for group in _overlapping(spans):
            start, end = group[0].start, max(span.end for span in group)
            if end > decided or any(span.start >= allowing for span in group):
                # Something that overlaps it may still come, or something that allows it.
                self._spans += group
                decided = min(decided, start)
            elif not self._ended:
                self._release(start, released)
                self._conclude(group, start, end, released)
        return decided

    def _not_allowed(self) -> list[Span]:
        if not self._allowed:
            return self._spans
        self._allowed.sort()
        starts = [start for start, _ in self._allowed]
        reach = [0, *accumulate((end for _, end in self._allowed), max)]  # how far those that begin by then go
        return [span for span in self._spans if span.end > reach[bisect_right(starts, span.start)]]

    def _conclude(self, group: list[Span], start: int, end: int, released: list[Released]) -> None:
        span = max(group, key=lambda span: _STRENGTH[_verdict(span).action])
        rule = _verdict(span)
        matched = self._text[start - self._offset : end - self._offset]
        shown = {"annotate": matched, "redact": rule.replacement, "replace": rule.replacement}.get(rule.action, "")
        released.append(Released(shown, start, end, rule, span.cause))
        self._sent = end
        self._ended = rule.action in _ENDS

    def _release(self, until: int, released: list[Released]) -> None:
        if until > self._sent:
            released.append(Released(self._text[self._sent - self._offset : until - self._offset], self._sent, until))
            self._sent = until

    def _whole_characters(self, until: int) -> int:
        # What is released ends where a character does, and the last character may go on.
        end = self._sent - self._offset
        for match in _character.finditer(self._text, end):
            may_go_on = match.end() == len(self._text) and len(match[0]) < _LONGEST_CHARACTER
            if may_go_on or match.end() + self._offset > until:
                break
            end = int(match.end())
        return end + self._offset

    def state(self) -> Any:
        """What it holds and has seen, in what JSON has."""
        return {
            "rules": _fingerprint(self._rules),
            "text": self._text,
            "offset": self._offset,
            "sent": self._sent,
            "spans": [[span.start, span.end, span.order, span.cause] for span in self._spans],
            "allowed": [list(span) for span in self._allowed],
            "ended": self._ended,
            "matchers": [matcher.state() for matcher in (*self._matchers, *self._exceptions)],
        }

    def restore(self, state: Any) -> None:
        """Go on from `state`. That of other rules raises `PipelineError`."""
        if state["rules"] != _fingerprint(self._rules):
            raise PipelineError("expected the state of a text under the same rules, found that of others")
        self._text, self._offset, self._sent = state["text"], state["offset"], state["sent"]
        self._spans = [
            Span(start, end, order, self._rules[order], cause) for start, end, order, cause in state["spans"]
        ]
        self._allowed = [(start, end) for start, end in state["allowed"]]
        self._ended = state["ended"]
        for matcher, seen in zip((*self._matchers, *self._exceptions), state["matchers"], strict=True):
            matcher.restore(seen)


@lru_cache(maxsize=128)
def _fingerprint(rules: tuple[Rule, ...]) -> int:
    named = [
        msgspec.structs.replace(rule, check=getattr(rule.check, "__qualname__", "check"))
        if callable(rule.check)
        else rule
        for rule in rules
    ]
    return zlib.crc32(msgspec.json.encode(named))


def _verdict(span: Span) -> Rule:
    if span.cause != "timeout":
        return span.rule
    return msgspec.structs.replace(span.rule, action="block" if span.rule.fail == "closed" else "annotate")


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
