"""Descriptions of pipelines, and metrics of the stages of a run."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest

import streamkit as sk
from streamkit import ops
from streamkit.plugins import pipeline_files as pipelines
from tests.written import Translate, identity, shout, way

END = sk.StreamEnd("completed", True)
HELLO = b'data: {"choices": [{"index": 0, "delta": {"content": "hello wor"}}]}\n\ndata: [DONE]\n\n'


def test_a_pipeline_is_described_as_plain_data() -> None:
    pipeline = sk.Parse() | sk.Extract() | shout | ops.Select(sk.TextDelta) | Translate("fr", key="secret")

    assert pipelines.describe(pipeline) == [
        {
            "stage": "Parse",
            "options": {},
            "takes": ["bytes", "bytearray", "memoryview", "str", "ServerSentEvent"],
            "gives": ["ServerSentEvent"],
            "waits": False,
        },
        {"stage": "Extract", "options": {}, "takes": ["ServerSentEvent"], "gives": ["Event"], "waits": False},
        {"stage": "shout", "options": {}, "takes": ["Event"], "gives": ["Event"], "waits": False},
        {
            "stage": "Select",
            "options": {"types": "TextDelta"},
            "takes": ["Event"],
            "gives": ["TextDelta", "StreamEnd"],
            "waits": False,
        },
        {"stage": "Translate", "options": {"language": "fr"}, "takes": ["Event"], "gives": ["Event"], "waits": True},
    ]


def test_what_has_no_name_is_described_too() -> None:
    stage: Any = ops.Switch(lambda event: "a", {"a": ops.Map(identity)})

    (described,) = pipelines.describe(stage)

    assert described["options"]["choose"].endswith("<lambda>>")
    assert described["options"]["branches"]["a"][0]["options"] == {"function": {"named": "tests.written:identity"}}
    assert (described["takes"], described["gives"]) == (None, None)


def test_the_picture_is_a_flow_chart() -> None:
    pipeline = sk.Parse() | sk.Extract() | ops.StopAt('"#<') | ops.Map(way) | ops.Batch(2) | sk.stage(list)

    assert pipelines.mermaid(pipeline) == (
        "flowchart LR\n"
        '    s0["Parse"]\n'
        '    s1["Extract"]\n'
        '    s2["StopAt<br/>stops=#quot;#35;#lt;"]\n'
        '    s3["Map<br/>function=tests.written:way"]\n'
        '    s4["Batch<br/>size=2"]\n'
        '    s5["list"]\n'
        '    in(( )) -->|"bytes, bytearray, memoryview, …"| s0\n'
        '    s0 -->|"ServerSentEvent"| s1\n'
        '    s1 -->|"Event"| s2\n'
        '    s2 -->|"Event"| s3\n'
        "    s3 --> s4\n"
        '    s4 -->|"list"| s5\n'
        "    s5 --> out(( ))\n"
    )
    assert '    s0(["Translate<br/>language=fr"])' in pipelines.mermaid(Translate("fr", key="secret"))
    assert "secret" not in pipelines.mermaid(Translate("fr", key="secret"))


# Metrics


def counts(figures: Iterable[Any]) -> list[tuple[object, ...]]:
    return [(one.stage, one.bursts, one.items_in, one.items_out, one.held, one.error) for one in figures]


EXPECTED = [
    ("Parse", 1, 1, 2, None, None),
    ("Extract", 1, 2, 2, None, None),
    ("Smooth", 1, 2, 3, 0, None),
    ("Accumulate", 1, 3, 4, None, None),
]


def test_a_measured_run_tells_what_each_stage_did() -> None:
    pipeline = pipelines.measure(sk.Parse() | sk.Extract() | ops.Smooth() | sk.Accumulate())

    run, plain = pipeline.run(HELLO), (sk.Parse() | sk.Extract() | ops.Smooth() | sk.Accumulate()).run(HELLO)

    assert list(run) == list(plain)
    assert counts(run.metrics) == EXPECTED
    assert all(0 < one.seconds < 60 for one in run.metrics)
    assert run.stage(sk.Accumulate).snapshot.text == "hello wor"


@pytest.mark.anyio
async def test_a_measured_stream_tells_it_too_and_each_run_has_its_own() -> None:
    pipeline = pipelines.measure(sk.Parse() | sk.Extract() | ops.Smooth() | sk.Accumulate())

    for _ in range(2):
        async with pipeline.open(HELLO) as stream:
            assert len(await stream.collect()) == 4
        assert counts(stream.metrics) == EXPECTED


@pytest.mark.anyio
async def test_async_stages_are_measured_by_the_item() -> None:
    async with pipelines.measure(ops.Coalesce() | Translate("fr")).open(
        [sk.TextDelta("a"), sk.TextDelta("b"), END]
    ) as stream:
        await stream.collect()

    assert counts(stream.metrics) == [("Coalesce", 1, 3, 2, None, None), ("Translate", 2, 2, 2, None, None)]


def test_what_is_held_is_told_while_it_is_held() -> None:
    run = pipelines.measure(ops.Smooth()).run(iter([sk.TextDelta("one tw"), sk.TextDelta("o")]))

    assert next(run) == sk.TextDelta("one ")
    assert run.metrics[0].held == 2


def test_the_stage_that_failed_says_so_and_what_came_before_is_delivered() -> None:
    @dataclass
    class Fails(sk.Stage[int, float]):
        def feed(self, item: int) -> Iterable[float]:
            yield 1 / item

    run = pipelines.measure(Fails() | ops.Skip[float](0)).run([2, 1, 0])

    assert [next(run), next(run)] == [0.5, 1.0]
    with pytest.raises(ZeroDivisionError) as caught:
        next(run)
    assert caught.value.__notes__ == ["in stage 1 of 2: Fails"]
    assert counts(run.metrics) == [("Fails", 1, 3, 2, None, "ZeroDivisionError"), ("Skip", 1, 2, 2, None, None)]


@pytest.mark.anyio
async def test_a_run_that_is_not_measured_has_no_figures_and_no_clock() -> None:
    pipeline = ops.Take(1) | ops.Skip(0)
    pipelines.measure(pipeline)

    run = pipeline.run([1])
    with pytest.raises(sk.PipelineError, match=r"open it with streamkit.plugins.pipeline_files.measure\(pipeline\)"):
        _ = run.metrics
    async with pipeline.open([1]) as stream:
        with pytest.raises(sk.PipelineError, match="not measured"):
            _ = stream.metrics
