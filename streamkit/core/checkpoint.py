"""Checkpoints: serialize a running pipeline so that another process can resume it.

    checkpoint = stream.checkpoint()                           # JSON-compatible data: dicts, lists, strings, numbers
    stream = pipeline.open(rest_of_the_body, checkpoint=checkpoint)

The state of a stage is its fields with `init=False`, restored by their annotations. A field annotated with a type variable holds
items of any class (`list[A]` in a `Stage[A, A]`), which are stored with the name of their class. A field with any other object,
such as an automaton, needs two methods on that object: `state()`, which returns plain data, and `restore(state)`, which is called
on a new object.
"""

import dataclasses
import re
import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any, Literal, TypeVar, cast, get_args, get_origin

import msgspec

from streamkit.core.wrong_input import name_shown, place_of, shown, word_shown
from streamkit.errors import PipelineError, PluginError, StreamkitError

VERSION = 2
_HALF = re.compile("[\ud800-\udfff]")
_ESCAPE = re.compile(r"\\(?:\\|u(d[89a-f][0-9a-f]{2}))")


class LevelState(msgspec.Struct, forbid_unknown_fields=True):
    """The state of adjacent sync stages or of one async stage, and the items pending before it."""

    stages: list[Any]
    pending: list[Any]


class RunState(msgspec.Struct, forbid_unknown_fields=True):
    """The state of an engine."""

    levels: list[LevelState]
    phase: Literal["reading", "draining", "ended"]
    flushed: int
    start: int
    started: bool
    end: list[Any]


class Checkpoint(msgspec.Struct, forbid_unknown_fields=True):
    """The state of a run in mid-stream. `Stream.checkpoint` returns its `to_dict()`.

    `stages` are the names of the stages, used to reject a checkpoint of another pipeline. `received` is the amount read from the
    source: bytes for a source of bytes, items for any other. `ready` are the items that were produced but not consumed yet.
    """

    stages: list[str]
    received: int
    run: RunState
    ready: list[Any]
    version: int = VERSION
    escaped: bool = False
    """Whether lone surrogates (the first half of a pair that is still incomplete) are written as escapes, in all strings."""

    def to_dict(self) -> dict[str, Any]:
        """The checkpoint as plain data that shares no object with the run."""
        try:
            written = msgspec.json.encode(self)
        except UnicodeEncodeError:
            known = cast("dict[str, Any]", _in_texts(msgspec.to_builtins(self), _escape))
            written = msgspec.json.encode({**known, "escaped": True})
        return cast("dict[str, Any]", msgspec.json.decode(written))

    @classmethod
    def from_dict(cls, data: dict[str, Any], stages: list[str]) -> "Checkpoint":
        """Read the result of `to_dict`. Raises `PipelineError` for a checkpoint of another pipeline or version."""
        try:
            known = msgspec.convert(_in_texts(data, _unescape) if data.get("escaped") is True else data, cls)
        except msgspec.ValidationError as error:
            raise PipelineError(f"expected a checkpoint, found something else: {place_of(error)}") from None
        except Exception as error:  # for example a RecursionError, for data that contains itself
            raise PipelineError(f"expected a checkpoint, found something else: {type(error).__name__}") from None
        if (known.version, known.stages) != (VERSION, stages):
            found = " | ".join(word_shown(name) for name in known.stages[:20])
            raise PipelineError(
                f"expected a checkpoint of {' | '.join(stages)} (version {VERSION}), "
                f"found one of {found} (version {shown(known.version)})"
            )
        return known


def _in_texts(value: Any, change: Callable[[str], str]) -> Any:
    match value:
        case str():
            return change(value)
        case list() | tuple():
            return [_in_texts(item, change) for item in cast("list[Any]", value)]
        case dict():
            fields = cast("dict[str, Any]", value)
            return {change(name): _in_texts(item, change) for name, item in fields.items()}
        case _:
            return value


def _escape(text: str) -> str:
    return _HALF.sub(lambda half: f"\\u{ord(half[0]):x}", text.replace("\\", "\\\\"))


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else "\\", text)


@contextmanager
def fitting(what: str) -> Generator[None, None, None]:
    """Convert any exception raised while restoring unsuitable data to `PipelineError`.

    The original error is not chained, because its message may quote text of the answer.
    """
    try:
        yield
    except (PipelineError, PluginError):
        raise
    except msgspec.ValidationError as error:
        raise PipelineError(f"{what}: the checkpoint does not fit: {place_of(error)}") from None
    except Exception as error:
        raise PipelineError(f"{what}: the checkpoint does not fit: {type(error).__name__}") from None


def usable(stage: Any) -> None:
    """Read the public properties of a restored stage, so that unsuitable state raises during the restore and not later."""
    for name in ("snapshot", "report", "timings"):
        getattr(stage, name, None)


def unfit(error: Exception) -> Exception:
    """The error that a restored run raises instead of an internal one: data of the right shape may still be wrong."""
    if isinstance(error, StreamkitError) or not _is_ours(error):
        return error
    return PipelineError(f"the checkpoint does not fit this pipeline: {type(error).__name__}")


def _is_ours(error: Exception) -> bool:
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith("streamkit.")


def state_of(stage: Any) -> dict[str, Any]:
    """The `init=False` fields of a stage as plain data, plus `done` if it is set."""
    known: dict[str, Any] = {"done": True} if stage.done else {}
    for field in _fields(stage):
        try:
            known[field.name] = _plain(getattr(stage, field.name), _hint(stage, field))
        except (TypeError, AttributeError) as error:
            raise PipelineError(
                f"{type(stage).__name__}.{field.name}: expected plain data, or an object with state() and restore(): {error}"
            ) from error
    return known


def restore(stage: Any, state: Any) -> None:
    """Restore the result of `state_of` on a fresh copy of the stage."""
    known = dict(cast("dict[str, Any]", state)) if isinstance(state, dict) else {}
    if known.pop("done", False):
        stage.done = True
    fields = {field.name: field for field in _fields(stage)}
    if known.keys() != fields.keys():
        raise PipelineError(
            f"{type(stage).__name__}: expected a state with {_names(fields)}, "
            f"found one with {_names(word_shown(name) for name in list(known)[:20])}"
        )
    for name, value in known.items():
        present = getattr(stage, name)
        if hasattr(present, "restore"):
            with fitting(f"{type(stage).__name__}.{name}"):
                present.restore(value)
        else:
            object.__setattr__(stage, name, _typed(stage, name, value, _hint(stage, fields[name])))


def pack(items: Iterable[Any]) -> list[Any]:
    """Convert buffered items to plain data: events and other Structs, text, bytes and JSON-compatible values."""
    return [_packed(item) for item in items]


def unpack(items: Iterable[Any]) -> list[Any]:
    """Convert the result of `pack` back to items."""
    return [_unpacked(item) for item in items]


def _packed(item: Any) -> dict[str, Any]:
    kind = cast("type[Any]", type(item))
    if isinstance(item, msgspec.Struct):
        return {"class": f"{kind.__module__}:{kind.__qualname__}", "value": msgspec.to_builtins(item)}
    if kind is list:
        return {"class": "list", "value": pack(item)}
    if kind is dict:
        return {"class": "dict", "value": [pack(pair) for pair in item.items()]}
    if kind is bytes or kind in (str, int, float, bool, type(None)):
        return {"class": kind.__name__, "value": msgspec.to_builtins(item)}
    raise PipelineError(f"a checkpoint holds events, text, bytes and plain data; found an item of type {kind.__name__}")


def _unpacked(packed: Any) -> Any:
    module, _, name = packed["class"].rpartition(":")
    if not module:
        return _unpacked_plain(name, packed["value"])
    # Look only in modules that are already imported: a checkpoint must not be able to import or call anything.
    kind: Any = sys.modules.get(module)
    for part in name.split("."):
        kind = getattr(kind, "__dict__", {}).get(part)
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        raise PipelineError(f"the checkpoint contains an item of an unknown class: {name_shown(packed['class'])}")
    return msgspec.convert(packed["value"], kind)


def _unpacked_plain(kind: str, value: Any) -> Any:
    if kind == "list":
        return unpack(value)
    if kind == "dict":
        return dict(map(unpack, value))
    return msgspec.convert(value, bytes) if kind == "bytes" else value


def _fields(stage: Any) -> list[dataclasses.Field[Any]]:
    return [field for field in dataclasses.fields(stage) if not field.init and field.metadata.get("state", True)]


def _hint(stage: Any, field: dataclasses.Field[Any]) -> Any:
    if not isinstance(field.type, str):
        return field.type
    # The annotation is evaluated in the module of the class that defines the field, not of the subclass.
    defining_class = next(kind for kind in type(stage).__mro__ if field.name in vars(kind).get("__annotations__", {}))
    return eval(field.type, vars(sys.modules[defining_class.__module__]))


def _pairs(hint: Any) -> Any:
    # JSON keys are strings; a mapping with other keys is written as a list of pairs.
    return list[tuple[get_args(hint)]] if get_origin(hint) is dict and get_args(hint)[0] is not str else None  # type: ignore[misc]


def _holds_items(hint: Any) -> bool:
    return isinstance(hint, TypeVar) or any(map(_holds_items, get_args(hint)))


def _plain(value: Any, hint: Any) -> Any:
    if hasattr(value, "state"):
        return value.state()
    if _holds_items(hint):
        return _packed(value)
    shown: Any = value
    if _pairs(hint):
        shown = list(cast("dict[Any, Any]", value).items())
    return msgspec.to_builtins(shown, str_keys=True, enc_hook=lambda value: value.state())


def _typed(stage: Any, name: str, value: Any, hint: Any) -> Any:
    if _holds_items(hint):
        return _unpacked(value)
    pairs = _pairs(hint)
    with fitting(f"{type(stage).__name__}.{name}"):
        found: Any = msgspec.convert(value, pairs or hint, str_keys=True, dec_hook=_made)
    return dict(found) if pairs else found


def _made(kind: type[Any], state: Any) -> Any:
    made = kind()
    made.restore(state)
    return made


def _names(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"
