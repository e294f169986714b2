"""Extract(reasoning_tags=…): reasoning between tags in the text, however the tags are split."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamkit as sk
from tests.dialects.streams import named_events, sse

DONE = "[DONE]"
THINK = ("<think>", "</think>")


def chunk(content: str | None = None, finish: str | None = None, index: int = 0, **delta: Any) -> dict[str, Any]:
    said = delta if content is None else {"content": content, **delta}
    return {"choices": [{"index": index, "delta": said, "finish_reason": finish}]}


def events(*payloads: Any, tags: tuple[str, str] | None = THINK) -> list[sk.Event]:
    return list((sk.sse.Lines() | sk.Parse() | sk.Extract(reasoning_tags=tags)).run([sse(*payloads)]))


def split(*contents: str, tags: tuple[str, str] = THINK) -> tuple[str, str]:
    """Return the reasoning and the text of an answer with these pieces."""
    found = events(*(chunk(content) for content in contents), chunk(finish="stop"), DONE, tags=tags)
    reasoning = "".join(event.text for event in found if isinstance(event, sk.ReasoningDelta))
    return reasoning, "".join(event.text for event in found if isinstance(event, sk.TextDelta))


@pytest.mark.parametrize(
    ("text", "reasoning", "content"),
    [
        ("<think>Hm</think>Four", "Hm", "Four"),
        ("<think>\nHm\n</think>\n\nFour\n", "Hm\n", "Four\n"),
        ("\n <think>Hm</think>Four", "Hm", "Four"),
        ("Well <think>Hm</think> four", "Hm", "Well  four"),
        ("A<think>B</think>\nC", "B", "A\nC"),
        ("<think>A</think>B<think>C</think>D", "AC", "BD"),
        ("<think>A</think> <think>C</think> D", "AC", "D"),
        ("<think></think>Four", "", "Four"),
        ("<think>Hm", "Hm", ""),
        ("<think>Hm</thi", "Hm</thi", ""),
        ("Four <thi", "", "Four <thi"),
        ("Four</think>", "", "Four</think>"),
        ("<think>a<think>b</think>c</think>", "a<think>b", "c</think>"),
        ("a < b <= c <think", "", "a < b <= c <think"),
        ("<<think>Hm<</think>>", "Hm<", "<>"),
        ("  Four", "", "  Four"),
        ("  ", "", "  "),
        ("", "", ""),
        (" " * 300 + "<think>Hm</think>Four", "Hm", " " * 300 + "Four"),
    ],
    ids=repr,
)
def test_the_tags_are_removed_and_the_text_between_them_is_reasoning(text: str, reasoning: str, content: str) -> None:
    assert split(text) == (reasoning, content)
    assert split(*text) == (reasoning, content)


TEXTS = st.lists(
    st.sampled_from(["<think>", "</think>", "<thi", "nk>", "<", "/", "a", "b ", "\n", "😀"]), max_size=10
).map("".join)


@given(
    TEXTS,
    st.sets(st.integers(1, 60), max_size=10),
    st.sampled_from([THINK, ("", "</think>"), ("aab", "baa"), ("a", "b")]),
)
def test_the_result_does_not_depend_on_how_the_text_is_split(
    text: str, places: set[int], tags: tuple[str, str]
) -> None:
    ends = sorted({0, len(text), *(place for place in places if place < len(text))})

    assert split(*(text[start:end] for start, end in pairwise(ends)), tags=tags) == split(text, tags=tags)


@given(TEXTS)
def test_only_tags_and_white_space_are_removed(text: str) -> None:
    reasoning, content = split(text)
    found = events(chunk(text), chunk(finish="stop"), DONE)
    emitted = "".join(event.text for event in found if isinstance(event, sk.TextDelta | sk.ReasoningDelta))

    left = list(text)
    # Every emitted character is in the text, in the same order.
    rest = iter(left)
    assert all(any(character == other for other in rest) for character in emitted)
    assert len(emitted) == len(reasoning) + len(content)
    if "<think>" not in text:
        assert (reasoning, content) == ("", text)


def test_only_a_possible_tag_is_buffered() -> None:
    found = events(chunk("Four <"), chunk("b <thi"), chunk("s"), chunk(finish="stop"), DONE)

    assert [event.text for event in found if isinstance(event, sk.TextDelta)] == ["Four ", "<b ", "<this"]


def test_an_answer_may_begin_with_reasoning_if_the_tag_is_in_the_request() -> None:
    assert split("\nHm", "</thi", "nk>\nFour", tags=("", "</think>")) == ("Hm", "Four")
    assert split("Hm", tags=("", "</think>")) == ("Hm", "")


def test_each_choice_has_its_own_tags() -> None:
    found = events(
        chunk("<thi"),
        chunk("<think>B", index=1),
        chunk("nk>A"),
        chunk("</think>b", index=1),
        chunk("a"),
        chunk(finish="stop", index=1),
        chunk(finish="stop"),
        DONE,
    )

    assert [event for event in found if isinstance(event, sk.TextDelta | sk.ReasoningDelta)] == [
        sk.ReasoningDelta("B", 1),
        sk.ReasoningDelta("A"),
        sk.TextDelta("b", 1),
        sk.ReasoningDelta("a"),
    ]


CALL = {"index": 0, "id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}


@pytest.mark.parametrize(
    ("follows", "kinds"),
    [
        ([chunk(finish="stop"), DONE], ["TextDelta", "Finish", "StreamEnd"]),
        ([chunk(tool_calls=[CALL]), chunk(finish="tool_calls"), DONE], ["TextDelta", "ToolCallDelta", "Finish", "StreamEnd"]),
        ([chunk(reasoning_content="Hm"), chunk(finish="stop")], ["TextDelta", "ReasoningDelta", "Finish", "StreamEnd"]),
        ([chunk(refusal="No"), chunk(finish="stop")], ["TextDelta", "RefusalDelta", "Finish", "StreamEnd"]),
        ([{"choices": [], "usage": {"total_tokens": 1}}, chunk(finish="stop")], ["Usage", "TextDelta", "Finish", "StreamEnd"]),
        ([DONE], ["TextDelta", "StreamEnd"]),
        ([], ["TextDelta", "StreamEnd"]),
    ],
    ids=["its end", "a call", "reasoning", "a refusal", "usage", "the marker", "a cut"],
)  # fmt: skip
def test_buffered_text_is_emitted_before_later_events(follows: list[Any], kinds: list[str]) -> None:
    found = events(chunk("<thi"), *follows)

    assert [type(event).__name__ for event in found] == kinds
    assert next(event.text for event in found if isinstance(event, sk.TextDelta)) == "<thi"


def test_buffered_text_is_not_lost_on_an_error() -> None:
    seen = list[sk.Event]()
    with pytest.raises(sk.ProviderError):
        seen.extend(
            (sk.sse.Lines() | sk.Parse() | sk.Extract(reasoning_tags=THINK)).run(
                [sse(chunk("<thi"), {"error": {"code": 1}})]
            )
        )
    assert seen == [sk.TextDelta("<thi"), sk.StreamEnd("provider_error", open_choices=(0,))]

    seen = []
    with pytest.raises(sk.errors.ProtocolError):
        seen.extend(
            (sk.sse.Lines() | sk.Parse() | sk.Extract(reasoning_tags=THINK)).run([sse(chunk("<thi"), "{broken")])
        )
    assert seen == [sk.TextDelta("<thi")]


def test_it_holds_for_every_dialect() -> None:
    start = {"type": "message_start", "message": {"id": "m", "role": "assistant", "content": []}}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    deltas = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
        for text in ("<thi", "nk>Hm</think>Fo", "ur")
    ]
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    body = named_events(start, block, *deltas, end, {"type": "message_stop"})

    *_, completion, _ = (sk.sse.Lines() | sk.Parse() | sk.Extract(reasoning_tags=THINK) | sk.Accumulate()).run([body])

    assert isinstance(completion, sk.Completion)
    assert (completion.text, completion.choices[0].reasoning) == ("Four", "Hm")


def test_a_checkpoint_has_the_buffered_text() -> None:
    stage = sk.Extract(reasoning_tags=THINK)
    body = sse(chunk("<think>Hm</thi"), chunk("nk>Four"), chunk(finish="stop"), DONE)
    pipeline = sk.sse.Lines() | sk.Parse() | stage
    first, rest = body[: body.index(b"nk>Four")], body[body.index(b"nk>Four") :]
    run = pipeline.fresh()
    before = list(run.feed_all([first]))
    state = json.loads(json.dumps(run.state()))
    again = pipeline.fresh()
    again.restore(state)

    found = [*before, *again.feed_all([rest])]

    assert [event for event in found if isinstance(event, sk.TextDelta | sk.ReasoningDelta)] == [
        sk.ReasoningDelta("Hm"),
        sk.TextDelta("Four"),
    ]


@pytest.mark.parametrize("tags", [("<a>", ""), ("", ""), ("<a>", "<a>"), ("<a>",), "<a>", (1, 2)], ids=repr)
def test_invalid_tags_are_rejected(tags: Any) -> None:
    with pytest.raises(sk.PipelineError, match="expected an opening and another closing tag"):
        sk.Extract(reasoning_tags=tags)


def test_a_pipeline_file_has_the_option() -> None:
    pipeline = sk.pipelines.loads(
        '[[stage]]\nuse = "Extract"\nreasoning_tags = ["<think>", "</think>"]\ncumulative = true\n'
    )

    assert isinstance(pipeline, sk.Extract)
    assert (pipeline.reasoning_tags, pipeline.cumulative) == (THINK, True)
