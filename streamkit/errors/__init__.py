"""All errors of streamkit, as one tree.

    StreamkitError
    ├── SourceError            the bytes did not come, or stopped coming
    │   ├── ConnectFailed      no connection was made
    │   ├── StatusError        an HTTP status that is not a success
    │   │   └── RedirectError  a redirect that is not followed, since it would lose or disclose something
    │   ├── ContentTypeError   an answer that is no stream of events
    │   ├── Disconnected       the connection broke after it was made
    │   ├── DeadlineExceeded   one of the deadlines passed; it names itself
    │   ├── StreamInterrupted  a read was cancelled from outside; the run can't continue
    │   ├── LogLost            the log of a stream is unknown, or was lost, trimmed or replaced
    │   ├── LogUnreachable     the store of logs does not answer
    │   └── RecordingError     a file could not be read, or a recording not be written
    ├── ProtocolError          bytes came that the format does not allow
    │   ├── LimitExceeded      a line, event, message or exchange is larger than the limit
    │   └── UnknownDialect     a stream that no dialect recognizes
    ├── ProviderError          the provider reported an error of its own
    ├── LeaseLost              another process publishes the stream now
    ├── StreamExists           a stream is published under that key already
    ├── OutputError            the answer is not the structured output that was asked for
    ├── PipelineError          this program's mistake: stages in the wrong order, a second consumer
    │   └── QueueOverflow      a consumer that fell further behind than it was allowed to
    └── PluginError            a plugin that can't be loaded or breaks its contract

An exception that a stage raises passes through as it is, with a note that names the stage. A moderation verdict is an event,
not an exception. No message holds a key, a prompt or text of the answer; what was found is described by its place and kind.
The provider's own reason is in `code`, `type`, `detail` and `body` of each error that has one.
"""

from typing import ClassVar, Literal, TypeAlias

from streamkit.errors.bodies import code_of, detail_of, reason_of, word_of

LogProblem: TypeAlias = Literal["unknown", "lost", "trimmed", "replaced"]
OutputProblem: TypeAlias = Literal["truncated", "missing", "malformed", "invalid", "limit"]


class StreamkitError(Exception):
    """The root of the tree. `end_reason` is the `StreamEnd.reason` of a stream that fails so."""

    end_reason: ClassVar[str] = "error"


class SourceError(StreamkitError):
    """The bytes did not come, or stopped coming."""

    end_reason = "truncated"


class ConnectFailed(SourceError):
    """No connection was made: name, network, TLS or a refusal."""

    end_reason = "error"


class _Explained:
    # For errors whose body holds the provider's own reason.
    body: bytes

    @property
    def code(self) -> str | int | None:
        """The provider's code for the error, from the body; `None` if it has none."""
        return reason_of(self.body).code

    @property
    def type(self) -> str | None:
        """The provider's word for the kind of error, from the body; `None` if it has none."""
        return reason_of(self.body).type

    @property
    def detail(self) -> str:
        """The provider's own words, from the body: at most 2,000 characters, which may quote the prompt or the key."""
        return reason_of(self.body).detail


class StatusError(SourceError, _Explained):
    """An HTTP status that is not a success, and its number, `status`. `body` holds the head of the response's body, `headers`
    its headers, by their names in lower case; `code`, `type` and `detail` are the provider's reason, read from the body."""

    end_reason = "error"

    def __init__(
        self, message: str, *, status: int = 0, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = body
        self.headers = headers or {}

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later: 408, 409, 429 and all of 5xx, as the official SDKs have it."""
        return self.status in (408, 409, 429) or self.status >= 500


class RedirectError(StatusError):
    """A redirect that is not followed, with its `status`.

    `location` is its target without query and user part; empty if there is none.
    """

    def __init__(
        self, message: str, *, status: int = 0, location: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message, status=status, headers=headers)
        self.location = location


class ContentTypeError(SourceError, _Explained):
    """The response is of a type (`content_type`) that is no stream of events.

    `body` holds its head, `detail` the text of that.
    """

    end_reason = "error"

    def __init__(self, message: str, *, content_type: str = "", body: bytes = b"") -> None:
        super().__init__(message)
        self.content_type = content_type
        self.body = body


class Disconnected(SourceError):
    """The connection broke after it was made."""


class DeadlineExceeded(SourceError):
    """A deadline passed. `deadline` is its name, `seconds` its length."""

    end_reason = "timeout"

    def __init__(self, message: str, *, deadline: str = "", seconds: float = 0.0) -> None:
        super().__init__(message)
        self.deadline = deadline
        self.seconds = seconds


class StreamInterrupted(SourceError):
    """A read was cancelled from outside, by a timeout in the consumer for example, so that the run can't continue."""

    end_reason = "cancelled"


class LogLost(SourceError):
    """The log of a stream is missing, or events of it are.

    Its `cause` is `unknown`, `lost` by the store, `trimmed`, or `replaced` by something of another program.
    """

    end_reason = "truncated"

    def __init__(self, message: str, *, cause: LogProblem = "unknown") -> None:
        super().__init__(message)
        self.cause: LogProblem = cause


class LogUnreachable(SourceError):
    """The store of logs did not answer. What was appended is unknown; the same call may be repeated."""

    end_reason = "error"


class RecordingError(SourceError):
    """A recording or another file could not be read, or `record` could not write what it was asked to."""

    end_reason = "error"


class ProtocolError(StreamkitError):
    """Bytes came that the format does not allow.

    `line` counts from 1 and `offset` is in bytes, each `None` where it is not known; `excerpt` is the beginning of what
    was found, which may hold text of the answer and is therefore not in the message.
    """

    def __init__(self, message: str, *, line: int | None = None, offset: int | None = None, excerpt: str = "") -> None:
        super().__init__(message)
        self.line = line
        self.offset = offset
        self.excerpt = excerpt


class LimitExceeded(ProtocolError):
    """The input exceeds a size limit, so that memory stays bounded.

    It is a line, an event, a frame, a WebSocket message, an exchange of a batch, structured output, or the answer of a remote
    classifier.
    """

    end_reason = "limit"


class UnknownDialect(ProtocolError):
    """No dialect recognizes the events of the stream.

    `shape` describes the first of them by its name, its fields and their types, without any value; `tried` has the names of
    the dialects that were tried.
    """

    def __init__(self, message: str, *, shape: str = "", tried: tuple[str, ...] = (), excerpt: str = "") -> None:
        super().__init__(message, excerpt=excerpt)
        self.shape = shape
        self.tried = tried


class ProviderError(StreamkitError):
    """The provider reported an error inside the stream, or in place of it.

    `message` is safe to log; the provider's own words, which may quote the prompt, are in `detail`, the whole object in
    `body`. `code` and `type` are at most 100 printable characters, `detail` at most 2,000. `retryable`:
    the same request may succeed later.
    """

    end_reason = "provider_error"

    def __init__(
        self,
        message: str,
        *,
        code: str | int | None = None,
        type: str | None = None,
        retryable: bool = False,
        detail: str = "",
        body: object = None,
    ) -> None:
        super().__init__(message)
        self.code = code_of(code)
        self.type = word_of(type)
        self.retryable = retryable
        self.detail = detail_of(detail)
        self.body = body


class LeaseLost(StreamkitError):
    """Another process publishes the stream now, or the store has appended nothing for the length of the lease."""

    end_reason = "cancelled"


class StreamExists(StreamkitError):
    """A stream is published under that key already; `ended` says whether it is complete."""

    def __init__(self, message: str, *, ended: bool = False) -> None:
        super().__init__(message)
        self.ended = ended


class OutputError(StreamkitError):
    """The answer is not the structured output that was asked for: `problem` is that of the `InvalidOutput`, `path` its place."""

    def __init__(
        self,
        message: str,
        *,
        problem: OutputProblem = "invalid",
        path: str = "$",
    ) -> None:
        super().__init__(message)
        self.problem: OutputProblem = problem
        self.path = path


class PipelineError(StreamkitError):
    """This program's mistake. The message says what was found and how to put it right."""


class QueueOverflow(PipelineError):
    """A consumer fell further behind than its queue allows, and had asked for an error then."""


class PluginError(StreamkitError):
    """A plugin that can't be loaded, or breaks its contract."""


__all__ = [
    "ConnectFailed",
    "ContentTypeError",
    "DeadlineExceeded",
    "Disconnected",
    "LeaseLost",
    "LimitExceeded",
    "LogLost",
    "LogProblem",
    "LogUnreachable",
    "OutputError",
    "OutputProblem",
    "PipelineError",
    "PluginError",
    "ProtocolError",
    "ProviderError",
    "QueueOverflow",
    "RecordingError",
    "RedirectError",
    "SourceError",
    "StatusError",
    "StreamExists",
    "StreamInterrupted",
    "StreamkitError",
    "UnknownDialect",
]


def __dir__() -> list[str]:
    return sorted(__all__)
