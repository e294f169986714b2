"""The interface of an emitter. `Emit` calls it, and the sinks use `Emit`.

    [project.entry-points."streamkit.emitters"]
    ours = "my_package:OurWire"                 # a class or a function: takes `Settings`, returns an `Emitter`

`streamkit.testing.check_emitter` tests one.
"""

from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any, ClassVar, Protocol, TypeAlias

import msgspec

from streamkit.completion import Completion, EndReason
from streamkit.core import checkpoint
from streamkit.emitters.failures import Failure
from streamkit.events import Blocked, Event
from streamkit.sse.events import ServerSentEvent

Frame: TypeAlias = ServerSentEvent
"""One event as a client receives it."""


class Settings(msgspec.Struct, frozen=True):
    """Settings of one response.

    `id`, `created` (in seconds since 1970) and `model` are used if the provider sends none. `include_usage`: write the usage, in
    formats that make it optional. `verdicts`: write moderation decisions as data, in formats that can express them. `request` is
    the body of the client's request; some formats repeat parts of it.
    """

    id: str | None = None
    created: int = 0
    model: str = "unknown"
    include_usage: bool = False
    verdicts: bool = False
    request: Mapping[str, Any] = {}


class Emitter(Protocol):
    """Writes the events of one answer in one wire format. `Emit` calls the methods in this order:

    - `head` once, before the first event with more than the identity of the response, or before a successful end;
    - `events` with the events in order, and in between `block` for a `Blocked` and `restart` for a `Reset`;
    - `end` or `error` once, last. `end` receives the `StreamEnd.reason`. If that is not among `SUCCESSES`, the client must
      receive something it can't mistake for a complete answer: an `ErrorFrame` if the format has nothing else for that.

    Frames must not depend on how events are batched. Events that the format can't express are ignored. Data that is not valid
    JSON raises `TypeError` or `ValueError`; an order of events that can't be written raises `ProtocolError`.
    """

    headers: ClassVar[Mapping[str, str]]
    """Response headers in addition to those of every event stream; may replace `content-type`."""
    id_prefix: ClassVar[str]
    """The prefix of response ids in this format."""
    streams_only: ClassVar[bool]
    """Whether the format has no non-streaming response, so that clients that do not request a stream receive one, too."""

    def head(self) -> Iterable[Frame]:
        """Return the frames that open the response."""
        ...

    def events(self, events: list[Event]) -> Iterable[Frame]:
        """Return the frames for these events."""
        ...

    def block(self, verdict: Blocked) -> Iterable[Frame]:
        """Return the frames for a decision after which no more of the choice is released."""
        ...

    def restart(self) -> bool:
        """Discard what was not written, because the answer restarts. Return False if content was already written."""
        ...

    def end(self, reason: EndReason) -> Iterable[Frame]:
        """Return the frames for everything still buffered, and those that end the response."""
        ...

    def error(self, failure: Failure) -> Iterable[Frame]:
        """Return the frames that end a failed response, one of them an `ErrorFrame`. May be called before `head`."""
        ...

    def keep_alive(self) -> Frame | None:
        """Return a frame that keeps the connection alive; `None` for a comment, which all event stream parsers ignore."""
        ...

    def response(self, completion: Completion, withheld: Container[int] | None) -> dict[str, Any]:
        """Return the non-streaming response; not called if `streams_only`.

        `withheld`: the choices of which moderation withheld text; by default those with a verdict other than `annotate`.
        """
        ...

    def state(self) -> Any:
        """Return the state as plain data, for checkpoints."""
        ...

    def restore(self, state: Any) -> None:
        """Restore from `state()`, on a new emitter with the same settings."""
        ...


MakeEmitter: TypeAlias = Callable[[Settings], Emitter]


class Checkpointed:
    """Implements `state` and `restore` for an emitter that is a dataclass: its fields with `init=False`, as for a stage."""

    done: ClassVar[bool] = False

    def state(self) -> Any:
        return checkpoint.state_of(self)

    def restore(self, state: Any) -> None:
        checkpoint.restore(self, state)
