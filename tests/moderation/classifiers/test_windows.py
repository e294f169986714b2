"""Windows: what is released, in which order, however text is split and whichever decision arrives first."""

import json
from collections.abc import Iterable
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit import (
    Blocked,
    Completion,
    Event,
    Finish,
    PipelineError,
    ReasoningDelta,
    Redacted,
    RefusalDelta,
    StreamEnd,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from streamkit.events import (
    Annotation,
    Checked,
    Choice,
    Flagged,
    Logprobs,
    PartDelta,
    ProviderNotice,
    ResponseDetails,
    ResponseStart,
    Retracted,
    RoleDelta,
)
from streamkit.moderation import Decision, Window, Windows
from streamkit.moderation.channels import CLASSIFIED, TEXTS, Mode
from streamkit.moderation.classifiers.classifier import Outcome
from streamkit.moderation.classifiers.windows import Classifying
from streamkit.moderation.policy import Policy
from tests.kit import text

END = StreamEnd("completed", True)
SENTENCES = Windows(sentences=1)


def judge(window: Window) -> Decision:
    """By the word that the window has."""
    for word, verdict in {
        "kill": Decision("block", "violence"),
        "damn": Decision("redact", "rude", replacement="[…]"),
        "hmm": Decision("annotate", "odd"),
    }.items():
        if word in window.text:
            return verdict
    return Decision()


def classifying_of(
    windows: Windows = SENTENCES, mode: Mode = "hold", choices: int = 1, channels: Any = TEXTS, **limits: Any
) -> Classifying:
    policy = Policy(mode, True, choices, None, None, "block", None, False)
    return Classifying(windows, policy._replace(**limits), channels)


def run(classifying: Classifying, events: Iterable[Event], order: Random | None = None) -> list[Event]:
    """Feed events and give verdicts: at once, or by chance some at some time."""
    released: list[Event] = []
    taken: list[Window] = []

    def decide(all_of_them: bool) -> None:
        while window := classifying.take():
            taken.append(window)
        while taken and (all_of_them or (order and order.random() < 0.5)):
            window = taken.pop(order.randrange(len(taken)) if order else 0)
            released.extend(classifying.decide(window.id, Outcome(judge(window))))
            while window := classifying.take():
                taken.append(window)

    for event in events:
        released += classifying.feed(event)
        decide(order is None)
    released += classifying.end()
    decide(True)
    return released


def said(events: Iterable[Event]) -> list[Event]:
    """Without what is only said about it."""
    return [event for event in events if not isinstance(event, Checked)]


def test_text_leaves_in_the_pieces_it_came_in_when_its_window_was_judged() -> None:
    classifying = classifying_of()

    assert classifying.feed(TextDelta("It is")) == []
    assert classifying.feed(TextDelta(" late. I")) == []
    window = classifying.take()
    assert window == Window(0, "It is late. ", "", 0, "content", 0)
    assert classifying.take() is None
    assert classifying.decide(0, Outcome(Decision(scores={"a": 0.1}))) == [
        Checked("passed", 0, 12, scores={"a": 0.1}),
        *text("It is", " late. "),
    ]
    assert classifying.end() == []
    assert classifying.take() == Window(1, "I", "", 12, "content", 0)
    assert classifying.decide(1, Outcome(Decision())) == [Checked("passed", 12, 13), *text("I")]


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
        ("observe", "kill", [Blocked("violence", 4, 16, source="classifier"), END]),
        ("observe", "damn", [Redacted("rude", 4, 16, source="classifier"), END]),
        ("optimistic", "hmm", [Flagged("odd", 4, 15, source="classifier"), Finish("stop"), END]),
        (
            "optimistic",
            "damn",
            [
                Redacted("rude", 4, 16, source="classifier"),
                Retracted("rude", 4, 16, 4, 16, replacement="[…]"),
                Finish("stop"),
                END,
            ],
        ),
        (
            "optimistic",
            "kill",
            [
                Blocked("violence", 4, 16, source="classifier"),
                Retracted("violence", 4, 19, 4, 19),
                Finish("content_filter"),
                StreamEnd("moderated"),
            ],
        ),
    ],
)
def test_an_action_in_a_mode(mode: Mode, word: str, released: list[Event]) -> None:
    sentence = f"It {word} is. "
    events = [*text("Hi. ", sentence, "Ok."), Finish("stop"), END]
    classifying = classifying_of(mode=mode)
    found = [event for one in events for event in classifying.feed(one)]
    while window := classifying.take():
        found += classifying.decide(window.id, Outcome(judge(window)))

    at_once = [] if mode == "hold" else text("Hi. ", sentence, "Ok.")
    at_once += [Finish("stop")] if mode == "observe" else []
    assert said(found) == [*(text("Hi. ") if mode == "hold" else at_once), *released]


def test_what_is_blocked_or_redacted_leaves_in_no_event() -> None:
    events = [*text("I dam", "n. ", "You kill", " me."), Finish("stop"), END]

    released = run(classifying_of(), events)

    assert "damn" not in repr(released)
    assert "kill" not in repr(released)


def test_the_final_part_is_always_checked() -> None:
    assert run(classifying_of(), text("you ki", "ll")) == [
        Checked("flagged", 0, 8, category="violence"),
        Blocked("violence", 0, 8, source="classifier"),
        Finish("content_filter"),
        StreamEnd("moderated"),
    ]


@pytest.mark.parametrize("mode", ["hold", "observe", "optimistic"])
def test_an_empty_stream_and_one_of_white_space_end_as_they_are_and_nobody_is_asked(mode: Mode) -> None:
    assert run(classifying_of(mode=mode), []) == []
    assert run(classifying_of(mode=mode), [Finish("stop"), END]) == [Finish("stop"), END]
    classifying = classifying_of(mode=mode)
    released = run(classifying, [*text(" \n", "\t"), Finish("stop"), END])
    assert sorted(map(repr, said(released))) == sorted(map(repr, [*text(" \n", "\t"), Finish("stop"), END]))
    assert [event for event in released if isinstance(event, Checked)] == [Checked("skipped", 0, 3, calls=0)]
    assert (
        classifying.report.skipped,
        classifying.report.passed,
        classifying.report.calls,
        classifying.report.characters,
    ) == (1, 0, 0, 0)


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
    classifying = classifying_of()
    first = [event for one in events for event in classifying.feed(one)]
    window = classifying.take()

    assert first == [RoleDelta("assistant"), Usage(total_tokens=1), ProviderNotice("ping")]
    assert window
    assert said(classifying.decide(window.id, Outcome(Decision()))) == [
        *text("One"),
        Annotation({"url": "x"}),
        *text(" two."),
        ToolCallDelta(0, "call"),
        Finish("tool_calls"),
        END,
    ]


def test_a_channel_that_another_follows_is_checked_and_does_not_hold_that_up() -> None:
    classifying = classifying_of()
    classifying.feed(ReasoningDelta("I think so"))
    classifying.feed(TextDelta("Yes. No"))
    windows = [classifying.take(), classifying.take()]

    assert [(window.channel, window.text) for window in windows if window] == [
        ("reasoning", "I think so"),
        ("content", "Yes. "),
    ]
    assert classifying.decide(1, Outcome(Decision())) == []
    assert said(classifying.decide(0, Outcome(Decision()))) == [ReasoningDelta("I think so"), TextDelta("Yes. ")]


@pytest.mark.parametrize("word", ["hmm", "ok"])
def test_what_stands_between_the_texts_of_one_window_keeps_its_place(word: str) -> None:
    source = Annotation({"url": "x"})

    released = said(run(classifying_of(), [*text(f"It {word}"), source, *text(" is. "), Finish("stop"), END]))

    assert [event for event in released if not isinstance(event, Flagged)] == [
        *text(f"It {word}"),
        source,
        *text(" is. "),
        Finish("stop"),
        END,
    ]


# Text beside the answer


class Spoken(msgspec.Struct, frozen=True):
    """An event of another package."""

    words: str
    index: int = 0


BESIDE: dict[str, tuple[Any, list[Any]]] = {
    "details": (
        lambda words: ResponseDetails({"id": "r", "thoughts": words, "service_tier": "flex"}),
        [ResponseDetails({"id": "r", "thoughts": "", "service_tier": "flex"})],
    ),
    "details of a choice": (
        lambda words: ResponseDetails({"thoughts": {"deep": words}}, index=0),
        [ResponseDetails({"thoughts": {"deep": ""}}, index=0)],
    ),
    "a notice": (lambda words: ProviderNotice("new", {"words": words}), [ProviderNotice("new", {"words": ""})]),
    "an event of another package": (Spoken, []),
}
beside = pytest.mark.parametrize(("make", "without"), [*BESIDE.values()], ids=[*BESIDE])


@beside
@pytest.mark.parametrize("seed", [None, 1, 2])
def test_a_classifier_decides_about_text_beside_the_answer(make: Any, without: list[Any], seed: int | None) -> None:
    events = [*text("It is"), make("fine"), *text(" so."), make("a damn lie"), *text(" Yes."), END]

    released = said(run(classifying_of(channels=CLASSIFIED), events, Random(seed) if seed else None))

    assert {event.channel for event in released if isinstance(event, Redacted)} == {"other"}
    assert [event for event in released if not isinstance(event, Redacted)] == [
        *text("It is"),
        make("fine"),
        *text(" so."),
        *without,
        *text(" Yes."),
        END,
    ]


@beside
def test_text_beside_the_answer_that_blocks_its_choice_is_not_released(make: Any, without: list[Any]) -> None:
    released = said(run(classifying_of(channels=CLASSIFIED), [*text("It is"), make("to kill"), *text(" so."), END]))

    assert [type(event) for event in released] == [TextDelta, Blocked, Finish, StreamEnd]
    assert "kill" not in repr(released)


@beside
@pytest.mark.parametrize("mode", ["observe", "optimistic"])
def test_text_beside_the_answer_passes_at_once_where_nothing_is_held(make: Any, without: list[Any], mode: Mode) -> None:
    event = make("a damn lie")
    classifying = classifying_of(mode=mode, channels=CLASSIFIED)

    assert classifying.feed(event) == [event]
    window = classifying.take()
    assert window
    (verdict,) = said(classifying.decide(window.id, Outcome(judge(window))))
    assert isinstance(verdict, Redacted)


def test_of_many_strings_in_one_event_none_is_released_if_one_is_withheld() -> None:
    events = [ResponseDetails({"a": ["fine", {"b": "damn"}], "c": "fine too"}), ResponseDetails({"a": ["fine"]})]

    released = said(run(classifying_of(channels=CLASSIFIED), events))

    assert released == [
        Redacted("rude", 5, 10, "other", source="classifier"),
        ResponseDetails({"a": ["", {"b": ""}], "c": ""}),
        events[1],
    ]


def test_text_beside_the_answer_is_decided_behind_a_checkpoint() -> None:
    details, later = ResponseDetails({"thoughts": "a damn lie"}), ResponseDetails({"status": "done"})
    classifying = classifying_of(channels=CLASSIFIED)
    assert [out for event in (*text("It is"), details, later) for out in classifying.feed(event)] == []
    restored = classifying_of(channels=CLASSIFIED)
    restored.restore(json.loads(json.dumps(classifying.state())))

    assert [window.text for window in iter(restored.take, None) if window] == ["It is", "a damn lie"]
    assert said(restored.decide(1, Outcome(Decision("redact", "rude")))) == []
    assert said(restored.decide(0, Outcome(Decision()))) == [
        *text("It is"),
        Redacted("rude", 0, 10, "other", source="classifier"),
        ResponseDetails({"thoughts": ""}),
        later,
    ]


def test_settings_that_a_response_repeats_are_not_classified() -> None:
    details = ResponseDetails(
        {
            "id": "resp_1",
            "instructions": "Be kind.",
            "tools": [{"name": "f", "description": "It does."}],
            "text": {"format": {"type": "text"}, "verbosity": "low"},
            "reasoning": {"effort": "low"},
        },
        "responses",
    )
    notice = ProviderNotice("response.in_progress", {"response": {"instructions": "Be kind."}})
    classifying = classifying_of(channels=CLASSIFIED)

    assert [*classifying.feed(details), *classifying.feed(notice)] == [details, notice]
    assert classifying.take() is None
    assert classifying.feed(ResponseDetails({"text": "words", "reasoning": "words"})) == []


def test_a_piece_of_a_notice_cannot_be_classified_and_is_removed() -> None:
    classifying = classifying_of(channels=CLASSIFIED)

    assert classifying.feed(ProviderNotice("new.delta", {"delta": "ki", "n": 1})) == [
        ProviderNotice("new.delta", {"delta": "", "n": 1})
    ]


def test_what_is_retracted_is_counted_in_the_text_of_parts_alone() -> None:
    classifying = classifying_of(mode="optimistic", channels=CLASSIFIED)
    events = [PartDelta("so. ", "other"), ResponseDetails({"thoughts": "words"}), PartDelta("damn. ", "other")]

    released = said(run(classifying, [*events, END]))

    assert Retracted("rude", 9, 15, 4, 10, "other", replacement="[…]") in released


def test_channels_that_are_not_named_keep_their_place() -> None:
    classifying = classifying_of(channels=("content",))
    released = run(classifying, [ReasoningDelta("kill. "), *text("It is"), RefusalDelta("kill"), *text(" so."), END])

    assert said(released) == [ReasoningDelta("kill. "), *text("It is"), RefusalDelta("kill"), *text(" so."), END]


def test_the_context_is_what_came_before_and_is_counted_apart() -> None:
    classifying = classifying_of(Windows(sentences=1, overlap=6))
    for event in text("One. Two. ", "Three"):
        classifying.feed(event)
    classifying.end()
    windows = [classifying.take() for _ in range(3)]

    assert [(window.context, window.text, window.start) for window in windows if window] == [
        ("", "One. ", 0),
        ("One. ", "Two. ", 5),
        (" Two. ", "Three", 10),
    ]
    for window in windows:
        if window:
            classifying.decide(window.id, Outcome(Decision()))
    assert (classifying.report.characters, classifying.report.context, classifying.report.released) == (15, 11, 15)


def test_windows_of_a_channel_that_wait_are_judged_together_up_to_a_length() -> None:
    classifying = classifying_of(Windows(sentences=1, overlap=4), choices=2)
    for event in [*text("One. "), *text("Other. ", index=1), *text("Two. Three. Four. ")]:
        classifying.feed(event)

    first, other = classifying.take(12), classifying.take(12)
    second = classifying.take(12)
    assert first
    assert other
    assert second
    assert [(window.index, window.context, window.text) for window in (first, other, second)] == [
        (0, "", "One. Two. "),
        (1, "", "Other. "),
        (0, "wo. ", "Three. "),
    ]
    assert classifying.decide(first.id, Outcome(Decision())) == [Checked("passed", 0, 10), *text("One. ", "Two. ")]
    assert classifying.undecided == 3


# Blocking


def test_a_choice_that_is_blocked_does_not_stop_or_stall_another() -> None:
    classifying = classifying_of(choices=2)
    events = [
        *text("You kill. "),
        *text("All ", index=1),
        *text("more. "),
        *text("is well.", index=1),
        Finish("stop", 1),
        END,
    ]

    assert said(run(classifying, events)) == [
        Blocked("violence", 0, 10, source="classifier"),
        Finish("content_filter"),
        *text("All ", "is well.", index=1),
        Finish("stop", 1),
        StreamEnd("moderated"),
    ]


def test_once_a_verdict_blocks_nothing_after_that_window_is_judged_and_reading_may_stop() -> None:
    classifying = classifying_of()
    for event in text("One. ", "You kill. ", "Three. ", "Four. "):
        classifying.feed(event)
    windows = [classifying.take() for _ in range(3)]
    assert classifying.reading

    assert classifying.decide(1, Outcome(Decision("block", "violence"))) == []
    assert not classifying.reading
    assert classifying.take() is None
    assert classifying.undecided == 1
    assert classifying.feed(TextDelta("Five. ")) == []
    assert classifying.decide(2, Outcome(Decision("block", "late"))) == []
    assert windows[0]
    assert classifying.decide(0, Outcome(Decision())) == [
        Checked("passed", 0, 5),
        *text("One. "),
        Checked("flagged", 5, 15, category="violence"),
        Blocked("violence", 5, 15, source="classifier"),
        Finish("content_filter"),
        StreamEnd("moderated"),
    ]
    assert classifying.done
    assert (classifying.feed(TextDelta("x")), classifying.end(), classifying.take()) == ([], [], None)
    assert (classifying.report.released, classifying.report.withheld, classifying.report.stopped) == (5, 23, True)


@pytest.mark.parametrize(("max_tokens", "saved"), [(100, 98), (1, 0), (None, None)])
def test_what_stopping_saved_is_reported_of_a_request_that_has_a_limit(
    max_tokens: int | None, saved: int | None
) -> None:
    classifying = classifying_of(max_tokens=max_tokens)
    run(classifying, text("All is well. ", "You kill. "))

    assert classifying.report.tokens_saved == saved


def test_of_a_choice_that_came_to_its_end_nothing_is_saved() -> None:
    classifying = classifying_of(choices=2, max_tokens=100)
    run(classifying, [*text("You kill. "), *text("All is well, ", "all of it. ", index=1), Finish("stop", 1), END])

    assert classifying.report.tokens_saved == 99


@pytest.mark.parametrize("last", [0, 1])
def test_of_two_windows_that_block_the_first_counts_while_a_third_is_under_way(last: int) -> None:
    classifying = classifying_of()
    for event in text("One. ", "Two. ", "Three. "):
        classifying.feed(event)
    for _ in range(3):
        classifying.take()

    assert classifying.decide(1, Outcome(Decision("block", "second"))) == []
    assert said(classifying.decide(0, Outcome(Decision("block", "first")))) == [
        Blocked("first", 0, 5, source="classifier"),
        Finish("content_filter"),
        StreamEnd("moderated"),
    ]
    assert classifying.decide(1 + last, Outcome(Decision("block", "late"))) == []


def test_a_decision_to_replace_withholds_the_rest_of_its_channel_and_classifies_no_more_of_it() -> None:
    classifying = classifying_of()
    events = [*text("One. ", "Two. ", "Three. "), ReasoningDelta("Hm. "), Finish("stop"), END]
    released = [event for one in events for event in classifying.feed(one)]
    windows = [window for _ in range(4) if (window := classifying.take())]
    released += classifying.decide(windows[1].id, Outcome(Decision("replace", "x", replacement="…")))
    released += classifying.decide(windows[0].id, Outcome(Decision()))
    released += classifying.decide(windows[3].id, Outcome(Decision()))

    assert said(released) == [
        TextDelta("One. "),
        Redacted("x", 5, 10, source="classifier", action="replace"),
        TextDelta("…"),
        ReasoningDelta("Hm. "),
        Finish("content_filter"),
        StreamEnd("moderated", True),
    ]


def test_a_decision_to_stop_ends_all_choices() -> None:
    classifying = classifying_of(choices=2)
    for event in [*text("One. "), *text("Two. ", index=1)]:
        classifying.feed(event)
    first = classifying.take()
    assert first

    assert said(classifying.decide(first.id, Outcome(Decision("stop", "x", message="No.")))) == [
        Blocked("x", 0, 5, source="classifier", action="stop"),
        TextDelta("No."),
        Finish("content_filter"),
        Finish("content_filter", 1),
        StreamEnd("moderated"),
    ]


# The end


def test_an_answer_assembled_before_leaves_at_the_end_and_not_if_anything_was_altered() -> None:
    whole = Completion((Choice(0, "It is."),), end="completed")

    assert said(run(classifying_of(), [*text("It is."), Finish("stop"), whole, END])) == [
        *text("It is."),
        Finish("stop"),
        whole,
        END,
    ]
    assert said(run(classifying_of(), [*text("damn"), Finish("stop"), whole, END])) == [
        Redacted("rude", 0, 4, source="classifier"),
        *text("[…]"),
        Finish("stop"),
        END,
    ]


def test_log_probabilities_come_at_the_end_and_not_of_a_choice_that_was_altered() -> None:
    events = [Logprobs({"a": 1}), *text("damn."), Logprobs({"b": 1}, 1), *text("good.", index=1), END]

    released = run(classifying_of(choices=2), events)

    assert [event for event in released if isinstance(event, Logprobs)] == [Logprobs({"b": 1}, 1)]
    assert released[-1] == END


def test_what_a_providers_error_cut_off_is_neither_judged_nor_released_but_what_was_complete_is() -> None:
    classifying = classifying_of()
    failed = StreamEnd("provider_error")
    for event in [*text("One. ", "Tw"), Completion((Choice(0, "One. Tw"),)), failed]:
        assert classifying.feed(event) == []
    window = classifying.take()

    assert window
    assert said(classifying.decide(window.id, Outcome(Decision()))) == [*text("One. "), failed]
    assert classifying.take() is None
    assert classifying.end() == []


def test_the_providers_chunk_is_not_released_with_a_part_of_it() -> None:
    events: list[Event] = [
        ResponseStart("id", payload='{"kill": 1}'),
        TextDelta("It is.", payload='{"kill": 1}'),
        Finish("stop", payload='{"kill": 1}'),
    ]

    assert all(event.payload is None for event in run(classifying_of(), events))
    assert all(event.payload for event in said(run(classifying_of(mode="observe"), events)))


# Failures, as the report has them


@pytest.mark.parametrize(
    ("mode", "outcome", "told"),
    [
        ("hold", Outcome(Decision(), "timeout", 3), "failed_open"),
        ("hold", Outcome(Decision("block", "unchecked"), "connect", 2), "failed_closed"),
        ("observe", Outcome(Decision("block", "unchecked"), "status", 1), "failed_open"),
        ("optimistic", Outcome(Decision("block", "unchecked"), "answer", 1), "failed_closed"),
    ],
)
def test_a_window_that_nobody_judged_is_never_called_passed(mode: Mode, outcome: Outcome, told: str) -> None:
    classifying = classifying_of(mode=mode)
    classifying.feed(TextDelta("Well. "))
    classifying.take()
    checked = [event for event in classifying.decide(0, outcome) if isinstance(event, Checked)]

    assert [(event.outcome, event.failure, event.calls) for event in checked] == [
        (told, outcome.failure, outcome.calls)
    ]
    assert (classifying.report.passed, classifying.report.flagged) == (0, 0)
    assert getattr(classifying.report, told) == 1
    assert classifying.report.calls == outcome.calls


# Time


def test_a_window_ends_when_its_first_character_has_waited_long_enough() -> None:
    classifying = classifying_of(Windows(seconds=0.5))
    classifying.tick(10.0)
    assert classifying.due is None
    classifying.feed(TextDelta(" "))
    assert classifying.due is None
    classifying.feed(TextDelta("a"))
    assert classifying.due == 10.5
    classifying.tick(10.4)
    assert classifying.take() is None
    classifying.tick(10.6)
    assert classifying.expire() == []
    assert classifying.take() == Window(0, " a", "", 0)
    assert classifying.due is None
    checked, _, _ = classifying.decide(0, Outcome(Decision(), seconds=0.25))
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
    as_it_came = gist(run(classifying_of(windows, choices=3), events_of(pieces, data)))

    assert gist(run(classifying_of(windows, choices=3), events_of(pieces, data))) == as_it_came
    assert gist(run(classifying_of(windows, choices=3), events_of(pieces, data), order)) == as_it_came


@given(PIECES, st.data(), st.randoms())
def test_nothing_undecided_is_released(pieces: list[tuple[str, str]], data: Any, order: Random) -> None:
    classifying = classifying_of(choices=3)
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
        see(classifying.feed(event))
        while window := classifying.take():
            taken.append(window)
        # In the order of their text, as far as that: what is judged is then judged from the beginning.
        while taken and order.random() < 0.4:
            window = taken.pop(0)
            key = ("TextDelta" if window.channel == "content" else "ReasoningDelta", window.index)
            judged[key] = window.end
            see(classifying.decide(window.id, Outcome(Decision())))


@given(PIECES, st.data(), st.integers(0, 30), st.sampled_from(["hold", "observe", "optimistic"]))
def test_it_continues_from_its_state(pieces: list[tuple[str, str]], data: Any, at: int, mode: Mode) -> None:
    events = events_of(pieces, data)

    def run_with(stops: bool) -> list[Event]:
        classifying, released = classifying_of(mode=mode, choices=3), list[Event]()
        for number, event in enumerate(events):
            released += classifying.feed(event)
            if number == at and stops:
                classifying.take()  # under way when it stopped
                state = json.loads(json.dumps(classifying.state()))
                classifying = classifying_of(mode=mode, choices=3)
                classifying.restore(state)
            if number % 3 == 0:
                while window := classifying.take():
                    released += classifying.decide(window.id, Outcome(judge(window)))
        while window := classifying.take():
            released += classifying.decide(window.id, Outcome(judge(window)))
        return [*released, *classifying.end()]

    assert run_with(True) == run_with(False)


@pytest.mark.parametrize("first", [0, 2], ids=["in order", "out of order"])
@pytest.mark.parametrize("mode", ["hold", "observe", "optimistic"])
@pytest.mark.parametrize("action", ["replace", "block"])
def test_a_window_behind_the_one_that_ends_a_text_is_not_decided_after_a_checkpoint(
    action: Any, mode: Mode, first: int
) -> None:
    ends = Outcome(Decision(action, "x"))
    classifying = classifying_of(mode=mode, choices=2)
    classifying.feed(TextDelta("One. Two. Three. "))
    windows = [classifying.take() for _ in range(3)]
    assert [window and window.text for window in windows] == ["One. ", "Two. ", "Three. "]

    released = classifying.decide(first, ends) if first else []
    released += classifying.decide(0, ends)
    state = json.loads(json.dumps(classifying.state()))
    classifying = classifying_of(mode=mode, choices=2)
    classifying.restore(state)
    assert classifying.take() is None
    released += classifying.decide(1, ends) + classifying.end()

    assert [(event.start, event.end) for event in said(released) if isinstance(event, Redacted | Blocked)] == [(0, 5)]


@pytest.mark.parametrize("mode", ["hold", "observe", "optimistic"])
def test_a_block_that_is_decided_before_an_earlier_window_replaces_the_text_ends_the_choice(mode: Mode) -> None:
    """The source may be closed when it is decided, so that the choice can't continue."""
    classifying = classifying_of(mode=mode)
    classifying.feed(TextDelta("One. Two. Three. "))
    while classifying.take():
        pass

    released = classifying.decide(2, Outcome(Decision("block", "b")))
    assert classifying.reading is (mode == "observe")
    released += classifying.decide(0, Outcome(Decision("replace", "a", replacement="*"))) + classifying.end()

    assert [event for event in said(released) if not isinstance(event, TextDelta | Retracted)] == [
        Redacted("a", 0, 5, source="classifier", action="replace"),
        Blocked("b", 10, 17, source="classifier"),
        *([] if mode == "observe" else [Finish("content_filter"), StreamEnd("moderated")]),
    ]


def test_events_that_are_not_streamkits_can_not_be_kept() -> None:
    class Note:
        index = 0

    classifying = classifying_of()
    classifying.feed(TextDelta("a"))
    classifying.feed(Note())  # type: ignore[arg-type]
    with pytest.raises(PipelineError, match="found an item of type Note"):
        classifying.state()


def test_events_that_wait_behind_a_text_are_bounded() -> None:
    classifying = classifying_of()
    classifying.feed(TextDelta("a"))
    for number in range(255):
        classifying.feed(Annotation({"n": number}))
    assert classifying.take() is None
    classifying.feed(Annotation({"n": 255}))
    assert classifying.take() == Window(0, "a")


@pytest.mark.parametrize(
    ("mode", "channels", "message"),
    [
        ("watch", TEXTS, "expected mode of hold, observe, optimistic; found 'watch'"),
        (
            "hold",
            ("tool_arguments",),
            "expected channels of content, reasoning, refusal, transcript, code, tool_input, tool_output, other; "
            "found 'tool_arguments'",
        ),
    ],
)
def test_what_it_can_not_do_is_refused(mode: Any, channels: Any, message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        classifying_of(mode=mode, channels=channels)
