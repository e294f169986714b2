"""Classifiers: what decides about a window of text, and what happens when no decision arrives."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, Protocol, TypeAlias, get_args

import anyio
import msgspec

from streamkit.core.options import NamedOptions
from streamkit.core.stray import stray_cancellation_fails
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
from streamkit.moderation.classifiers.chunking import Window

DecisionAction: TypeAlias = Literal["allow", "annotate", "redact", "replace", "block", "stop"]
FailurePolicy: TypeAlias = Literal["open", "closed", "hold"]
Failure: TypeAlias = Literal["timeout", "connect", "status", "refused", "answer", "error"]
_STRENGTH: dict[str, int] = {name: strength for strength, name in enumerate(get_args(DecisionAction))}


class Decision(msgspec.Struct, frozen=True):
    """The decision of a classifier on a window.

    The actions are those of a rule: release it, report it, release `replacement` instead of it, or of it and all that follows
    in its channel, or end the choice or the stream with `message`.
    """

    action: DecisionAction = "allow"
    """The action on the window."""
    category: str = ""
    """Reported in the verdict."""
    scores: dict[str, float] = {}
    """By category, for `Checked`."""
    replacement: str = "[redacted]"
    message: str | None = None
    severity: str | None = None
    """Passed on in the verdict; nothing depends on it."""


class Classifier(Protocol):
    """Any async callable that takes a window. `Failures` says what follows from an error that it raises."""

    async def __call__(self, window: Window, /) -> Decision:
        """Decide. It is cancelled when the stream ends without the decision."""
        ...


def verdict_of(
    scores: Mapping[str, float],
    *,
    thresholds: Mapping[str, float],
    flags: Mapping[str, bool] | None = None,
    actions: DecisionAction | Mapping[str, DecisionAction] = "block",
) -> Decision:
    """The decision about scores: the strictest action of the categories whose score reaches that of `thresholds`.

    A category without a threshold of its own has that of `"*"`; without that, `flags` decide, if there are any. `actions`
    are by category too, `"block"` where none is named. Of equal actions the category with the highest score is reported.
    """
    flags = flags or {}
    reached: list[tuple[int, float, str, DecisionAction]] = []
    for category in {**scores, **flags}:
        score, threshold = scores.get(category, 0.0), thresholds.get(category, thresholds.get("*"))
        if flags.get(category, False) if threshold is None else score >= threshold:
            action = actions if isinstance(actions, str) else actions.get(category, actions.get("*", "block"))
            reached.append((_STRENGTH[action], score, category, action))
    if not reached:
        return Decision(scores=dict(scores))
    _, _, category, action = max(reached)
    return Decision(action, category, dict(scores))


@dataclass(frozen=True)
class Failures(NamedOptions):
    """The action for a window without a decision, by the kind of failure.

    `open` releases it, `closed` blocks its choice, `hold` keeps it buffered and calls again, up to `attempts` in all with a
    `pause` of seconds that doubles, and then blocks. Each is recorded by `Checked`; such a window is never `passed`.

    `timeout`: a deadline passed. `connect`: no connection, or a broken one. `status`: one that may be temporary, such as 429
    or 503. `refused`: any other status, such as 401. `answer`: an answer that is no decision. `error`: any other error.
    """

    timeout: FailurePolicy = "closed"
    connect: FailurePolicy = "closed"
    status: FailurePolicy = "closed"
    refused: FailurePolicy = "closed"
    answer: FailurePolicy = "closed"
    error: FailurePolicy = "closed"
    attempts: int = 3
    pause: float = 0.5

    def __post_init__(self) -> None:
        for kind in get_args(Failure):
            if (policy := getattr(self, kind)) not in get_args(FailurePolicy):
                raise PipelineError(f"failures: expected {kind} to be open, closed or hold; found {policy!r}")
        if self.attempts < 1:
            raise PipelineError(f"failures: expected attempts of 1 or more, found {self.attempts}")

    def policy(self, failure: Failure) -> FailurePolicy:
        """Return the action for a failure of this kind."""
        found: FailurePolicy = getattr(self, failure)
        return found


def as_failures(failures: "Failures | FailurePolicy") -> Failures:
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
    """The outcome of a check: the decision, or the failure and what is decided instead."""

    decision: Decision
    failure: Failure | None = None
    calls: int = 1
    seconds: float = 0.0


UNCHECKED = "unchecked"
"""The category of what is blocked because no decision arrived."""


async def check(window: Window, classifier: Classifier, failures: Failures, deadline: float | None) -> Outcome:
    """Call the classifier, for at most `deadline` seconds each time. Raises nothing but a cancellation."""
    began, calls = time.perf_counter(), 0
    while True:
        calls += 1
        try:
            with stray_cancellation_fails, anyio.fail_after(deadline):
                decision = _checked(await classifier(window))
        except Exception as error:
            failure = failure_of(error)
            policy = failures.policy(failure)
            if policy == "hold" and calls < failures.attempts:
                await anyio.sleep(failures.pause * 2 ** (calls - 1))
                continue
            decision = Decision() if policy == "open" else Decision("block", UNCHECKED)
            return Outcome(decision, failure, calls, time.perf_counter() - began)
        return Outcome(decision, None, calls, time.perf_counter() - began)


def _checked(decision: object) -> Decision:
    # A classifier is anyone's code; `None` from a forgotten `return` must not pass for a decision.
    if not isinstance(decision, Decision):
        raise ProtocolError(f"expected a Decision of a classifier, found an object of type {type(decision).__name__}")
    if decision.action not in _STRENGTH:
        raise ProtocolError(f"expected a decision to {', '.join(_STRENGTH)}; found {decision.action!r}")
    return decision
