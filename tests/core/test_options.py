"""The error for an unknown option lists the known ones, for built-in and user-defined stages and rules."""

import copy
import pickle
from dataclasses import dataclass, field
from typing import Any

import pytest

import streamkit as sk
from streamkit import hops, ops
from streamkit.sources.faults import Cut
from streamkit.sources.retry import Retry


@dataclass
class Shorten(sk.Stage[sk.Event, sk.Event]):
    chars: int
    seen: int = field(default=0, init=False)


@dataclass(init=False)
class Own(sk.Stage[sk.Event, sk.Event]):
    chars: int

    def __init__(self, *, words: int) -> None:
        self.chars = 5 * words


@dataclass(init=False)
class Anything(sk.Stage[sk.Event, sk.Event]):
    def __init__(self, **options: Any) -> None:
        self.options = options


@pytest.mark.parametrize(
    ("make", "options", "problem"),
    [
        (
            sk.Rule,
            {"match": len},
            "Rule has no option 'match' (did you mean max_match?); it has category, phrases, patterns, action, replacement, "
            "ignore_case, whole_words, normalize, detectors, check, window, message, severity, channels, max_match, seconds, "
            "fail",
        ),
        (
            sk.moderation.ProviderRule,
            {"level": 1},
            "ProviderRule has no option 'level'; it has category, action, severity, ",
        ),
        (sk.Parse, {"stric": True}, "Parse has no option 'stric' (did you mean strict?); it has "),
        (sk.Accumulate, {"x": 1}, "Accumulate has no option 'x'; it has "),
        (ops.Take, {"cuont": 1}, "Take has no option 'cuont' (did you mean count?); it has count"),
        (hops.Prefetch, {"siez": 1}, "Prefetch has no option 'siez'"),
        (
            sk.http.Deadlines,
            {"first_contents": 1},
            "Deadlines has no option 'first_contents' (did you mean first_content?); it has connect, first_byte, first_content, "
            "idle_bytes, idle_content, total",
        ),
        (
            Retry,
            {"max_attempts": 5},
            "Retry has no option 'max_attempts' (did you mean attempts?); it has attempts, budget, ",
        ),
        (sk.moderation.Windows, {"by_sentence": 1}, "Windows has no option 'by_sentence'"),
        (sk.moderation.Failures, {"deadline": "open"}, "Failures has no option 'deadline'"),
        (Cut, {"at": 1}, "Cut has no option 'at'; it has "),
        (hops.MemoryStore, {"size": 1}, "MemoryStore has no option 'size'; it has max_bytes"),
        (
            hops.FolderStore,
            {"folder": "x", "max_size": 1},
            "FolderStore has no option 'max_size'; it has folder, max_bytes",
        ),
        (Shorten, {"seen": 1}, "Shorten has no option 'seen'; it has chars"),
        (Own, {"chars": 1}, "Own has no option 'chars'; it has words"),
    ],
)
def test_an_unknown_option_is_an_error_that_lists_the_known_ones(
    make: Any, options: dict[str, object], problem: str
) -> None:
    with pytest.raises(TypeError) as caught:
        make(**options)
    assert str(caught.value).startswith(problem)


def zero() -> float:
    return 0.0


def test_an_init_of_ones_own_takes_what_it_says() -> None:
    assert Own(words=2).chars == 10
    assert Anything(x=1).options == {"x": 1}


def test_what_has_options_is_copied_and_pickled_as_before() -> None:
    rule = sk.Rule("x", phrases=("y",))
    for made in (rule, ops.Take(3), Shorten(7), sk.http.Deadlines(total=3), Retry(attempts=5, random=zero), Cut(3)):
        assert pickle.loads(pickle.dumps(made)) == copy.copy(made) == made
