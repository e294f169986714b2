"""Retry policy: which errors are retried, and the wait before the next attempt.

No retry library fits here. They wrap one call, but an attempt lasts until the first item is released, long after the call that
opened the connection has returned.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

from streamkit.core.options import NamedOptions
from streamkit.errors import ConnectFailed, DeadlineExceeded, Disconnected, ProviderError, StatusError


@dataclass(frozen=True)
class Retry(NamedOptions):
    """Retry until the first item is released: up to `attempts` in total, waiting at most `budget` seconds in total.

    The wait doubles from `first` to at most `longest` seconds. A random half of it is jitter, so that clients that failed at the
    same time do not retry at the same time. A server's `Retry-After` replaces the wait, if the budget allows it.
    """

    attempts: int = 3
    budget: float = 30.0
    first: float = 0.5
    longest: float = 8.0
    random: Callable[[], float] = field(default=random.random, repr=False)
    """Returns a number from 0 to 1; for tests."""

    def wait(self, failed: int, error: Exception) -> float | None:
        """Return the seconds to wait after attempt number `failed` raised `error`; `None` to stop."""
        if failed >= self.attempts or not retryable(error):
            return None
        after = retry_after(error) if isinstance(error, StatusError) else None
        if after is not None:
            return after
        return float(min(self.longest, self.first * 2 ** (failed - 1)) * (0.5 + self.random() / 2))


def retryable(error: Exception) -> bool:
    """Whether a retry may succeed: after connection errors, deadlines except `total`, and some statuses and provider errors."""
    match error:
        case StatusError() | ProviderError():
            return error.retryable
        case DeadlineExceeded(deadline=deadline):
            return deadline != "total"
        case _:
            return isinstance(error, ConnectFailed | Disconnected)


def retry_after(error: StatusError) -> float | None:
    """Return the wait in seconds that the server requests; `None` without a valid request."""
    # RFC 9110, 10.2.3: seconds or a date; the official SDKs also read milliseconds from `retry-after-ms`.
    headers = {name.lower(): value for name, value in error.headers.items()}
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            return max(0.0, float(milliseconds) / 1000)
        if (seconds := headers.get("retry-after")) is None:
            return None
        if seconds.replace(".", "", 1).isdigit():
            return float(seconds)
        at, now = parsedate_to_datetime(seconds), parsedate_to_datetime(headers["date"])
        return max(0.0, (at - now).total_seconds())
    # An invalid header is ignored, and so is a date without the server's own `Date`: the clocks may differ.
    except (ValueError, TypeError, KeyError, OverflowError):
        return None
