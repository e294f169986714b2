"""Error messages for sources and items of the wrong kind: what was found, and how to fix it.

No other library is imported to recognize its objects: they are recognized by their attributes and the module of their class.
"""

import inspect
import re
import warnings
from collections.abc import Callable, Coroutine, Mapping
from types import FrameType
from typing import Any, cast

WIRE = (bytes, bytearray, memoryview, str)
_SDKS = frozenset(
    (
        "anthropic",
        "botocore",
        "cohere",
        "google",
        "groq",
        "langchain_core",
        "litellm",
        "mistralai",
        "ollama",
        "openai",
        "together",
    )
)
_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)
SHOWN_CHARS = 60
MESSAGE_CHARS = 600
_NAME = re.compile(r"[\w.]+(?::[\w.]+)?", re.ASCII)
_STREAMED = "create(…, stream=True)"
_ADDRESS = ("http://", "https://")


def wrong_source(value: object) -> str | None:
    """The reason why `value` can't be a source, even if it is iterable; `None` if no problem was found.

    A coroutine that was not awaited is closed, so that Python does not emit a second warning.
    """
    if isinstance(value, type):
        return None
    if inspect.isawaitable(value) and not hasattr(value, "__aiter__"):
        return _not_awaited(value)
    if inspect.isroutine(value) and _needs_nothing(value):
        return f"found the function {value.__name__}: call it, {value.__name__}()"
    if _module(value).startswith("openai.lib.streaming"):
        _close_coroutines(value)
        return f"{_found(value)} yields the SDK's own events: use the client's {_STREAMED} instead of its helper"
    if _is_synchronous(value):
        return (
            f"{_found(value)} is the stream of a synchronous client: use the asynchronous one, "
            "or pipeline.run(stream.response.iter_bytes())"
        )
    if _is_client(value):
        return f"{_found(value)} is a client: pass the response of a request"
    if _is_unentered(value):
        _close_coroutines(value)
        return f"{_found(value)} is a context manager: write `async with … as source` and pass the source"
    if _is_whole(value):
        return f"{_found(value)} is a complete response, not a stream: request one with stream=True, or pass its bytes"
    if _is_read(value):
        return f"{_found(value)} was already read: create a new one for each stream"
    if isinstance(value, str) and value.startswith(_ADDRESS) and "\n" not in value:
        return "found an address as text: write streamkit.http.post(…) or streamkit.http.get(…)"
    return None


def wrong_item(item: object, stage: str, takes: tuple[type, ...]) -> str | None:
    """The reason why a stage that declares the classes `takes` can't take `item`; `None` if it may be able to.

    An object of an unknown class may still be an event; text, bytes and plain data never are. A stage that takes neither events
    nor wire data is not checked.
    """
    events, wire = any(map(_is_event, takes)), any(_is_parsed(kind) or issubclass(kind, WIRE) for kind in takes)
    if isinstance(item, takes) or not (wire or (events and _is_no_event(item))):
        return None
    expected = "events" if events else " or ".join(kind.__name__ for kind in takes)
    return f"{stage} takes {expected}, found {kind_of(item)}{_hint(item, takes)}"


def missing_stages(takes: tuple[type, ...], gives: tuple[type, ...]) -> str:
    """The hint which stages to insert between one that returns `gives` and one that takes `takes`; empty if none would help."""
    parsed, wire = any(map(_is_parsed, gives)), any(issubclass(kind, WIRE) for kind in gives)
    if any(map(_is_event, takes)) and (parsed or wire):
        return ": put Extract() before it" if parsed else ": put Parse() | Extract() before it"
    return ": put Parse() before it" if wire and any(map(_is_parsed, takes)) else ""


def warn(message: str) -> None:
    """Warn at the caller's line: the innermost frame outside of streamkit."""
    level, frame = 1, inspect.currentframe()
    while frame and frame.f_back and _is_between(frame):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)


def kind_of(value: object) -> str:
    """Describe an object by its type, without its value."""
    return f"the class {value.__name__}" if isinstance(value, type) else f"an object of type {type(value).__name__}"


def shown(value: object) -> str:
    """A value for a message: the `repr` of a number or string, truncated if it is long; for other objects only the type."""
    match value:
        case str():
            return repr(value) if len(value) <= SHOWN_CHARS else f"{value[:SHOWN_CHARS]!r}…"
        case None | bool() | float():
            return repr(value)
        # Python refuses to format integers of more than 4,300 digits.
        case int():
            return repr(value) if abs(value) < 1 << 63 else "a number of more than 64 bits"
        case _:
            return kind_of(value)


def place_of(error: Exception) -> str:
    """Return msgspec's validation message without the value, which may be any text."""
    reason, at, place = str(error).partition(" - at ")
    # Other messages quote a value, a tag or the name of a field.
    if not reason.startswith(("Expected `", "Object missing required field")):
        reason = re.split("['`]", reason)[0].strip()
    return bounded(reason + at + place)


def name_shown(value: object) -> str:
    """Return a name for a message. Anything that does not look like a name may be any text, and becomes `another`."""
    is_name = isinstance(value, str) and len(value) <= SHOWN_CHARS and _NAME.fullmatch(value)
    return repr(value) if is_name else "another"


def word_shown(value: object) -> str:
    """The same without quotes."""
    return name_shown(value).strip("'")


def media_type(header: str) -> str:
    """The media type in a `Content-Type` header, for a message. A malformed one may be any text and is not shown."""
    kind = header.partition(";")[0].strip()
    if not kind:
        return "none"
    return repr(kind) if len(kind) <= SHOWN_CHARS and _MEDIA_TYPE.fullmatch(kind) else "one that is none"


def bounded(message: str) -> str:
    """A message that quotes input, limited to 600 characters and with unprintable characters replaced."""
    text = "".join(mark if mark.isprintable() or mark == "\n" else "\ufffd" for mark in message[: 2 * MESSAGE_CHARS])
    return text if len(message) <= MESSAGE_CHARS else text[: MESSAGE_CHARS - 1] + "…"


def attribute(value: object, name: str) -> Any:
    """Return an attribute of any object; `None` if it is missing or raises."""
    try:
        return getattr(value, name, None)
    # A property of another library may raise anything, for example `response.content` of an unread response.
    except Exception:
        return None


def is_sdk_object(value: object) -> bool:
    """Whether this is an event that an SDK has decoded: a pydantic object, or one of a class of the SDK."""
    return _is_model(value) or _module(value).partition(".")[0] in _SDKS


def _is_between(frame: FrameType) -> bool:
    # Methods that `dataclass` generates for a user's stage have no line in a file.
    module = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    written = (frame.f_code.co_filename, frame.f_code.co_name) == ("<string>", "__init__")
    return written or module in ("streamkit", "dataclasses", "contextlib")


def _not_awaited(value: object) -> str:
    _close_coroutines(value)
    if hasattr(value, "__aenter__"):
        return f"{_found(value)} was not entered: write `async with … as response` and pass the response"
    if not inspect.iscoroutine(value):
        return f"{_found(value)} was not awaited: write `await …`"
    name = value.__qualname__
    return f"found the coroutine {name}, which was not awaited: write `await {name.rpartition('.')[2]}(…)`"


def _close_coroutines(value: object) -> None:
    # The coroutine of a request that was never awaited is the object itself or one of its attributes.
    attributes = cast("dict[str, object]", getattr(value, "__dict__", {}))
    for candidate in (value, *attributes.values()):
        if inspect.iscoroutine(candidate) and inspect.getcoroutinestate(candidate) == inspect.CORO_CREATED:
            candidate.close()
    # The request object of aiohttp implements the coroutine interface.
    if isinstance(value, Coroutine) and not inspect.iscoroutine(cast(object, value)):
        cast("Coroutine[Any, Any, Any]", value).close()


def _found(value: object) -> str:
    return f"found {kind_of(value)}, which"


def _needs_nothing(function: Callable[..., object]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a builtin that has no signature
        return False
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return all(each.default is not each.empty or each.kind in optional for each in parameters)


def _is_synchronous(value: object) -> bool:
    # For example openai.Stream and anthropic.Stream.
    response = None if hasattr(value, "__aiter__") else attribute(value, "response")
    return hasattr(value, "__iter__") and callable(attribute(response, "iter_bytes"))


def _is_client(value: object) -> bool:
    return not _is_iterable(value) and all(callable(attribute(value, name)) for name in ("get", "post", "request"))


def _is_unentered(value: object) -> bool:
    return not _is_iterable(value) and (hasattr(value, "__aenter__") or hasattr(value, "__enter__"))


def _is_whole(value: object) -> bool:
    return _is_model(value) or isinstance(value, Mapping)


def _is_model(value: object) -> bool:
    return hasattr(type(value), "model_dump")


def _is_read(value: object) -> bool:
    if inspect.isasyncgen(value):
        return attribute(value, "ag_frame") is None
    return inspect.isgenerator(value) and value.gi_frame is None


def _is_iterable(value: object) -> bool:
    return hasattr(value, "__aiter__") or hasattr(value, "__iter__")


def _is_no_event(item: object) -> bool:
    return isinstance(item, (*WIRE, int, float, Mapping, list, tuple)) or is_sdk_object(item) or _is_parsed(type(item))


def _is_event(kind: type) -> bool:
    return kind.__module__ == "streamkit.events"


def _is_parsed(kind: type) -> bool:
    return any(base.__name__ == "ServerSentEvent" for base in kind.__mro__)


def _hint(item: object, takes: tuple[type, ...]) -> str:
    if is_sdk_object(item):
        return (
            f": the SDK has already decoded it; pass the SDK's stream itself ({_STREAMED}), not its items, "
            "or use streamkit.http.post(…)"
        )
    if _is_event(type(item)):
        return ": these are already events; remove Parse() and Extract()"
    if _is_parsed(type(item)) and not any(map(_is_event, takes)):
        return ": these are already server-sent events; remove Parse()"
    return missing_stages(takes, (type(item),))


def _module(value: object) -> str:
    return type(value).__module__
