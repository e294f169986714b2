"""Law 10: a stage passes unknown events through and never drops them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import msgspec
import pytest

import streamkit as sk
from streamkit.core.stage import parts

RULES = sk.Rule("secret", patterns=("hunter2",), action="block")


class FromTheFuture(msgspec.Struct, frozen=True):
    """An event of a class that no stage knows."""

    number: int


@sk.stage
def shout(event: sk.TextDelta) -> sk.TextDelta:
    return sk.TextDelta(event.text.upper(), event.index)


@sk.stage
def drop_reasoning(event: sk.ReasoningDelta | sk.RefusalDelta) -> None:
    return None


@sk.stage
async def look_up(event: sk.ToolCallDelta) -> list[sk.Event]:
    return [event]


STAGES: list[Any] = [
    sk.Moderate(RULES),
    sk.Moderate(RULES, channels=("reasoning",)),
    sk.Accumulate(),
    sk.Count("gpt-4o"),
    sk.Count("gpt-4o", running=True),
    sk.Timing(),
    sk.Structured(tools={"f": dict}, errors="emit"),
    shout,
    drop_reasoning,
    look_up,
    sk.ops.Choices(0),
    sk.ops.Smooth(),
    sk.ops.Sentences(),
    sk.ops.Coalesce(),
    sk.ops.StopAt("hunter2"),
    sk.Moderate(RULES) | sk.Accumulate() | shout | sk.Count("gpt-4o") | sk.Timing(),
]
every_stage = pytest.mark.parametrize("stage", STAGES, ids=str)
UNKNOWN = [FromTheFuture(1), {"type": "a dictionary"}, None, "text"]


def having_passed(events: Iterable[object]) -> list[object]:
    return [event for event in events if event in UNKNOWN]


def moderates(stage: Any) -> bool:
    return any(isinstance(part, sk.Moderate) for part in parts(stage))


@every_stage
@pytest.mark.anyio
async def test_an_event_that_a_stage_does_not_know_passes(stage: sk.Stage[Any, Any] | sk.AsyncStage[Any, Any]) -> None:
    # Moderation must not pass plain text through, which would be released unmoderated.
    events = [event for event in UNKNOWN if event != "text" or not moderates(stage)]

    assert having_passed([event async for event in stage.open(events)]) == events


@every_stage
@pytest.mark.anyio
async def test_unknown_events_keep_their_place_among_those_it_knows(
    stage: sk.Stage[Any, Any] | sk.AsyncStage[Any, Any],
) -> None:
    one, two = FromTheFuture(1), FromTheFuture(2)
    events = [one, sk.Usage(1, 2, 3), two, sk.Finish("stop"), sk.StreamEnd("completed")]

    passed = [event async for event in stage.open(events) if event in events]

    assert passed == events


@every_stage
@pytest.mark.anyio
async def test_events_that_say_nothing_of_text_pass_as_they_are(
    stage: sk.Stage[Any, Any] | sk.AsyncStage[Any, Any],
) -> None:
    events: list[sk.Event] = [
        sk.events.ResponseStart("chatcmpl-1", model="gpt-4o"),
        sk.events.RoleDelta("assistant"),
        sk.events.AudioDelta("UklGRg=="),
        sk.events.Annotation({"type": "url_citation"}),
        sk.events.Flagged("other", 0, 1),
        sk.TokenCount(1, encoding="elsewhere"),
        sk.events.ProviderNotice("ping"),
        # A name is text, which `Moderate` releases when it is decided, here at the end.
        sk.ToolCallDelta(0, "call_1", "f"),
    ]

    passed = [event async for event in stage.open(events) if event in events]

    assert passed == events


def test_an_event_of_the_wire_that_no_dialect_knows_is_passed_on_as_a_notice() -> None:
    run = (sk.Parse() | sk.Extract()).run(b'event: celebration\ndata: {"type":"party","n":1}\n\n')

    notice = next(run)

    assert notice == sk.events.ProviderNotice("celebration", {"type": "party", "n": 1})
    assert notice.raw == {"type": "party", "n": 1}


def test_a_stage_of_the_authors_own_that_matches_passes_the_rest() -> None:
    @dataclass
    class Texts(sk.Stage[sk.Event, sk.Event]):
        def feed(self, item: sk.Event) -> Iterable[sk.Event]:
            match item:
                case sk.TextDelta(text=text):
                    yield sk.TextDelta(text.title())
                case _:
                    yield item

    unknown = cast(sk.Event, FromTheFuture(1))

    assert list(Texts().run([sk.TextDelta("a"), unknown])) == [sk.TextDelta("A"), unknown]
