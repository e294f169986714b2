"""Failures in OpenAI's form: an error object, and the HTTP status that goes with it.

https://platform.openai.com/docs/guides/error-codes. The object holds no message of the provider's, which may quote a prompt or
a key, unless that is asked for with `details`; and nothing of this program's.
"""

import re
from typing import NamedTuple, Protocol, runtime_checkable

import msgspec

from streamkit.errors import DeadlineExceeded, ProtocolError, ProviderError, SourceError, StatusError
from streamkit.sse.events import ServerSentEvent

_MESSAGES: dict[str, str] = {
    "truncated": "the provider's stream broke off before it was complete",
    "provider_error": "the provider reported an error",
    "cancelled": "the stream was cancelled before it was complete",
    "timeout": "the provider did not answer in time",
    "limit": "the provider sent more than is allowed",
    "unknown": "the provider ended the response for a reason that is not known",
    "reset": "the response was started again, which a client of this format cannot follow",
}


class Reason(NamedTuple):
    """A provider's own reason for an error: its code, its type, and its message."""

    code: str | int | None = None
    type: str | None = None
    detail: str = ""


@runtime_checkable
class _Explained(Protocol):
    # An error that has the provider's reason.
    @property
    def code(self) -> str | int | None: ...
    @property
    def type(self) -> str | None: ...
    @property
    def detail(self) -> str: ...


class Failure(ServerSentEvent, frozen=True, gc=False):
    """The last event of a stream that failed. Its data is the error object, which is also the body of a whole answer.

    `status` is that answer's; `retry_after` what the provider wishes, in seconds or as a date.
    """

    status: int = 502
    retry_after: str | None = None


INTERNAL = Failure(
    payload=b'{"error":{"message":"the stream failed","type":"server_error","param":null,"code":null}}', status=500
)
"""For what is none of the client's or the provider's doing."""


def failure_at_end(reason: str) -> Failure:
    """For a stream that ended so: a `StreamEnd.reason`."""
    message = _MESSAGES.get(reason, "the stream failed")
    return _failure(message, 504 if reason == "timeout" else 502, code=reason)


def reason_of(error: Exception) -> Reason | None:
    """The provider's own reason, of an error that has one."""
    return Reason(error.code, error.type, error.detail) if isinstance(error, _Explained) else None


def failure_of(error: Exception, *, details: bool = False) -> Failure | None:
    """For an error of the source, the format or the provider; `None` for any other, which is a mistake of this program's.

    `details`: pass the provider's own message, code and type on, where it gave them.
    """
    reason = (reason_of(error) if details else None) or Reason()
    match error:
        case StatusError(status=status, headers=headers):
            refused = 400 <= status < 500
            message = f"the provider refused the request with status {status}" if refused else "the provider failed"
            code = reason.code or ("rate_limit_exceeded" if status == 429 else None)
            status = status if refused else 502
            return _failure(
                reason.detail or message, status, kind=reason.type, code=code, retry_after=_retry_after(headers)
            )
        case ProviderError(code=code, type=kind):
            return _failure(reason.detail or _MESSAGES["provider_error"], _status(code), kind=kind, code=code)
        case DeadlineExceeded():
            return failure_at_end("timeout")
        case SourceError(end_reason=end) | ProtocolError(end_reason=end):
            return failure_at_end(end)
        case _:
            return None


def _failure(
    message: str,
    status: int,
    *,
    kind: str | None = None,
    code: str | int | None = None,
    retry_after: str | None = None,
) -> Failure:
    error = {"message": message, "type": kind or _kind(status), "param": None, "code": code}
    return Failure(payload=msgspec.json.encode({"error": error}), status=status, retry_after=retry_after)


def _kind(status: int) -> str:
    if status >= 500:
        return "server_error"
    return "requests" if status == 429 else "invalid_request_error"


def _status(code: str | int | None) -> int:
    # Some providers give the HTTP status that they would have sent as the error's code, others a word.
    digits = str(code)
    return int(digits) if re.fullmatch("[45][0-9]{2}", digits) else 502


def _retry_after(headers: dict[str, str]) -> str | None:
    found = {name.lower(): value for name, value in headers.items()}.get("retry-after", "")
    # Seconds or a date (RFC 9110, 10.2.3), and no line end that would begin a header of its own.
    return found if re.fullmatch("[0-9A-Za-z ,:.+-]+", found) else None
