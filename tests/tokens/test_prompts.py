"""Prompts: what messages, tools and pictures cost before they are sent."""

import base64
import struct
from typing import Any

import pytest

from streamkit.tokens import PromptTokens, prompt_tokens
from streamkit.tokens.images import data_size, image_tokens

COUNT_TO_100 = "Count to 100, with a comma between each number and no newlines. E.g., 1, 2, 3, ..."


def test_the_guides_prompt_costs_36_tokens() -> None:
    prompt = [{"role": "user", "content": COUNT_TO_100}]

    assert prompt_tokens(prompt, "gpt-3.5-turbo") == PromptTokens(36, True, 36)


@pytest.mark.parametrize(
    ("messages", "tokens"),
    [
        ([], 3),
        ([{"role": "user", "content": "Hello"}], 3 + 3 + 1 + 1),
        ([{"role": "user", "name": "Alice", "content": "Hello"}], 3 + 3 + 1 + 1 + 1 + 1),
        ([{"role": "user", "content": "Hello"}, {"role": "assistant", "content": None}], 3 + 3 + 1 + 1 + 3 + 1),
        ([{"role": "user", "content": "<|endoftext|>"}], 3 + 3 + 1 + 7),
    ],
    ids=["no message", "one", "a name", "no content", "what looks like a special token"],
)
def test_what_a_prompt_costs(messages: list[dict[str, object]], tokens: int) -> None:
    assert prompt_tokens(messages, "gpt-4") == PromptTokens(tokens, True, tokens)


# The cookbook's examples, with the figures that OpenAI's API gave for them.
JARGON = [
    ("", "You are a helpful, pattern-following assistant that translates corporate jargon into plain English."),
    ("example_user", "New synergies will help drive top-line growth."),
    ("example_assistant", "Things working well together will increase revenue."),
    (
        "example_user",
        "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage.",
    ),
    ("example_assistant", "Let's talk later when we're less busy about how to do better."),
]
LATE_PIVOT = "This late pivot means we don't have time to boil the ocean for the client deliverable."
EXAMPLE = [
    *({"role": "system", "content": text} | ({"name": name} if name else {}) for name, text in JARGON),
    {"role": "user", "content": LATE_PIVOT},
]


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("gpt-3.5-turbo-0301", 127),
        ("gpt-3.5-turbo", 129),
        ("gpt-4-0613", 129),
        ("gpt-4", 129),
        ("gpt-4o", 124),
        ("gpt-4o-mini", 124),
    ],
)
def test_the_cookbooks_messages_cost_what_the_api_said(model: str, tokens: int) -> None:
    assert prompt_tokens(EXAMPLE, model) == PromptTokens(tokens, True, tokens)


WEATHER = {
    "name": "get_current_weather",
    "description": "Get the current weather in a given location",
    "parameters": {
        "type": "object",
        "properties": {
            "location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"},
            "unit": {
                "type": "string",
                "description": "The unit of temperature to return",
                "enum": ["celsius", "fahrenheit"],
            },
        },
        "required": ["location"],
    },
}
ASKED = [
    {"role": "system", "content": "You are a helpful assistant that can answer to questions about the weather."},
    {"role": "user", "content": "What's the weather like in San Francisco?"},
]


@pytest.mark.parametrize("tool", [{"type": "function", "function": WEATHER}, WEATHER], ids=["tools", "functions"])
@pytest.mark.parametrize(("model", "tokens"), [("gpt-3.5-turbo", 105), ("gpt-4", 105), ("gpt-4o", 101)])
def test_the_cookbooks_tool_costs_what_the_api_said_and_is_an_estimate(
    tool: dict[str, object], model: str, tokens: int
) -> None:
    found = prompt_tokens(ASKED, model, tools=[tool])

    assert (found.tokens, found.exact) == (tokens, False)
    assert found.messages == prompt_tokens(ASKED, model).tokens
    assert found.messages + found.tools == found.tokens


@pytest.mark.parametrize(
    ("content", "model"),
    [
        ([{"type": "text", "text": "Hello"}], "gpt-4o"),
        ("Hello", "gpt-5"),
        ("Hello", "o1"),
    ],
    ids=["content in parts", "a model without a documented rule", "a model that reasons"],
)
def test_what_is_not_documented_is_an_estimate(content: object, model: str) -> None:
    assert prompt_tokens([{"role": "user", "content": content}], model) == PromptTokens(8, False, 8)


def test_a_model_that_nobody_knows_is_an_estimate_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="o200k_base is used instead"):
        assert not prompt_tokens([], "nobody-knows-1").exact


def test_another_counter_may_count_and_is_an_estimate_then() -> None:
    assert prompt_tokens([{"role": "user", "content": "12345678"}], "claude-x", counter="characters") == PromptTokens(
        3 + 3 + 1 + 2, False, 3 + 3 + 1 + 2
    )


def test_a_call_in_the_history_is_counted_by_its_json() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}

    found = prompt_tokens([{"role": "assistant", "content": None, "tool_calls": [call]}], "gpt-4o")

    assert found.tokens > 20
    assert not found.exact


# Pictures


@pytest.mark.parametrize(
    ("model", "size", "detail", "tokens"),
    [
        ("gpt-4o", (1024, 1024), "high", 765),
        ("gpt-4o", (2048, 4096), "high", 1105),
        ("gpt-4o", (4096, 8192), "low", 85),
        ("gpt-4o", (128, 64), "high", 255),
        ("gpt-4o", (512, 512), "high", 255),
        ("gpt-4o", (513, 512), "high", 425),
        ("gpt-4o", None, "auto", 765),
        ("gpt-4o-mini", (1024, 1024), "high", 2833 + 4 * 5667),
        ("gpt-4o-mini", (128, 64), "low", 2833),
        ("gpt-5", (1024, 1024), "high", 70 + 4 * 140),
        ("o1", (1024, 1024), "high", 75 + 4 * 150),
        ("gpt-4.1-mini", (1024, 1024), "high", 1659),
        ("gpt-5-nano", (1024, 1024), "high", 2520),
        ("o4-mini", (1800, 2400), "high", 2498),
    ],
)
def test_a_picture_costs_what_the_guide_says(
    model: str, size: tuple[int, int] | None, detail: str, tokens: int
) -> None:
    assert image_tokens(model, size, detail) == tokens


PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 640, 480)
GIF = b"GIF89a" + struct.pack("<HH", 640, 480)
JPEG = b"\xff\xd8\xff\xe0\0\4ab\xff\xc2" + struct.pack(">HBHH", 11, 8, 480, 640)


def data_url(content: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


@pytest.mark.parametrize("content", [PNG, GIF, JPEG], ids=["PNG", "GIF", "JPEG"])
def test_the_size_of_a_picture_is_read_from_its_head(content: bytes) -> None:
    assert data_size(data_url(content)) == (640, 480)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/a.png",
        "data:image/png;base64,???",
        "data:text/plain;base64,aGk=",
        data_url(PNG[:20]),
        data_url(b"RIFFxxxxWEBP"),
        data_url(b"\xff\xd8\xff"),
        data_url(b"\xff\xd8\xff\xe0\0\0" * 3),
        data_url(GIF[:6] + b"\0\0\0\0"),
    ],
)
def test_a_picture_whose_size_cannot_be_seen_has_none(url: str) -> None:
    assert data_size(url) is None


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": data_url(PNG), "detail": "high"}},
        {"type": "input_image", "image_url": data_url(PNG), "detail": "high"},
    ],
    ids=["chat", "Responses"],
)
def test_pictures_in_a_prompt_are_counted_apart(part: dict[str, Any]) -> None:
    content = [{"type": "text", "text": "Hello"}, part]

    assert prompt_tokens([{"role": "user", "content": content}], "gpt-4o") == PromptTokens(433, False, 8, 0, 425)
