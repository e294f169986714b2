"""Manipulated checkpoints restore a run or raise `PipelineError`; they never execute code."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import streamkit as sk
from streamkit import ops
from tests.hostile import cyclic, nested, tampered

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "150"))
thorough = settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
SECRET = "blue heron 42"
LONGEST = 1000


def chunk(**delta: Any) -> str:
    return f"data: {json.dumps({'id': 'c', 'model': 'm', 'choices': [{'index': 0, 'delta': delta}]})}\n\n"


CALL = {"index": 0, "id": "t", "function": {"name": "f", "arguments": '{"a": "blue'}}
BODY = "".join(
    [
        ": ping\nid: 7\nretry: 10\n",
        chunk(role="assistant", content="Dear you. The blue"),
        chunk(content=" heron 4"),
        chunk(content="1 flew. My key is sk-"),
        chunk(reasoning_content="Hm, blue"),
        chunk(tool_calls=[CALL]),
        chunk(tool_calls=[{"index": 0, "function": {"arguments": ' sky"}'}}]),
        chunk(content="1, 2! \ud83d".encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")),
        'data: {"choices": [{"index": 0, "delta": {"content": "\\ud83d"}}]}\n\n',
        'data: {"choices": [{"index": 0, "delta": {"content": "\\ude00."}}]}\n\n',
        'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": {"total_tokens": 3}}\n\n',
        "data: [DONE]\n\n",
    ]
).encode()


def letters(text: str) -> Iterator[tuple[int, int]]:
    if (at := text.find("heron")) >= 0:
        yield at, at + 5


def way(event: object) -> str:
    return type(event).__name__


RULES = (
    sk.Rule("secret", phrases=(SECRET,), patterns=(r"sk-\d+",), normalize=("nfkc", "leet")),
    sk.Rule("key", detectors=("api_key",), action="annotate"),
    sk.Rule("check", check=letters, window=10),
    sk.Rule("fine", phrases=("blue sky",), action="allow", whole_words=True),
)
READ: Any = sk.sse.Lines() | sk.Parse(comments=True) | sk.Extract()
PIPELINES: dict[str, Any] = {
    "parse": sk.sse.Lines() | sk.Parse(comments=True),
    "extract": READ,
    "accumulate": READ | sk.Accumulate() | sk.Timing(),
    "moderate": READ | sk.Moderate(RULES, keep_raw=True, reports=True, max_hold_seconds=5.0),
    "observe": READ | sk.Moderate(RULES, mode="observe") | sk.Accumulate(),
    "count": READ | sk.Budget(1000, model="gpt-4o") | sk.Count("gpt-4o", running=True),
    "count characters": READ | sk.Count(counter="characters") | sk.Count(counter=len),
    "structured": READ | sk.Structured(tools={"f": dict}, errors="emit"),
    "pieces": READ | ops.Smooth() | ops.StopAt(("sky",)) | ops.Coalesce(),
    "sentences": READ | ops.Sentences(),
    "branches": READ | ops.Switch(way, {"TextDelta": ops.Smooth(), "ReasoningDelta": sk.Timing()}),
    "items": READ | ops.Skip(1) | ops.Take(20) | ops.Batch(2),
    "windows": READ | ops.Debounce(1.0) | ops.Throttle(1.0) | ops.SlidingWindow(2),
    "emit": READ | sk.Emit() | sk.sse.Encode(),
}


@dataclass
class AsyncSame(sk.AsyncStage[Any, Any]):
    async def feed(self, item: Any) -> Iterable[Any]:
        return (item,)


def refuse(event: object) -> object:
    raise KeyError("mine")


def checkpoints(pipeline: Any) -> list[dict[str, Any]]:
    """The checkpoints of a run after each of its first items, after a round trip through JSON."""
    run = pipeline.run(BODY[at : at + 70] for at in range(0, len(BODY), 70))
    found = [run.checkpoint()]
    for _ in run:
        try:
            found.append(run.checkpoint())
        except sk.PipelineError:
            break
    return [json.loads(json.dumps(checkpoint)) for checkpoint in found]


def used(pipeline: Any, checkpoint: Any) -> None:
    """Restore the run, read it to its end, and read the state of its stages."""
    received = checkpoint.get("received") if isinstance(checkpoint, dict) else 0
    rest = BODY[received:] if type(received) is int and abs(received) < 10**6 else BODY
    run = pipeline.run([rest], checkpoint=checkpoint, clock=lambda: 1.0)
    try:
        list(run)
    finally:
        for kind, look in LOOKS.items():
            try:
                stage = run.stage(kind)
            except sk.PipelineError:
                continue
            look(stage)


LOOKS: dict[type[Any], Callable[[Any], object]] = {
    sk.Accumulate: lambda stage: stage.snapshot.to_dict(),
    sk.Moderate: lambda stage: (stage.report, stage.held, stage.raw()) if stage.keep_raw else stage.report,
    sk.Count: lambda stage: (stage.report, stage.tokens()),
    sk.Timing: lambda stage: stage.timings,
}


def reading(pipeline: Any, checkpoint: Any) -> str:
    """The message of the error, which must be an error of streamkit; empty if none is raised."""
    try:
        used(pipeline, checkpoint)
    except sk.StreamkitError as error:
        return checked(error)
    return ""


def checked(error: Exception) -> str:
    message = str(error)
    assert len(message) <= LONGEST
    assert message.isprintable()
    assert not any(text in f"{message} {error.__cause__}" for text in ("blue heron", "Dear you", "blue sky", "My key"))
    return message


@pytest.mark.parametrize("name", PIPELINES)
def test_a_checkpoint_that_was_tampered_with_is_a_run_or_a_streamkit_error(name: str) -> None:
    pipeline, valid = PIPELINES[name], checkpoints(PIPELINES[name])
    assert reading(pipeline, valid[len(valid) // 2]) == ""

    @thorough
    @given(st.data())
    def check(data: st.DataObject) -> None:
        reading(pipeline, data.draw(st.composite(tampered)(data.draw(st.sampled_from(valid)))))

    check()


@pytest.mark.parametrize(("field", "value"), [("flushed", 2), ("flushed", 99), ("flushed", -1), ("start", -1)])
def test_a_place_that_the_run_does_not_have_is_an_error(field: str, value: int) -> None:
    pipeline = PIPELINES["moderate"]
    checkpoint = checkpoints(pipeline)[1]
    checkpoint["run"][field] = value

    assert reading(pipeline, checkpoint) == "this pipeline: the checkpoint does not fit: IndexError"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("name", ["moderate", "accumulate", "branches"])
def test_a_stream_reads_such_a_checkpoint_alike(name: str, backend: str) -> None:
    later: Any = sk.hops.Threaded(sk.Timing()) if name == "accumulate" else AsyncSame()
    pipeline = PIPELINES[name] | later | AsyncSame()

    async def begun() -> Any:
        async with pipeline.open([BODY[:300], BODY[300:]]) as stream:
            await anext(stream)
            return json.loads(json.dumps(stream.checkpoint()))

    async def read(checkpoint: Any) -> str:
        try:
            await pipeline.open([BODY[300:]], checkpoint=checkpoint).collect()
        except sk.StreamkitError as error:
            return checked(error)
        return ""

    valid = anyio.run(begun, backend=backend)
    assert anyio.run(read, valid, backend=backend) == ""

    @thorough
    @given(st.data())
    def check(data: st.DataObject) -> None:
        anyio.run(read, data.draw(st.composite(tampered)(valid)), backend=backend)

    check()


def test_what_is_no_checkpoint_is_said() -> None:
    for found in (
        [],
        "",
        json.dumps(READ.run([]).checkpoint()),
        b"{}",
        5,
        {},
        {"version": 1},
        [None],
        cyclic(),
        nested(2000),
        {"stages": cyclic()},
        10**4999,
    ):
        with pytest.raises(sk.PipelineError, match=r"^expected a checkpoint, found something else") as caught:
            READ.run([], checkpoint=found)
        checked(caught.value)


def changed(path: str, value: Any) -> dict[str, Any]:
    """The checkpoint of a run with another value in one place."""
    checkpoint = checkpoints(PIPELINES["moderate"])[-1]
    *steps, last = [int(step) if step.isdecimal() else step for step in path.split("/")]
    place: Any = checkpoint
    for step in steps:
        place = place[step]
    place[last] = value
    return checkpoint


CHANGES: dict[str, tuple[str, Any, str]] = {
    "a long name": ("stages/0", "x" * 100_000, "found one of another | Parse"),
    "text as a name": ("stages/0", "Dear you, my key is 5", "found one of another | Parse"),
    "a large version": ("version", 10**4999, r"\(version a number of more than 64 bits\)"),
    "a number of bytes that is none": (
        "received",
        0.5,
        r"something else: Expected `int`, got `float` - at `\$\.received`",
    ),
    "a truth": ("received", True, r"something else: Expected `int`, got `bool` - at `\$\.received`"),
    "no levels": ("run/levels", [], "this pipeline: the checkpoint does not fit: ValueError"),
    "a state of no stage": ("run/levels/0/stages", [], "this pipeline: the checkpoint does not fit: ValueError"),
    "no state": ("run/levels/0/stages/0", None, "Lines: expected a state with _line, .*, found one with nothing"),
    "text as a field": (
        "run/levels/0/stages/0/Dear you",
        1,
        "Lines: expected a state with _line, .*, found one with .*, another",
    ),
    "text as a dialect": ("run/levels/0/stages/2/reader", "Dear you", "unknown dialect: another"),
    "a deep state": ("run/levels/0/stages/3", nested(2000), "Moderate: the checkpoint does not fit: TypeError"),
    "an item of no class": ("ready", [5], "this pipeline: the checkpoint does not fit: TypeError"),
    "an item of another's class": (
        "ready",
        [{"class": "os:system", "value": "true"}],
        "unknown class: 'os:system'",
    ),
    "an item of a class inside": (
        "ready",
        [{"class": "streamkit.events:TextDelta.__init__.__globals__", "value": {}}],
        "unknown class: 'streamkit.events:TextDelta.__init__.__globals__'",
    ),
    "an item of a text": ("ready", [{"class": "a:Dear you", "value": {}}], "unknown class: another"),
    "a value that is none": (
        "ready",
        [{"class": "streamkit.events:StreamEnd", "value": {"reason": "Dear you"}}],
        r"Invalid enum value - at `\$\.reason`",
    ),
    "half of a pair": (
        "ready",
        [{"class": "streamkit.events:TextDelta", "value": {"text": 5}}],
        "Expected `str`, got `int`",
    ),
}


@pytest.mark.parametrize(("path", "value", "message"), CHANGES.values(), ids=CHANGES.keys())
def test_what_does_not_fit_is_said_without_the_text_of_the_answer(path: str, value: Any, message: str) -> None:
    with pytest.raises(sk.PipelineError, match=message) as caught:
        PIPELINES["moderate"].run([], checkpoint=changed(path, value))

    checked(caught.value)
    assert caught.value.__cause__ is None


def test_nothing_is_imported_or_called_for_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    monkeypatch.setattr(sk, "__getattr__", called.append, raising=False)
    modules = set(sys.modules)

    for name in ("streamkit:Flight", "antigravity:Flight", "streamkit.nowhere:X", "tests.exits:X", "os.path:join"):
        with pytest.raises(sk.PipelineError, match="of an unknown "):
            READ.run([], checkpoint=READ.run([]).checkpoint() | {"ready": [{"class": name, "value": {}}]})

    assert called == []
    assert set(sys.modules) == modules


def test_an_error_of_somebody_else_s_stage_is_its_own_after_a_checkpoint_too() -> None:
    pipeline = READ | ops.Map(refuse)
    checkpoint = pipeline.run([BODY[:10]]).checkpoint()

    with pytest.raises(KeyError, match="mine"):
        list(pipeline.run([BODY], checkpoint=checkpoint))
