"""The error that clients receive for a failed stream, independent of the format: a message, a code and an HTTP status.

It never includes internals of this program. It includes the provider's message, which may quote a prompt or a key, only if
requested with `details`. Each emitter writes it in its own format.
"""

import re
from typing import NamedTuple, Protocol, Self, runtime_checkable

import msgspec

from streamkit.errors import (
    DeadlineExceeded,
    LogLost,
    LogUnreachable,
    ProtocolError,
    ProviderError,
    SourceError,
    StatusError,
)
from streamkit.sse.events import ServerSentEvent

_MESSAGES: dict[str, str] = {
    "truncated": "the provider's stream ended before it was complete",
    "provider_error": "the provider reported an error",
    "cancelled": "the stream was cancelled before it was complete",
    "timeout": "the provider did not answer in time",
    "limit": "the provider sent more than is allowed",
    "unknown": "the provider ended the response for an unknown reason",
    "reset": "the response was restarted, which clients of this format can't handle",
    "invalid_event_id": "expected the id of a frame of this stream as Last-Event-ID; reconnect without one",
}


class Reason(NamedTuple):
    """A provider's own reason for an error: its code, its type, and its message."""

    code: str | int | None = None
    type: str | None = None
    detail: str = ""


@runtime_checkable
class _FailureMessage(Protocol):
    # An exception with the provider's reason.
    @property
    def code(self) -> str | int | None: ...
    @property
    def type(self) -> str | None: ...
    @property
    def detail(self) -> str: ...


class Failure(msgspec.Struct, frozen=True, gc=False):
    """Why a stream failed. `message` is what the client receives; it quotes the provider only with `error_details`.

    `status` is the HTTP status for a response that had not begun; below 400 the response is an event stream with the error
    event, after which clients such as an `EventSource` reconnect. `code` is the `StreamEnd.reason` or the provider's code,
    `type` the provider's kind of error, and `retry_after` the provider's `Retry-After`, in seconds or as a date.
    """

    message: str
    code: str | int | None = None
    type: str | None = None
    status: int = 502
    retry_after: str | None = None


class ErrorFrame(ServerSentEvent, frozen=True, gc=False):
    """The event that reports a failure in a stream. Its data is also the body of a response with the error `failure.status`."""

    failure: Failure = Failure("the stream failed")

    @classmethod
    def with_json(cls, failure: Failure, data: object, event: str = "message") -> Self:
        """Return a frame with the data as JSON."""
        return cls(event, msgspec.json.encode(data), failure=failure)


INTERNAL = Failure("the stream failed", status=500)
"""For failures caused neither by the client nor by the provider."""


def failure_at_end(reason: str) -> Failure:
    """Return the failure for a `StreamEnd.reason`."""
    message = _MESSAGES.get(reason, "the stream failed")
    return Failure(message, reason, status=504 if reason == "timeout" else 502)


def reason_of(error: Exception) -> Reason | None:
    """Return the provider's own reason; `None` if the error has none."""
    return Reason(error.code, error.type, error.detail) if isinstance(error, _FailureMessage) else None


def failure_of(error: Exception, *, details: bool = False) -> Failure | None:
    """Return the failure for an error of the source, the format or the provider; `None` for any other, a bug in this program.

    `details`: include the provider's own message, code and type if it sent them.
    """
    reason = (reason_of(error) if details else None) or Reason()
    match error:
        case StatusError(status=status, headers=headers):
            refused = 400 <= status < 500
            message = f"the provider refused the request with status {status}" if refused else "the provider failed"
            code = reason.code or ("rate_limit_exceeded" if status == 429 else None)
            status = status if refused else 502
            return Failure(reason.detail or message, code, reason.type, status, _retry_after(headers))
        case ProviderError(code=code, type=kind):
            return Failure(reason.detail or _MESSAGES["provider_error"], code, kind, _status(code))
        case LogLost(cause=cause):
            return Failure(
                "the stream is unknown or was lost", "stream_lost", status=404 if cause == "unknown" else 410
            )
        case LogUnreachable():
            return Failure("the stream store does not respond", "unavailable", status=503)
        case DeadlineExceeded():
            return failure_at_end("timeout")
        case SourceError(end_reason=end) | ProtocolError(end_reason=end):
            return failure_at_end(end)
        case _:
            return None


def _status(code: str | int | None) -> int:
    # Some providers put an HTTP status into the error's code, others a word.
    digits = str(code)
    return int(digits) if re.fullmatch("[45][0-9]{2}", digits) else 502


def _retry_after(headers: dict[str, str]) -> str | None:
    found = {name.lower(): value for name, value in headers.items()}.get("retry-after", "")
    # Seconds or a date (RFC 9110, 10.2.3). A line break is rejected: it could inject another header.
    return found if re.fullmatch("[0-9A-Za-z ,:.+-]+", found) else None
