"""The scripted answers of the demo provider: maps a prompt to an answer, split into deltas."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args


@dataclass(frozen=True, slots=True)
class ScriptedCall:
    """A call of the tool `name`. A request that does not offer that tool, or contains its result, is answered with `text`."""

    name: str
    arguments: str
    text: str


Answer: TypeAlias = str | Sequence[str] | ScriptedCall
Answers: TypeAlias = Mapping[str, Answer] | Callable[[str], Answer | None]


@dataclass(frozen=True, slots=True)
class ScriptedTurn:
    """One answer, cut to the token limit: the pieces of a text, or of the arguments of `tool`."""

    pieces: list[str]
    finish_reason: str
    tool: str | None

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def play(
    prompt: str, answers: Answers, tools: Collection[str], limit: int | None, count: Callable[[str], int]
) -> ScriptedTurn:
    """Return the answer of `answers`, or else of the built-in script. Only tools in `tools` are called.

    An answer of more than `limit` tokens, as counted by `count`, is truncated.
    """
    given = answers(prompt) if callable(answers) else answers.get(prompt)
    answer = _scripted(prompt) if given is None else given
    tool = answer.name if isinstance(answer, ScriptedCall) and answer.name in tools else None
    whole = pieces(answer.text if isinstance(answer, ScriptedCall) and not tool else answer)
    cut = whole if limit is None else _within(whole, limit, count)
    finish_reason = "length" if cut != whole else "tool_calls" if tool else "stop"
    return ScriptedTurn(cut, finish_reason, tool)


def _within(whole: Sequence[str], limit: int, count: Callable[[str], int]) -> list[str]:
    sizes = range(len(whole) + 1)
    return list(whole[: bisect_right(sizes, limit, key=lambda size: count("".join(whole[:size]))) - 1])


def pieces(answer: Answer) -> list[str]:
    """Split a text approximately as a tokenizer would. A list of pieces is returned unchanged."""
    match answer:
        case str():
            return _PIECE.findall(answer)
        case ScriptedCall(arguments=text):
            return [text[at : at + 5] for at in range(0, len(text), 5)]
        case _:
            return list(answer)


# Every character matches exactly one alternative, so the pieces of a text join to that text.
_PIECE = re.compile(r"[0-9]+|, ?| ?[^\s0-9,]+|\s+")


def _scripted(prompt: str) -> Answer:
    for pattern, answer in _RULES:
        if match := re.search(pattern, prompt):
            return answer(match)
    return PARAGRAPH


def _count(match: re.Match[str]) -> Answer:
    return "\n\n" + ", ".join(map(str, range(1, int(match[1]) + 1))) + "."


def _continued(match: re.Match[str]) -> Answer:
    last = int(match[1])
    return ",".join(map(str, range(last + 1, last + 98)))


def _weather(match: re.Match[str]) -> Answer:
    return ScriptedCall("get_weather", f'{{"city": "{match[1]}"}}', f"It is 18 degrees and sunny in {match[1]}.")


PARAGRAPH = (
    "A stream is an answer that starts before it is finished. Each piece arrives as soon as it is known, so a reader "
    "can begin at once — and a program can check, count and collect the words while they are still on their way. "
    "When the last piece has come, nothing is left to do but to say so."
)

# The phrase "the code word is blue heron 42" is split inside its words, so no single delta contains it.
LAUNCH_CODE = (
    *("Certainly", ".", " The", " launch", " is", " at", " dawn", ",", " th", "e co", "de", " wo", "rd is", " bl"),
    *("ue", " her", "on 4", "2", ",", " and", " nobody", " else", " should", " hear", " of", " it", "."),
)

_RULES: tuple[tuple[str, Callable[[re.Match[str]], Answer]], ...] = (
    (r"(?i)\bcount to ([0-9]{1,4})\b", _count),
    (r"\A(?:[0-9]+,)*([0-9]{1,4}),\Z", _continued),
    (r"\b1 ?\+ ?1\b", lambda _: "2"),
    (r"(?i)\bthe launch code\b", lambda _: LAUNCH_CODE),
    (r"\b[Ww]eather in ([A-Z]\w*(?: [A-Z]\w*)*)", _weather),
)

Category: TypeAlias = Literal[
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
]

FLAGGED: Mapping[str, Category] = {
    "blue heron": "illicit",
    "burglary": "illicit",
    "idiot": "harassment",
    "kill": "violence",
}


# From OpenAI's moderation guide; the types of the endpoint in the official SDKs agree.
BY_IMAGE: frozenset[Category] = frozenset(
    ("self-harm", "self-harm/instructions", "self-harm/intent", "sexual", "violence", "violence/graphic")
)
OMNI_ALONE: frozenset[Category] = frozenset(("illicit", "illicit/violent"))


def verdict(
    text: str, flagged: Mapping[str, Category], images: Sequence[str] = (), *, omni: bool = True
) -> dict[str, object]:
    """Return a moderation result: a category is flagged if one of its words occurs in the text or an image URL."""
    found = _flagged(text, flagged) | {category for url in images for category in _flagged(url, flagged) & BY_IMAGE}
    categories = [category for category in get_args(Category) if omni or category not in OMNI_ALONE]
    result: dict[str, object] = {
        "flagged": not found.isdisjoint(categories),
        "categories": {category: category in found for category in categories},
        "category_scores": {category: 0.98 if category in found else 0.001 for category in categories},
    }
    if omni:
        result["category_applied_input_types"] = {
            category: [*(["text"] if text else []), *(["image"] if images and category in BY_IMAGE else [])]
            for category in categories
        }
    return result


def _flagged(text: str, flagged: Mapping[str, Category]) -> set[Category]:
    return {category for word, category in flagged.items() if re.search(rf"(?i)\b{re.escape(word)}\b", text)}
