"""The state of a run can be serialized between any two items, and another run resumes from it with the same output."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit import (
    AsyncStage,
    Emit,
    Event,
    Extract,
    Finish,
    Parse,
    Pipeline,
    PipelineError,
    Stage,
    Stream,
    StreamEnd,
    TextDelta,
    ops,
    stage,
)
from streamkit.core import Run
from streamkit.events import RoleDelta
from streamkit.sse import Encode, Lines
from tests.laws.conftest import CHUNKS

CHAT = (
    "".join(f": ping\nid: {at}\ndata: {chunk}\n\n" for at, chunk in enumerate(CHUNKS)) + "data: [DONE]\n\n"
).encode()


def typed(*events: dict[str, Any]) -> bytes:
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()


MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": []}
ANTHROPIC = typed(
    {"type": "message_start", "message": {**MESSAGE, "usage": {"input_tokens": 3, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "t1", "name": "f"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"a":'}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": " 1}"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}},
    {"type": "message_stop"},
)
RESPONSE = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "output": []}
CALL = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "f"}
USAGE = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
RESPONSES = typed(
    {"type": "response.created", "response": {**RESPONSE, "status": "in_progress"}},
    {"type": "response.output_item.added", "output_index": 0, "item": {**CALL, "arguments": ""}},
    {"type": "response.function_call_arguments.delta", "item_id": "fc_1", "output_index": 0, "delta": "{}"},
    {"type": "response.output_item.done", "output_index": 0, "item": {**CALL, "arguments": "{}"}},
    {"type": "response.completed", "response": {**RESPONSE, "status": "completed", "usage": USAGE}},
)


@dataclass
class Numbered(Stage[Event, Event]):
    """A stage with every kind of state that a user may define."""

    _seen: int = field(default=0, init=False, repr=False)
    _last: Event | None = field(default=None, init=False, repr=False)
    _by_index: dict[int, list[str]] = field(default_factory=dict[int, list[str]], init=False, repr=False)
    _pairs: dict[tuple[int, str], int] = field(default_factory=dict[tuple[int, str], int], init=False, repr=False)
    _names: set[str] = field(default_factory=set[str], init=False, repr=False)

    def feed(self, item: Event) -> Iterable[Event]:
        self._seen += 1
        index, name = getattr(item, "index", None) or 0, type(item).__name__
        self._by_index.setdefault(index, []).append(name)
        self._pairs[index, name] = self._pairs.get((index, name), 0) + 1
        self._names.add(name)
        last, self._last = self._last, item
        yield item
        if isinstance(item, TextDelta) and isinstance(last, TextDelta):
            yield TextDelta(f"{self._seen}{sorted(self._names)}{self._pairs}{self._by_index}{last.text}")


@stage
def shout(delta: TextDelta) -> TextDelta:
    return TextDelta(delta.text.upper(), delta.index)


PIPELINES: dict[str, Pipeline[bytes, Any]] = {
    "extract": Lines() | Parse() | Extract(),
    "an author's": Lines() | Parse() | Extract() | shout | Numbered(),
    "emit": Lines() | Parse() | Extract() | Emit() | Encode(),
}
BODIES = {"chat": CHAT, "anthropic": ANTHROPIC, "responses": RESPONSES}
every_pipeline = pytest.mark.parametrize("pipeline", PIPELINES.values(), ids=PIPELINES.keys())
every_body = pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())


def plain(checkpoint: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(checkpoint))


def handed_over(pipeline: Pipeline[bytes, Any], body: bytes, size: int, after: int) -> list[Any]:
    """The items of a run that another run resumes after `after` items."""
    run: Run[Any] = pipeline.run(body[at : at + size] for at in range(0, len(body), size))
    items = [item for _, item in zip(range(after), run, strict=False)]
    checkpoint = plain(run.checkpoint())
    return items + list(pipeline.run([body[checkpoint["received"] :]], checkpoint=checkpoint))


@every_body
@every_pipeline
def test_a_run_goes_on_from_a_checkpoint_after_any_item(pipeline: Pipeline[bytes, Any], body: bytes) -> None:
    whole = list(pipeline.run([body]))

    for after in range(len(whole)):
        assert handed_over(pipeline, body, 40, after) == whole


@every_pipeline
@given(data=st.data())
def test_a_run_goes_on_for_any_cuts(pipeline: Pipeline[bytes, Any], data: st.DataObject) -> None:
    whole = list(pipeline.run([CHAT]))
    after = data.draw(st.integers(0, len(whole) - 1))
    size = data.draw(st.integers(1, 500))

    assert handed_over(pipeline, CHAT, size, after) == whole


@pytest.mark.anyio
@every_body
async def test_a_stream_goes_on_from_a_checkpoint_after_any_item(body: bytes) -> None:
    @stage
    async def wait(event: TextDelta) -> TextDelta:
        await anyio.lowlevel.checkpoint()
        return event

    pipeline = Lines() | Parse() | Extract() | wait | Numbered()
    whole = [event async for event in pipeline.open([body])]

    for after in range(len(whole)):
        pieces = [body[at : at + 100] for at in range(0, len(body), 100)]
        async with pipeline.open(pieces) as stream:
            items = [await anext(stream) for _ in range(after)]
            checkpoint = plain(stream.checkpoint())
        async with pipeline.open([body[checkpoint["received"] :]], checkpoint=checkpoint) as stream:
            assert items + [event async for event in stream] == whole


@pytest.mark.anyio
async def test_a_stream_and_a_run_take_over_from_each_other() -> None:
    pipeline = PIPELINES["extract"]
    whole = list(pipeline.run([CHAT]))
    async with pipeline.open([CHAT[:500], CHAT[500:]]) as stream:
        items = [await anext(stream) for _ in range(2)]
        checkpoint = plain(stream.checkpoint())

    assert items + list(pipeline.run([CHAT[checkpoint["received"] :]], checkpoint=checkpoint)) == whole


def with_a_failure() -> Run[Any]:
    run = PIPELINES["extract"].run([b"data: nonsense\n\n"])
    with pytest.raises(Exception, match="expected JSON"):
        list(run)
    return run


def at_its_end() -> Run[Any]:
    run = PIPELINES["extract"].run([CHAT])
    assert list(run)
    return run


@pytest.mark.parametrize("ended", [with_a_failure, at_its_end])
def test_a_run_that_has_ended_has_no_checkpoint(ended: Callable[[], Run[Any]]) -> None:
    with pytest.raises(PipelineError, match="has ended"):
        ended().checkpoint()


@pytest.mark.anyio
async def test_no_checkpoint_while_another_task_waits_for_an_item() -> None:
    @dataclass
    class Asking(AsyncStage[Any, Any]):
        async def feed(self, item: Any) -> Iterable[Any]:
            with pytest.raises(PipelineError, match="another task is waiting"):
                streams[0].checkpoint()
            return (item,)

    streams: list[Stream[Any]] = [Asking().open([1, 2])]
    assert [item async for item in streams[0]] == [1, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stages": ["Lines", "Parse"]}, r"expected a checkpoint of Lines \| Parse \| Extract .*, found one of Lines"),
        ({"version": 0}, "version 0"),
        ({"received": "many"}, "expected a checkpoint, found something else"),
        ({"more": 1}, "expected a checkpoint, found something else"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(change: dict[str, Any], message: str) -> None:
    pipeline = PIPELINES["extract"]
    checkpoint = pipeline.run([CHAT]).checkpoint()

    with pytest.raises(PipelineError, match=message):
        pipeline.run([], checkpoint={**checkpoint, **change})


def test_a_state_of_another_form_is_refused_by_the_names_of_its_fields() -> None:
    pipeline = Lines() | Parse()
    checkpoint = pipeline.run([b"data: 1\n\n", b"data"]).checkpoint()
    checkpoint["run"]["levels"][0]["stages"][0] = {"_line": "", "_other": 1}

    with pytest.raises(
        PipelineError, match=r"Lines: expected a state with _line, _after_cr, .*, found one with _line, _other"
    ):
        pipeline.run([], checkpoint=checkpoint)


def test_an_item_of_a_class_that_is_not_loaded_is_not_looked_for() -> None:
    checkpoint = PIPELINES["extract"].run([]).checkpoint()
    checkpoint["ready"] = [{"class": "antigravity:Flight", "value": {}}]

    with pytest.raises(PipelineError, match="an unknown class: 'antigravity:Flight'"):
        PIPELINES["extract"].run([], checkpoint=checkpoint)


def test_what_waits_must_be_plain_or_a_struct() -> None:
    @stage
    def twice(number: int) -> list[complex]:
        return [complex(number), complex(number)]

    run = twice.run([1])
    assert next(run) == 1

    with pytest.raises(PipelineError, match="found an item of type complex"):
        run.checkpoint()


def test_a_state_that_is_not_plain_says_what_its_stage_needs() -> None:
    @dataclass
    class Secretive(Stage[int, int]):
        _hidden: object = field(default_factory=object, init=False, repr=False)

    with pytest.raises(PipelineError, match=r"Secretive\._hidden: expected plain data, or an object with state\(\)"):
        Secretive().run([1]).checkpoint()


def upper(event: Event) -> Event:
    return TextDelta(event.text.upper()) if isinstance(event, TextDelta) else event


def is_text(event: Event) -> bool:
    return isinstance(event, TextDelta)


def kind_of(event: Event) -> str:
    return type(event).__name__


def number(so_far: int, event: Event) -> int:
    return so_far + 1


OPERATORS: list[Stage[Event, Any]] = [
    ops.Map(upper),
    ops.FlatMap[Event, Event](lambda event: [event, event]),
    ops.Filter(is_text),
    ops.Scan(number, 0),
    ops.Tap[Event](repr),
    ops.Take(3),
    ops.TakeUntil(is_text, inclusive=True),
    ops.Skip(2),
    ops.Batch(2),
    ops.SlidingWindow(2),
    ops.Debounce(1.0),
    ops.Throttle(1.0),
    ops.Select(TextDelta),
    ops.Choices(0),
    ops.Switch(kind_of, {"TextDelta": ops.Smooth(), "Finish": ops.Skip(1)}),
    ops.Smooth(),
    ops.Sentences(),
    ops.Sentences(language="en"),
    ops.Coalesce(),
    ops.StopAt(("you? I",)),
]


def test_every_operator_is_held_to_it() -> None:
    assert {type(operator).__name__ for operator in OPERATORS} == {name for name in ops.__all__ if name[0].isupper()}


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: type(operator).__name__)
def test_an_operator_goes_on_from_a_checkpoint_after_any_item(operator: Stage[Event, Any]) -> None:
    pieces = ("He", "llo. ", "How are y", "ou? I", " am well. ", "B", "ye")
    events: list[Event] = [RoleDelta("assistant"), *map(TextDelta, pieces), Finish("stop"), StreamEnd("completed")]
    whole = list(operator.run(iter(events), clock=lambda: 0.0))

    for after in range(len(whole)):
        run = operator.run(iter(events), clock=lambda: 0.0)
        items = [item for _, item in zip(range(after), run, strict=False)]
        checkpoint = plain(run.checkpoint())
        rest = operator.run(iter(events[checkpoint["received"] :]), clock=lambda: 0.0, checkpoint=checkpoint)
        assert items + list(rest) == whole
