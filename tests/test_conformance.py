"""The shared vectors for readers of event streams, each of which Chromium and a literal reading of the standard confirmed."""

import json
from base64 import b64decode
from collections.abc import Iterable
from hashlib import sha256
from random import Random
from typing import Any, NamedTuple

import pytest

from streamkit import Parse
from streamkit.sse import Lines
from streamkit.sse.events import Comment
from tests.conftest import SHARED, needs_shared

VECTORS = SHARED / "conformance" / "sse_vectors.json"
CASES: list[dict[str, Any]] = json.loads(VECTORS.read_bytes())["cases"] if VECTORS.is_file() else []
every_case = pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
SOME_KB = 2500


class Result(NamedTuple):
    events: list[tuple[str, str, str]]
    last_event_id: str
    retry: int | None


def read(pieces: Iterable[bytes]) -> Result:
    run = (Lines() | Parse(strict=True)).run(pieces)
    events = [(event.event, event.data, event.id) for event in run]
    stage = run.stage(Parse)
    return Result(events, stage.last_event_id, stage.retry)


def body(case: dict[str, Any]) -> bytes:
    match case:
        case {"input": str(text)}:
            return text.encode()
        case {"input_b64": str(text)}:
            return b64decode(text)
        case _:
            return "".join(text * times for text, times in case["input_parts"]).encode()


def expected(case: dict[str, Any], found: Result) -> Result:
    """The expected events of a case. Very long data is given by its hash; then the data that was found stands here if it fits."""
    expect = case["expect"]
    events = list[tuple[str, str, str]]()
    for number, event in enumerate(expect["events"]):
        data = event.get("data")
        if data is None:
            data = found.events[number][1]
            assert len(data) == event["data_chars"]
            assert sha256(data.encode()).hexdigest() == event["data_sha256"]
        events.append((event["type"], data, event["last_event_id"]))
    retry = expect["retry"]
    return Result(events, expect["last_event_id"], found.retry if retry is None else (retry or [None])[-1])


@needs_shared
def test_there_are_as_many_cases_as_the_file_says() -> None:
    assert len(CASES) == json.loads(VECTORS.read_bytes())["count"] == 122


@every_case
def test_whole(case: dict[str, Any]) -> None:
    found = read([body(case)])

    assert found == expected(case, found)


@every_case
def test_byte_by_byte(case: dict[str, Any]) -> None:
    data = body(case)

    found = read([data[at : at + 1] for at in range(len(data))])

    assert found == expected(case, found)


@every_case
def test_cut_in_two(case: dict[str, Any]) -> None:
    """At every byte; very long inputs at some."""
    data = body(case)
    every = range(len(data) + 1)
    places = every if len(data) <= SOME_KB else Random(1).sample(every, 20)
    whole = read([data])

    for place in places:
        assert read([data[:place], data[place:]]) == whole, place


@pytest.mark.parametrize(
    "case", [case for case in CASES if "chunks" in case], ids=[case["name"] for case in CASES if "chunks" in case]
)
def test_in_the_pieces_of_the_suite_that_it_comes_from(case: dict[str, Any]) -> None:
    data, pieces = body(case), list[bytes]()
    for length in case["chunks"]:
        pieces.append(data[:length])
        data = data[length:]
    assert not data

    found = read(iter(pieces))

    assert found == expected(case, found)


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case["expect"]["retry"]],
    ids=[case["name"] for case in CASES if case["expect"]["retry"]],
)
def test_reconnection_times_take_effect_in_order(case: dict[str, Any]) -> None:
    stage, seen = Parse(strict=True).fresh(), list[int | None]([None])

    for byte in body(case):
        list(stage.feed(bytes([byte])))
        if stage.retry != seen[-1]:
            seen.append(stage.retry)

    assert seen[1:] == case["expect"]["retry"]


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case["expect"]["comments"]],
    ids=[case["name"] for case in CASES if case["expect"]["comments"]],
)
def test_comments_in_order(case: dict[str, Any]) -> None:
    run = (Lines() | Parse(comments=True)).run([body(case)])

    assert [event.text for event in run if isinstance(event, Comment)] == case["expect"]["comments"]
