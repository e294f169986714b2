"""Calls of tools: their arguments are judged as the text that they mean, and no call goes out half."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamkit import (
    Accumulate,
    Blocked,
    Completion,
    Event,
    Finish,
    Moderate,
    Redacted,
    Rule,
    StreamEnd,
    TextDelta,
    ToolCallDelta,
)
from streamkit.events import Flagged, PartDelta, ToolCall
from tests.kit import moderate, verdicts

END = StreamEnd("tool_calls", True)
CALLED = Finish("tool_calls")
MODES = ("hold", "observe", "optimistic")


def rule(action: str = "redact", phrase: str = "blue heron", **more: Any) -> Rule:
    return Rule("bird", phrases=(phrase,), action=action, replacement="[bird]", **more)  # type: ignore[arg-type]


def call(*pieces: str, tool_index: int = 0, index: int = 0, name: str = "f") -> list[Event]:
    first, *rest = pieces
    return [
        ToolCallDelta(tool_index, f"call_{tool_index}", name, first, index, "function"),
        *(ToolCallDelta(tool_index, arguments=piece, index=index) for piece in rest),
    ]


def arguments(events: Iterable[Event], tool_index: int = 0) -> str:
    return "".join(
        event.arguments for event in events if isinstance(event, ToolCallDelta) and event.tool_index == tool_index
    )


# As the text it means


@pytest.mark.parametrize(
    ("document", "left"),
    [
        ('{"q": "a blue heron!"}', '{"q": "a [bird]!"}'),
        (r'{"q": "a \u0062lue\u0020heron!"}', '{"q": "a [bird]!"}'),
        ('{"blue heron": 1}', '{"[bird]": 1}'),
        (r'{"q": ["\"blue heron\"", "heron"]}', r'{"q": ["\"[bird]\"", "heron"]}'),
    ],
)
def test_a_match_in_arguments_is_redacted_however_it_is_written_and_cut(document: str, left: str) -> None:
    for pieces in ([document], list(document), [document[:11], document[11:]]):
        released = moderate(Moderate(rule()), [*call(*pieces), CALLED, END])

        assert arguments(released) == left
        assert isinstance(json.loads(left), dict)


@pytest.mark.parametrize(
    ("phrase", "document", "left"),
    [
        ('line\nsaid "no"', r'{"q": "a line\nsaid \"no\"."}', '{"q": "a [bird]."}'),
        ("😀", r'{"q": "\ud83d\ude00"}', '{"q": "[bird]"}'),
        ("4111111111111111", '{"card": 4111111111111111, "n": 1}', '{"card": "[bird]", "n": 1}'),
        ('secret": "yes', '{"secret": "yes"}', '{"[bird]": ""}'),
    ],
    ids=["escapes", "surrogates", "a number", "over a quote"],
)
def test_what_is_redacted_leaves_json(phrase: str, document: str, left: str) -> None:
    for pieces in ([document], list(document)):
        assert arguments(moderate(Moderate(rule(phrase=phrase)), [*call(*pieces), CALLED, END])) == left


def test_a_replacement_is_escaped() -> None:
    stage = Moderate(Rule("x", ("heron",), replacement='"\n\\'))

    assert json.loads(arguments(moderate(stage, call('{"q": "heron"}')))) == {"q": '"\n\\'}


def test_the_place_of_a_verdict_counts_in_what_the_arguments_mean() -> None:
    released = moderate(Moderate(rule(severity="low")), [*call(r'{"q": "\u0061 blue heron"}', tool_index=2), END])

    assert verdicts(released) == [Redacted("bird", 9, 19, "tool_arguments", 0, "low", 2)]


LETTERS = st.text('ab"\\\n', max_size=5)


@settings(deadline=None, max_examples=300)
@given(
    value=st.dictionaries(LETTERS, LETTERS | st.integers() | st.lists(LETTERS, max_size=2), min_size=1, max_size=3),
    phrase=st.text('ab"\\\n', min_size=1, max_size=3),
    escaped=st.booleans(),
    cuts=st.lists(st.integers(1, 60), max_size=6),
)
@example(value={"a": "b"}, phrase='a"', escaped=False, cuts=[3])
def test_no_string_of_released_arguments_holds_what_is_forbidden_and_any_cuts_give_the_same(
    value: dict[str, Any], phrase: str, escaped: bool, cuts: list[int]
) -> None:
    document = json.dumps(value)
    if escaped:
        document = document.replace("a", r"\u0061")
    stage = Moderate(Rule("x", (phrase,), replacement="*"))
    bounds = [0, *sorted(cuts), len(document)]
    pieces = [document[start:end] for start, end in zip(bounds, bounds[1:], strict=False)]  # noqa: RUF007

    whole = moderate(stage, [*call(document), CALLED, END])
    cut = moderate(stage, [*call(*pieces), CALLED, END])

    left = json.loads(arguments(whole), object_pairs_hook=list)
    assert not any(phrase in string for string in strings_of(left))
    assert arguments(cut) == arguments(whole)
    assert verdicts(cut) == verdicts(whole)


def strings_of(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [string for item in value for string in strings_of(item)] if isinstance(value, list | tuple) else []


# No call goes out half


@pytest.mark.parametrize("mode", ["hold", "optimistic"])
@pytest.mark.parametrize("action", ["block", "stop", "replace"])
def test_nothing_leaves_of_a_call_that_is_not_let_through(mode: Any, action: str) -> None:
    events = [*call('{"q": "a blue', " heron", '", "r": 1}'), CALLED, END]

    released = moderate(Moderate(rule(action), mode=mode), events)

    assert not any(isinstance(event, ToolCallDelta) for event in released)
    assert [event.finish_reason for event in released if isinstance(event, Finish)] == ["content_filter"]
    assert released[-1].reason == "moderated"  # type: ignore[union-attr]


def test_a_call_is_blocked_as_soon_as_it_is_known_and_the_source_closed() -> None:
    read = list[int]()

    def source() -> Iterable[Event]:
        for number, event in enumerate([*call('{"q": "a blue', " heron", " and", ' more"}'), END]):
            read.append(number)
            yield event

    assert list(Moderate(rule("block")).run(source()))[-1] == StreamEnd("moderated")
    assert read == [0, 1]


def test_instead_of_a_call_whose_rest_is_replaced_the_replacement_is_said() -> None:
    events = [*call('{"q": "blue heron"}'), *call('{"q": 1}', tool_index=1), CALLED, END]

    assert moderate(Moderate(rule("replace")), events) == [
        Redacted("bird", 7, 17, "tool_arguments", tool_index=0, action="replace"),
        TextDelta("[bird]"),
        *call('{"q": 1}', tool_index=1),
        Finish("content_filter"),
        StreamEnd("moderated", True),
    ]


def test_a_call_leaves_in_the_pieces_it_came_in_as_soon_as_it_is_a_whole_document() -> None:
    pieces = call('{"q"', ': "fi', 'ne"}')
    stage = Moderate(rule("block")).fresh()

    assert [list(stage.feed(piece)) for piece in pieces] == [[], [], pieces]
    assert stage.held == 0


def test_a_call_that_never_is_a_whole_document_leaves_before_the_end_of_its_choice() -> None:
    pieces = call('{"q"', ": ")

    assert moderate(Moderate(rule("block")), [*pieces, CALLED, END]) == [*pieces, CALLED, END]
    assert moderate(Moderate(rule("block")), [*call(""), CALLED, END]) == [*call(""), CALLED, END]


def test_of_several_calls_each_is_judged_by_itself() -> None:
    events = [
        *call('{"q": "blue ', 'sky"}', tool_index=1),
        *call('{"q": "heron"}', tool_index=0),
        *call('{"q": "blue heron"}', tool_index=1, index=1),
        CALLED,
        END,
    ]

    released = moderate(Moderate(rule()), events)

    assert arguments([event for event in released if getattr(event, "index", 0) == 0], 1) == '{"q": "blue sky"}'
    assert verdicts(released) == [Redacted("bird", 7, 17, "tool_arguments", 1, tool_index=1)]


def test_calls_and_text_of_one_choice_are_not_joined() -> None:
    events = [TextDelta("blue"), *call(" heron"), ToolCallDelta(1, "b", "blue", " heron"), CALLED, END]

    assert verdicts(moderate(Moderate(rule()), events)) == []


def test_what_comes_after_a_whole_document_is_judged_too() -> None:
    released = moderate(Moderate(rule()), [*call('{"q": 1}', ' {"q": "blue heron"}', "\n"), CALLED, END])

    assert arguments(released) == '{"q": 1} {"q": "[bird]"}\n'
    assert verdicts(released) == [Redacted("bird", 16, 26, "tool_arguments", tool_index=0)]


@pytest.mark.parametrize("pieces", [['{"a": 1} heron'], ['{"a"', ": 1} her", "on"], list('{"a": 1} heron')], ids=len)
@pytest.mark.parametrize("in_a_burst", [False, True])
def test_a_document_is_released_before_what_follows_it_is_decided(pieces: list[str], in_a_burst: bool) -> None:
    run, released = Moderate(rule("block", "heron")).fresh(), list[Event]()
    for burst in [call(*pieces)] if in_a_burst else [[event] for event in call(*pieces)]:
        released += run.feed_all(burst)

    assert arguments(released) == '{"a": 1}'
    assert verdicts(released) == [Blocked("bird", 9, 14, "tool_arguments", tool_index=0)]


def test_a_call_that_was_redacted_is_one_call_for_those_who_put_it_together() -> None:
    *_, completion, _ = (Moderate(rule()) | Accumulate()).run([*call('{"q": "a bl', 'ue heron"}'), CALLED, END])

    assert isinstance(completion, Completion)
    assert completion.choices[0].tool_calls == (ToolCall("call_0", "f", '{"q": "a [bird]"}', 0, "function"),)
    assert completion.choices[0].verdicts == (Redacted("bird", 9, 19, "tool_arguments", tool_index=0).verdict,)


def test_a_function_call_of_the_time_before_tools_is_moderated_as_well() -> None:
    old = ToolCallDelta(0, None, "f", '{"q": "blue heron"}', 0, "function_call")

    assert moderate(Moderate(rule()), [old, Finish("function_call"), END])[1:] == [
        ToolCallDelta(0, None, "f", '{"q": "[bird]"}', 0, "function_call"),
        Finish("function_call"),
        END,
    ]


# Names


@pytest.mark.parametrize("pieces", [["blue_heron"], ["blue", "_heron"], ["b", "lue_her", "on"]], ids=len)
def test_a_forbidden_name_does_not_leave_in_any_pieces(pieces: list[str]) -> None:
    events = [*(ToolCallDelta(0, "a", piece) for piece in pieces), ToolCallDelta(0, arguments="{}"), CALLED, END]

    released = moderate(Moderate(rule("block", "blue_heron")), events)

    assert released == [
        Blocked("bird", 0, 10, "tool_name", tool_index=0),
        Finish("content_filter"),
        StreamEnd("moderated"),
    ]


def test_a_name_is_decided_when_the_arguments_begin() -> None:
    stage = Moderate(Rule("x", patterns=(r"heron\w*",), replacement="bird", channels=("tool_name",))).fresh()

    assert list(stage.feed(ToolCallDelta(0, "a", "my_heron_s"))) == []
    assert list(stage.feed(ToolCallDelta(0, None, None, "{}"))) == [
        Redacted("x", 3, 10, "tool_name", tool_index=0),
        ToolCallDelta(0, "a", "my_bird", "{}"),
    ]


def test_a_name_that_comes_with_every_piece_is_one_name() -> None:
    events = [ToolCallDelta(0, "a", "heron", piece) for piece in ("{", "}")]

    assert moderate(Moderate(rule("block", "heronheron")), [*events, CALLED, END]) == [
        events[0],
        ToolCallDelta(0, "a", "heron", "}"),
        CALLED,
        END,
    ]


def test_more_of_a_name_after_its_arguments_began_does_not_leave() -> None:
    events = [ToolCallDelta(0, "a", "blue", "{"), ToolCallDelta(0, None, "_heron", "}"), CALLED, END]

    released = moderate(Moderate(rule("block", "blue_heron")), events)

    assert [event.name for event in released if isinstance(event, ToolCallDelta)] == ["blue", None]


@pytest.mark.parametrize("handover", [False, True])
def test_a_redacted_name_that_comes_again_after_its_call_was_released_is_left_out(handover: bool) -> None:
    stage = Moderate(rule("redact", "heron"))
    run, released = stage.fresh(), list[Event]()
    for piece in ("{", "}", "", " "):
        released += run.feed(ToolCallDelta(0, "a", "blue_heron", piece))
        if handover:
            state, run = run.state(), stage.fresh()
            run.restore(state)
    released += [*run.feed(CALLED), *run.flush()]

    assert released == [
        Redacted("bird", 5, 10, "tool_name", tool_index=0),
        ToolCallDelta(0, "a", "blue_[bird]", "{}"),
        ToolCallDelta(0, "a", None, ""),
        ToolCallDelta(0, "a", None, " "),
        CALLED,
    ]


# Where nothing needs to wait


def test_a_call_does_not_wait_where_rules_only_tell() -> None:
    events = call('{"q": "blue', ' heron"')
    stage = Moderate(rule("annotate")).fresh()

    assert [list(stage.feed(event)) for event in events] == [
        events[:1],
        [events[1], Flagged("bird", 7, 17, "tool_arguments", tool_index=0)],
    ]


def test_calls_pass_at_once_if_no_rule_is_for_them() -> None:
    events = [*call('{"q": "blue heron'), END]

    for stage in (Moderate(rule(), channels=("content",)), Moderate(rule(channels=("content",)))):
        assert moderate(stage, events) == events
        assert "tool_arguments" in stage.exempt


@settings(deadline=None, max_examples=200)
@given(
    value=st.dictionaries(st.text("ab", max_size=3), st.text('ab"', max_size=4), max_size=3),
    actions=st.lists(
        st.sampled_from(["allow", "annotate", "redact", "replace", "block", "stop"]), min_size=1, max_size=3
    ),
    cuts=st.lists(st.integers(1, 40), max_size=5),
)
def test_decisions_about_calls_are_the_same_in_all_modes(
    value: dict[str, str], actions: Sequence[Any], cuts: list[int]
) -> None:
    document = json.dumps(value)
    bounds = [0, *sorted(cuts), len(document)]
    pieces = [document[start:end] for start, end in zip(bounds, bounds[1:], strict=False)]  # noqa: RUF007
    rules = [Rule(action, (phrase,), (), action) for action, phrase in zip(actions, ("ab", "ba", 'a"'), strict=False)]

    told = [
        verdicts(moderate(Moderate(rules, mode=mode), [*call(*cut), CALLED, END]))  # type: ignore[arg-type]
        for mode in MODES
        for cut in (pieces, [document], list(document))
    ]

    assert all(found == told[0] for found in told)


# The report


@pytest.mark.parametrize(
    ("events", "action", "released", "withheld"),
    [
        (call('{"q": "blue ', 'heron!"}'), "redact", 11, 10),
        (call(r'{"q": "\u0062lue heron!"}'), "redact", 11, 15),
        (call('{"q": ["blue", "heron", "blue heron"]}'), "redact", 29, 10),
        (call('{"q": 12345}', name="blue heron"), "redact", 12, 10),
        (call('{"q": "blue heron!"}'), "replace", 0, 21),
        (call('{"q": "blue heron!"}'), "block", 0, 21),
        (call('{"q": "blue heron!"}'), "annotate", 21, 0),
        ([PartDelta("a blue heron!", "other", 0, ("code",))], "redact", 3, 10),
        ([TextDelta("a blue heron!")], "redact", 3, 10),
    ],
    ids=["arguments", "escaped", "one of two", "name", "replaced", "blocked", "annotated", "part", "content"],
)
def test_the_report_counts_the_released_and_the_withheld_characters_of_each_channel(
    events: list[Event], action: str, released: int, withheld: int
) -> None:
    stage = Moderate([rule(action)])
    for event in events:
        list(stage.feed(event))
    list(stage.flush())

    assert (stage.report.released, stage.report.withheld, stage.report.held) == (released, withheld, 0)


def test_a_number_that_becomes_a_string_is_withheld_whole() -> None:
    stage = Moderate([rule(phrase="234")])
    (_, released) = [event for delta in call('{"q": 12345}') for event in stage.feed(delta)]

    assert isinstance(released, ToolCallDelta)
    assert released.arguments == '{"q": "[bird]"}'
    assert (stage.report.released, stage.report.withheld) == (8, 5)
