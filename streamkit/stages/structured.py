"""Structured output and tool arguments: partial values while they arrive, objects when they are complete."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal

from msgspec import UNSET

from streamkit.core.buffers import Buffer
from streamkit.core.engine import stage_name
from streamkit.core.stage import Stage, cut_short
from streamkit.dialects.finish_reasons import meaning
from streamkit.dialects.tool_identity import Identity
from streamkit.errors import LimitExceeded, OutputError, OutputProblem, ProtocolError
from streamkit.events import (
    Event,
    Finish,
    InvalidOutput,
    PartialOutput,
    RefusalDelta,
    Reset,
    RoleDelta,
    StreamEnd,
    StructuredOutput,
    TextDelta,
    ToolCallDelta,
)
from streamkit.structured.partial_json import MAX_CHARS, MAX_DEPTH, PartialJson, Unfinished
from streamkit.structured.validation import check_type, validate

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")

_WHOLE = ("completed", "tool_calls")
Key = tuple[int, int | None]
"""The index of a choice, and the number of a tool call in it or `None` for its text."""


@dataclass
class Structured(Stage[Event, Event], Generic[T]):
    """Pass every event through, and parse the JSON in them: `PartialOutput` while it arrives, `StructuredOutput` at the end.

    `output` is the type of the text (JSON mode, structured output): any type that msgspec converts to, a pydantic model, or a
    function of the value; `dict` or `object` for any JSON, `None` for text that is not JSON. `tools` maps tool names to the types
    of their arguments; the arguments of other tools are returned as plain values. Validation takes place only when the choice has
    ended and its JSON is complete.

    Output that is unavailable is reported as an `InvalidOutput`, with the problem and its place but never the text. `errors`:
    with `raise` the first of them is also raised as an `OutputError` after the `StreamEnd`, unless the provider reported an
    error; with `emit` it is not raised. No JSON is repaired: an answer that was cut short is `truncated`, even if its JSON
    happens to be complete. Text beside tool calls is not output. A `Reset` discards all JSON and problems so far.

    A partial value is emitted when at least `every_chars` characters have arrived since the last one; `None` emits none.
    `strings` and `numbers` select whether it includes an incomplete string or number. For its cost see `PartialJson.value`.
    """

    assembles = True
    emits_result = True
    output: type[T] | Callable[[Any], T] | None = None
    tools: Mapping[str, Any] = field(default_factory=dict[str, Any])
    errors: Literal["raise", "emit"] = "raise"
    every_chars: int | None = 1
    strings: Unfinished = "keep"
    numbers: Unfinished = "drop"
    max_chars: int = MAX_CHARS
    """Longer JSON is an `InvalidOutput`."""
    max_depth: int = MAX_DEPTH
    """JSON that is nested deeper is an `InvalidOutput`."""
    _readers: dict[Key, PartialJson] = field(default_factory=dict[Key, PartialJson], init=False, repr=False)
    _broken: dict[Key, tuple[OutputProblem, str]] = field(
        default_factory=dict[Key, tuple[OutputProblem, str]], init=False, repr=False
    )
    _unreported: dict[Key, int] = field(default_factory=dict[Key, int], init=False, repr=False)
    _calls: dict[Key, Identity] = field(default_factory=dict[Key, Identity], init=False, repr=False)
    _choices: dict[int, bool] = field(
        default_factory=dict[int, bool], init=False, repr=False
    )  # the value: whether the choice has ended
    _failure: InvalidOutput | None = field(default=None, init=False, repr=False)
    _ended: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        for kind in (self.output, *self.tools.values()):
            if kind is not None:
                check_type(kind)

    def buffers(self) -> Iterable[Buffer]:
        held = sum(reader.chars for reader in self._readers.values() if not reader.complete)
        return (Buffer(stage_name(self), held, "characters", "the JSON of an object is incomplete", released=True),)

    def value_of(self, event: Event) -> T | None:
        """The object if the event is the structured output of a choice, else `None`. Its static type follows from `output`."""
        return event.value if isinstance(event, StructuredOutput) and event.tool_index is None else None

    def feed(self, item: Event) -> Iterable[Event]:
        return self.feed_all([item])

    def feed_all(self, items: list[Event]) -> Iterable[Event]:
        out: list[Event] = []
        for event in items:
            match event:
                case TextDelta(text=text, index=index):
                    out.append(event)
                    self._choices.setdefault(index, False)
                    if self.output is not None:
                        self._read((index, None), text, out)
                case ToolCallDelta():
                    out.append(event)
                    self._call(event, out)
                case RefusalDelta(index=index) | RoleDelta(index=index):
                    out.append(event)
                    self._choices.setdefault(index, False)
                case Finish(finish_reason=reason, index=index):
                    out.append(event)
                    # For a dialect-specific finish reason, the end of the stream decides.
                    if (end := meaning(reason)) != "unknown":
                        self._end_choice(index, end not in _WHOLE, out)
                case Reset():
                    out.append(event)
                    self._discard()
                case StreamEnd():
                    self._end_all(event.reason not in _WHOLE, out)
                    out.append(event)
                    if self._failure and self.errors == "raise" and event.reason != "provider_error":
                        return cut_short(out, _error(self._failure))
                case _:
                    out.append(event)
        return out

    def flush(self) -> Iterable[Event]:
        if not self._ended:
            out: list[Event] = []
            self._end_all(True, out)
            yield from out
            if self._failure and self.errors == "raise":
                raise _error(self._failure)

    def _discard(self) -> None:
        # Another source restarts the answer.
        for state in (self._readers, self._broken, self._unreported, self._calls, self._choices):
            state.clear()
        self._failure = None

    def _call(self, event: ToolCallDelta, out: list[Event]) -> None:
        self._choices.setdefault(event.index, False)
        key = (event.index, event.tool_index)
        known = self._calls.setdefault(key, Identity())
        if event.id or event.name or event.type:
            known.merge(event)
        # The input of a custom tool is free text.
        if event.arguments and known.type != "custom":
            self._read(key, event.arguments, out)

    def _read(self, key: Key, text: str, out: list[Event]) -> None:
        if key in self._broken or self._choices[key[0]]:
            return
        reader = self._readers.get(key)
        if reader is None:
            reader = self._readers[key] = PartialJson(
                strings=self.strings, numbers=self.numbers, max_chars=self.max_chars, max_depth=self.max_depth
            )
        whole = reader.complete
        try:
            reader.feed(text)
        except ProtocolError as error:
            self._broken[key] = "limit" if isinstance(error, LimitExceeded) else "malformed", str(error)
            del self._readers[key]
            return
        if self.every_chars is not None and not (whole and text.isspace()):
            self._emit_partial(key, reader, len(text), self.every_chars, out)

    def _emit_partial(self, key: Key, reader: PartialJson, chars: int, every_chars: int, out: list[Event]) -> None:
        unreported = self._unreported.get(key, 0) + chars
        complete = reader.complete
        if (unreported >= every_chars or complete) and (value := reader.value) is not UNSET:
            unreported = 0
            id, name = self._identity(key)
            out.append(PartialOutput(value, complete, key[1], id, name, key[0]))
        self._unreported[key] = unreported

    def _end_all(self, cut: bool, out: list[Event]) -> None:
        self._ended = True
        for index in [index for index, ended in self._choices.items() if not ended] or ([] if self._choices else [0]):
            self._end_choice(index, cut, out)

    def _end_choice(self, index: int, cut: bool, out: list[Event]) -> None:
        if self._choices.get(index):
            return
        self._choices[index] = True
        calls = [key for key in self._calls if key[0] == index]
        if self.output is not None and not calls:
            self._conclude((index, None), self.output, cut, out)
        for key in calls:
            call = self._calls[key]
            if call.type != "custom":
                self._conclude(key, self.tools.get(call.name or ""), cut, out)
        self._readers.pop((index, None), None)

    def _conclude(self, key: Key, kind: Any, cut: bool, out: list[Event]) -> None:
        index, tool_index = key
        id, name = self._identity(key)
        reader = self._readers.pop(key, None)
        if reader is None and kind is None and not cut and key not in self._broken:
            return  # a tool without arguments and without a type that requires any
        try:
            value = self._value(key, reader, kind, cut)
        except OutputError as error:
            invalid = InvalidOutput(error.problem, error.path, str(error), tool_index, id, name, index)
            self._failure = self._failure or invalid
            out.append(invalid)
        else:
            out.append(StructuredOutput(value, tool_index, id, name, index))

    def _value(self, key: Key, reader: PartialJson | None, kind: Any, cut: bool) -> Any:
        if key in self._broken:
            problem, message = self._broken[key]
            raise OutputError(message, problem=problem)
        if cut:
            raise OutputError("expected complete JSON, found an answer that was cut short", problem="truncated")
        if reader is None or not reader.text.strip():
            raise OutputError("expected JSON, found nothing", problem="missing")
        if not reader.complete or reader.value is UNSET:
            raise OutputError("expected complete JSON, found the end of the answer within it", problem="truncated")
        return reader.value if kind is None else validate(kind, reader.value, reader.text)

    def _identity(self, key: Key) -> tuple[str | None, str | None]:
        call = self._calls.get(key)
        return (call.id, call.name) if call else (None, None)


class Objects(Generic[T]):
    """The reader of `Views.objects`: the text of choice `index`, or of every choice, as an object of `kind`."""

    def __init__(self, kind: type[T] | Callable[[Any], T], index: int | None = 0) -> None:
        self._stage = Structured[T](kind, every_chars=None)
        self._index = index

    def feed(self, item: Event) -> Iterable[T]:
        # A choice that was not requested does not fail the others.
        if self._index is None or getattr(item, "index", self._index) == self._index:
            yield from self._objects(self._stage.feed(item))

    def flush(self) -> Iterable[T]:
        yield from self._objects(self._stage.flush())

    def _objects(self, events: Iterable[Event]) -> Iterable[T]:
        for event in events:
            if isinstance(event, StructuredOutput) and event.tool_index is None:
                yield event.value


def _error(found: InvalidOutput) -> OutputError:
    where = f"choice {found.index}" if found.tool_index is None else f"choice {found.index}, call {found.tool_index}"
    return OutputError(f"{where}: {found.detail}", problem=found.problem, path=found.path)
