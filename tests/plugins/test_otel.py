"""streamkit-otel: one span a stream, ended at every end, the conventions' names, and no text that nobody asked for."""

from __future__ import annotations

import gc
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics
from opentelemetry.semconv.attributes import error_attributes, server_attributes
from opentelemetry.trace import SpanKind, StatusCode
from streamkit_otel import Trace, names

import streamkit as sk
from streamkit import plugins
from streamkit.testing import HANG, Scripted, Wait, check_stage

pytestmark = pytest.mark.anyio

ANSWER: list[Any] = [
    sk.events.ResponseStart("chatcmpl-1", "chat.completion.chunk", 1, "gpt-4o-2024-08-06"),
    sk.TextDelta("The launch"),
    sk.TextDelta(" code is"),
    sk.Finish("stop"),
    sk.Usage(9, 4, 13),
    sk.StreamEnd("completed", saw_done=True),
]
SECRETS = ("The launch", "code is")


@dataclass
class Told:
    """The telemetry that was recorded."""

    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader
    tracers: TracerProvider
    meters: MeterProvider

    def trace(self, **options: Any) -> Trace:
        return Trace(tracer_provider=self.tracers, meter_provider=self.meters, **options)

    @property
    def span(self) -> ReadableSpan:
        (span,) = self.exporter.get_finished_spans()
        return span

    def get(self, name: str) -> Any:
        return (self.span.attributes or {}).get(name)

    def points(self, name: str) -> list[tuple[Any, dict[str, Any]]]:
        """The sum, the count and the attributes of each point of a histogram."""
        data = self.reader.get_metrics_data()
        metrics = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics] if data else []
        return [
            ((point.sum, point.count), dict(point.attributes))
            for metric in metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


@pytest.fixture
def told() -> Told:
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    return Told(exporter, reader, tracers, MeterProvider([reader], shutdown_on_exit=False))


async def test_a_whole_answer_is_a_span_with_what_is_known(told: Told) -> None:
    stage = told.trace(model="gpt-4o", server_address="api.openai.com", server_port=443, attributes={"shop": "x"})
    steps = [ANSWER[0], Wait(0.5), ANSWER[1], Wait(0.25), *ANSWER[2:]]

    events = [event async for event in stage.open(Scripted(Wait(0.125), *steps))]

    assert events == ANSWER
    assert (told.span.name, told.span.kind) == ("chat gpt-4o", SpanKind.CLIENT)
    assert dict(told.span.attributes or {}) == {
        "shop": "x",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.stream": True,
        "server.address": "api.openai.com",
        "server.port": 443,
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.time_to_first_chunk": 0.125,
        "gen_ai.usage.input_tokens": 9,
        "gen_ai.usage.output_tokens": 4,
        "streamkit.end_reason": "completed",
    }
    assert told.span.status.status_code is StatusCode.UNSET


async def test_the_metrics_are_those_of_the_conventions(told: Told) -> None:
    steps = [Wait(0.125), ANSWER[0], ANSWER[1], Wait(0.25), *ANSWER[2:]]

    async for _ in told.trace(model="gpt-4o").open(Scripted(*steps)):
        pass

    about = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o-2024-08-06",
    }
    ((seconds, count), attributes) = told.points("gen_ai.client.operation.duration")[0]
    assert (count, attributes) == (1, about)
    assert 0 < seconds < 60
    assert told.points("gen_ai.client.operation.time_to_first_chunk") == [((0.125, 1), about)]
    assert told.points("gen_ai.client.operation.time_per_output_chunk") == [((0.25, 1), about)]
    assert told.points("gen_ai.client.token.usage") == [
        ((9, 1), about | {"gen_ai.token.type": "input"}),
        ((4, 1), about | {"gen_ai.token.type": "output"}),
    ]


async def attributes(told: Told, *events: Any) -> dict[str, Any]:
    """The usage that the span of these events has."""
    async for _ in told.trace().open(list(events)):
        pass
    found = dict(told.span.attributes or {})
    return {name.removeprefix("gen_ai.usage."): value for name, value in found.items() if ".usage." in name}


END = sk.StreamEnd("completed", saw_done=True)
CACHED = sk.Usage(150_010, 1_000, 151_010, {"cache_read_input_tokens": 50_000, "cache_creation_input_tokens": 100_000})
THOUGHT = sk.Usage(9, 24, 33, {"completion_tokens_details": {"reasoning_tokens": 20}})


@pytest.mark.parametrize(
    ("events", "usage"),
    [
        (
            [sk.TextDelta("a"), CACHED, END],
            {
                "input_tokens": 150_010,
                "output_tokens": 1_000,
                "cache_read.input_tokens": 50_000,
                "cache_creation.input_tokens": 100_000,
            },
        ),
        ([sk.TextDelta("a"), THOUGHT, END], {"input_tokens": 9, "output_tokens": 24, "reasoning.output_tokens": 20}),
        ([sk.TextDelta("a"), sk.Usage(9, 1, 10), END], {"input_tokens": 9, "output_tokens": 1}),
        ([sk.TextDelta("a"), END], {}),
        (
            [sk.TokenCount(2, "tool_arguments", tool_index=0), sk.TokenCount(3, "tool_arguments", tool_index=1), END],
            {"output_tokens": 5},
        ),
        ([sk.TextDelta("a"), sk.Usage(9, 4, 13), sk.Usage(None, 0), END], {"input_tokens": 9, "output_tokens": 4}),
        (
            [sk.TextDelta("a"), THOUGHT, sk.events.Reset("Disconnected"), sk.Usage(1, 2, 3), END],
            {"input_tokens": 1, "output_tokens": 2},
        ),
        (
            [
                *(sk.events.ResponseStart("1"), sk.TextDelta("a"), sk.Finish("tool_calls"), THOUGHT),
                *(sk.events.ResponseStart("2"), sk.TextDelta("b"), sk.Finish("stop"), THOUGHT, END),
            ],
            {"input_tokens": 18, "output_tokens": 48, "reasoning.output_tokens": 40},
        ),
    ],
    ids=["cache", "reasoning", "neither", "unknown", "parallel calls", "a later zero", "after a reset", "two turns"],
)
async def test_the_usage_is_what_a_report_says(told: Told, events: list[Any], usage: dict[str, int]) -> None:
    assert await attributes(told, *events) == usage


async def test_of_a_file_without_times_the_span_has_none(told: Told, tmp_path: Path) -> None:
    path = tmp_path / "plain.sse"
    path.write_text('data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n' * 3 + "data: [DONE]\n\n")

    async for _ in sk.replay(path) | sk.Parse() | sk.Extract() | told.trace():
        pass

    assert told.get("streamkit.end_reason") == "completed"
    assert told.get("gen_ai.response.time_to_first_chunk") is None
    assert told.points("gen_ai.client.operation.time_to_first_chunk") == []
    assert told.points("gen_ai.client.operation.time_per_output_chunk") == []


def test_the_names_are_those_of_opentelemetry() -> None:
    known = {
        value
        for module in (gen_ai_attributes, gen_ai_metrics, error_attributes, server_attributes)
        for value in vars(module).values()
        if isinstance(value, str)
    }
    ours = {value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)}

    assert len(ours) == 23
    assert ours - known == {"streamkit.end_reason"}
    assert set(names.PROVIDERS.values()) - {value.value for value in gen_ai_attributes.GenAiProviderNameValues} == {
        "ollama"
    }


async def test_tokens_that_were_counted_here_are_told_where_the_provider_says_nothing(told: Told) -> None:
    pipeline = sk.Count("gpt-4o") | told.trace()

    async for _ in pipeline.open([event for event in ANSWER if not isinstance(event, sk.Usage)]):
        pass

    assert told.get("gen_ai.usage.input_tokens") is None
    assert told.get("gen_ai.usage.output_tokens") == 4
    assert [point for point, _ in told.points("gen_ai.client.token.usage")] == [(4, 1)]


async def test_tokens_that_nobody_knows_are_not_measured(told: Told) -> None:
    async for _ in told.trace().open(ANSWER[:3]):
        pass

    assert told.points("gen_ai.client.token.usage") == []
    assert told.get("gen_ai.usage.output_tokens") is None


async def test_the_provider_is_told_by_the_form_of_the_response(told: Told) -> None:
    async for _ in told.trace().open([sk.events.ResponseDetails(shape="anthropic"), *ANSWER[1:]]):
        pass

    assert told.get("gen_ai.provider.name") == "anthropic"


# The ends


async def test_a_failure_of_the_source_is_an_error_without_its_message(told: Told) -> None:
    with pytest.raises(sk.errors.Disconnected):
        async with told.trace().open(Scripted[Any](*ANSWER[:2], sk.errors.Disconnected("said: The launch"))) as events:
            async for _ in events:
                pass

    assert told.get("error.type") == "streamkit.errors.Disconnected"
    assert told.get("streamkit.end_reason") == "truncated"
    assert (told.span.status.status_code, told.span.status.description) == (StatusCode.ERROR, None)
    assert told.span.events == ()
    [(_, attributes)] = told.points("gen_ai.client.operation.duration")
    assert attributes["error.type"] == "streamkit.errors.Disconnected"


async def test_a_failure_without_async_with_is_an_error_too(told: Told) -> None:
    with pytest.raises(ZeroDivisionError):
        async for _ in told.trace().open(Scripted[Any](*ANSWER[:2], ZeroDivisionError())):
            pass

    assert told.get("error.type") == "builtins.ZeroDivisionError"


async def test_a_failure_to_connect_is_an_error(told: Told) -> None:
    class Closed(Scripted[Any]):
        async def open(self) -> None:
            raise sk.errors.ConnectFailed("refused")

    with pytest.raises(sk.errors.ConnectFailed):
        async with told.trace().open(Closed()):
            pass

    assert told.get("error.type") == "streamkit.errors.ConnectFailed"
    assert told.points("gen_ai.client.operation.time_to_first_chunk") == []


async def test_a_stage_that_fails_behind_it_is_an_error(told: Told) -> None:
    @sk.stage
    def torn(delta: sk.TextDelta) -> sk.TextDelta:
        raise KeyError(delta.text)

    with pytest.raises(KeyError):
        async with (told.trace() | torn).open(ANSWER) as events:
            async for _ in events:
                pass

    assert told.get("error.type") == "builtins.KeyError"


@pytest.mark.parametrize("reason", ["unknown", "truncated", "provider_error", "timeout"])
async def test_an_answer_that_failed_is_an_error_by_its_reason(told: Told, reason: Any) -> None:
    async for _ in told.trace().open([*ANSWER[:2], sk.StreamEnd(reason)]):
        pass

    assert (told.get("error.type"), told.get("streamkit.end_reason")) == (reason, reason)
    assert told.span.status.status_code is StatusCode.ERROR


async def test_a_stream_that_is_cancelled_has_not_failed(told: Told) -> None:
    source = Scripted[Any](*ANSWER[:2])
    async with told.trace().open(source) as events:
        source.left += [events.cancel, HANG]
        async for _ in events:
            pass

    assert told.get("streamkit.end_reason") == "cancelled"
    assert (told.get("error.type"), told.span.status.status_code) == (None, StatusCode.UNSET)


async def test_a_consumer_that_is_cancelled_ends_the_span(told: Told) -> None:
    with anyio.CancelScope() as scope:
        async with told.trace().open(Scripted[Any](*ANSWER[:2], scope.cancel, HANG)) as events:
            async for _ in events:
                pass

    assert (told.get("streamkit.end_reason"), told.get("error.type")) == ("cancelled", None)


async def test_a_consumer_that_leaves_ends_the_span(told: Told) -> None:
    async with told.trace().open(ANSWER) as events:
        async for event in events:
            if isinstance(event, sk.TextDelta):
                break
        assert told.exporter.get_finished_spans() == ()

    assert (told.get("streamkit.end_reason"), told.get("error.type")) == ("cancelled", None)


async def test_what_the_consumer_was_handling_before_is_no_error_of_the_stream(told: Told) -> None:
    try:
        raise KeyError
    except KeyError:
        async with told.trace().open(ANSWER) as events:
            await anext(events)

    assert (told.get("streamkit.end_reason"), told.get("error.type")) == ("cancelled", None)


@pytest.mark.filterwarnings("ignore:a stream was dropped:ResourceWarning")
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
async def test_a_stream_that_is_dropped_ends_its_span(told: Told) -> None:
    stream = aiter(told.trace().open(ANSWER))
    await anext(stream)
    del stream
    gc.collect()
    for _ in range(5):
        await anyio.lowlevel.checkpoint()

    assert (told.get("streamkit.end_reason"), told.get("error.type")) == ("cancelled", None)


def test_a_run_that_is_dropped_without_being_closed_ends_its_span(told: Told) -> None:
    # So it is when a loop dies with the coroutine that reads: nobody is left to wait for `close`.
    stage = told.trace()
    stage.tick(0.0)
    assert told.exporter.get_finished_spans() == ()
    del stage
    gc.collect()

    assert told.get("streamkit.end_reason") == "cancelled"


async def test_a_stream_that_is_blocked_is_a_span_with_the_reason(told: Told) -> None:
    pipeline = sk.Moderate(sk.Rule("secret", phrases=("launch code",), action="block")) | told.trace()

    async for _ in pipeline.open(ANSWER):
        pass

    assert told.get("streamkit.end_reason") == "moderated"
    assert told.get("gen_ai.response.finish_reasons") == ("content_filter",)
    assert told.get("error.type") is None


async def test_an_attempt_that_begins_anew_has_a_span_of_its_own(told: Told) -> None:
    class Twice(Scripted[Any]):
        async def again(self, error: Exception) -> bool:
            return isinstance(error, sk.errors.Disconnected)

    source = Twice(sk.errors.Disconnected("reset"), *ANSWER)
    async for _ in told.trace().open(source):
        pass

    first, second = told.exporter.get_finished_spans()
    assert (first.attributes or {})["error.type"] == "streamkit.errors.Disconnected"
    assert (second.attributes or {})["streamkit.end_reason"] == "completed"


async def test_what_was_void_is_not_told(told: Told) -> None:
    first: list[Any] = [sk.events.ResponseStart("chatcmpl-0", model="other"), sk.TextDelta("Once"), sk.Finish("length")]
    async for _ in told.trace(capture_content=True).open([*first, sk.events.Reset("Disconnected"), *ANSWER]):
        pass

    assert told.get("gen_ai.response.id") == "chatcmpl-1"
    assert told.get("gen_ai.response.finish_reasons") == ("stop",)
    assert "Once" not in told.get("gen_ai.output.messages")


async def test_a_consumer_that_leaves_with_the_last_event_has_the_whole_answer(told: Told) -> None:
    async with told.trace().open(ANSWER) as events:
        async for event in events:
            if isinstance(event, sk.StreamEnd):
                break

    assert told.get("streamkit.end_reason") == "completed"


# Where it belongs


async def test_the_span_is_a_child_of_the_consumers(told: Told) -> None:
    pipeline, tracer = told.trace(), told.tracers.get_tracer("test")

    async def consume(name: str) -> None:
        with tracer.start_as_current_span(name):
            async with pipeline.open(ANSWER) as events:
                async for _ in events:
                    await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(consume, "one")
        group.start_soon(consume, "two")

    spans = told.exporter.get_finished_spans()
    parents = {span.context.span_id: span.name for span in spans if span.name != "chat"}
    assert sorted(parents[span.parent.span_id] for span in spans if span.name == "chat" and span.parent) == [
        "one",
        "two",
    ]


async def test_the_parent_is_the_one_where_the_stream_is_opened(told: Told) -> None:
    tracer = told.tracers.get_tracer("test")
    with tracer.start_as_current_span("where it is made"):
        stream = told.trace().open(ANSWER)
    with tracer.start_as_current_span("where it is opened") as opened:
        async for _ in stream:
            pass

    (span,) = (span for span in told.exporter.get_finished_spans() if span.name == "chat")
    assert span.parent is not None
    assert span.parent.span_id == opened.get_span_context().span_id


# Text


def everything(told: Told) -> str:
    return told.span.to_json() + str(told.reader.get_metrics_data())


async def test_no_text_is_told(told: Told) -> None:
    call = sk.ToolCallDelta(0, "call_1", "save", '{"note": "The launch"}')
    async for _ in told.trace().open([*ANSWER[:3], call, sk.RefusalDelta("code is"), *ANSWER[3:]]):
        pass

    shown = everything(told)
    assert not any(secret in shown for secret in SECRETS)


async def test_the_answer_is_told_to_who_asks_for_it(told: Told) -> None:
    said = [
        sk.ReasoningDelta("Hm."),
        *ANSWER[1:3],
        sk.ToolCallDelta(0, "call_1", "save", '{"at": '),
        sk.ToolCallDelta(0, arguments="7}"),
        sk.ToolCallDelta(1, "call_2", "cut", '{"at'),
        sk.TextDelta("Other", 1),
        *ANSWER[3:],
    ]
    async for _ in told.trace(capture_content=True).open(said):
        pass

    assert json.loads(told.get("gen_ai.output.messages")) == [
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": "Hm."},
                {"type": "text", "content": "The launch code is"},
                {"type": "tool_call", "id": "call_1", "name": "save", "arguments": {"at": 7}},
                {"type": "tool_call", "id": "call_2", "name": "cut", "arguments": '{"at'},
            ],
            "finish_reason": "stop",
        },
        {"role": "assistant", "parts": [{"type": "text", "content": "Other"}], "finish_reason": ""},
    ]


async def test_the_name_of_a_call_may_come_in_pieces_or_with_every_piece(told: Told) -> None:
    said = [
        sk.ToolCallDelta(0, "call_1", "edit_"),
        sk.ToolCallDelta(0, name="file"),
        sk.ToolCallDelta(0, arguments="{}"),
        sk.ToolCallDelta(1, "call_2", "save", "{"),
        sk.ToolCallDelta(1, "call_2", "save", "}"),
    ]
    async for _ in told.trace(capture_content=True).open([*said, *ANSWER[3:]]):
        pass

    (message,) = json.loads(told.get("gen_ai.output.messages"))
    assert [(part["id"], part["name"], part["arguments"]) for part in message["parts"]] == [
        ("call_1", "edit_file", {}),
        ("call_2", "save", {}),
    ]


async def test_behind_moderation_it_has_what_was_released(told: Told) -> None:
    pipeline = sk.Moderate(sk.Rule("secret", phrases=("launch code",))) | told.trace(capture_content=True)
    async for _ in pipeline.open(ANSWER):
        pass

    assert "The [redacted] is" in told.get("gen_ai.output.messages")
    assert "launch code" not in everything(told)


# As a stage and as a package


@pytest.mark.parametrize("options", [{}, {"capture_content": True}], ids=["as it is", "with content"])
def test_it_keeps_the_laws(options: dict[str, bool]) -> None:
    check_stage(Trace(model="gpt-4o", **options), [*ANSWER[:3], sk.ToolCallDelta(0, "a", "b", '{"c": 1}'), *ANSWER[3:]])


async def test_a_run_that_goes_on_elsewhere_knows_what_came_before(told: Told) -> None:
    async with told.trace().open(ANSWER[:3]) as events:
        await anext(events)
        checkpoint = events.checkpoint()
    told.exporter.clear()

    async for _ in told.trace().open(ANSWER[checkpoint["received"] :], checkpoint=json.loads(json.dumps(checkpoint))):
        pass

    assert told.get("gen_ai.response.id") == "chatcmpl-1"
    assert told.get("streamkit.end_reason") == "completed"


def test_it_is_found_by_name() -> None:
    assert plugins.find("stages", "otel") is Trace
