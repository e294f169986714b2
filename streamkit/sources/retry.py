"""When to try again, and how long to wait before.

No retry library fits here: they wrap one call, and this attempt is only over when the first item was released, far behind the
call that opened the connection.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

from streamkit.errors import ConnectFailed, DeadlineExceeded, Disconnected, ProviderError, StatusError


@dataclass(frozen=True)
class Retry:
    """Up to `attempts` in all, within `budget` seconds of waiting, only while nothing of the answer was released.

    The waits double from `first` to at most `longest` seconds, each between half and all of that by chance, so that clients
    that failed together do not come back together. A server's `Retry-After` is waited for instead, if the budget allows it.
    """

    attempts: int = 3
    budget: float = 30.0
    first: float = 0.5
    longest: float = 8.0
    random: Callable[[], float] = field(default=random.random, repr=False)
    """Returns a number from 0 to 1; for tests."""

    def wait(self, failed: int, error: Exception) -> float | None:
        """Seconds to wait after the `failed`th attempt failed with `error`; `None` if it is not worth another."""
        if failed >= self.attempts or not retryable(error):
            return None
        after = retry_after(error) if isinstance(error, StatusError) else None
        if after is not None:
            return after
        return float(min(self.longest, self.first * 2 ** (failed - 1)) * (0.5 + self.random() / 2))


def retryable(error: Exception) -> bool:
    """Whether the same request may succeed later: no connection, a broken one, some statuses, some provider errors."""
    match error:
        case StatusError() | ProviderError():
            return error.retryable
        case DeadlineExceeded(deadline=deadline):
            return deadline != "total"
        case _:
            return isinstance(error, ConnectFailed | Disconnected)


def retry_after(error: StatusError) -> float | None:
    """The seconds that a server asks to wait, if it does so readably."""
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
    # A header that says nothing readable says nothing; a date without the server's own `Date` can't be trusted.
    except (ValueError, TypeError, KeyError, OverflowError):
        return None
