"""Bodies from public bug reports, in `../shared/cases`: whole answers, emitted once and attributed correctly."""

from typing import Any, NamedTuple

import pytest

import streamkit as sk
from tests.conftest import SHARED, needs_shared


class Case(NamedTuple):
    """The expected fields of an answer; others are not compared."""

    text: str | None = None
    reasoning: str | None = None
    calls: tuple[tuple[str | None, str, str], ...] = ()
    usage: tuple[int | None, int | None, int | None] | None = None
    message: dict[str, Any] | None = None
    reasoning_tags: tuple[str, str] | None = None

    @property
    def extract(self) -> sk.Extract:
        return sk.Extract(reasoning_tags=self.reasoning_tags)


CASES = {
    "responses_item_id_only": Case(calls=(("ca", "read", '{"p":"x"}'), ("cb", "read", '{"p":"y"}'))),
    "responses_tail_only_in_done": Case("Blue sky"),
    "gemini_partial_args": Case(calls=(("q1", "write", '{"path":"a.txt"}'),)),
    "tool_name_in_pieces": Case(calls=(("t1", "edit_existing_file", "{}"),)),
    "final_full_message": Case("Blue sky", usage=(3, 2, 5)),
    "usage_in_choice": Case("hi", usage=(19, 2, 21)),
    "openrouter_reasoning_details": Case(
        "391",
        "Let me",
        message={
            "reasoning_details": [
                {
                    "type": "reasoning.text",
                    "text": "Let me",
                    "signature": "c2ln",
                    "format": "anthropic-claude-v1",
                    "index": 0,
                }
            ]
        },
    ),
    "think_tags": Case("Four", "Hm", reasoning_tags=("<think>", "</think>")),
    "unknown_wire_with_done": Case("Blue sky", usage=(3, 2, 5)),
    "tgi_generate_stream": Case("Blue sky", usage=(None, 2, None)),
}


@needs_shared
@pytest.mark.parametrize("name", CASES)
def test_an_answer_is_whole_emitted_once_and_attributed_correctly(name: str) -> None:
    case, body = CASES[name], (SHARED / "cases" / f"{name}.sse").read_bytes()
    pipeline = sk.sse.Lines() | sk.Parse() | case.extract | sk.Accumulate()

    whole = list(pipeline.run([body]))
    pieces = list(pipeline.run(body[at : at + 1] for at in range(len(body))))

    assert pieces == whole
    (completion,) = (event for event in whole if isinstance(event, sk.Completion))
    (choice,) = completion.choices
    assert (choice.content, choice.reasoning) == (case.text, case.reasoning)
    assert tuple((call.id, call.name, call.arguments) for call in choice.tool_calls) == case.calls
    if case.usage is not None:
        assert completion.usage is not None
        used = completion.usage
        assert (used.prompt_tokens, used.completion_tokens, used.total_tokens) == case.usage
    if case.message is not None:
        assert completion.to_dict()["choices"][0]["message"].items() >= case.message.items()
    assert completion.end in ("completed", "tool_calls", "length")


@needs_shared
@pytest.mark.parametrize(
    ("name", "phrase", "rest"),
    [
        ("gemini_partial_args", "a.txt", '{"path":"[x]"}'),
        ("openrouter_reasoning_details", "Let me", "[x]"),
        ("responses_tail_only_in_done", "Blue sky", "[x]"),
        ("think_tags", "Hm", "[x]"),
    ],
)
def test_moderation_sees_all_of_it(name: str, phrase: str, rest: str) -> None:
    body = (SHARED / "cases" / f"{name}.sse").read_bytes()
    moderate = sk.Moderate(sk.Rule("x", (phrase,), replacement="[x]"))
    pipeline = sk.sse.Lines() | sk.Parse() | CASES[name].extract | moderate | sk.Accumulate()

    events = list(pipeline.run([body]))

    (completion,) = (event for event in events if isinstance(event, sk.Completion))
    assert rest in repr(completion)
    assert not any(phrase in repr(event) for event in events)
    assert phrase not in repr(completion.to_dict())
