"""A request that two APIs can both express is unchanged after translation there and back."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit.requests import translate
from streamkit.requests.conversation import (
    CallPart,
    Conversation,
    FilePart,
    ImagePart,
    OfferedTool,
    Option,
    OutputFormat,
    ResultPart,
    TextPart,
    ToolPreference,
    Turn,
)
from streamkit.requests.losses import Losses
from streamkit.requests.translation import SOURCES, TARGETS
from tests.requests.bodies import PDF, PNG, SCHEMA, check

FORMATS = ("openai", "anthropic", "responses")
PAIRS = [(here, there) for here in FORMATS for there in FORMATS if here != there]

texts = st.text(min_size=1, max_size=8).filter(str.strip)
names = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
images = st.sampled_from([ImagePart(PNG, "image/png"), ImagePart(url="https://example.com/a.png")])
files = st.just(FilePart(PDF, "application/pdf", None, "a.pdf"))
contents = st.lists(st.builds(TextPart, texts) | images | files, min_size=1, max_size=3)
schemas = st.builds(lambda name: {**SCHEMA, "properties": {name: {"type": "string"}}, "required": [name]}, names)
tools = st.builds(OfferedTool, names, st.none() | texts, schemas, st.booleans())


@st.composite
def exchanges(draw: st.DrawFn) -> list[Turn]:
    """A question, optional calls with their results, and an answer."""
    turns: list[Turn] = [Turn("user", list(draw(contents)))]
    for number in range(draw(st.integers(0, 2))):
        arguments = draw(st.dictionaries(st.text(max_size=4), values, max_size=2))
        written = msgspec.json.encode(arguments).decode()
        calls = [CallPart(f"call_{number}_{at}", draw(names), written) for at in range(draw(st.integers(1, 2)))]
        said = draw(st.lists(st.builds(TextPart, texts), max_size=1))
        turns.append(Turn("assistant", [*said, *calls]))
        turns.append(Turn("user", [ResultPart(call.id, [TextPart(draw(texts))]) for call in calls]))
    if draw(st.booleans()):
        turns.append(Turn("user", [TextPart(draw(texts))]))
    return [*turns, Turn("assistant", [TextPart(draw(texts))])]


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    """Requests that all three APIs can express."""
    turns = [turn for exchange in draw(st.lists(exchanges(), max_size=2)) for turn in exchange]
    turns.append(Turn("user", list(draw(contents))))
    if draw(st.booleans()):
        turns.insert(0, Turn("system", [TextPart(text) for text in draw(st.lists(texts, min_size=1, max_size=2))]))
    offered = draw(st.lists(tools, max_size=2, unique_by=lambda tool: tool.name))
    choice: ToolPreference | None = None
    options = {"model": Option("m"), "max_tokens": Option(draw(st.integers(1, 10**6)))}
    if offered and draw(st.booleans()):
        mode = draw(st.sampled_from(("auto", "none", "required")))
        choice = ToolPreference(mode, [offered[0].name] if mode == "required" and draw(st.booleans()) else [])
        if mode != "none" and draw(st.booleans()):
            options["parallel_tool_calls"] = Option(draw(st.booleans()))
    for name, value in (
        ("temperature", st.floats(0, 1)),
        ("top_p", st.floats(0, 1)),
        ("safety_identifier", names),
        ("service_tier", st.sampled_from(("auto", "default"))),
        ("stream", st.booleans()),
    ):
        if draw(st.booleans()):
            options[name] = Option(draw(value))
    if options.get("stream") == Option(True):
        options["include_usage"] = Option(True, implied=True)
    format = OutputFormat(draw(schemas), "response", strict=True) if draw(st.booleans()) else None
    return Conversation(turns, offered, choice, format, options | {"store": Option(False, implied=True)})


def written(conversation: Conversation, format: str) -> dict[str, Any]:
    """The body in one API, normalized by its writer and reader."""
    losses = Losses(format)
    body = TARGETS[format](conversation, losses, 1)
    return TARGETS[format](SOURCES[format](body, losses), losses, 1)


@pytest.mark.parametrize(("here", "there"), PAIRS, ids=lambda name: name)
@settings(deadline=None, max_examples=40)
@given(conversation=conversations())
def test_a_request_is_the_same_after_translation_there_and_back(
    here: str, there: str, conversation: Conversation
) -> None:
    body = written(conversation, here)
    way = translate(body, source=here, target=there)
    back = translate(way.body, source=there, target=here)

    assert back.body == body
    assert (way.untranslated, back.untranslated) == ([], [])


@pytest.mark.parametrize("format", FORMATS)
@settings(deadline=None, max_examples=25)
@given(conversation=conversations())
def test_the_official_types_allow_every_request(format: str, conversation: Conversation) -> None:
    check(format, written(conversation, format))
