"""Model-written text that is not in a delta of a moderated channel, or comes in another order: none of it is released."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamkit as sk
from streamkit import (
    Blocked,
    Completion,
    Event,
    Finish,
    Moderate,
    Redacted,
    Rule,
    StreamEnd,
    StructuredOutput,
    TextDelta,
    ToolCallDelta,
)
from streamkit.events import Annotation, AudioDelta, Choice, Logprobs, PartialOutput, Reset
from streamkit.moderation import Decision, Window
from tests.kit import text

pytestmark = pytest.mark.anyio
END = StreamEnd("completed", True)
STOP = Finish("stop")
BIRD = Rule("bird", ("blue heron",), replacement="[bird]")


def moderate(stage: Moderate, *events: Any) -> list[Event]:
    return list(stage.run(iter(events)))


async def judge(window: Window) -> Decision:
    return Decision("redact", "bird", replacement="[bird]") if "heron" in window.text else Decision()


async def classify(*events: Event, **options: Any) -> list[Event]:
    """The same events, moderated by a classifier; without what is reported about windows."""
    async with list(events) | sk.Classify(judge, **options) as stream:
        return [event async for event in stream if not isinstance(event, sk.events.Checked)]


# What is no event


@pytest.mark.parametrize(
    "item",
    ["a blue heron", b"data: 1\n\n", sk.sse.ServerSentEvent.of('{"a": "blue heron"}')],
    ids=lambda item: type(item).__name__,
)
@pytest.mark.parametrize("mode", ["hold", "observe", "optimistic"])
async def test_text_that_no_stage_has_read_is_an_error(item: Any, mode: Any) -> None:
    message = rf"events, found an object of type {type(item).__name__}: put (Parse\(\) \| )?Extract\(\) before it"
    with pytest.raises(sk.PipelineError, match=message) as caught:
        moderate(Moderate(BIRD, mode=mode), item)
    with pytest.raises(sk.PipelineError, match=message):
        await classify(item, mode=mode)

    assert "heron" not in str(caught.value)


# Values that were made of the text before


@dataclass
class Between(sk.Stage[Event, Event]):
    """A third party's stage, which puts events in."""

    events: list[Any] = field(default_factory=list)

    def feed(self, item: Event) -> list[Event]:
        return [*self.events, item] if isinstance(item, StreamEnd) else [item]


def completion(content: str, **fields: Any) -> Completion:
    return Completion((Choice(0, content, **fields),), end="completed")


@pytest.mark.parametrize(
    "whole",
    [
        completion("a blue heron"),
        completion("a", reasoning="blue heron"),
        completion("a", tool_calls=(sk.events.ToolCall("c", "f", r'{"q": "\u0062lue heron"}'),)),
        completion("a", parts=(sk.events.Part("text", text="blue heron"),)),
        Completion((), details={"output": [{"text": "blue heron"}]}),
    ],
    ids=["content", "reasoning", "the arguments of a call", "a part", "details"],
)
def test_a_completion_is_withheld_that_contains_what_a_rule_withholds(whole: Completion) -> None:
    released = list(Moderate(BIRD).run([*text("a"), whole, END]))

    assert released == [*text("a"), END]
    assert list(Moderate(BIRD, mode="observe").run([*text("a"), whole, END])) == [*text("a"), whole, END]


@pytest.mark.parametrize("mode", ["hold", "optimistic"])
def test_a_completion_is_withheld_after_text_was_and_comes_last_if_none_was(mode: Any) -> None:
    clean, redacted = completion("All is well."), completion("A heron.")

    assert moderate(Moderate(BIRD, mode=mode), *text("All is well."), clean, STOP, END) == [
        *text("All is well."), STOP, clean, END,
    ]  # fmt: skip
    assert redacted not in moderate(Moderate(BIRD, mode=mode), *text("A blue heron"), redacted, STOP, END)


async def test_a_completion_behind_a_classifier_is_what_was_released_or_is_withheld() -> None:
    clean = completion("All is well.", parts=(sk.events.Part("text", text="All is"),))

    assert (await classify(*text("All is", " well."), STOP, clean, END))[-2:] == [clean, END]
    assert (await classify(*text("All is well."), STOP, completion("All was well."), END))[-2:] == [STOP, END]
    assert (await classify(*text("A heron."), STOP, completion("[bird]"), END))[-2:] == [STOP, END]
    part = completion("All is well.", parts=(sk.events.Part("text", text="heron"),))
    assert (await classify(*text("All is well."), STOP, part, END))[-2:] == [STOP, END]


@pytest.mark.parametrize(
    "value",
    ["a blue heron", ["blue heron"], {"blue heron": 1}, {"a": [{"b": "BLUE HERON"}]}, sk.events.ToolCall("blue heron")],
    ids=["a string", "a list", "a key", "nested", "a struct"],
)
@pytest.mark.parametrize("mode", ["hold", "optimistic"])
async def test_a_structured_value_is_withheld_that_contains_what_a_rule_withholds(value: Any, mode: Any) -> None:
    for event in (StructuredOutput(value), PartialOutput(value), PartialOutput(value, complete=True)):
        assert moderate(Moderate(BIRD, mode=mode), event, END) == [END]
        assert await classify(event, END, mode=mode) == [END]
        assert moderate(Moderate(BIRD, mode="observe"), event, END) == [event, END]


def test_a_number_is_text_too() -> None:
    card = Rule("card", detectors=("card",))

    assert moderate(Moderate(card), StructuredOutput({"n": 4111111111111111}), END) == [END]
    assert moderate(Moderate(card), StructuredOutput({"n": 4111111111111112}), END)[-1:] == [END]


def test_a_value_that_has_only_come_in_part_is_withheld_while_it_could_become_forbidden() -> None:
    partial, other = PartialOutput({"a": "a blue her"}), PartialOutput({"a": "a blue whale", "c": "x"})

    assert moderate(Moderate(BIRD), partial, other, END) == [other, END]


def test_a_value_that_can_not_be_read_is_withheld() -> None:
    assert moderate(Moderate(BIRD), StructuredOutput(object()), END) == [END]


# Annotations


@pytest.mark.parametrize("action", ["redact", "replace"])
def test_an_annotation_that_quotes_what_was_withheld_of_a_call_is_not_released(action: Any) -> None:
    rule = Rule("x", ("blue heron",), action=action, channels=("tool_arguments",))
    call = ToolCallDelta(0, "call_1", "f", r'{"a": "\u0062lue heron", "b": "grey"}')
    quote, other = Annotation({"cited_text": "Blue  heron"}), Annotation({"cited_text": "grey"})

    released = moderate(Moderate(rule), call, quote, other, STOP, END)

    assert [event for event in released if isinstance(event, Annotation)] == [other]


@pytest.mark.parametrize(
    "annotation",
    [
        {"type": "char_location", "cited_text": "The Blue\nHeron lives here."},
        {"start": 2, "end": 12, "text": "blue heron", "sources": []},
        {"type": "url_citation", "url_citation": {"title": "blue heron", "start_index": 2}},
        {"text": "a blue her"},
        {"text": "heron flies"},
        {"text": "heron"},
    ],
    ids=["Anthropic", "Cohere", "OpenAI", "its beginning", "its end", "a part"],
)
@pytest.mark.parametrize("by", ["rules", "a classifier"])
async def test_an_annotation_that_quotes_withheld_text_is_not_released(annotation: Any, by: str) -> None:
    events = [*text("A blue heron"), Annotation(annotation), *text(" flies.", " Next."), STOP, END]
    if by != "rules" and "cited_text" in annotation:
        pytest.skip("what a document says can't be classified at once")

    released = moderate(Moderate(BIRD), *events) if by == "rules" else await classify(*events)

    assert not any(isinstance(event, Annotation) for event in released)


@pytest.mark.parametrize("annotation", [{"text": "a grey heron"}, {"type": "blue heron", "id": "blue"}], ids=str)
def test_another_annotation_keeps_its_place_behind_the_text(annotation: Any) -> None:
    events = [*text("A blue heron", ", grey h"), Annotation(annotation), *text("eron."), STOP, END]

    assert moderate(Moderate([BIRD, Rule("x", ("grey heroine",))]), *events) == [
        *text("A "), Redacted("bird", 2, 12), *text("[bird]", ", ", "grey h"), Annotation(annotation), *text("eron."), STOP, END,
    ]  # fmt: skip


def test_of_an_annotation_with_several_quotes_the_others_are_released() -> None:
    supports = [{"segment": {"text": word}} for word in ("Hi", "blue heron")]
    annotation = Annotation({"groundingSupports": supports, "webSearchQueries": ["birds", "blue heron"]})

    released = moderate(Moderate(BIRD), *text("Hi blue heron"), annotation, END)

    assert released[-2] == Annotation({"groundingSupports": supports[:1], "webSearchQueries": ["birds"]})


def test_an_annotation_is_searched_by_itself_too() -> None:
    assert moderate(Moderate(BIRD), *text("A bird."), Annotation({"cited_text": "the blue heron"}), END) == [
        *text("A bird."),
        END,
    ]


def test_in_the_completion_there_is_none_either() -> None:
    pipeline = Moderate(BIRD) | sk.Accumulate()
    *_, whole, _ = pipeline.run([*text("A blue heron"), Annotation({"text": "blue heron"}), STOP, END])

    assert isinstance(whole, Completion)
    assert whole.choices[0].annotations == ()
    assert "heron" not in repr(whole.to_dict())


# Another answer


@pytest.mark.parametrize("by", ["rules", "a classifier"])
async def test_a_reset_discards_what_is_buffered_and_no_match_spans_both_answers(by: str) -> None:
    reset = Reset("truncated")
    events = [*text("One. A blue"), Logprobs({"a": 1}), reset, *text(" heron. Bye."), STOP, END]

    if by == "rules":
        assert moderate(Moderate(BIRD), *events) == [
            *text("One. A "), reset, *text(" heron. Bye."), STOP, END,
        ]  # fmt: skip
    else:
        assert await classify(*events) == [
            *text("One. "), reset, Redacted("bird", 0, 8, source="classifier"), *text("[bird]", "Bye."), STOP, END,
        ]  # fmt: skip


def test_places_count_anew_after_a_reset_and_a_block_before_it_is_void() -> None:
    stage = Moderate([BIRD, Rule("word", ("kill",), action="block")], choices=2)

    released = moderate(stage, *text("You kill"), *text("a", index=1), Reset("x"), *text("blue heron"), STOP, END)

    assert released[-5:] == [Reset("x"), Redacted("bird", 0, 10), *text("[bird]"), STOP, END]


# Order


@pytest.mark.parametrize("by", ["rules", "a classifier"])
async def test_log_probabilities_come_before_the_finish_of_their_choice(by: str) -> None:
    logprobs = [Logprobs({"n": number}) for number in range(3)]
    events = [*text("One. "), logprobs[0], *text("Two. "), logprobs[1], STOP, logprobs[2], END]

    released = moderate(Moderate(BIRD), *events) if by == "rules" else await classify(*events)

    assert released == [*text("One. ", "Two. "), *logprobs[:2], STOP, logprobs[2], END]


def test_a_finish_waits_for_a_match_that_may_follow_an_early_replacement() -> None:
    rules = [Rule("a", ("ab",), replacement="*"), Rule("b", ("bc",), action="stop")]

    assert moderate(Moderate(rules), *text("ab"), STOP, *text("c", "d"), END) == [
        Redacted("a", 0, 2), *text("*"), Blocked("b", 1, 3, action="stop"), Finish("content_filter"), StreamEnd("moderated"),
    ]  # fmt: skip


# Transcripts


def transcript(*pieces: str) -> list[Event]:
    return [AudioDelta(f"{number}==", piece, "audio_1") for number, piece in enumerate(pieces)]


def test_the_transcript_of_an_audio_answer_is_moderated() -> None:
    assert moderate(Moderate(BIRD), *transcript("All is well. ", "A blue", " heron", "!"), STOP, END) == [
        AudioDelta("0==", "All is well. ", "audio_1"),
        AudioDelta(transcript="A "),
        Redacted("bird", 15, 25, "transcript"),
        AudioDelta(transcript="[bird]"),
        AudioDelta(transcript="!"),
        STOP,
        END,
    ]


def test_sound_waits_for_its_transcript_and_is_not_released_after_some_of_that_was_withheld() -> None:
    sound = AudioDelta("AAA=")

    assert moderate(Moderate(BIRD), *transcript("a blue"), sound, *transcript(" sky"), END) == [
        AudioDelta(transcript="a "),
        AudioDelta(transcript="blue"),
        AudioDelta("0==", None, "audio_1"),
        sound,
        AudioDelta(transcript=" sky"),
        AudioDelta("0==", None, "audio_1"),
        END,
    ]
    assert sound not in moderate(Moderate(BIRD), *transcript("a blue heron"), sound, END)


@pytest.mark.parametrize("max_hold_chars", [1, 5, 12, 65536])
def test_sound_is_released_whatever_is_the_bound_of_the_buffered_transcript(max_hold_chars: int) -> None:
    pieces = ("All is well, he said. ", "So be it blue", " sky in the morning", "", "Bye.")
    expiry = AudioDelta(id="audio_1", expires_at=1729018505)

    events = moderate(
        Moderate(BIRD, max_hold_chars=max_hold_chars, on_max_hold="release"), *transcript(*pieces), expiry, STOP, END
    )

    audio = [event for event in events if isinstance(event, AudioDelta)]
    assert "".join(event.transcript or "" for event in audio) == "".join(pieces)
    assert [event.data for event in audio if event.data] == ["0==", "1==", "2==", "3==", "4=="]
    assert [event for event in audio if event.expires_at] == [expiry]


def test_identifier_and_expiry_survive_a_buffered_transcript() -> None:
    assert moderate(Moderate(BIRD), AudioDelta(None, "a blue", "audio_1", 17), STOP, END) == [
        AudioDelta(transcript="a "),
        AudioDelta(transcript="blue"),
        AudioDelta(None, None, "audio_1", 17),
        STOP,
        END,
    ]


@given(
    pieces=st.lists(st.sampled_from(["", "blue", " her", "on", " sky", "All is well. "]), min_size=1, max_size=6),
    bound=st.integers(1, 12),
)
def test_a_bound_that_withholds_nothing_changes_neither_transcript_nor_sound(pieces: list[str], bound: int) -> None:
    def spoken(*deltas: Event, **options: Any) -> tuple[str, list[str]]:
        events = moderate(Moderate(Rule("bird", ("blue heron",), action="annotate"), **options), *deltas, STOP, END)
        audio = [event for event in events if isinstance(event, AudioDelta)]
        return "".join(event.transcript or "" for event in audio), [event.data for event in audio if event.data]

    deltas = transcript(*pieces)
    assert (
        spoken(*deltas, max_hold_chars=bound, on_max_hold="release")
        == spoken(*deltas)
        == ("".join(pieces), [f"{n}==" for n in range(len(pieces))])
    )


async def test_a_classifier_receives_the_transcript() -> None:
    assert await classify(*transcript("A heron. ", "Bye."), AudioDelta("AAA="), STOP, END) == [
        Redacted("bird", 0, 9, "transcript", source="classifier"),
        AudioDelta(transcript="[bird]"),
        AudioDelta(transcript="Bye."),
        STOP,
        END,
    ]


# Both ways


@pytest.mark.parametrize("action", ["annotate", "redact", "replace", "block", "stop"])
@pytest.mark.parametrize("mode", ["hold", "observe"])
async def test_rules_and_classifiers_do_the_same_by_the_same_decision(action: Any, mode: Any) -> None:
    sentence = "A heron. "
    rule = Rule("bird", (sentence,), action=action, replacement="[bird] ", message="No.", severity="high")

    async def decide(window: Window) -> Decision:
        if window.text != sentence:
            return Decision()
        return Decision(action, "bird", replacement="[bird] ", message="No.", severity="high")

    events = [*text("One. ", sentence, "Two. "), Logprobs({"a": 1}), STOP, END]
    by_rules = list(Moderate(rule, mode=mode, reports=True, max_tokens=9).run(iter(events)))
    async with events | sk.Classify(decide, mode=mode, reports=True, max_tokens=9) as stream:
        by_classifier = [event async for event in stream if not isinstance(event, sk.events.Checked)]

    assert _compared(by_classifier) == _compared(by_rules)
    assert {event.source for event in by_classifier if isinstance(event, Redacted | Blocked)} <= {"classifier"}


def _compared(events: list[Event]) -> list[Any]:
    plain: list[Any] = []
    for event in events:
        match event:
            case sk.events.Flagged() | Redacted() | Blocked():
                plain.append((type(event), event.category, event.start, event.end, event.severity, event.action))
            case sk.events.ModerationReport():
                plain.append((event.verdicts, event.stopped))
            case _:
                plain.append(event)
    return plain


# What repeats or spells the text


SPELLED = {
    "the word": {"content": [{"token": "a blue heron"}]},
    "tokens that were chosen": {"content": [{"token": "a"}, {"token": " blue"}, {"token": " her"}, {"token": "on"}]},
    "a token that was not": {"content": [{"token": "a", "top_logprobs": [{"token": "b"}, {"token": "blue heron"}]}]},
    "the legacy form": {"tokens": ["a"], "token_logprobs": [-1.0], "top_logprobs": [{"a": -1.0, "blue heron": -2.0}]},
    "Gemini's": {"topCandidates": [{"candidates": [{"token": "blue heron", "tokenId": 1, "logProbability": -1.0}]}]},
}


@pytest.mark.parametrize("logprobs", SPELLED.values(), ids=SPELLED)
@pytest.mark.parametrize("mode", ["hold", "optimistic"])
def test_log_probabilities_are_withheld_that_contain_what_a_rule_withholds(logprobs: Any, mode: Any) -> None:
    event, whole_words = Logprobs(logprobs), Rule("bird", ("blue heron",), whole_words=True)

    assert moderate(Moderate(whole_words, mode=mode), *text("All is well."), event, STOP, END) == [
        *text("All is well."),
        STOP,
        END,
    ]
    assert event in moderate(Moderate(whole_words, mode="observe"), *text("All is well."), event, STOP, END)


def test_log_probabilities_of_several_chunks_are_one_text() -> None:
    pieces = [Logprobs({"content": [{"token": token}]}) for token in ("a blue", " her", "on")]

    for stage in (Moderate(BIRD), Moderate(Rule("other", ("grey heron",)))):
        released = moderate(stage, *text("All is well."), *pieces, STOP, END)
        assert [event for event in released if isinstance(event, Logprobs)] == (
            [] if stage.rules == (BIRD,) else pieces
        )


def test_names_of_tools_are_searched_in_values_too() -> None:
    rule = Rule("bird", ("heron",), channels=("tool_name",))
    named, other = StructuredOutput({}, 0, name="get_heron"), StructuredOutput({"a": "heron"}, 0, name="get_bird")

    assert moderate(Moderate(rule), named, other, END) == [other, END]


async def test_where_an_output_is_invalid_is_not_said_with_a_name_that_is_withheld() -> None:
    invalid = sk.events.InvalidOutput("invalid", "$.blue heron", "expected a number, found a string", index=0)
    other = sk.events.InvalidOutput("invalid", "$.size", "expected a number, found a string", index=0)
    bare = sk.events.InvalidOutput("invalid")

    assert moderate(Moderate(BIRD), invalid, other, END) == [bare, other, END]
    assert await classify(invalid, END) == [bare, END]


def test_of_a_choice_that_is_blocked_no_details_and_notices_follow() -> None:
    rule = Rule("bird", ("heron",), action="block")
    details, notice = sk.events.ResponseDetails({"a": "more"}, index=0), sk.events.ProviderNotice("new", {"a": "x"}, 0)
    verdict = sk.events.ProviderNotice("content_filter", {"hate": {"filtered": False}}, 0)
    of_all = sk.events.ResponseDetails({"a": "more"})

    released = moderate(Moderate(rule, choices=2), *text("heron"), details, notice, verdict, of_all)

    assert released[2:] == [verdict, of_all]


@pytest.mark.parametrize(
    "make",
    [
        lambda piece: sk.events.ResponseDetails({"draft": {"words": [piece]}}, index=0),
        lambda piece: sk.events.ProviderNotice("new_text", {"words": piece}),
    ],
    ids=["details", "notices"],
)
@pytest.mark.parametrize("handover", [False, True])
def test_text_beside_the_answer_that_comes_in_pieces_is_not_completed(make: Any, handover: bool) -> None:
    run, released = Moderate(BIRD).fresh(), list[Any]()
    for piece in ("a blue", " heron", " flies"):
        released += run.feed(make(piece))
        if handover:
            state, run = run.state(), Moderate(BIRD).fresh()
            run.restore(state)

    assert released == [make("a blue"), make(""), make(" flies")]


def test_after_a_block_nothing_more_of_such_a_text_is_released() -> None:
    rule = Rule("bird", ("blue heron",), action="replace")
    pieces = [sk.events.ResponseDetails({"draft": piece}) for piece in ("blue", " heron", " flies")]

    assert moderate(Moderate(rule), *pieces, sk.events.ResponseDetails({"other": "x"})) == [
        pieces[0],
        *[sk.events.ResponseDetails({"draft": ""})] * 2,
        sk.events.ResponseDetails({"other": "x"}),
    ]


@pytest.mark.parametrize("url", ["https://a.b/#:~:text=a%20Blue%20heron", "https://a.b/?q=blue+heron&x=1"])
def test_a_url_that_quotes_is_not_released(url: str) -> None:
    quote, other = Annotation({"url": url}), Annotation({"url": "https://a.b/?q=grey+heron"})

    assert quote not in moderate(Moderate(BIRD), *text("A blue heron."), quote, STOP, END)
    assert moderate(Moderate(BIRD), *text("Hi."), quote, other, STOP, END) == [*text("Hi."), other, STOP, END]


# Events of other packages


class Spoken(TextDelta, frozen=True):
    """A class derived from one of ours."""


class Translated(sk.events.EventBase, frozen=True):
    """A class of a third party's own."""

    words: str
    index: int = 0


def test_an_event_of_a_derived_class_is_text_of_its_channel() -> None:
    assert moderate(Moderate(BIRD), Spoken("a blue"), Spoken(" heron"), END) == [
        *text("a "), Redacted("bird", 2, 12), *text("[bird]"), END,
    ]  # fmt: skip
    assert [event.text for event in moderate(Moderate(BIRD), Spoken("Hi."), END) if isinstance(event, Spoken)] == [
        "Hi."
    ]


def test_an_unknown_event_is_withheld_that_contains_what_a_rule_withholds() -> None:
    bird, other = Translated("un blue heron"), Translated("un héron")
    events: list[Any] = [bird, other, END]

    assert moderate(Moderate(BIRD), *events) == [other, END]
    assert moderate(Moderate(BIRD, mode="observe"), *events) == events
