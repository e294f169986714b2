"""The provider's own verdicts, by the same events as the rules'."""

import json
from typing import Any

import pytest

from streamkit import Blocked, Event, Extract, Finish, Moderate, Parse, PipelineError, StreamEnd, TextDelta
from streamkit.events import Flagged, ProviderNotice
from streamkit.moderation import ProviderRule
from streamkit.sse import Lines

END = StreamEnd("completed", True)
AZURE = {
    "hate": {"filtered": False, "severity": "medium"},
    "violence": {"filtered": True, "severity": "high"},
    "profanity": {"filtered": False, "detected": False},
    "protected_material_code": {"filtered": False, "detected": True},
}
SCORES = {
    "type": "moderation_results",
    "model": "omni-moderation-latest",
    "results": [
        {
            "type": "moderation_result",
            "model": "omni-moderation-latest",
            "flagged": True,
            "categories": {"harassment": True, "violence": False},
            "category_scores": {"harassment": 0.9, "violence": 0.4},
        }
    ],
}
QUIET = {"type": "moderation_results", "model": "omni-moderation-latest", "results": []}
FILTER = ProviderNotice("content_filter", AZURE, 0)


def verdicts(rules: Any, notice: ProviderNotice, **options: Any) -> list[Event]:
    events = Moderate((), provider=rules, **options).run([TextDelta("abc"), notice, END])
    return [event for event in events if isinstance(event, Flagged | Blocked)]


def flagged(category: str, severity: str | None = None, **place: Any) -> Flagged:
    return Flagged(category, 0, place.pop("end", 3), severity=severity, source="provider", **place)


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        (ProviderRule("hate", "annotate"), []),
        (ProviderRule("hate", "annotate", severity="medium"), [flagged("hate", "medium")]),
        (ProviderRule("hate", "annotate", severity="high"), []),
        (ProviderRule("violence", "annotate"), [flagged("violence", "high")]),
        (ProviderRule("protected_material_code", "annotate"), [flagged("protected_material_code")]),
        (ProviderRule("*", "annotate"), [flagged("violence", "high"), flagged("protected_material_code")]),
        (ProviderRule("*", "allow"), []),
    ],
    ids=str,
)
def test_what_azure_found_counts_from_a_severity_on_or_where_it_filtered(
    rule: ProviderRule, found: list[Event]
) -> None:
    assert verdicts(rule, FILTER) == found


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        (ProviderRule("harassment", "annotate"), [flagged("harassment")]),
        (ProviderRule("violence", "annotate"), []),
        (ProviderRule("violence", "annotate", score=0.4), [flagged("violence")]),
        (ProviderRule("*", "annotate", score=0.5), [flagged("harassment")]),
    ],
    ids=str,
)
def test_what_openai_found_counts_from_a_score_on_or_where_it_flagged(rule: ProviderRule, found: list[Event]) -> None:
    assert verdicts(rule, ProviderNotice("moderation", {"input": QUIET, "output": SCORES})) == found


def test_the_first_rule_that_fits_decides() -> None:
    rules = (ProviderRule("violence", "allow"), ProviderRule("*", "annotate"))

    assert verdicts(rules, FILTER) == [flagged("protected_material_code")]


@pytest.mark.parametrize(
    "notice",
    [
        ProviderNotice("prompt_filter", [{"prompt_index": 0, "content_filter_results": AZURE}]),
        ProviderNotice("moderation", {"input": SCORES, "output": QUIET}),
    ],
    ids=["azure", "openai"],
)
def test_what_it_says_of_the_prompt_is_about_the_prompt(notice: ProviderNotice) -> None:
    rules = [ProviderRule("violence", "annotate", severity="high"), ProviderRule("harassment", "annotate")]

    (found,) = verdicts(rules, notice)

    assert isinstance(found, Flagged)
    assert (found.channel, found.start, found.end) == ("prompt", 0, 0)
    assert verdicts([ProviderRule("*", prompt=False)], notice) == []


@pytest.mark.parametrize(
    "notice",
    [
        ProviderNotice("content_filter", {"error": {"code": "content_filter_error", "message": "…"}}, 0),
        ProviderNotice("moderation", {"input": QUIET, "output": {"type": "error", "code": "x", "message": "…"}}),
    ],
    ids=["azure", "openai"],
)
def test_a_filter_that_failed_is_a_category(notice: ProviderNotice) -> None:
    for category in ("error", "*"):
        (found,) = verdicts(ProviderRule(category, severity="high"), notice)
        assert isinstance(found, Blocked)
        assert found.category == "error"


@pytest.mark.parametrize("data", [None, "x", [], {}, [None], {"hate": None}, {"output": 3}, {"output": {"results": 3}}])
@pytest.mark.parametrize("kind", ["content_filter", "prompt_filter", "moderation", "ping"])
def test_a_notice_of_another_form_says_nothing_and_passes(kind: str, data: Any) -> None:
    events: list[Event] = [ProviderNotice(kind, data), TextDelta("a"), END]

    assert list(Moderate((), provider=ProviderRule("*")).run(events)) == events


def test_a_block_ends_the_choice_with_its_message_and_closes_the_source() -> None:
    stage = Moderate((), provider=ProviderRule("violence", message="No."))

    assert list(stage.run(iter([TextDelta("a"), FILTER, TextDelta("never read")]))) == [
        TextDelta("a"),
        FILTER,
        Blocked("violence", 0, 1, severity="high", source="provider"),
        TextDelta("No."),
        Finish("content_filter"),
        StreamEnd("moderated"),
    ]


def test_of_two_choices_the_one_it_is_about_is_blocked() -> None:
    stage = Moderate((), choices=2, provider=ProviderRule("violence"))
    events: list[Event] = [TextDelta("a"), TextDelta("b", 1), FILTER, TextDelta("c"), TextDelta("d", 1)]

    *_, finish, more = stage.run(iter(events))

    assert (finish, more) == (Finish("content_filter"), TextDelta("d", 1))


def test_a_verdict_about_the_prompt_blocks_every_choice_before_it_began() -> None:
    stage = Moderate((), choices=2, provider=ProviderRule("violence"))
    prompt = ProviderNotice("prompt_filter", [{"content_filter_results": AZURE}])

    events = list(stage.run(iter([prompt, TextDelta("never read")])))

    assert [event for event in events if isinstance(event, Finish)] == [
        Finish("content_filter"),
        Finish("content_filter", 1),
    ]
    assert events[-1] == StreamEnd("moderated")


def test_in_observe_it_is_told_and_nothing_more() -> None:
    events: list[Event] = [TextDelta("a"), FILTER, TextDelta("b"), END]
    told = Blocked("violence", 0, 1, severity="high", source="provider")

    released = list(Moderate((), provider=ProviderRule("violence"), mode="observe").run(events))

    assert released == [*events[:2], told, *events[2:]]


def test_the_place_that_azures_asynchronous_filter_tells_is_that_of_the_verdict() -> None:
    """https://learn.microsoft.com/azure/ai-foundry/openai/concepts/content-streaming"""
    chunk = {
        "choices": [
            {
                "index": 0,
                "finish_reason": None,
                "content_filter_results": AZURE,
                "content_filter_offsets": {"check_offset": 44, "start_offset": 44, "end_offset": 198},
            }
        ]
    }
    stages = Lines() | Parse() | Extract() | Moderate((), provider=ProviderRule("violence", "annotate"))

    events = list(stages.run([f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode()]))

    assert Flagged("violence", 44, 198, severity="high", source="provider") in events


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"action": "redact"}, "expected allow, annotate, block or stop; found 'redact'"),
        ({"severity": "safe"}, "expected the severity low, medium or high; found 'safe'"),
    ],
)
def test_a_mistake_in_a_rule_is_said(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        ProviderRule("hate", **options)
