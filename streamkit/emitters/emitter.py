"""The interface of a client's wire format. `Emit` drives it, and so do the sinks through `Emit`.

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

    `id`, `created` (in seconds since 1970) and `model` are used where the provider says nothing. `include_usage`: write the
    usage, in a format in which that is optional. `verdicts`: write moderation decisions as data, in a format that has a place
    for them. `request` is the body of the client's request, parts of which some formats repeat.
    """

    id: str | None = None
    created: int = 0
    model: str = "unknown"
    include_usage: bool = False
    verdicts: bool = False
    request: Mapping[str, Any] = {}


class Emitter(Protocol):
    """Writes the events of one answer in one wire format. `Emit` calls the methods in this order:

    - `head` once, before the first event that is more than the identity of the response, and before a successful end;
    - `events` with the events in their order, and in between `block` for a `Blocked` and `restart` for a `Reset`;
    - `end` or `error` once, last. `end` gets the `StreamEnd.reason`; for one that is not among `SUCCESSES` the client must
      receive something that it can't take for a complete answer, an `ErrorFrame` where the format has no other word.

    Frames must not depend on how many events come at once. An event that the format has no place for is ignored. Data that is
    no JSON raises `TypeError` or `ValueError`, and an order of events that can't be written `ProtocolError`.
    """

    headers: ClassVar[Mapping[str, str]]
    """Headers of the response beside those of every event stream; with a `content-type` if it is another one."""
    id_prefix: ClassVar[str]
    """How ids of responses begin in this format."""
    streams_only: ClassVar[bool]
    """Whether the format has no response without streaming."""

    def head(self) -> Iterable[Frame]:
        """The frames that open the response."""
        ...

    def events(self, events: list[Event]) -> Iterable[Frame]:
        """The frames for these events."""
        ...

    def block(self, verdict: Blocked) -> Iterable[Frame]:
        """The frames for a decision after which nothing more of the choice is released."""
        ...

    def restart(self) -> bool:
        """Discard what was not written, since the answer begins anew. False if content was written, which nothing takes back."""
        ...

    def end(self, reason: EndReason) -> Iterable[Frame]:
        """The frames for what is still buffered, and those that end the response."""
        ...

    def error(self, failure: Failure) -> Iterable[Frame]:
        """The frames that end a response that failed, one of them an `ErrorFrame`. Also called before `head`."""
        ...

    def keep_alive(self) -> Frame | None:
        """A frame that keeps the connection alive; `None` for a comment, which every reader of event streams ignores."""
        ...

    def response(self, completion: Completion, withheld: Container[int] | None) -> dict[str, Any]:
        """The response for a client that did not request a stream; not called if `streams_only`.

        `withheld` are the choices of which a moderation held text back, by default all that have verdicts.
        """
        ...

    def state(self) -> Any:
        """The state as plain data, for checkpoints."""
        ...

    def restore(self, state: Any) -> None:
        """Take back what `state` returned, on a new emitter with the same settings."""
        ...


MakeEmitter: TypeAlias = Callable[[Settings], Emitter]


class Checkpointed:
    """Gives an emitter that is a dataclass its `state` and `restore`: the fields with `init=False`, as of a stage."""

    done: ClassVar[bool] = False

    def state(self) -> Any:
        return checkpoint.state_of(self)

    def restore(self, state: Any) -> None:
        checkpoint.restore(self, state)
