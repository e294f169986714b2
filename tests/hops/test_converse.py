"""Turns and tools as one stream: what is sent, what is called, how it ends, and nothing left behind."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Any

import anyio
import msgspec
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

import streamkit as sk
from streamkit.cli.provider import Provider, serve
from streamkit.events import ResponseStart, ToolOutput, TurnEnd
from streamkit.hops import converse

DONE = sk.StreamEnd("completed", True)


class City(msgspec.Struct):
    city: str


async def weather(place: City) -> dict[str, int]:
    await checkpoint()
    return {"degrees": len(place.city)}


def call(name: str, arguments: str, number: int = 0, id: str | None = None) -> list[sk.Event]:
    return [sk.ToolCallDelta(number, id or f"c{number}", name), sk.ToolCallDelta(number, arguments=arguments)]


def calling(*deltas: sk.Event, id: str = "r1") -> list[sk.Event]:
    usage = sk.Usage(prompt_tokens=10, completion_tokens=1, total_tokens=11)
    return [ResponseStart(id), *deltas, sk.Finish("tool_calls"), usage, sk.StreamEnd("tool_calls", True)]


def saying(text: str, id: str = "r2") -> list[sk.Event]:
    usage = sk.Usage(prompt_tokens=20, completion_tokens=2, total_tokens=22)
    return [ResponseStart(id), sk.TextDelta(text), sk.Finish("stop"), usage, DONE]


@dataclass
class Model:
    """Answers with scripted turns, and records the messages of each request and what was closed."""

    turns: list[list[sk.Event]]
    asked: list[list[dict[str, Any]]] = field(default_factory=list[list[dict[str, Any]]])
    closed: int = 0

    def __call__(self, messages: list[dict[str, Any]]) -> sk.Stream[sk.Event]:
        self.asked.append(messages)
        return self.events(self.turns[len(self.asked) - 1]) | sk.Accumulate()

    async def events(self, events: list[sk.Event]) -> AsyncIterator[sk.Event]:
        try:
            for event in events:
                await checkpoint()
                yield event
        finally:
            self.closed += 1


USER = {"role": "user", "content": "How warm is it in Oslo?"}


async def events_of(model: Model, tools: Any, **options: Any) -> list[sk.Event]:
    async with converse(model, tools, [USER], **options) as events:
        return [event async for event in events]


def of(events: list[sk.Event], *kinds: type) -> list[Any]:
    return [event for event in events if isinstance(event, kinds)]


@pytest.mark.anyio
async def test_two_turns_are_one_stream_with_one_end() -> None:
    model = Model([calling(*call("weather", '{"city": "Oslo"}')), saying("4 degrees")])

    events = await events_of(model, [weather])

    assert of(events, ToolOutput, TurnEnd, sk.TextDelta, sk.StreamEnd) == [
        ToolOutput("weather", {"degrees": 4}, "c0"),
        TurnEnd(1, "tool_calls", 1, sk.Usage(prompt_tokens=10, completion_tokens=1, total_tokens=11)),
        sk.TextDelta("4 degrees"),
        TurnEnd(2, "completed", 0, events[-2].usage),  # type: ignore[union-attr] # pyright: ignore
        DONE,
    ]
    usage = of(events, TurnEnd)[1].usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.responses) == (30, 3, 2)
    assert model.closed == 2
    assert model.asked[0] == [USER]
    function = {"name": "weather", "arguments": '{"city": "Oslo"}'}
    assert model.asked[1] == [
        USER,
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c0", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "c0", "content": '{"degrees":4}'},
    ]


@pytest.mark.anyio
async def test_the_conversation_is_written_in_the_requested_format() -> None:
    model = Model([calling(*call("weather", '{"city": "Oslo"}')), saying("4")])

    await events_of(model, [weather], to="anthropic")

    assert [message["role"] for message in model.asked[1]] == ["user", "assistant", "user"]
    assert model.asked[1][2]["content"][0]["tool_use_id"] == "c0"


@pytest.mark.anyio
async def test_arguments_by_name_have_types_and_defaults() -> None:
    async def add(a: int, b: int = 5) -> int:
        return a + b

    def joined(words: list[str]) -> str:
        return " ".join(words)

    deltas = [*call("add", '{"a": 1}'), *call("joined", '{"words": ["x", "y"]}', 1), *call("now", "", 2)]
    model = Model([calling(*deltas), saying("done")])

    events = await events_of(model, {"add": add, "joined": joined, "now": lambda: "12:00"})

    assert [(out.content, out.failed) for out in of(events, ToolOutput)] == [
        (6, False),
        ("x y", False),
        ("12:00", False),
    ]


async def broken(place: City) -> str:
    raise ValueError("secret")


async def slow(place: City) -> str:
    await anyio.sleep_forever()
    return ""


async def unwritable(place: City) -> object:
    return object()


FAILURES: dict[str, tuple[str, str]] = {
    "broken": ('{"city": "Oslo"}', "error: the tool raised ValueError"),
    "slow": ('{"city": "Oslo"}', "error: the tool did not finish in time"),
    "unwritable": (
        '{"city": "Oslo"}',
        "error: expected a result that is JSON-compatible data, found an object of type object",
    ),
    "weather": ('{"town": "Oslo"}', "error: object missing required field `city` at $"),
    "by_name": (
        '{"city": "Oslo", "zip": 1}',
        "error: expected no arguments but city, days, found 1 with another name",
    ),
    "other": ("{}", "error: expected one of the tools broken, by_name, slow, unwritable, weather"),
}


async def by_name(city: str, days: int = 1) -> list[object]:
    return [city, days]


TOOLS = [weather, broken, slow, unwritable, by_name]


@pytest.mark.anyio
@pytest.mark.parametrize("name", FAILURES)
async def test_a_failure_is_a_result_without_its_message(name: str) -> None:
    arguments, reason = FAILURES[name]
    model = Model([calling(*call(name, arguments)), saying("sorry")])

    events = await events_of(model, TOOLS, timeout=0.01 if name == "slow" else 5)

    assert of(events, ToolOutput) == [ToolOutput(name, reason, "c0", failed=True)]
    assert "secret" not in repr(model.asked) + repr(events)
    assert events[-1] == DONE


class Reading:
    """As a pydantic model writes itself."""

    def model_dump(self, *, mode: str) -> dict[str, int]:
        assert mode == "json"
        return {"degrees": 4}


async def look_up() -> str:
    await checkpoint()
    return "found"


RESULTS: dict[str, tuple[Any, Any]] = {
    "a model": (Reading, {"degrees": 4}),
    "models in a list": (lambda: [Reading()], [{"degrees": 4}]),
    "half of an emoji": (lambda: "so \ud83d", "so \ufffd"),
    "an awaitable of a function that is not async": (lambda: look_up(), "found"),
    "a set": (lambda: {1}, [1]),
    "nothing": (lambda: None, None),
}


@pytest.mark.anyio
@pytest.mark.parametrize(("tool", "content"), RESULTS.values(), ids=RESULTS)
async def test_results_are_sent_as_json(tool: Any, content: Any) -> None:
    model = Model([calling(*call("tool", "{}")), saying("ok")])

    events = await events_of(model, {"tool": tool})

    assert of(events, ToolOutput) == [ToolOutput("tool", content, "c0")]


@pytest.mark.anyio
async def test_a_function_decides_what_a_failure_does() -> None:
    seen: list[tuple[str, str | None]] = []

    def decide(error: Exception, call: sk.events.ToolCall) -> Any:
        seen.append((type(error).__name__, call.name))
        return "raise" if isinstance(error, sk.errors.OutputError) else "result"

    model = Model([calling(*call("broken", '{"city": "Oslo"}')), calling(*call("other", "{}"))])
    with pytest.raises(sk.errors.OutputError, match="expected one of the tools"):
        await events_of(model, TOOLS, on_error=decide)
    with pytest.raises(sk.PipelineError, match="on_error: expected it to return 'result' or 'raise', found 'skip'"):
        await events_of(Model([calling(*call("other", "{}"))]), TOOLS, on_error=lambda error, call: "skip")

    assert seen == [("ValueError", "broken"), ("OutputError", "other")]


@pytest.mark.anyio
async def test_ask_may_be_async_and_may_return_a_hop() -> None:
    turns = [calling(*call("weather", '{"city": "Oslo"}')), saying("4 degrees")]
    one, two = Model(turns), Model(turns)

    async def ask(messages: list[dict[str, Any]]) -> sk.Stream[sk.Event]:
        await checkpoint()
        return one(messages)

    assert await (converse(ask, [weather], [USER]) | sk.ops.Coalesce()).text() == "4 degrees"
    racing = converse(lambda messages: sk.hops.race(two(messages)), [weather], [USER])
    assert await (racing | sk.ops.Coalesce()).text() == "4 degrees"
    assert (one.closed, two.closed) == (2, 2)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "kind"), [("broken", ValueError), ("weather", sk.errors.OutputError), ("other", sk.errors.OutputError)]
)
async def test_a_failure_is_raised_where_that_is_asked_for_after_what_came_before(name: str, kind: Any) -> None:
    model = Model([calling(sk.TextDelta("Let me see."), *call(name, FAILURES[name][0]))])
    seen: list[sk.Event] = []

    async with converse(model, TOOLS, [USER], on_error="raise") as events:
        with pytest.raises(kind) as caught:
            async for event in events:
                seen.append(event)

    assert f"in tool '{name}'" in caught.value.__notes__
    assert of(seen, sk.TextDelta) == [sk.TextDelta("Let me see.")]
    assert of(seen, sk.StreamEnd) == []


@pytest.mark.anyio
async def test_calls_run_at_the_same_time_but_no_more_than_the_concurrency() -> None:
    running: list[str] = []
    most = 0

    async def count(name: str) -> str:
        nonlocal most
        running.append(name)
        most = max(most, len(running))
        await wait_all_tasks_blocked()
        running.remove(name)
        return name

    deltas = [delta for number in range(6) for delta in call("count", f'{{"name": "{number}"}}', number)]

    events = await events_of(Model([calling(*deltas), saying("done")]), [count], concurrency=3)

    assert most == 3
    assert [out.content for out in of(events, ToolOutput)] == ["0", "1", "2", "3", "4", "5"]


@pytest.mark.anyio
async def test_after_max_turns_the_stream_ends_with_a_limit() -> None:
    turns = [calling(*call("weather", '{"city": "Oslo"}', id=f"c{turn}"), id=f"r{turn}") for turn in range(5)]
    model = Model(turns)

    events = await events_of(model, [weather], max_turns=3)

    assert (len(model.asked), events[-1]) == (3, sk.StreamEnd("limit"))
    assert [delta.tool_index for delta in of(events, sk.ToolCallDelta) if delta.id] == [0, 1, 2]
    assert [out.tool_index for out in of(events, ToolOutput)] == [0, 1, 2]


@pytest.mark.anyio
@pytest.mark.parametrize("reason", ["length", "truncated", "content_filter", "provider_error", "unknown"])
async def test_calls_of_an_answer_that_was_cut_short_are_not_executed(reason: Any) -> None:
    called: list[str] = []
    deltas = call("delete", '{"path": "/tmp"}')
    model = Model([[*deltas, sk.StreamEnd(reason)]])

    events = await events_of(model, {"delete": lambda path: called.append(path)})

    assert (called, events[-1], of(events, TurnEnd)) == ([], sk.StreamEnd(reason), [TurnEnd(1, reason)])


@pytest.mark.anyio
async def test_cancelling_during_a_tool_call_leaves_nothing_behind() -> None:
    cancelled: list[str] = []

    async def wait(place: City) -> str:
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.append(place.city)
        return ""

    for leave in ("break", "cancel", "close"):
        model = Model([calling(*call("wait", '{"city": "Oslo"}'))])
        async with converse(model, [wait], [USER]) | sk.ops.Coalesce() as events:
            async for event in events:
                if isinstance(event, sk.Completion):
                    break
            await wait_all_tasks_blocked()
            assert cancelled == []
            if leave == "cancel":
                events.cancel()
                assert await events.__anext__() == sk.StreamEnd("cancelled")
                assert cancelled == ["Oslo"]
            if leave == "close":
                await events.aclose()
                assert cancelled == ["Oslo"]
        assert (cancelled, model.closed) == (["Oslo"], 1)
        cancelled.clear()


@pytest.mark.anyio
async def test_an_error_of_a_request_is_raised_after_what_came_before() -> None:
    def ask(messages: list[dict[str, Any]]) -> sk.Stream[sk.Event]:
        async def broken_off() -> AsyncIterator[sk.Event]:
            yield sk.TextDelta("half")
            raise sk.errors.Disconnected("gone")

        return broken_off() | sk.Accumulate()

    async with converse(ask, [weather], [USER]) as events:
        assert await anext(events) == sk.TextDelta("half")
        with pytest.raises(sk.errors.Disconnected):
            await anext(events)


@pytest.mark.anyio
async def test_views_of_a_conversation() -> None:
    turns = [calling(*call("weather", '{"city": "Oslo"}')), saying("4 degrees")]

    assert await (converse(Model(turns), [weather], [USER]) | sk.ops.Coalesce()).text() == "4 degrees"
    usage = await (converse(Model(turns), [weather], [USER]) | sk.ops.Coalesce()).usage()
    assert usage is not None
    assert usage.prompt_tokens == 30


def renamed(function: Any) -> Any:
    """Another function with the same name."""

    @wraps(function)
    async def other(place: City) -> None: ...

    return other


def unreadable(place: "NoSuchName") -> None: ...  # type: ignore[name-defined] # noqa: F821


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tools": {"x": 1}}, "tool 'x': expected a function, found an object of type int"),
        ({"tools": {"x": lambda *args: 1}}, r"tool 'x': expected parameters that have names, found \*args"),
        ({"max_turns": 0}, "expected a max_turns of 1 or more"),
        ({"on_error": "ignore"}, "on_error: expected 'result', 'raise' or a function, found 'ignore'"),
        ({"timeout": -1}, "timeout: expected seconds, more than 0, found -1"),
        ({"timeout": "5"}, "timeout: expected seconds, more than 0, found '5'"),
        ({"to": "gpt"}, "to: expected one of openai, anthropic, responses, gemini, found 'gpt'"),
        ({"tools": "weather"}, "tools: expected functions, found an object of type str"),
        ({"tools": [weather, renamed(weather)]}, "expected one function with the name 'weather', found several"),
        ({"tools": [weather, weather]}, "expected one function with the name 'weather', found several"),
        (
            {"tools": [lambda city: city]},
            "tools: expected functions with names, found a lambda; give a mapping of names",
        ),
        (
            {"tools": [partial(lambda city: city)]},
            "expected functions with names, found a lambda; give a mapping of names",
        ),
        (
            {"tools": weather},
            "tools: expected a list of functions, or a mapping of names, found an object of type funct",
        ),
        ({"tools": City}, "tools: expected a list of functions, or a mapping of names, found the class City"),
        (
            {"tools": None},
            "tools: expected a list of functions, or a mapping of names, found an object of type NoneType",
        ),
        ({"tools": {1: weather}}, "tools: expected names that are text, found 1"),
        ({"tools": {"": weather}}, "tools: expected names that are text, found ''"),
        (
            {"tools": [unreadable]},
            "tool 'unreadable': expected a signature and annotations that can be read, but .*NameE",
        ),
        (
            {"tools": {"int": int}},
            "tool 'int': expected a signature and annotations that can be read, but .*ValueError",
        ),
        ({"messages": "Hello"}, r"messages: expected a list such as .*, found an object of type str$"),
        ({"messages": b"Hello"}, "found an object of type bytes$"),
        ({"messages": USER}, "found an object of type dict$"),
        ({"messages": None}, "found an object of type NoneType$"),
        ({"messages": ["Hello"]}, r"found an object of type str at \[0\]$"),
        ({"messages": [USER, None]}, r"found an object of type NoneType at \[1\]$"),
    ],
)
async def test_options_that_can_t_work_are_refused(options: dict[str, Any], message: str) -> None:
    model = Model([])
    with pytest.raises(sk.PipelineError, match=message):
        async with converse(model, **{"tools": [], **options}):
            pass
    assert model.asked == []


@pytest.mark.anyio
async def test_ask_must_return_a_stream_that_accumulates() -> None:
    for ask, message in (
        (lambda messages: [1], "ask: expected a function that returns a stream"),
        (lambda messages: [sk.TextDelta("x"), DONE] | sk.ops.Coalesce(), r"add Accumulate\(\) to the pipeline"),
    ):
        wrong: Any = ask
        async with converse(wrong, []) as events:
            with pytest.raises(sk.PipelineError, match=message):
                _ = [event async for event in events]


@pytest.mark.asyncio
async def test_against_the_embedded_provider() -> None:
    async def get_weather(city: str) -> str:
        return f"18 degrees in {city}"

    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]
    async with serve(Provider(first_token_seconds=0, token_seconds=0)) as url:

        def ask(messages: list[dict[str, Any]]) -> sk.Stream[sk.Event]:
            options = {"include_usage": True}
            body = {
                "model": "gpt-4o-mini",
                "messages": messages,
                "tools": tools,
                "stream": True,
                "stream_options": options,
            }
            return sk.http.post(f"{url}/v1/chat/completions", json=body) | sk.Parse() | sk.Extract() | sk.Accumulate()

        question = {"role": "user", "content": "What is the weather in Paris?"}
        async with converse(ask, [get_weather], [question]) as events:
            found = [event async for event in events]

    assert [out.content for out in of(found, ToolOutput)] == ["18 degrees in Paris"]
    assert "".join(delta.text for delta in of(found, sk.TextDelta)).endswith("sunny in Paris.")
    first, last = of(found, TurnEnd)
    assert first.usage.total_tokens < last.usage.total_tokens
    assert [event.reason for event in of(found, sk.StreamEnd)] == ["completed"]
