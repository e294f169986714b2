"""The gate: what may leave, in which order, whatever the pieces and whichever verdict comes first."""

import json
from collections.abc import Iterable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit import (
    Annotation,
    Blocked,
    Checked,
    Choice,
    Completion,
    Event,
    Finish,
    Flagged,
    Judgement,
    Logprobs,
    PipelineError,
    ProviderNotice,
    ReasoningDelta,
    Redacted,
    RefusalDelta,
    ResponseStart,
    Retracted,
    RoleDelta,
    StreamEnd,
    TextDelta,
    ToolCallDelta,
    Usage,
    Window,
    Windows,
)
from streamkit.moderation.checking import Outcome
from streamkit.moderation.deltas import Mode
from streamkit.moderation.gate import Gate
from streamkit.moderation.lanes import CHANNELS

END = StreamEnd("completed", True)
SENTENCES = Windows(sentences=1)


def judge(window: Window) -> Judgement:
    """By the word that the window has."""
    for word, verdict in {
        "kill": Judgement("block", "violence"),
        "damn": Judgement("redact", "rude", replacement="[…]"),
        "hmm": Judgement("annotate", "odd"),
    }.items():
        if word in window.text:
            return verdict
    return Judgement()


def gate_of(windows: Windows = SENTENCES, mode: Mode = "hold", choices: int = 1) -> Gate:
    return Gate(windows, mode, CHANNELS, choices)


def run(gate: Gate, events: Iterable[Event], order: Random | None = None) -> list[Event]:
    """Feed events and give verdicts: at once, or by chance some at some time."""
    released: list[Event] = []
    taken: list[Window] = []

    def decide(all_of_them: bool) -> None:
        while window := gate.take():
            taken.append(window)
        while taken and (all_of_them or (order and order.random() < 0.5)):
            window = taken.pop(order.randrange(len(taken)) if order else 0)
            released.extend(gate.decide(window.id, Outcome(judge(window))))
            while window := gate.take():
                taken.append(window)

    for event in events:
        released += gate.feed(event)
        decide(order is None)
    released += gate.end()
    decide(True)
    return released


def said(events: Iterable[Event]) -> list[Event]:
    """Without what is only said about it."""
    return [event for event in events if not isinstance(event, Checked)]


def text(*pieces: str, index: int = 0) -> list[Event]:
    return [TextDelta(piece, index) for piece in pieces]


def test_text_leaves_in_the_pieces_it_came_in_when_its_window_was_judged() -> None:
    gate = gate_of()

    assert gate.feed(TextDelta("It is")) == []
    assert gate.feed(TextDelta(" late. I")) == []
    window = gate.take()
    assert window == Window(0, "It is late. ", "", 0, "content", 0)
    assert gate.take() is None
    assert gate.decide(0, Outcome(Judgement(scores={"a": 0.1}))) == [
        Checked("passed", 0, 12, scores={"a": 0.1}),
        *text("It is", " late. "),
    ]
    assert gate.end() == []
    assert gate.take() == Window(1, "I", "", 12, "content", 0)
    assert gate.decide(1, Outcome(Judgement())) == [Checked("passed", 12, 13), *text("I")]


@pytest.mark.parametrize(
    ("mode", "word", "released"),
    [
        (
            "hold",
            "hmm",
            [Flagged("odd", 4, 15, source="classifier"), *text("It hmm is. "), *text("Ok."), Finish("stop"), END],
        ),
        (
            "hold",
            "damn",
            [Redacted("rude", 4, 16, source="classifier"), *text("[…]"), *text("Ok."), Finish("stop"), END],
        ),
        (
            "hold",
            "kill",
            [Blocked("violence", 4, 16, source="classifier"), Finish("content_filter"), StreamEnd("moderated")],
        ),
        ("observe", "kill", [Flagged("violence", 4, 16, source="classifier"), END]),
        ("observe", "damn", [Flagged("rude", 4, 16, source="classifier"), END]),
        ("optimistic", "hmm", [Flagged("odd", 4, 15, source="classifier"), Finish("stop"), END]),
        ("optimistic", "damn", [Retracted("rude", 4, 16, 4, 16, replacement="[…]"), Finish("stop"), END]),
        (
            "optimistic",
            "kill",
            [
                Retracted("violence", 4, 19, 4, 19),
                Blocked("violence", 4, 16, source="classifier"),
                Finish("content_filter"),
                StreamEnd("moderated"),
            ],
        ),
    ],
)
def test_an_action_in_a_mode(mode: Mode, word: str, released: list[Event]) -> None:
    sentence = f"It {word} is. "
    events = [*text("Hi. ", sentence, "Ok."), Finish("stop"), END]
    gate = gate_of(mode=mode)
    found = [event for one in events for event in gate.feed(one)]
    while window := gate.take():
        found += gate.decide(window.id, Outcome(judge(window)))

    at_once = [] if mode == "hold" else text("Hi. ", sentence, "Ok.")
    at_once += [Finish("stop")] if mode == "observe" else []
    assert said(found) == [*(text("Hi. ") if mode == "hold" else at_once), *released]


def test_what_is_blocked_or_redacted_leaves_in_no_event() -> None:
    events = [*text("I dam", "n. ", "You kill", " me."), Finish("stop"), END]

    released = run(gate_of(), events)

    assert "damn" not in repr(released)
    assert "kill" not in repr(released)


def test_the_final_part_is_always_checked() -> None:
    assert run(gate_of(), text("you ki", "ll")) == [
        Checked("flagged", 0, 8, category="violence"),
        Blocked("violence", 0, 8, source="classifier"),
        Finish("content_filter"),
        StreamEnd("moderated"),
    ]


@pytest.mark.parametrize("mode", ["hold", "observe", "optimistic"])
def test_an_empty_stream_and_one_of_white_space_end_as_they_are_and_nobody_is_asked(mode: Mode) -> None:
    assert run(gate_of(mode=mode), []) == []
    assert run(gate_of(mode=mode), [Finish("stop"), END]) == [Finish("stop"), END]
    gate = gate_of(mode=mode)
    released = run(gate, [*text(" \n", "\t"), Finish("stop"), END])
    assert sorted(map(repr, said(released))) == sorted(map(repr, [*text(" \n", "\t"), Finish("stop"), END]))
    assert [event for event in released if isinstance(event, Checked)] == [Checked("skipped", 0, 3, calls=0)]
    assert (gate.report.skipped, gate.report.passed, gate.report.calls, gate.report.characters) == (1, 0, 0, 0)


def test_a_finish_and_all_else_of_a_choice_never_pass_its_text_and_what_is_of_none_does() -> None:
    events = [
        RoleDelta("assistant"),
        *text("One"),
        Annotation({"url": "x"}),
        Usage(total_tokens=1),
        *text(" two."),
        ToolCallDelta(0, "call"),
        Finish("tool_calls"),
        ProviderNotice("ping"),
        END,
    ]
    gate = gate_of()
    first = [event for one in events for event in gate.feed(one)]
    window = gate.take()

    assert first == [RoleDelta("assistant"), Usage(total_tokens=1), ProviderNotice("ping")]
    assert window
    assert said(gate.decide(window.id, Outcome(Judgement()))) == [
        *text("One"),
        Annotation({"url": "x"}),
        *text(" two."),
        ToolCallDelta(0, "call"),
        Finish("tool_calls"),
        END,
    ]


def test_a_channel_that_another_follows_is_checked_and_does_not_hold_that_up() -> None:
    gate = gate_of()
    gate.feed(ReasoningDelta("I think so"))
    gate.feed(TextDelta("Yes. No"))
    windows = [gate.take(), gate.take()]

    assert [(window.channel, window.text) for window in windows if window] == [
        ("reasoning", "I think so"),
        ("content", "Yes. "),
    ]
    assert gate.decide(1, Outcome(Judgement())) == []
    assert said(gate.decide(0, Outcome(Judgement()))) == [ReasoningDelta("I think so"), TextDelta("Yes. ")]


def test_channels_that_are_not_named_keep_their_place() -> None:
    gate = Gate(SENTENCES, "hold", ("content",), 1)
    released = run(gate, [ReasoningDelta("kill. "), *text("It is"), RefusalDelta("kill"), *text(" so."), END])

    assert said(released) == [ReasoningDelta("kill. "), *text("It is"), RefusalDelta("kill"), *text(" so."), END]


def test_the_context_is_what_came_before_and_is_counted_apart() -> None:
    gate = gate_of(Windows(sentences=1, overlap=6))
    for event in text("One. Two. ", "Three"):
        gate.feed(event)
    gate.end()
    windows = [gate.take() for _ in range(3)]

    assert [(window.context, window.text, window.start) for window in windows if window] == [
        ("", "One. ", 0),
        ("One. ", "Two. ", 5),
        (" Two. ", "Three", 10),
    ]
    for window in windows:
        if window:
            gate.decide(window.id, Outcome(Judgement()))
    assert (gate.report.characters, gate.report.context, gate.report.released) == (15, 11, 15)


def test_windows_of_a_channel_that_wait_are_judged_together_up_to_a_length() -> None:
    gate = gate_of(Windows(sentences=1, overlap=4), choices=2)
    for event in [*text("One. "), *text("Other. ", index=1), *text("Two. Three. Four. ")]:
        gate.feed(event)

    first, other = gate.take(12), gate.take(12)
    second = gate.take(12)
    assert first
    assert other
    assert second
    assert [(window.index, window.context, window.text) for window in (first, other, second)] == [
        (0, "", "One. Two. "),
        (1, "", "Other. "),
        (0, "wo. ", "Three. "),
    ]
    assert gate.decide(first.id, Outcome(Judgement())) == [Checked("passed", 0, 10), *text("One. ", "Two. ")]
    assert gate.undecided == 3


# Blocking


def test_a_choice_that_is_blocked_does_not_stop_or_stall_another() -> None:
    gate = gate_of(choices=2)
    events = [
        *text("You kill. "),
        *text("All ", index=1),
        *text("more. "),
        *text("is well.", index=1),
        Finish("stop", 1),
        END,
    ]

    assert said(run(gate, events)) == [
        Blocked("violence", 0, 10, source="classifier"),
        Finish("content_filter"),
        *text("All ", "is well.", index=1),
        Finish("stop", 1),
        StreamEnd("moderated", True),
    ]


def test_once_a_verdict_blocks_nothing_after_that_window_is_judged_and_reading_may_stop() -> None:
    gate = gate_of()
    for event in text("One. ", "You kill. ", "Three. ", "Four. "):
        gate.feed(event)
    windows = [gate.take() for _ in range(3)]
    assert gate.reading

    assert gate.decide(1, Outcome(Judgement("block", "violence"))) == []
    assert not gate.reading
    assert gate.take() is None
    assert gate.undecided == 1
    assert gate.feed(TextDelta("Five. ")) == []
    assert gate.decide(2, Outcome(Judgement("block", "late"))) == []
    assert windows[0]
    assert gate.decide(0, Outcome(Judgement())) == [
        Checked("passed", 0, 5),
        *text("One. "),
        Checked("flagged", 5, 15, category="violence"),
        Blocked("violence", 5, 15, source="classifier"),
        Finish("content_filter"),
        StreamEnd("moderated"),
    ]
    assert gate.done
    assert (gate.feed(TextDelta("x")), gate.end(), gate.take()) == ([], [], None)
    assert (gate.report.released, gate.report.withheld, gate.report.stopped) == (5, 23, 1)


def test_what_the_stopping_saved_is_told_of_a_request_that_has_a_limit() -> None:
    gate = gate_of(Windows(sentences=1, count=lambda text: len(text.split())))
    run(gate, text("All is well. ", "You kill. "))

    assert (gate.report.tokens, gate.report.tokens_saved(100), gate.report.tokens_saved(3)) == (5, 95, 0)


def test_what_a_choice_cost_that_was_not_stopped_is_not_taken_off_what_was_saved() -> None:
    gate = gate_of(Windows(sentences=1, count=lambda text: len(text.split())), choices=2)
    run(gate, [*text("You kill. "), *text("All is well, ", "all of it. ", index=1), Finish("stop", 1), END])

    assert (gate.report.tokens, gate.report.stopped_tokens, gate.report.tokens_saved(100)) == (8, 2, 98)


# The end


def test_an_answer_assembled_before_leaves_at_the_end_and_not_if_anything_was_altered() -> None:
    whole = Completion((Choice(0, "It is."),), end="completed")

    assert said(run(gate_of(), [*text("It is."), Finish("stop"), whole, END])) == [
        *text("It is."),
        Finish("stop"),
        whole,
        END,
    ]
    assert said(run(gate_of(), [*text("damn"), Finish("stop"), whole, END])) == [
        Redacted("rude", 0, 4, source="classifier"),
        *text("[…]"),
        Finish("stop"),
        END,
    ]


def test_log_probabilities_come_at_the_end_and_not_of_a_choice_that_was_altered() -> None:
    events = [Logprobs({"a": 1}), *text("damn."), Logprobs({"b": 1}, 1), *text("good.", index=1), END]

    released = run(gate_of(choices=2), events)

    assert [event for event in released if isinstance(event, Logprobs)] == [Logprobs({"b": 1}, 1)]
    assert released[-1] == END


def test_what_a_providers_error_cut_off_is_neither_judged_nor_released_but_what_was_complete_is() -> None:
    gate = gate_of()
    failed = StreamEnd("provider_error")
    for event in [*text("One. ", "Tw"), Completion((Choice(0, "One. Tw"),)), failed]:
        assert gate.feed(event) == []
    window = gate.take()

    assert window
    assert said(gate.decide(window.id, Outcome(Judgement()))) == [*text("One. "), failed]
    assert gate.take() is None
    assert gate.end() == []


def test_the_providers_chunk_is_not_released_with_a_part_of_it() -> None:
    events: list[Event] = [
        ResponseStart("id", payload='{"kill": 1}'),
        TextDelta("It is.", payload='{"kill": 1}'),
        Finish("stop", payload='{"kill": 1}'),
    ]

    assert all(event.payload is None for event in run(gate_of(), events))
    assert all(event.payload for event in said(run(gate_of(mode="observe"), events)))


# Failures, as the report has them


@pytest.mark.parametrize(
    ("mode", "outcome", "told"),
    [
        ("hold", Outcome(Judgement(), "timeout", 3), "failed_open"),
        ("hold", Outcome(Judgement("block", "unchecked"), "connect", 2), "failed_closed"),
        ("observe", Outcome(Judgement("block", "unchecked"), "status", 1), "failed_open"),
        ("optimistic", Outcome(Judgement("block", "unchecked"), "answer", 1), "failed_closed"),
    ],
)
def test_a_window_that_nobody_judged_is_never_called_passed(mode: Mode, outcome: Outcome, told: str) -> None:
    gate = gate_of(mode=mode)
    gate.feed(TextDelta("Well. "))
    gate.take()
    checked = [event for event in gate.decide(0, outcome) if isinstance(event, Checked)]

    assert [(event.outcome, event.failure, event.calls) for event in checked] == [
        (told, outcome.failure, outcome.calls)
    ]
    assert (gate.report.passed, gate.report.flagged) == (0, 0)
    assert getattr(gate.report, told) == 1
    assert gate.report.calls == outcome.calls


# Time


def test_a_window_ends_when_its_first_character_has_waited_long_enough() -> None:
    gate = gate_of(Windows(seconds=0.5))
    gate.tick(10.0)
    assert gate.due is None
    gate.feed(TextDelta(" "))
    assert gate.due is None
    gate.feed(TextDelta("a"))
    assert gate.due == 10.5
    gate.tick(10.4)
    assert gate.take() is None
    gate.tick(10.6)
    assert gate.take() == Window(0, " a", "", 0)
    assert gate.due is None
    checked, _, _ = gate.decide(0, Outcome(Judgement(), seconds=0.25))
    assert isinstance(checked, Checked)
    assert (checked.seconds, round(checked.held, 6)) == (0.25, 0.85)


# Properties

PIECES = st.lists(
    st.tuples(st.sampled_from(["a", "b. ", "ki", "ll", "dam", "n. ", " ", "hmm! ", "\n"]), st.sampled_from("crcc012")),
    max_size=25,
)


def events_of(pieces: list[tuple[str, str]], data: Any) -> list[Event]:
    """The text of the pieces, cut anew."""
    events: list[Event] = []
    for piece, where in pieces:
        cuts = sorted(data.draw(st.lists(st.integers(1, max(1, len(piece) - 1)), max_size=2, unique=True)))
        for part in filter(None, (piece[a:b] for a, b in zip([0, *cuts], [*cuts, len(piece)], strict=True))):
            match where:
                case "r":
                    events.append(ReasoningDelta(part))
                case "c":
                    events.append(TextDelta(part))
                case _:
                    events.append(TextDelta(part, int(where)))
    return [*events, *(Finish("stop", index) for index in range(3)), END]


def gist(events: list[Event]) -> dict[int, list[Any]]:
    """For each choice what left, its text joined."""
    found: dict[int, list[Any]] = {}
    for event in events:
        choice = found.setdefault(getattr(event, "index", -1), [])
        match event:
            case TextDelta(text=part) | ReasoningDelta(text=part) if choice and choice[-1][0] is type(event):
                choice[-1] = (type(event), choice[-1][1] + part)
            case TextDelta(text=part) | ReasoningDelta(text=part):
                choice.append((type(event), part))
            case _:
                choice.append((event, ""))
    return found


@given(PIECES, st.data(), st.sampled_from([SENTENCES, Windows(chars=3, overlap=2)]), st.integers(1, 3), st.randoms())
def test_neither_the_cuts_nor_the_order_of_the_verdicts_change_what_leaves(
    pieces: list[tuple[str, str]], data: Any, windows: Windows, choices: int, order: Random
) -> None:
    as_it_came = gist(run(gate_of(windows, choices=3), events_of(pieces, data)))

    assert gist(run(gate_of(windows, choices=3), events_of(pieces, data))) == as_it_came
    assert gist(run(gate_of(windows, choices=3), events_of(pieces, data), order)) == as_it_came


@given(PIECES, st.data(), st.randoms())
def test_nothing_undecided_is_released(pieces: list[tuple[str, str]], data: Any, order: Random) -> None:
    gate = gate_of(choices=3)
    judged: dict[tuple[str, int], int] = {}
    left: dict[tuple[str, int], int] = {}
    taken: list[Window] = []

    def see(events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Checked) and event.outcome == "skipped":
                judged["TextDelta" if event.channel == "content" else "ReasoningDelta", event.index] = event.end
            if isinstance(event, TextDelta | ReasoningDelta):
                key = (type(event).__name__, event.index)
                left[key] = left.get(key, 0) + len(event.text)
                assert left[key] <= judged.get(key, 0)

    for event in events_of(pieces, data):
        see(gate.feed(event))
        while window := gate.take():
            taken.append(window)
        # In the order of their text, as far as that: what is judged is then judged from the beginning.
        while taken and order.random() < 0.4:
            window = taken.pop(0)
            key = ("TextDelta" if window.channel == "content" else "ReasoningDelta", window.index)
            judged[key] = window.end
            see(gate.decide(window.id, Outcome(Judgement())))


@given(PIECES, st.data(), st.integers(0, 30), st.sampled_from(["hold", "observe", "optimistic"]))
def test_a_gate_goes_on_from_its_state(pieces: list[tuple[str, str]], data: Any, at: int, mode: Mode) -> None:
    events = events_of(pieces, data)

    def run_with(stops: bool) -> list[Event]:
        gate, released = gate_of(mode=mode, choices=3), list[Event]()
        for number, event in enumerate(events):
            released += gate.feed(event)
            if number == at and stops:
                gate.take()  # under way when it stopped
                state = json.loads(json.dumps(gate.state()))
                gate = gate_of(mode=mode, choices=3)
                gate.restore(state)
            if number % 3 == 0:
                while window := gate.take():
                    released += gate.decide(window.id, Outcome(judge(window)))
        while window := gate.take():
            released += gate.decide(window.id, Outcome(judge(window)))
        return [*released, *gate.end()]

    assert run_with(True) == run_with(False)


def test_events_that_are_not_streamkits_can_not_be_kept() -> None:
    class Note:
        index = 0

    gate = gate_of()
    gate.feed(TextDelta("a"))
    gate.feed(Note())  # type: ignore[arg-type]
    with pytest.raises(PipelineError, match="found an object of type Note"):
        gate.state()


def test_events_that_wait_behind_a_text_are_bounded() -> None:
    gate = gate_of()
    gate.feed(TextDelta("a"))
    for number in range(255):
        gate.feed(Annotation({"n": number}))
    assert gate.take() is None
    gate.feed(Annotation({"n": 255}))
    assert gate.take() == Window(0, "a")


@pytest.mark.parametrize(
    ("mode", "channels", "message"),
    [
        ("watch", CHANNELS, "expected the mode hold, observe or optimistic; found 'watch'"),
        ("hold", ("tool_arguments",), "expected channels of content, reasoning, refusal; found 'tool_arguments'"),
    ],
)
def test_what_it_can_not_do_is_refused(mode: Any, channels: Any, message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        Gate(SENTENCES, mode, channels, 1)
