"""Strategies for hypothesis: difficult texts, splits, events and whole response bodies."""

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from streamkit.core.lazy import missing_extra

try:
    from hypothesis import strategies as st
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(missing_extra(__name__, "hypothesis", "testing"), name=error.name) from error

from streamkit import Event, Finish, ReasoningDelta, StreamEnd, TextDelta, ToolCallDelta
from streamkit.events import PartDelta

_HARD = ["e\u0301", "ﬁ", "👩‍👩‍👧", "🇩🇪", "İ", "ß", "\u200b", "\u2028", "\r\n", "\x00", '"', "\\", "안", "語", " ", "\n"]

# All characters except surrogates. `st.characters` first builds tables, which exceeds hypothesis' deadline on a slow machine.
_CHARACTERS = st.integers(0, 0x10FFFF - 0x800).map(lambda number: chr(number + 0x800 * (number >= 0xD800)))


def texts(*, max_size: int = 30) -> st.SearchStrategy[str]:
    """Texts without lone surrogates: plain letters, and characters that break code which assumes one code point per letter."""
    plain = st.lists(st.sampled_from("abc ."), max_size=5).map("".join)
    pieces = st.one_of(st.sampled_from(_HARD), plain, _CHARACTERS)
    return st.lists(pieces, max_size=max_size).map("".join)


def cuts(body: bytes) -> st.SearchStrategy[list[bytes]]:
    """Splits of a body into pieces; a piece may be empty."""
    places = st.lists(st.integers(0, len(body)), max_size=20)
    return places.map(lambda at: [body[a:b] for a, b in pairwise([0, *sorted(at), len(body)])])


@st.composite
def answers(draw: st.DrawFn, *, choices: int = 2) -> list[Event]:
    """Events of a response, as emitted by `Extract`: deltas of several choices, a `Finish` for each, and `StreamEnd` last."""
    numbers = st.integers(0, draw(st.integers(1, choices)) - 1)
    nonempty = texts().filter(bool)
    delta: st.SearchStrategy[Event] = st.one_of(
        st.builds(TextDelta, nonempty, numbers),
        st.builds(ReasoningDelta, nonempty, numbers),
        st.builds(ToolCallDelta, st.just(0), arguments=nonempty, index=numbers),
        st.builds(PartDelta, nonempty, st.just("code"), path=st.just(("code",)), index=numbers),
    )
    deltas = draw(st.lists(delta, max_size=12))
    answered = sorted({getattr(event, "index", 0) for event in deltas})
    return [*deltas, *(Finish("stop", index) for index in answered), StreamEnd("completed", saw_done=True)]


def chat_bodies() -> st.SearchStrategy[tuple[str, bytes]]:
    """Pairs of a response's text and the streamed body of OpenAI's chat API with that text."""
    return st.lists(texts().filter(bool), max_size=8).map(lambda pieces: ("".join(pieces), _chat(pieces)))


def _chat(pieces: Sequence[str]) -> bytes:
    deltas: list[dict[str, Any]] = [{"index": 0, "delta": {"content": piece}} for piece in pieces]
    finish: dict[str, Any] = {"index": 0, "delta": {}, "finish_reason": "stop"}
    chunks = [json.dumps({"choices": [choice]}) for choice in (*deltas, finish)]
    return "".join([*(f"data: {chunk}\n\n" for chunk in chunks), "data: [DONE]\n\n"]).encode()
