"""Stop sequences: nothing of them is released, however they are cut, and each choice has its own end."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamkit as sk
from streamkit import ops
from streamkit.events import Reset
from tests.kit import cut_text

END = sk.StreamEnd("length", True)
STOP = [sk.Finish("stop"), sk.StreamEnd("completed")]


def text_of(events: Iterable[object], index: int = 0) -> str:
    return "".join(event.text for event in events if isinstance(event, sk.TextDelta) and event.index == index)


@pytest.mark.parametrize(
    ("stops", "text", "released", "with_stop"),
    [
        ("END", "Hello END of it", "Hello ", "Hello END"),
        ("END", "EN ENDED", "EN ", "EN END"),
        ("aab", "aaaab!", "aa", "aaaab"),
        (("\n\n", "User:"), "Hi\nUser: x\n\n", "Hi\n", "Hi\nUser:"),
        (("abcd", "bc"), "xabcd", "xa", "xabc"),
        (("b", "ab"), "xab", "x", "xab"),
        ("END", "END", "", "END"),
        ("。", "好。好", "好", "好。"),
    ],
)
def test_the_text_before_the_stop_is_released_and_no_more(
    stops: str | tuple[str, ...], text: str, released: str, with_stop: str
) -> None:
    for at in ((), range(len(text)), range(0, len(text), 2)):
        events = [*cut_text(text, at), sk.Usage(1, 2, 3), END]

        given_ = list(ops.StopAt(stops).run(events))
        included = list(ops.StopAt(stops, include=True).run(events))

        assert (text_of(given_), text_of(included)) == (released, with_stop)
        assert [event for event in given_ if not isinstance(event, sk.TextDelta)] == STOP


@pytest.mark.parametrize("text", ["Hello", "Hello E", "Hello EN", "ENEN"])
def test_text_that_only_began_like_a_stop_is_released_at_the_end(text: str) -> None:
    for ending in ([], [END], [sk.Finish("length"), END]):
        events = list(ops.StopAt("END").run([*cut_text(text, range(len(text))), *ending]))

        assert text_of(events) == text
        assert [event for event in events if not isinstance(event, sk.TextDelta)] == ending


def test_text_that_can_be_no_stop_is_not_held() -> None:
    stage = ops.StopAt("END").fresh()

    given_ = [(text_of(stage.feed(sk.TextDelta(piece))), stage.held) for piece in ("abE", "x", "E", "N", "N")]

    assert given_ == [("ab", 1), ("Ex", 0), ("", 1), ("", 2), ("ENN", 0)]


def test_each_choice_stops_by_itself() -> None:
    events = [
        sk.TextDelta("a#b", 0),
        sk.TextDelta("one ", 1),
        sk.TextDelta("dropped", 0),
        sk.ToolCallDelta(0, "x", "f", index=0),
        sk.Finish("length", 0),
        sk.TextDelta("two", 1),
        sk.Finish("length", 1),
        sk.StreamEnd("length", True, open_choices=(0, 2)),
    ]

    assert list(ops.StopAt("#", choices=2).run(events)) == [
        sk.TextDelta("a", 0),
        sk.Finish("stop", 0),
        sk.TextDelta("one ", 1),
        sk.TextDelta("two", 1),
        sk.Finish("length", 1),
        sk.StreamEnd("length", True, open_choices=(2,)),
    ]


def test_when_all_choices_have_stopped_the_stream_is_complete() -> None:
    events = [sk.TextDelta("a#", 0), sk.TextDelta("b#", 1), sk.TextDelta("c", 2), END]

    assert list(ops.StopAt("#", choices=2).run(events)) == [
        sk.TextDelta("a", 0),
        sk.Finish("stop", 0),
        sk.TextDelta("b", 1),
        sk.Finish("stop", 1),
        sk.StreamEnd("completed"),
    ]


def test_only_the_channels_named_are_looked_at_and_they_don_t_join() -> None:
    events: list[sk.Event] = [sk.ReasoningDelta("#"), sk.TextDelta("E"), sk.RefusalDelta("ND"), sk.TextDelta("ND")]

    assert list(ops.StopAt(("END", "#")).run(events)) == [sk.ReasoningDelta("#"), sk.RefusalDelta("ND"), *STOP]
    assert list(ops.StopAt("#", channels=("reasoning",)).run(events)) == STOP


def test_log_probabilities_go_where_their_text_goes() -> None:
    def spelled(token: str) -> sk.events.Logprobs:
        return sk.events.Logprobs({"content": [{"token": token}]}, payload="{}")

    stopped = list(ops.StopAt("END").run([sk.TextDelta("E"), spelled("E"), sk.TextDelta("ND"), spelled("ND"), END]))
    released = list(ops.StopAt("END").run([sk.TextDelta("E"), spelled("E"), sk.TextDelta("x"), spelled("x"), END]))

    assert stopped == STOP
    assert released == [sk.TextDelta("Ex"), spelled("E"), spelled("x"), END]
    assert all(event.raw is None for event in released if isinstance(event, sk.events.Logprobs))


def test_no_chunk_that_spells_the_stop_leaves_with_an_event() -> None:
    events = [sk.TextDelta("a END", payload='{"t": "a END"}'), sk.Usage(1, payload='{"t": "END"}')]

    assert [event.raw for event in ops.StopAt("END", choices=2).run(events)] == [None, None, None]


@settings(max_examples=150, deadline=None, database=None)
@given(
    st.text("ab#", max_size=30),
    st.lists(st.text("ab#", min_size=1, max_size=4), min_size=1, max_size=3).map(tuple),
    st.sets(st.integers(0, 30)),
)
def test_it_equals_cutting_the_whole_text(text: str, stops: tuple[str, ...], at: set[int]) -> None:
    # The first place at which some stop is complete, character by character.
    place = next((end for end in range(len(text) + 1) if text[:end].endswith(stops)), None)
    longest = 0 if place is None else max(len(stop) for stop in stops if text[:place].endswith(stop))
    expected = text if place is None else text[: place - longest]

    events = list(ops.StopAt(stops).run(iter([*cut_text(text, at), END])))

    assert text_of(events) == expected
    assert events[-1] == (END if place is None else sk.StreamEnd("completed"))


@pytest.mark.anyio
async def test_the_source_is_closed_at_the_stop_and_the_completion_is_whole() -> None:
    class Endless(sk.Source[sk.Event]):
        reads, closed = 0, False

        async def read(self) -> list[sk.Event]:
            self.reads += 1
            return [sk.TextDelta("ab"), sk.TextDelta("#c")]

        async def close(self) -> None:
            self.closed = True

    source = Endless()
    async with ops.StopAt("#").open(source) | sk.Accumulate() as stream:
        *_, completion, end = [event async for event in stream]

    assert isinstance(completion, sk.Completion)
    assert (completion.text, completion.choices[0].finish_reason) == ("ab", "stop")
    assert (completion.end, end, source.reads, source.closed) == ("completed", sk.StreamEnd("completed"), 1, True)


@pytest.mark.parametrize(
    "void", [[sk.TextDelta("aE")], [sk.TextDelta("aEND")], [sk.TextDelta("aE"), sk.events.Logprobs({})]]
)
def test_a_reset_restarts_every_choice(void: list[sk.Event]) -> None:
    answer = [sk.TextDelta("ND b"), sk.Finish("stop"), sk.StreamEnd("completed")]

    events = list(ops.StopAt("END", choices=2).run([*void, Reset("failed"), *answer]))

    assert events[events.index(Reset("failed")) + 1 :] == answer
    assert text_of(events[: events.index(Reset("failed"))]) == "a"
