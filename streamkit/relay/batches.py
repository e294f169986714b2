"""Events as the log stores them: JSON arrays, without the provider's own chunks."""

from collections.abc import Sequence
from typing import Any, cast, get_args

import msgspec

from streamkit.core.wrong_input import kind_of
from streamkit.errors import PipelineError, ProtocolError
from streamkit.events import Event

_KINDS: frozenset[type] = frozenset(get_args(Event))
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(list[Event])
_ALL = msgspec.json.Decoder(list[list[Event]])


def encode(event: object) -> bytes:
    """One event as JSON. `PipelineError` for anything else, and for one that holds values without a JSON form."""
    if type(event) not in _KINDS:
        raise PipelineError(
            f"a log stores events, as after Extract(); found {kind_of(event)}: leave out what follows, "
            "each viewer has an emitter of its own"
        )
    found = cast("Any", event)
    if found.payload is not None:
        found = msgspec.structs.replace(found, payload=None)
    try:
        return _ENCODER.encode(found)
    except UnicodeEncodeError:
        return _ENCODER.encode(_without_halves(msgspec.to_builtins(found)))
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise PipelineError(
            f"a log stores events as JSON, but this {type(event).__name__} holds a value that has none"
        ) from None


def join(events: Sequence[bytes]) -> bytes:
    """Encoded events as one batch."""
    return b"[%b]" % b",".join(events)


def decode(batch: bytes) -> list[Event]:
    """The events of a batch. `ProtocolError` for one that another version has written, or damaged."""
    try:
        return _DECODER.decode(batch)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        # The error quotes nothing, and says little: the batch may be of a later version.
        raise ProtocolError("expected a batch of events of this version of streamkit, found something else") from None


def decode_all(batches: Sequence[bytes]) -> list[list[Event]] | None:
    """The events of batches, some of them joined by commas; `None` if one of them is damaged."""
    try:
        # At once: that is half of what one call for each costs.
        return _ALL.decode(join(batches))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def _without_halves(value: Any) -> Any:
    # Half of a surrogate pair has no form in UTF-8.
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case list() | tuple():
            return [_without_halves(item) for item in cast("list[Any]", value)]
        case dict():
            fields = cast("dict[str, Any]", value)
            return {_without_halves(name): _without_halves(item) for name, item in fields.items()}
        case _:
            return value
