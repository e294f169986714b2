"""A watched stream delivers what it delivers unwatched, and the board has what is known of it."""

import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamkit as sk
from streamkit.sinks.watch import Watch
from streamkit.sinks.watch.board import MOST_UPDATES
from streamkit.sse import Encode
from streamkit.testing import strategies
from tests.kit import Same

pytestmark = pytest.mark.anyio

RULES = (sk.Rule("secret", phrases=("blue heron 42",)), sk.Rule("tone", phrases=("nobody",), action="annotate"))
PIECES = ("The code is ", "blue ", "heron", " 42, and", " nobody knows.")


async def given_events(events: list[Any]) -> AsyncIterator[Any]:
    for event in events:
        yield event


def texts(*pieces: str) -> list[Any]:
    return [*map(sk.TextDelta, pieces), sk.Finish("stop"), sk.StreamEnd("completed", saw_done=True)]


async def read(stream: sk.Stream[Any]) -> list[Any]:
    async with stream as events:
        return [event async for event in events]


def updates(watch: Watch) -> list[dict[str, Any]]:
    """All updates of the only stream."""
    metrics(watch)
    (message,) = watch.board.changes({})
    found: list[dict[str, Any]] = message["updates"]
    return found


def metrics(watch: Watch) -> dict[str, Any]:
    (message,) = watch.board.changes({})
    found: dict[str, Any] = message["metrics"]
    return found


def released(found: list[dict[str, Any]]) -> str:
    return "".join(update["out"][2] for update in found if "out" in update)


PIPELINES: list[Any] = [
    Same() | sk.Moderate(RULES) | sk.Count("gpt-4o") | sk.Accumulate(),
    sk.Moderate(RULES, mode="optimistic") | sk.Accumulate(),
    Same() | sk.Accumulate(),
    sk.Moderate(RULES) | sk.Emit() | Encode(),
    Same() | sk.hops.Prefetch(4) | sk.Moderate(RULES),
]


@pytest.mark.parametrize("pipeline", PIPELINES, ids=repr)
async def test_a_watched_stream_delivers_the_same(pipeline: Any) -> None:
    events = texts(*PIECES)

    assert await read(Watch()(given_events(events) | pipeline)) == await read(given_events(events) | pipeline)


@settings(deadline=None, max_examples=30)
@given(events=strategies.answers(), cuts=st.lists(st.integers(1, 4), max_size=6))
def test_whatever_the_answer_it_delivers_the_same(events: list[Any], cuts: list[int]) -> None:
    async def both() -> None:
        pipeline = Same() | sk.Moderate(RULES) | sk.Accumulate()
        assert await read(Watch()(given_events(events) | pipeline)) == await read(given_events(events) | pipeline)

    anyio.run(both)


async def test_the_updates_have_the_released_text_the_decisions_and_the_end() -> None:
    watch = Watch()
    await read(watch(given_events(texts(*PIECES)) | (Same() | sk.Moderate(RULES)), "code"))
    found = updates(watch)

    assert found[0] == {"title": "code"}
    assert released(found) == "The code is [redacted], and nobody knows."
    decisions = [update for update in found if "decision" in update]
    assert [(made["decision"], made["category"], made["from"], made["to"]) for made in decisions] == [
        ("redacted", "secret", 12, 25),
        ("flagged", "tone", 31, 37),
    ]
    assert sum(update.get("arrived", 0) for update in found) == sum(map(len, PIECES))
    assert found[-1]["end"] == "completed"


@pytest.mark.parametrize("withheld", [False, True])
async def test_withheld_text_is_in_no_update_unless_that_is_wanted(withheld: bool) -> None:
    watch = Watch(withheld=withheld)
    await read(watch(given_events(texts(*PIECES)) | (Same() | sk.Moderate(RULES))))

    assert ("blue heron 42" in json.dumps(updates(watch))) is withheld


async def test_what_is_buffered_is_known_while_it_is_and_for_which_rules() -> None:
    watch = Watch()
    seen: list[dict[str, Any]] = []

    async def source() -> AsyncIterator[Any]:
        yield sk.TextDelta("It is blue her")
        seen.append(metrics(watch))
        yield sk.TextDelta(" feathers")
        seen.append(metrics(watch))
        for event in texts("."):
            yield event

    await read(watch(source() | (Same() | sk.Moderate(RULES))))

    assert [(found["held"], found["why"]) for found in seen] == [(8, ["secret"]), (0, [])]
    assert metrics(watch)["held"] == 0


async def test_every_stage_that_buffers_is_shown_with_its_reason() -> None:
    watch = Watch()
    seen: list[dict[str, Any]] = []

    async def source() -> AsyncIterator[Any]:
        yield sk.TextDelta('{"a": "It is blue her')
        seen.append(metrics(watch))
        for event in texts('"}'):
            yield event

    await read(watch(source() | (Same() | sk.Moderate(RULES) | sk.ops.Sentences() | sk.Structured(dict))))

    buffers = [(found["stage"], found["amount"], found["reason"]) for found in seen[0]["buffers"]]
    assert buffers == [
        ("Moderate", 8, "may become part of a match of secret"),
        ("Sentences", 13, "the rest of the sentence has not arrived"),
    ]
    assert seen[0]["held"] == 21
    assert metrics(watch)["buffers"] == []


async def test_a_check_of_the_users_is_not_called_once_more() -> None:
    called: list[str] = []

    def check(text: str) -> list[tuple[int, int]]:
        called.append(text)
        return []

    rules = (sk.Rule("mine", check=check, window=10), *RULES)
    numbers: list[int] = []
    for watch in (Watch(), lambda stream: stream):
        called.clear()
        await read(watch(given_events(texts(*PIECES)) | (Same() | sk.Moderate(rules))))
        numbers.append(len(called))

    assert numbers[0] == numbers[1] > 0


async def test_text_that_is_not_decided_is_shown_only_on_request() -> None:
    seen: list[str] = []
    for withheld in (False, True):
        watch = Watch(withheld=withheld)

        async def source(watch: Watch = watch) -> AsyncIterator[Any]:
            yield sk.TextDelta("It is blue heron")
            seen.append(json.dumps(watch.board.changes({})))
            for event in texts("."):
                yield event

        await read(watch(source() | (Same() | sk.Moderate(RULES))))

    assert ["blue heron" in news for news in seen] == [False, True]


async def test_tokens_and_cost_are_those_of_the_count_in_the_pipeline() -> None:
    prices = {"currency": "USD", "models": {"*": {"input": 2, "output": 10}}}
    watch = Watch()
    await read(watch(given_events(texts("Hello there")) | (Same() | sk.Count("gpt-4o", prices=prices, prompt=5))))
    found = metrics(watch)

    assert (found["tokens"], found["prompt"], found["cost"], found["currency"]) == (2, 5, "0.000030", "USD")


@pytest.mark.parametrize(
    ("events", "end"),
    [
        (texts("Hi"), "completed"),
        ([sk.TextDelta("Hi"), sk.StreamEnd("length")], "length"),
    ],
)
async def test_the_end_is_that_of_the_stream(events: list[Any], end: str) -> None:
    watch = Watch()
    await read(watch(given_events(events) | sk.Moderate(RULES)))

    assert updates(watch)[-1]["end"] == end


async def test_a_body_that_breaks_off_is_truncated() -> None:
    watch = Watch()
    body = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}\n\n'
    await read(watch(given_events([body]) | (sk.Parse() | sk.Extract())))

    assert updates(watch)[-1]["end"] == "truncated"


async def test_a_stream_that_fails_ends_with_the_class_of_the_error() -> None:
    async def source() -> AsyncIterator[Any]:
        yield sk.TextDelta("Hi")
        raise ConnectionResetError("key=secret")

    watch = Watch()
    with pytest.raises(ConnectionResetError):
        await read(watch(source() | sk.Moderate(RULES)))

    assert updates(watch)[-1]["end"] == "ConnectionResetError"
    assert "key" not in json.dumps(updates(watch))


async def test_a_stream_that_is_left_has_ended() -> None:
    watch = Watch()
    async with watch(given_events(texts(*PIECES)) | sk.Moderate(RULES)) as events:
        async for _ in events:
            break

    assert updates(watch)[-1]["end"] == "cancelled"


async def test_a_call_has_its_name_and_its_arguments() -> None:
    watch = Watch()
    events = [sk.ToolCallDelta(0, "1", "look", '{"a":'), sk.ToolCallDelta(0, arguments="1}"), *texts()]
    await read(watch(given_events(events) | Same()))

    assert [update["out"] for update in updates(watch) if "out" in update] == [
        ["tool", 0, '{"a":', 0, "look"],
        ["tool", 0, "1}", 0, None],
    ]


async def test_a_viewer_gets_what_is_new_and_what_is_gone() -> None:
    watch, seen = Watch(most=1), dict[int, int]()
    first = watch(given_events(texts("a")) | Same(), "first")
    assert [message["updates"] for message in watch.board.changes(seen)] == [[{"title": "first"}]]
    await read(first)
    assert released(watch.board.changes(seen)[0]["updates"]) == "a"
    assert watch.board.changes(seen) == []
    watch(given_events([]) | Same(), "second")

    assert [(message["id"], "gone" in message) for message in watch.board.changes(seen)] == [(1, True), (2, False)]


async def test_of_a_very_long_stream_the_rest_is_left_out() -> None:
    watch = Watch()
    await read(watch(given_events(texts(*["ab"] * MOST_UPDATES)) | Same()))
    found = updates(watch)

    assert len(found) == MOST_UPDATES + 2
    assert ["cut" in found[-2], found[-1]["end"]] == [True, "completed"]


async def test_a_stream_that_is_open_already_is_refused() -> None:
    stream = given_events(texts("a")) | Same()
    async with stream:
        with pytest.raises(sk.PipelineError, match="open already"):
            Watch()(stream)
