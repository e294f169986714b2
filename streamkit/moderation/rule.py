"""One rule: what must not leave, and what is done about it."""

from collections.abc import Callable, Iterable
from typing import Literal, TypeAlias, cast

import msgspec

from streamkit.errors import PipelineError
from streamkit.events import Channel
from streamkit.moderation import detectors

Action: TypeAlias = Literal["allow", "annotate", "redact", "replace", "block", "stop"]
Normalisation: TypeAlias = Literal["case", "nfkc", "accents", "look_alikes", "leet", "zero_width"]
Check: TypeAlias = Callable[[str], Iterable[tuple[int, int]]]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What belongs together, and what happens where it matches: phrases, regular expressions (of the `regex` package),
    ready-made `detectors` by name, and a `check` of your own.

    The actions, from the mildest: `allow` is an exception, for what it matches is not matched by other rules whose match lies
    within it; `annotate` lets the text through and says so; `redact` releases `replacement` instead; `replace` releases
    `replacement` and nothing more of that text; `block` nothing more of that choice; `stop` nothing more of the stream.

    Phrases match anywhere, inside words too unless `whole_words`. `ignore_case` compares characters by their lower case, and
    `normalise` names what else makes no difference: `docs/reference/rules.md` has the list.

    A `check` is called with text and gives the places of its matches there, as (start, end). With `window`, it is called with
    that many characters before and after those it decides on, and its matches are no longer than that; without, once with
    the whole text, which waits until then. A string names one that an installed package offers (`streamkit.moderators`).

    A pattern is searched for `seconds`, and a microsecond more for each character; text that it can't decide in that time,
    or for `max_match` characters, counts as matched. `fail` says what happens to what was not searched in time: `closed`
    blocks, `open` annotates. Both are verdicts, and their `cause` tells them from a match.
    """

    category: str
    phrases: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    action: Action = "redact"
    replacement: str = "[redacted]"
    ignore_case: bool = True
    whole_words: bool = False
    normalise: tuple[Normalisation, ...] = ()
    detectors: tuple[str, ...] = ()
    check: Check | str | None = None
    window: int | None = None
    message: str | None = None
    severity: str | None = None
    channels: tuple[Channel, ...] | None = None
    max_match: int = 4096
    seconds: float = 0.25
    fail: Literal["closed", "open"] = "closed"

    def __post_init__(self) -> None:
        for name in ("phrases", "patterns", "detectors", "normalise", "channels"):
            value: object = getattr(self, name)
            if isinstance(value, str):
                raise self._wrong(f"{name} as a list of strings", "a string")
            if isinstance(value, list):
                msgspec.structs.force_setattr(self, name, tuple(cast("list[str]", value)))
        if not (self.phrases or self.patterns or self.detectors or self.check):
            raise self._wrong("phrases, patterns, detectors or a check", "none of them")
        for phrase in self.phrases:
            if not phrase:
                raise self._wrong("phrases of at least one character", "an empty one")
        for detector in self.detectors:
            if detector not in detectors.NAMES:
                raise self._wrong(f"detectors of {', '.join(sorted(detectors.NAMES))}", repr(detector))
        _known(self, "action", (self.action,), Action)
        _known(self, "normalise", self.normalise, Normalisation)
        _known(self, "channels", self.channels or (), Channel)
        _known(self, "fail", (self.fail,), Literal["closed", "open"])
        for name, number in (("window", self.window), ("max_match", self.max_match), ("seconds", self.seconds)):
            if number is not None and number <= 0:
                raise self._wrong(f"a {name} above 0", repr(number))

    def __hash__(self) -> int:
        # Thousands of phrases would be hashed anew whenever a text begins.
        return hash(
            (self.category, self.action, len(self.phrases), self.phrases[:3], self.patterns[:3], self.detectors)
        )

    def _wrong(self, expected: str, found: str) -> PipelineError:
        return PipelineError(f"rule {self.category!r}: expected {expected}, found {found}")


def _known(rule: Rule, name: str, values: tuple[str, ...], names: object) -> None:
    known: tuple[str, ...] = getattr(names, "__args__", ())
    for value in values:
        if value not in known:
            raise PipelineError(f"rule {rule.category!r}: expected {name} of {', '.join(known)}; found {value!r}")
