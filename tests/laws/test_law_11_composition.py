"""Law 11: an observer inserted anywhere changes nothing, a stage behaves the same inside a wrapper, and `|` rejects an order that
breaks the laws."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamkit as sk
from streamkit import hops, ops
from streamkit.plugins import pipeline_files as pipelines

TEXT = '{"said": "A blue heron. One more", "n": 2}'
PIECES = [TEXT[at : at + 3] for at in range(0, len(TEXT), 3)]
FORBIDDEN = "blue heron"
CHUNKS = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in PIECES]
LAST = {
    "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 9},
}
SSE = b"".join(b"data: " + msgspec.json.encode(chunk) + b"\n\n" for chunk in [*CHUNKS, LAST]) + b"data: [DONE]\n\n"
BODY = msgspec.json.encode(
    {"choices": [{"index": 0, "message": {"content": TEXT}, "finish_reason": "stop"}], "usage": LAST["usage"]}
)
INPUTS: dict[str, Any] = {
    "bytes": [SSE[at : at + 50] for at in range(0, len(SSE), 50)],
    "one event a read": [event + b"\n\n" for event in SSE.split(b"\n\n")[:-1]],
    "lines": SSE.decode().split("\n")[:-1],
    "a JSON body": [BODY],
}


def observe(event: object) -> None:
    """Observe an event without any effect."""


def always(event: object) -> str:
    return "branch"


STAGES: dict[str, Callable[[], Any]] = {
    "Accumulate": sk.Accumulate,
    "Count": lambda: sk.Count("gpt-4o"),
    "Timing": sk.Timing,
    "Smooth": ops.Smooth,
    "Sentences": ops.Sentences,
    "Structured": lambda: sk.Structured(errors="emit"),
    "Moderate": lambda: sk.Moderate(sk.Rule("bird", (FORBIDDEN,))),
    "Budget": lambda: sk.Budget(12, counter=len),
    "StopAt": lambda: ops.StopAt(("One",)),
    "Tap": lambda: ops.Tap(observe),
}
RESULTS = ("Accumulate", "Count", "Structured", "Timing")
WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "outside": lambda stage: stage,
    "Switch": lambda stage: ops.Switch(always, {"branch": stage}),
    "Switch in a Switch": lambda stage: ops.Switch(always, {"branch": ops.Switch(always, {"branch": stage})}),
    "Threaded": hops.Threaded,
    "measure": pipelines.measure,
    "a pipeline in a Switch": lambda stage: ops.Switch(always, {"branch": ops.Tap(observe) | stage}),
}
ORDERS = st.lists(st.sampled_from(sorted(STAGES)), max_size=5, unique=True)


class Still(sk.Source[Any]):
    """A source whose clock is stopped, so that times are the same in every run."""

    def __init__(self, items: Sequence[Any]) -> None:
        self._items: Iterator[Any] = iter(items)

    async def read(self) -> Sequence[Any]:
        return [item for item in [next(self._items, None)] if item is not None]

    def now(self) -> float:
        return 0.0


def composed(stages: Sequence[Any]) -> Any:
    pipeline: Any = sk.Parse() | sk.Extract()
    for stage in stages:
        pipeline = pipeline | stage
    return pipeline


def events(pipeline: Any, items: Sequence[Any]) -> list[Any]:
    """The output, which is checked to be the same with both drivers."""

    async def read() -> list[Any]:
        async with pipeline.open(Still(items)) as stream:
            return [event async for event in stream]

    found = anyio.run(read)
    if isinstance(pipeline, sk.Stage):
        assert list(pipeline.run(iter(items), clock=lambda: 0.0)) == found
    return found


def legal(names: Sequence[str]) -> bool:
    """Whether moderation comes before all stages that assemble text, and those that end the stream before all results."""
    order = {name: at for at, name in enumerate(names)}
    rejected = [("Moderate", late) for late in ("Accumulate", "Structured")]
    rejected += [(early, late) for early in ("Budget", "StopAt") for late in RESULTS]
    return all(order[early] < order[late] for early, late in rejected if early in order and late in order)


def made(names: Sequence[str]) -> list[Any]:
    return [STAGES[name]() for name in names]


@pytest.mark.parametrize("kind", INPUTS)
@settings(deadline=None, max_examples=40)
@given(names=ORDERS, at=st.integers(0, 5))
def test_an_observer_inserted_anywhere_changes_nothing(kind: str, names: list[str], at: int) -> None:
    if not legal(names):
        with pytest.raises(sk.PipelineError, match=r"put (\w+) first, … \| \1 \| \w+ \| …"):
            composed(made(names))
        return
    items = INPUTS[kind]
    plain = events(composed(made(names)), items)

    observed = made(names)
    observed.insert(min(at, len(names)), ops.Tap(observe))
    assert events(composed(observed), items) == plain
    assert events(pipelines.measure(composed(made(names))), items) == plain


@pytest.mark.parametrize("kind", INPUTS)
@settings(deadline=None, max_examples=40)
@given(names=ORDERS.filter(legal), data=st.data())
def test_a_stage_in_a_wrapper_is_what_it_is_outside(kind: str, names: list[str], data: st.DataObject) -> None:
    plain = events(composed(made(names)), INPUTS[kind])
    wrappers = [data.draw(st.sampled_from(sorted(WRAPPERS)), label=name) for name in names]

    wrapped = [WRAPPERS[wrapper](stage) for wrapper, stage in zip(wrappers, made(names), strict=True)]

    assert events(composed(wrapped), INPUTS[kind]) == plain


@pytest.mark.parametrize("kind", INPUTS)
@settings(deadline=None, max_examples=40)
@given(names=ORDERS, data=st.data())
def test_forbidden_text_of_a_delta_is_in_no_field_of_any_event(
    kind: str, names: list[str], data: st.DataObject
) -> None:
    names = [*(name for name in names if name != "Moderate"), "Moderate"]
    names = [names[at] for at in data.draw(st.permutations(range(len(names))), label="order")]
    wrapper = WRAPPERS[data.draw(st.sampled_from(sorted(WRAPPERS)), label="wrapper")]
    stages = [wrapper(stage) if name == "Moderate" else stage for name, stage in zip(names, made(names), strict=True)]
    try:
        pipeline = composed(stages)
    except sk.PipelineError:
        assert not legal(names)
        return
    assert legal(names)

    released = events(pipeline, INPUTS[kind])

    assert "heron" not in msgspec.json.encode(released).decode()
    assert "heron" not in repr(released)
    assert isinstance(released[-1], sk.StreamEnd)


ASSEMBLES = [
    sk.Accumulate(),
    sk.Structured(),
    ops.Switch(always, {"branch": sk.Accumulate()}),
    hops.Threaded(sk.Accumulate()),
]


@pytest.mark.parametrize("assembly", ASSEMBLES, ids=lambda stage: type(stage).__name__)
@pytest.mark.parametrize("wrapper", WRAPPERS.values(), ids=WRAPPERS.keys())
def test_moderation_after_what_assembles_text_is_rejected_over_the_whole_pipeline(assembly: Any, wrapper: Any) -> None:
    moderation = wrapper(sk.Moderate(sk.Rule("bird", (FORBIDDEN,))))

    for left, right in (
        (assembly, moderation),
        (assembly | ops.Tap(observe) | ops.Skip(0), moderation),
        (assembly, ops.Tap(observe) | moderation),
    ):
        with pytest.raises(sk.PipelineError, match=r"^(\w+) \| Moderate: \1 assembles text, .* put Moderate first"):
            left | right
    assert moderation | assembly


def test_a_plugins_stage_that_assembles_text_says_so() -> None:
    @dataclass
    class Whole(sk.Stage[sk.Event, sk.Event]):
        assembles = True

    with pytest.raises(sk.PipelineError, match="Whole assembles text"):
        Whole() | sk.Moderate(sk.Rule("bird", (FORBIDDEN,)))


@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize("ending", ["Budget", "StopAt"])
@pytest.mark.parametrize("wrapper", WRAPPERS.values(), ids=WRAPPERS.keys())
def test_a_stage_that_ends_early_after_a_result_is_rejected_over_the_whole_pipeline(
    result: str, ending: str, wrapper: Any
) -> None:
    first, last = wrapper(STAGES[ending]()), wrapper(STAGES[result]())

    for left, right in ((last, first), (last | ops.Tap(observe), first), (last, ops.Tap(observe) | first)):
        with pytest.raises(
            sk.PipelineError, match=rf"the result that \w+ emits at the end is lost: put {ending} first"
        ):
            left | right
    assert first | last


def test_a_users_stage_declares_its_result_and_that_it_ends_early() -> None:
    @dataclass
    class Total(sk.Stage[sk.Event, sk.Event]):
        emits_result = True

    @dataclass
    class Enough(sk.Stage[sk.Event, sk.Event]):
        ends_early = True

    for left, right in ((Total(), sk.Budget(1, counter=len)), (sk.Timing(), Enough()), (Total(), Enough())):
        with pytest.raises(sk.PipelineError, match=r"put (Budget|Enough) first, … \| \1 \| (Total|Timing) \| …"):
            left | right


@pytest.mark.parametrize("ending", ["Budget", "StopAt"])
def test_results_are_emitted_when_a_stage_ends_the_stream_early(ending: str) -> None:
    stages = [*made([ending, "Accumulate", "Count", "Timing"]), sk.Structured(dict, errors="emit")]

    *_, end = found = events(composed(stages), INPUTS["bytes"])

    kinds = {type(event) for event in found}
    assert {sk.Completion, sk.UsageReport, sk.TokenCount, sk.Timings, sk.events.InvalidOutput} <= kinds
    assert end.reason == {"Budget": "limit", "StopAt": "completed"}[ending]


FRAMES: dict[str, Any] = {
    "before Parse": ops.Tap(observe) | sk.Parse() | sk.Extract(),
    "between": sk.Parse() | ops.Tap(observe) | sk.Extract(),
    "at both": ops.Tap(observe) | sk.Parse() | ops.Tap(observe) | sk.Extract(),
    "Parse twice": sk.Parse() | sk.Parse() | sk.Extract(),
    "Extract in a thread": sk.Parse() | hops.Threaded(sk.Extract()),
    "Parse in a thread": hops.Threaded(sk.Parse()) | sk.Extract(),
    "both as one": hops.Threaded(sk.Parse() | sk.Extract()),
    "Parse in a Switch": ops.Switch(always, {"branch": sk.Parse()}) | sk.Extract(),
    "measured": pipelines.measure(sk.Parse()) | pipelines.measure(sk.Extract()),
}


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES.keys())
def test_reading_is_the_same_with_observers_and_in_wrappers(frame: Any, kind: str) -> None:
    plain = events(sk.Parse() | sk.Extract() | sk.Accumulate() | sk.Timing(), INPUTS[kind])

    assert events(frame | sk.Accumulate() | sk.Timing(), INPUTS[kind]) == plain


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES.keys())
def test_deadlines_on_content_are_the_same_in_wrappers(frame: Any) -> None:
    class Slow(Still):
        deadlines = sk.http.Deadlines(first_content=0.02)

        async def read(self) -> Sequence[Any]:
            await anyio.sleep(0.005)
            return [b": ping\n\n"]

    async def read() -> None:
        async with frame.open(Slow([])) as stream:
            await stream.collect()

    with pytest.raises(sk.errors.DeadlineExceeded, match="'first_content'"):
        anyio.run(read)
