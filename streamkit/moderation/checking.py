"""Classifiers: what judges a window, what it may say, and what happens when it says nothing."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, Protocol, TypeAlias, get_args

import anyio
import msgspec

from streamkit.errors import (
    ConnectFailed,
    ContentTypeError,
    DeadlineExceeded,
    Disconnected,
    PipelineError,
    ProtocolError,
    ProviderError,
    StatusError,
)
from streamkit.moderation.windows import Window

Decision: TypeAlias = Literal["allow", "annotate", "redact", "block"]
Policy: TypeAlias = Literal["open", "closed", "hold"]
Failure: TypeAlias = Literal["timeout", "connect", "status", "refused", "answer", "error"]
_STRENGTH: dict[str, int] = {"allow": 0, "annotate": 1, "redact": 2, "block": 3}


class Judgement(msgspec.Struct, frozen=True):
    """What a classifier says of a window: let it through, say so, release `replacement` instead, or end the choice."""

    action: Decision = "allow"
    category: str = ""
    scores: dict[str, float] = {}
    replacement: str = "[redacted]"


class Classifier(Protocol):
    """Anything that can be awaited with a window. What it raises is answered as `Failures` says."""

    async def __call__(self, window: Window, /) -> Judgement:
        """The verdict. It may be cancelled, when the stream ends without it."""
        ...


def verdict_of(
    scores: Mapping[str, float],
    *,
    thresholds: Mapping[str, float],
    flags: Mapping[str, bool] | None = None,
    actions: Decision | Mapping[str, Decision] = "block",
) -> Judgement:
    """The verdict on scores: the strictest action of the categories whose score reaches their threshold.

    A category without a threshold of its own has that of `"*"`; without that, `flags` decide, if there are any. `actions`
    are by category too, `"block"` where none is named. Of equal actions the category with the highest score is reported.
    """
    flags = flags or {}
    reached: list[tuple[int, float, str, Decision]] = []
    for category in {**scores, **flags}:
        score, threshold = scores.get(category, 0.0), thresholds.get(category, thresholds.get("*"))
        if flags.get(category, False) if threshold is None else score >= threshold:
            action = actions if isinstance(actions, str) else actions.get(category, actions.get("*", "block"))
            reached.append((_STRENGTH[action], score, category, action))
    if not reached:
        return Judgement(scores=dict(scores))
    _, _, category, action = max(reached)
    return Judgement(action, category, dict(scores))


@dataclass(frozen=True)
class Failures:
    """What happens to a window that could not be judged, by the kind of the failure.

    `open` releases it, `closed` blocks its choice, `hold` keeps it and asks again, up to `attempts` in all with a `pause` of
    seconds that doubles, and then blocks. Each is recorded by `Checked`; a window that nobody judged is never `passed`.

    `timeout`: a deadline passed. `connect`: no connection, or a broken one. `status`: a status that may pass, such as 429 or
    503. `refused`: any other, such as 401. `answer`: an answer that is no verdict. `error`: anything else that was raised.
    """

    timeout: Policy = "closed"
    connect: Policy = "closed"
    status: Policy = "closed"
    refused: Policy = "closed"
    answer: Policy = "closed"
    error: Policy = "closed"
    attempts: int = 3
    pause: float = 0.5

    def __post_init__(self) -> None:
        for kind in get_args(Failure):
            if (policy := getattr(self, kind)) not in get_args(Policy):
                raise PipelineError(f"failures: expected {kind} to be open, closed or hold; found {policy!r}")
        if self.attempts < 1:
            raise PipelineError(f"failures: expected attempts of 1 or more, found {self.attempts}")

    def policy(self, failure: Failure) -> Policy:
        """What happens after a failure of this kind."""
        found: Policy = getattr(self, failure)
        return found


def as_failures(failures: "Failures | Policy") -> Failures:
    """One policy for all kinds of failure, or `Failures` as they are."""
    if isinstance(failures, Failures):
        return failures
    kinds = [field.name for field in fields(Failures) if field.name in get_args(Failure)]
    return Failures(**dict.fromkeys(kinds, failures))  # type: ignore[arg-type] # mypy can't see which fields these are


def failure_of(error: Exception) -> Failure:
    """The kind of failure that an error of a classifier is."""
    match error:
        case DeadlineExceeded() | TimeoutError():
            return "timeout"
        case ConnectFailed() | Disconnected():
            return "connect"
        case StatusError():
            return "status" if error.retryable else "refused"
        case ContentTypeError() | ProtocolError() | ProviderError():
            return "answer"
        case _:
            return "error"


class Outcome(msgspec.Struct, frozen=True):
    """What became of a check: a verdict, or the failure and what was decided instead."""

    verdict: Judgement
    failure: Failure | None = None
    calls: int = 1
    seconds: float = 0.0


UNCHECKED = "unchecked"
"""The category of what is blocked because it could not be judged."""


async def check(window: Window, classifier: Classifier, failures: Failures, deadline: float | None) -> Outcome:
    """Ask for a verdict, no longer than `deadline` seconds each time. Raises nothing but a cancellation."""
    began, calls = time.perf_counter(), 0
    while True:
        calls += 1
        try:
            with anyio.fail_after(deadline):
                verdict = _checked(await classifier(window))
        except Exception as error:
            failure = failure_of(error)
            policy = failures.policy(failure)
            if policy == "hold" and calls < failures.attempts:
                await anyio.sleep(failures.pause * 2 ** (calls - 1))
                continue
            verdict = Judgement() if policy == "open" else Judgement("block", UNCHECKED)
            return Outcome(verdict, failure, calls, time.perf_counter() - began)
        return Outcome(verdict, None, calls, time.perf_counter() - began)


def _checked(verdict: object) -> Judgement:
    # A classifier is anyone's code; `None` from a forgotten `return` must not pass for a verdict.
    if not isinstance(verdict, Judgement):
        raise ProtocolError(f"expected a verdict of a classifier, found an object of type {type(verdict).__name__}")
    if verdict.action not in _STRENGTH:
        raise ProtocolError(f"expected a verdict to allow, annotate, redact or block; found {verdict.action!r}")
    return verdict
