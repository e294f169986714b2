"""Every built-in stage passes the checks of the laws in `streamkit.testing` for user-defined stages."""

from typing import Any

import pytest

import streamkit as sk
from streamkit.moderation.classifiers.classifier import Decision
from streamkit.testing import check_stage, joined
from tests.laws.conftest import CHUNKS

BODY = ("".join(f"data: {chunk}\n\n" for chunk in CHUNKS) + "data: [DONE]\n\n").encode()
PIECES = [BODY[at : at + 97] for at in range(0, len(BODY), 97)]
EVENTS: list[Any] = list((sk.sse.Lines() | sk.Parse() | sk.Extract()).run([BODY]))
SPOKEN: list[Any] = [
    sk.TextDelta("The password is hun"),
    sk.events.Logprobs({"content": [{"token": "ter2"}]}, part=0),
    sk.TextDelta("ter2. "),
    sk.ReasoningDelta("Mind hunter2"),
    sk.TextDelta("Other. hunter", 1),
    sk.ToolCallDelta(0, "call_1", "f", '{"a": "hunt'),
    sk.ToolCallDelta(0, arguments='er2", "b": 1}'),
    sk.TextDelta("Good bye. "),
    sk.Finish("stop"),
    sk.Finish("stop", 1),
    sk.StreamEnd("completed", saw_done=True),
]
RULE = sk.Rule("secret", ("hunter2",), ("pass\\w+",))


async def judge(window: sk.moderation.Window) -> Decision:
    return Decision("redact", "secret") if "hunter2" in window.text else Decision()


def said(items: list[Any]) -> dict[Any, str]:
    """The joined text of each channel of each choice."""
    texts: dict[Any, str] = {}
    for item in items:
        for name in ("text", "arguments"):
            if isinstance(text := getattr(item, name, None), str):
                key = type(item).__name__, item.index
                texts[key] = texts.get(key, "") + text
    return texts


def emitted(items: list[Any]) -> dict[Any, str]:
    return said(list((sk.sse.Lines() | sk.Parse() | sk.Extract()).run(items)))


def rest(items: list[Any]) -> list[Any]:
    """The items with joined text, without events about single deltas."""
    return joined([item for item in items if not isinstance(item, sk.events.PartialOutput | sk.Timings)])


STAGES: dict[str, tuple[Any, list[Any], Any, set[str]]] = {
    "Lines": (sk.sse.Lines(), PIECES, None, set()),
    "Lines | Parse": (sk.sse.Lines() | sk.Parse(), PIECES, None, set()),
    "Extract": (sk.sse.Lines() | sk.Parse() | sk.Extract(), PIECES, None, set()),
    "Accumulate": (sk.Accumulate(), EVENTS, None, set()),
    "Moderate": (sk.Moderate(RULE, choices=2), SPOKEN, None, set()),
    "Moderate, optimistic": (sk.Moderate(RULE, choices=2, mode="optimistic"), SPOKEN, None, {"split_invariance"}),
    "Moderate, observe": (sk.Moderate(RULE, choices=2, mode="observe"), SPOKEN, None, {"split_invariance"}),
    "Classify": (sk.Classify(judge), SPOKEN, None, set()),
    "Count": (sk.Count("cl100k_base"), EVENTS, None, set()),
    "Budget": (sk.Budget(7, model="cl100k_base"), SPOKEN, None, set()),
    "Timing": (sk.Timing(), EVENTS, rest, set()),
    "Structured": (sk.Structured(), EVENTS, rest, set()),
    "Emit | Encode": (sk.Emit() | sk.sse.Encode(), EVENTS, emitted, {"unknown_events"}),
    "all of them": (
        sk.sse.Lines()
        | sk.Parse()
        | sk.Extract()
        | sk.Moderate(RULE, choices=2)
        | sk.Accumulate()
        | sk.Count("o200k_base"),
        PIECES,
        None,
        set(),
    ),
}


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_keeps_the_laws(name: str) -> None:
    stage, items, read, skip = STAGES[name]
    check_stage(stage, items, skip=skip, **({"read": read} if read else {}))
