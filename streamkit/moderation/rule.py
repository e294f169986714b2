"""One rule: what must not be released, and what is done about it; and what is decided about one place of a text."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, cast, get_args

from streamkit.core.options import NamedOptions
from streamkit.core.wrong_input import kind_of, shown
from streamkit.errors import PipelineError
from streamkit.events import Channel, Event, VerdictSource
from streamkit.moderation import detectors
from streamkit.moderation.match.expressions import compiled

Action: TypeAlias = Literal["allow", "annotate", "redact", "replace", "block", "stop"]
Normalization: TypeAlias = Literal["case", "nfkc", "accents", "look_alikes", "leet", "zero_width"]
_CHANNELS = tuple(channel for channel in get_args(Channel) if channel != "prompt")
_MOST = 1_000_000_000
Check: TypeAlias = Callable[[str], Iterable[tuple[int, int]]]


@dataclass(frozen=True)
class Rule(NamedOptions):
    """Phrases, regular expressions (of the `regex` package), ready-made `detectors` by name, and a `check` of your own; and
    what happens where one of them matches.

    The actions, from the mildest: `allow` is an exception, since what lies within its match is not matched by other rules;
    `annotate` releases the text and reports it; `redact` releases `replacement` instead; `replace` releases `replacement` and
    nothing more of that text; `block` nothing more of that choice; `stop` nothing more of the stream.

    Phrases match anywhere, inside words too unless `whole_words`. `ignore_case` compares characters by their lower case, and
    `normalize` names what else makes no difference: `docs/reference/rules.md` has the list.

    A `check` is called with text and returns the places of its matches there, as (start, end). With `window`, it is called
    with that many characters before and after those it decides on, and its matches are no longer than that; without, once
    with the whole text, which is buffered until then. A string names one that an installed package offers
    (`streamkit.moderators`).

    A search of a pattern takes at most `seconds`, and all of a choice together 0.1; text that is not searched in time, or
    that a pattern leaves undecided for `max_match` characters, counts as matched. `fail` says what happens to what was not
    searched in time: `closed` blocks, `open` annotates. The `source` of the verdict distinguishes both from a match.
    """

    category: str
    """The name of the rule in verdicts, logs and metrics."""
    phrases: tuple[str, ...] = ()
    """Texts to find."""
    patterns: tuple[str, ...] = ()
    """Regular expressions to find."""
    action: Action = "redact"
    """The action on a match."""
    replacement: str = "[redacted]"
    ignore_case: bool = True
    whole_words: bool = False
    normalize: tuple[Normalization, ...] = ()
    detectors: tuple[str, ...] = ()
    check: Check | str | None = None
    window: int | None = None
    message: str | None = None
    """The last text of a choice that is blocked."""
    severity: str | None = None
    """Passed on in the verdict; nothing depends on it."""
    channels: tuple[Channel, ...] | None = None
    """The channels that the rule is for; by default all that the stage moderates."""
    max_match: int = 4096
    seconds: float = 0.005
    fail: Literal["closed", "open"] = "closed"

    def __post_init__(self) -> None:
        for name in ("category", "replacement", "message", "severity"):
            self._check_text(name)
        for name in ("phrases", "patterns", "detectors", "normalize", "channels"):
            self._check_strings(name)
        if not (self.phrases or self.patterns or self.detectors or self.check):
            raise self._wrong("phrases, patterns, detectors or a check", "none of them")
        if not all(self.phrases):
            raise self._wrong("phrases of at least one character", "an empty one")
        for pattern in self.patterns:
            self._check_pattern(pattern)
        for detector in self.detectors:
            if detector not in detectors.NAMES:
                raise self._wrong(f"detectors of {', '.join(sorted(detectors.NAMES))}", shown(detector))
        self._check_known("action", (self.action,), get_args(Action))
        self._check_known("normalize", self.normalize, get_args(Normalization))
        self._check_known("channels", self.channels or (), _CHANNELS)
        self._check_known("fail", (self.fail,), ("closed", "open"))
        self._check_others()

    def _check_text(self, name: str) -> None:
        text: object = getattr(self, name)
        if text is None and name in ("message", "severity"):
            return
        if not isinstance(text, str):
            raise self._wrong(f"{name} as a string", kind_of(text))
        # It goes into events, which have a JSON form.
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise self._wrong(f"{name} as text that has a UTF-8 form", "half of a surrogate pair")

    def _check_strings(self, name: str) -> None:
        value: object = getattr(self, name)
        if isinstance(value, str):
            raise self._wrong(f"{name} as a list of strings", "a string")
        if name == "channels" and value is None:
            return
        if not isinstance(value, list | tuple):
            raise self._wrong(f"{name} as a list of strings", kind_of(value))
        strings = tuple(cast("list[object]", value))
        for string in strings:
            if not isinstance(string, str):
                raise self._wrong(f"{name} as a list of strings", f"{kind_of(string)} in it")
        object.__setattr__(self, name, strings)

    def _check_pattern(self, pattern: str) -> None:
        try:
            compiled(pattern, self.ignore_case)
        except PipelineError as error:
            raise PipelineError(f"rule {shown(self.category)}, {error}") from error

    def _check_known(self, name: str, values: tuple[object, ...], known: tuple[str, ...]) -> None:
        for value in values:
            if value not in known:
                raise PipelineError(
                    f"rule {shown(self.category)}: expected {name} of {', '.join(known)}; found {shown(value)}"
                )

    def _check_others(self) -> None:
        for name in ("ignore_case", "whole_words"):
            if not isinstance(flag := getattr(self, name), bool):
                raise self._wrong(f"{name} as true or false", kind_of(flag))
        check: object = self.check
        if check is not None and not isinstance(check, str) and not callable(check):
            raise self._wrong("check as a function or the name of one", kind_of(check))
        for name, whole in (("window", True), ("max_match", True), ("seconds", False)):
            number: object = getattr(self, name)
            if number is None and name == "window":
                continue
            if isinstance(number, bool) or not isinstance(number, int if whole else int | float):
                raise self._wrong(f"{name} as a {'whole ' if whole else ''}number", kind_of(number))
            # Nor is NaN.
            if not 0 < number <= _MOST:
                raise self._wrong(f"a {name} {'of at most 1e9' if number > 0 else 'above 0'}", shown(number))

    def __hash__(self) -> int:
        # Thousands of phrases would be hashed anew whenever a text begins.
        return hash(
            (self.category, self.action, len(self.phrases), self.phrases[:3], self.patterns[:3], self.detectors)
        )

    def _wrong(self, expected: str, found: str) -> PipelineError:
        return PipelineError(f"rule {shown(self.category)}: expected {expected}, found {found}")


class Verdicts(Protocol):
    """The category, action and replacement of a decision: a rule, or the decision of a classifier."""

    @property
    def action(self) -> str: ...
    @property
    def category(self) -> str: ...
    @property
    def replacement(self) -> str: ...
    @property
    def message(self) -> str | None: ...
    @property
    def severity(self) -> str | None: ...


class Ruling(NamedTuple):
    """A decision about the text `start:end`.

    A `match` is what `by` says. What is `removed` overlaps an earlier match and goes with it, without a replacement of its
    own; `extended` follows once, when nothing more can overlap, and says how far beyond the first match text was removed.
    What is `checked` was decided by a classifier, whose `note` is reported.
    """

    start: int
    end: int
    by: Verdicts
    source: VerdictSource = "rules"
    kind: Literal["match", "removed", "extended", "checked"] = "match"
    note: Event | None = None


class Judge(Protocol):
    """Protocol of whatever decides about one text, in the same call or later."""

    @property
    def decided(self) -> int:
        """Text before that may be released, but for what is ruled otherwise."""
        ...

    @property
    def complete(self) -> bool:
        """Whether nothing of what has arrived is undecided."""
        ...

    def feed(self, text: str, *, final: bool = False) -> Sequence[Ruling]:
        """Take more text, and return what is decided now, in order. With `final` no more arrives."""
        ...

    def state(self) -> Any: ...

    def restore(self, state: Any) -> None: ...


class Judges(Protocol):
    """Protocol of whatever decides about the texts of a stream: rules or a classifier."""

    @property
    def undecided(self) -> int:
        """How many decisions are still to arrive."""
        ...

    def moderates(self, channel: Channel) -> bool:
        """Whether a channel is moderated."""
        ...

    def judge(self, index: int, channel: Channel) -> Judge:
        """A judge for a channel of a choice that is moderated."""
        ...

    def withholds(self, *channels: Channel) -> bool:
        """Whether something of one of those channels can be withheld or changed in the call in which it arrives."""
        ...

    def forbids(self, text: str, channel: Channel | None, *, whole: bool = True) -> bool:
        """Whether that text by itself must not be released in a channel, or in any.

        One that is not whole must not be either if it could become such a text. Where only a later decision can say,
        nothing is forbidden.
        """
        ...

    def prepare(self, texts: Iterable[str], channel: Channel) -> Iterator[None]:
        """Decide, slice by slice, what `forbids` is going to be called with."""
        ...

    def forbids_piece(self, text: str, channel: Channel, place: str) -> bool:
        """The same for a text that may continue those that had the same place before."""
        ...

    def end_pieces(self, of: str) -> bool:
        """Whether one of the texts whose place begins so must not be released, now that they are complete."""
        ...

    def discard(self, index: int) -> None:
        """A choice is over: nothing about it needs to be decided any more."""
        ...

    def reset(self) -> None:
        """Another answer follows: nothing about this one needs to be decided any more."""
        ...
