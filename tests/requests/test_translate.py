"""Requests translated between APIs: every loss is reported, and the results are valid for the official clients' types."""

import copy
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit.errors import PipelineError, ProtocolError
from streamkit.requests import Untranslated, translate
from streamkit.requests.translation import TARGETS
from tests.requests.bodies import BODIES, CHAT, MESSAGES, PNG, RESPONSES, SCHEMA, check, places

ANYTHING = st.recursive(
    st.sampled_from([None, True, 1, 1.5, "", "x", "none", "auto", [], {}]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "name", "a"]), inner, max_size=2)
    ),
    max_leaves=4,
)
PAIRS = [(source, target) for source in BODIES for target in (*BODIES, "gemini") if source != target]
SAYS_NOTHING = ("id", "status", "media_type")
"""Fields of items without content: ids, and the status of earlier responses."""
SO_WITHOUT_IT = {
    # Always so in the target, or the default kind.
    "stream_options.include_usage",
    "response_format.json_schema.strict",
    "text.format.strict",
    "thinking.display",
    "tool_choice.mode",
    "tools[0].type",
    "messages[2].tool_calls[0].type",
    "messages[5].content",
    "input[2].type",
    "input[8].type",
}
IN_THE_ADDRESS = {"model", "stream", "stream_options"}
"""Options in the URL of Gemini's API."""


def each_pair(test: Any) -> Any:
    return pytest.mark.parametrize(("source", "target"), PAIRS, ids=lambda name: name)(test)


@each_pair
def test_no_field_is_dropped_silently(source: str, target: str) -> None:
    body = BODIES[source]
    whole = translate(body, source=source, target=target)
    unseen: list[str] = []
    for path in places(body):
        if path[-1] in SAYS_NOTHING or (target == "gemini" and path[0] in IN_THE_ADDRESS):
            continue
        without = copy.deepcopy(body)
        parent: Any = without
        for step in path[:-1]:
            parent = parent[step]
        del parent[path[-1]]
        try:
            found = translate(without, source=source, target=target)
        except ProtocolError:
            continue
        lost = [loss.path for loss in whole.untranslated]
        if found == whole and not any(_shown(path).startswith(place) for place in lost):
            unseen.append(_shown(path))

    assert [path for path in unseen if path not in SO_WITHOUT_IT] == []


def _shown(path: tuple[Any, ...]) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(steps).removeprefix(".")


@each_pair
def test_an_unknown_field_is_reported_wherever_it_is(source: str, target: str) -> None:
    body = BODIES[source]
    lost = [loss.path for loss in translate(body, source=source, target=target).untranslated]
    for path in ((), *places(body)):
        within = copy.deepcopy(body)
        here: Any = within
        for step in path:
            here = here[step]
        # Schemas and metadata are copied unchanged.
        if not isinstance(here, dict) or {"properties", "metadata", "input", "logit_bias"} & {*map(str, path)}:
            continue
        if "parameters" in path or ("schema" in str(path) and "properties" in here):
            continue
        here["unknown_field"] = "something"

        found = translate(within, source=source, target=target)

        assert (
            f"{_shown(path)}.unknown_field".removeprefix(".") in [loss.path for loss in found.untranslated]
            or any(_shown(path).startswith(place) for place in lost)
            or "unknown_field" in str(found.body)
        ), path


@each_pair
def test_the_official_types_allow_what_is_written(source: str, target: str) -> None:
    if target != "gemini":
        check(target, translate(BODIES[source], source=source, target=target).body)


@pytest.mark.parametrize("source", BODIES)
def test_the_official_types_allow_what_is_read(source: str) -> None:
    ours = {"reasoning_content"}
    body = copy.deepcopy(BODIES[source])
    for message in body.get("messages", ()):
        for name in ours:
            message.pop(name, None)
    check(source, body)


@pytest.mark.parametrize("source", BODIES)
def test_with_equal_source_and_target_the_body_is_unchanged(source: str) -> None:
    body, untranslated = translate(BODIES[source], source=source, target=source)

    assert (body, untranslated) == (BODIES[source], [])
    assert body["model"] is not None
    assert body.get("tools") is not BODIES[source]["tools"]


@pytest.mark.parametrize("target", BODIES)
@pytest.mark.parametrize(
    ("body", "found"),
    [
        ([], "an object, found array"),
        ("x", "an object, found string"),
        (None, "an object, found nothing"),
        ({1: 2}, "names that are strings, found int"),
    ],
)
def test_a_body_that_is_not_an_object_raises_with_equal_source_and_target_too(
    body: Any, found: str, target: str
) -> None:
    for source in ("openai", target):
        with pytest.raises(ProtocolError, match=f"^request: expected {found}$"):
            translate(body, source=source, target=target)


@each_pair
def test_the_body_is_not_changed(source: str, target: str) -> None:
    body = copy.deepcopy(BODIES[source])
    translate(body, source=source, target=target)
    assert body == BODIES[source]


def test_a_conversation_with_tools_from_messages_to_chat() -> None:
    body, untranslated = translate(
        {
            "model": "m",
            "max_tokens": 100,
            "system": "Be brief.",
            "messages": [
                {"role": "user", "content": "Weather in Paris and Rome?"},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "text", "text": "I look."},
                        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Paris"}},
                        {"type": "tool_use", "id": "toolu_2", "name": "weather", "input": {"city": "Rome"}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sun"},
                        {
                            "type": "tool_result",
                            "tool_use_id": "toolu_2",
                            "content": [{"type": "text", "text": "rain"}],
                        },
                        {"type": "text", "text": "In one sentence."},
                    ],
                },
            ],
            "tools": [{"name": "weather", "input_schema": SCHEMA}],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
            "stop_sequences": ["END"],
        },
        source="anthropic",
        target="openai",
    )

    assert untranslated == []
    assert body == {
        "model": "m",
        "max_completion_tokens": 100,
        "stop": ["END"],
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Weather in Paris and Rome?"},
            {
                "role": "assistant",
                "content": "I look.",
                "tool_calls": [
                    {
                        "id": "toolu_1",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"city":"Paris"}'},
                    },
                    {
                        "id": "toolu_2",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"city":"Rome"}'},
                    },
                ],
            },
            {"role": "tool", "tool_call_id": "toolu_1", "content": "sun"},
            {"role": "tool", "tool_call_id": "toolu_2", "content": "rain"},
            {"role": "user", "content": "In one sentence."},
        ],
        "tools": [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}],
        "tool_choice": "required",
        "parallel_tool_calls": False,
    }


def test_a_conversation_with_tools_from_responses_to_messages() -> None:
    body, untranslated = translate(
        {
            "model": "m",
            "instructions": "Be brief.",
            "input": [
                {"role": "user", "content": "Weather in Paris and Rome?"},
                {"type": "function_call", "call_id": "call.1", "name": "weather", "arguments": '{"city": "Paris"}'},
                {"type": "function_call", "call_id": "call_2", "name": "weather", "arguments": ""},
                {"type": "function_call_output", "call_id": "call.1", "output": "sun"},
                {"type": "function_call_output", "call_id": "call_2", "output": "rain"},
                {"role": "user", "content": "In one sentence."},
            ],
        },
        source="responses",
        target="anthropic",
        max_tokens=77,
    )

    assert untranslated == []
    assert body == {
        "model": "m",
        "max_tokens": 77,
        "system": "Be brief.",
        "messages": [
            {"role": "user", "content": "Weather in Paris and Rome?"},
            {
                "role": "assistant",
                "content": [
                    {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Paris"}},
                    {"type": "tool_use", "id": "call_2", "name": "weather", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "call_1", "content": "sun"},
                    {"type": "tool_result", "tool_use_id": "call_2", "content": "rain"},
                    {"type": "text", "text": "In one sentence."},
                ],
            },
        ],
    }


def asked(format: str, **more: Any) -> dict[str, Any]:
    """Return a request with one message and these fields."""
    said = {"input": "Hi"} if format == "responses" else {"messages": [{"role": "user", "content": "Hi"}]}
    return {"model": "m", **said, **({"max_tokens": 9000} if format == "anthropic" else {}), **more}


TOOL = {
    "openai": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}],
    "anthropic": [{"name": "f", "input_schema": SCHEMA}],
    "responses": [{"type": "function", "name": "f", "parameters": SCHEMA, "strict": False}],
    "gemini": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": SCHEMA}]}],
}


@pytest.mark.parametrize(
    ("source", "fields", "target", "expected"),
    [
        # Limits
        ("openai", {"max_tokens": 5}, "anthropic", {"max_tokens": 5}),
        ("openai", {"max_tokens": 5}, "responses", {"max_output_tokens": 5, "store": False}),
        ("openai", {}, "anthropic", {"max_tokens": 8192}),
        ("responses", {"max_output_tokens": 5}, "openai", {"max_completion_tokens": 5}),
        # Stop sequences
        ("openai", {"stop": "END"}, "anthropic", {"stop_sequences": ["END"]}),
        # Streaming: Messages and Responses always return the usage
        ("anthropic", {"stream": True}, "openai", {"stream": True, "stream_options": {"include_usage": True}}),
        ("responses", {"stream": True}, "openai", {"stream": True, "stream_options": {"include_usage": True}}),
        ("responses", {"stream": False}, "openai", {"stream": False}),
        ("openai", {"stream": True, "stream_options": {"include_usage": True}}, "anthropic", {"stream": True}),
        # Reasoning
        (
            "openai",
            {"reasoning_effort": "high"},
            "anthropic",
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
        ),
        ("openai", {"reasoning_effort": "none"}, "anthropic", {"thinking": {"type": "disabled"}}),
        ("openai", {"reasoning_effort": "low"}, "responses", {"reasoning": {"effort": "low"}, "store": False}),
        (
            "responses",
            {"reasoning": {"effort": "low", "summary": "auto"}},
            "anthropic",
            {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "low"}},
        ),
        ("anthropic", {"thinking": {"type": "disabled"}}, "openai", {"reasoning_effort": "none"}),
        ("anthropic", {"thinking": {"type": "adaptive"}}, "openai", {"reasoning_effort": "high"}),
        ("anthropic", {"output_config": {"effort": "max"}}, "openai", {"reasoning_effort": "max"}),
        (
            "anthropic",
            {"thinking": {"type": "adaptive", "display": "summarized"}},
            "responses",
            {"reasoning": {"effort": "high", "summary": "auto"}, "store": False},
        ),
        (
            "anthropic",
            {"thinking": {"type": "enabled", "budget_tokens": 2000}},
            "gemini",
            {"generationConfig": {"maxOutputTokens": 9000, "thinkingConfig": {"thinkingBudget": 2000, "includeThoughts": True}}},
        ),
        ("openai", {"reasoning_effort": "low"}, "gemini", {"generationConfig": {"thinkingConfig": {"thinkingLevel": "low"}}}),
        # Users, tiers and metadata
        ("openai", {"safety_identifier": "u"}, "anthropic", {"metadata": {"user_id": "u"}}),
        ("openai", {"user": "u"}, "anthropic", {"metadata": {"user_id": "u"}}),
        ("anthropic", {"metadata": {"user_id": "u"}}, "openai", {"safety_identifier": "u"}),
        ("anthropic", {"service_tier": "standard_only"}, "openai", {"service_tier": "default"}),
        ("openai", {"metadata": {"a": "b"}}, "responses", {"metadata": {"a": "b"}, "store": False}),
        # Tools
        ("openai", {"tools": TOOL["openai"]}, "anthropic", {"tools": TOOL["anthropic"]}),
        ("openai", {"tools": TOOL["openai"]}, "responses", {"tools": TOOL["responses"], "store": False}),
        ("anthropic", {"tools": TOOL["anthropic"]}, "gemini", {"tools": TOOL["gemini"]}),
        (
            "openai",
            {"tools": TOOL["openai"], "parallel_tool_calls": False},
            "anthropic",
            {"tools": TOOL["anthropic"], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        ),
        (
            "openai",
            {"tools": TOOL["openai"], "tool_choice": {"type": "function", "function": {"name": "f"}}},
            "anthropic",
            {"tools": TOOL["anthropic"], "tool_choice": {"type": "tool", "name": "f"}},
        ),
        (
            "anthropic",
            {"tools": TOOL["anthropic"], "tool_choice": {"type": "none"}},
            "openai",
            {"tools": TOOL["openai"], "tool_choice": "none"},
        ),
        (
            "openai",
            {"functions": [{"name": "f", "parameters": SCHEMA}], "function_call": {"name": "f"}},
            "anthropic",
            {"tools": TOOL["anthropic"], "tool_choice": {"type": "tool", "name": "f"}},
        ),
        (
            "anthropic",
            {"tools": TOOL["anthropic"], "tool_choice": {"type": "tool", "name": "f"}},
            "gemini",
            {
                "tools": TOOL["gemini"],
                "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
            },
        ),
        # Structured output
        (
            "responses",
            {"text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}}},
            "openai",
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}},
        ),
        (
            "anthropic",
            {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
            "openai",
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "response", "schema": SCHEMA, "strict": True},
                }
            },
        ),
        (
            "openai",
            {"response_format": {"type": "json_object"}},
            "responses",
            {"text": {"format": {"type": "json_object"}}, "store": False},
        ),
        ("openai", {"logprobs": True}, "responses", {"include": ["message.output_text.logprobs"], "store": False}),
    ],
)  # fmt: skip
def test_an_option_is_translated(source: str, fields: dict[str, Any], target: str, expected: dict[str, Any]) -> None:
    found = translate(asked(source, **fields), source=source, target=target)
    plain = translate(asked(source), source=source, target=target).body

    assert found.untranslated == []
    defaults = {"max_tokens", "store", "max_completion_tokens", "max_output_tokens", "generationConfig"} - {*expected}
    said = {name: value for name, value in found.body.items() if name not in defaults and value != plain.get(name)}
    assert said == {name: value for name, value in expected.items() if value != plain.get(name)}
    assert {**found.body, **expected} == found.body


@pytest.mark.parametrize(
    ("source", "fields", "target", "path"),
    [
        ("openai", {"temperature": 1.5}, "anthropic", "temperature"),
        ("openai", {"stop": ["a", " "]}, "anthropic", "stop[1]"),
        ("openai", {"stop": ["a"]}, "responses", "stop"),
        ("anthropic", {"stop_sequences": ["a", "b", "c", "d", "e"]}, "openai", "stop_sequences[4]"),
        ("openai", {"reasoning_effort": "minimal"}, "anthropic", "reasoning_effort"),
        ("anthropic", {"thinking": {"type": "enabled", "budget_tokens": 2000}}, "openai", "thinking.budget_tokens"),
        ("anthropic", {"metadata": {"user_id": "u" * 129}}, "openai", "metadata.user_id"),
        ("openai", {"response_format": {"type": "json_object"}}, "anthropic", "response_format"),
        ("openai", {"n": 2}, "anthropic", "n"),
        ("openai", {"seed": 1}, "responses", "seed"),
        ("openai", {"logprobs": True}, "anthropic", "logprobs"),
        ("anthropic", {"top_k": 3}, "openai", "top_k"),
        ("anthropic", {"cache_control": {"type": "ephemeral"}}, "openai", "cache_control"),
        ("anthropic", {"tools": [{"type": "bash_20250124", "name": "bash"}]}, "openai", "tools[0]"),
        ("responses", {"previous_response_id": "resp_1"}, "anthropic", "previous_response_id"),
        ("responses", {"background": True}, "openai", "background"),
        ("openai", {"parallel_tool_calls": False}, "anthropic", "parallel_tool_calls"),
        ("openai", {"Grüße an alle": 1}, "anthropic", "?"),
    ],
)
def test_fields_that_the_other_api_lacks_are_reported(
    source: str, fields: dict[str, Any], target: str, path: str
) -> None:
    found = translate(asked(source, **fields), source=source, target=target)

    assert [loss.path for loss in found.untranslated] == [path]


def test_thinking_of_messages_excludes_sampling_options_and_required_calls() -> None:
    asked_for = {"reasoning_effort": "high", "temperature": 0.2, "top_p": 0.9, "tools": TOOL["openai"]}

    free = translate(asked("openai", **asked_for), source="openai", target="anthropic")
    demanded = translate(asked("openai", **asked_for, tool_choice="required"), source="openai", target="anthropic")

    assert free.body["thinking"] == {"type": "adaptive"}
    assert {"temperature", "top_p"}.isdisjoint(free.body)
    assert [loss.path for loss in free.untranslated] == ["temperature", "top_p"]
    assert "thinking" not in demanded.body
    assert (demanded.body["output_config"], demanded.body["temperature"]) == ({"effort": "high"}, 0.2)
    assert [loss.path for loss in demanded.untranslated] == ["reasoning_effort"]


def test_a_strict_schema_that_openai_would_reject_is_written_without_strict() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
    body = asked("anthropic", output_config={"format": {"type": "json_schema", "schema": schema}})

    found = translate(body, source="anthropic", target="openai")

    assert found.body["response_format"]["json_schema"]["strict"] is False
    assert [loss.path for loss in found.untranslated] == ["output_config.format"]


def test_tools_that_are_not_allowed_are_left_out_if_the_target_has_no_list_of_allowed_tools() -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in ("f", "g", "h")]
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": name}} for name in ("f", "h")]}
    body = asked("openai", tools=tools, tool_choice={"type": "allowed_tools", "allowed_tools": allowed})

    found = translate(body, source="openai", target="anthropic")

    assert [tool["name"] for tool in found.body["tools"]] == ["f", "h"]
    assert found.body["tool_choice"] == {"type": "any"}
    assert [loss.path for loss in found.untranslated] == ["tools[1]"]


def test_an_image_in_a_result_moves_to_a_message_after_all_results() -> None:
    found = translate(MESSAGES, source="anthropic", target="openai")
    roles = [message["role"] for message in found.body["messages"]]

    assert roles == ["system", "user", "assistant", "tool", "tool", "user", "user", "system", "assistant"]
    assert found.body["messages"][5]["content"] == [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    ]
    assert Untranslated("messages[2].content[1].content[1]", "moved to a user message after the results") in (
        found.untranslated
    )


def test_arguments_that_are_not_a_json_object_are_kept_as_text() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": '}}
    body = asked("openai")
    body["messages"].append({"role": "assistant", "content": "", "tool_calls": [call]})

    found = translate(body, source="openai", target="anthropic")

    assert found.body["messages"][1]["content"] == [
        {"type": "tool_use", "id": "call_1", "name": "f", "input": {"arguments": '{"a": '}}
    ]
    assert [loss.path for loss in found.untranslated] == ["messages[1].tool_calls[0]"]


def test_legacy_functions_are_calls_and_results() -> None:
    body = asked("openai")
    body["messages"] += [
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "done"},
    ]

    found = translate(body, source="openai", target="anthropic").body["messages"]

    assert found[1]["content"][0]["id"] == found[2]["content"][0]["tool_use_id"]


def test_results_of_legacy_functions_find_the_call_by_name() -> None:
    calls = [
        {"role": "assistant", "content": None, "function_call": {"name": name, "arguments": "{}"}} for name in "fg"
    ]
    results = [{"role": "function", "name": name, "content": name} for name in ("g", "f", "h")]
    body = asked("openai")
    body["messages"] += [*calls, *results]

    found = translate(body, source="openai", target="anthropic")

    ids = {block["name"]: block["id"] for message in found.body["messages"][1:3] for block in message["content"]}
    answers = [(block["tool_use_id"], block["content"]) for block in found.body["messages"][3]["content"]]
    assert answers[:2] == [(ids["g"], "g"), (ids["f"], "f")]
    assert [loss.path for loss in found.untranslated] == ["messages[5].name"]


@pytest.mark.parametrize(
    ("source", "fields", "target", "lost"),
    [
        ("openai", {"max_tokens": 5, "max_completion_tokens": 6}, "responses", ["max_tokens"]),
        ("openai", {"function_call": {"name": "f"}, "tool_choice": "auto"}, "responses", ["function_call"]),
        (
            "responses",
            {"reasoning": {"summary": "auto", "generate_summary": "concise"}},
            "openai",
            ["reasoning.generate_summary", "reasoning.summary"],
        ),
        ("responses", {"service_tier": "ultrafast"}, "openai", ["service_tier"]),
        (
            "responses",
            {"prompt_cache_options": {"mode": "explicit", "ttl": "12h", "prewarm": True}},
            "openai",
            ["prompt_cache_options.ttl", "prompt_cache_options.prewarm"],
        ),
    ],
)
def test_a_field_set_twice_or_with_a_value_of_only_one_api_is_reported(
    source: str, fields: dict[str, Any], target: str, lost: list[str]
) -> None:
    found = translate(asked(source, **fields), source=source, target=target)

    assert [loss.path for loss in found.untranslated] == lost


@pytest.mark.parametrize(
    ("source", "items", "target", "lost"),
    [
        # Blocks that their speaker can't have
        (
            "anthropic",
            [{"role": "user", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {"b": 1}}]}],
            "openai",
            ["messages[1].content[0]", "messages[1]"],
        ),
        (
            "anthropic",
            [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "a",
                            "content": [{"type": "tool_use", "id": "b", "name": "f", "input": {}}],
                        }
                    ],
                }
            ],
            "openai",
            ["messages[1].content[0].content[0]"],
        ),
        (
            "anthropic",
            [{"role": "system", "content": [{"type": "image", "source": {"type": "url", "url": "https://a/b"}}]}],
            "openai",
            ["messages[1].content[0]", "messages[1]"],
        ),
        (
            "responses",
            [
                {
                    "role": "developer",
                    "content": [
                        {"type": "input_text", "text": "A"},
                        {"type": "input_image", "image_url": "https://a/b"},
                    ],
                }
            ],
            "anthropic",
            ["input[1].content[1]"],
        ),
        (
            "responses",
            [{"role": "user", "content": [{"type": "refusal", "refusal": "No."}]}],
            "openai",
            ["input[1].content[0]", "input[1]"],
        ),
        (
            "openai",
            [{"role": "tool", "tool_call_id": "a", "content": [{"type": "refusal", "refusal": "No."}]}],
            "responses",
            ["messages[1].content[0]"],
        ),
        # Nothing that the provider would accept
        (
            "openai",
            [{"role": "user", "content": [{"type": "file", "file": {"file_id": "a"}}]}],
            "anthropic",
            ["messages[1].content[0]", "messages[1]"],
        ),
        (
            "openai",
            [{"role": "assistant", "content": "  "}, {"role": "user", "content": "b"}],
            "anthropic",
            ["messages[1].content", "messages[1]"],
        ),
        (
            "anthropic",
            [{"role": "assistant", "content": [{"type": "thinking", "thinking": "a", "signature": "b"}]}],
            "openai",
            ["messages[1].content[0]", "messages[1]"],
        ),
        # Items that only reference others
        ("responses", [{"id": "msg_1"}], "openai", ["input[1]"]),
        ("responses", [{"type": "function_call_output", "name": "f", "output": "a"}], "openai", ["input[1]"]),
        (
            "responses",
            [{"role": "user", "content": [{"type": "input_file", "file_url": "https://a/b.pdf", "file_data": PNG}]}],
            "anthropic",
            ["input[1].content[0].file_data"],
        ),
    ],
)
def test_parts_that_are_not_allowed_are_reported_and_messages_without_parts_left_out(
    source: str, items: list[Any], target: str, lost: list[str]
) -> None:
    name = "input" if source == "responses" else "messages"
    body = asked(source)
    body[name] = [{"role": "user", "content": "Hi"}, *items]

    found = translate(body, source=source, target=target)

    assert [loss.path for loss in found.untranslated] == lost
    check(target, found.body)
    messages = found.body["input" if target == "responses" else "messages"]
    assert len(messages) == len(body[name]) - any("." not in path for path in lost)


@pytest.mark.parametrize(
    ("target", "tool"),
    [("openai", lambda body: body["tools"][0]["function"]), ("responses", lambda body: body["tools"][0])],
)
def test_a_strict_tool_that_openai_would_reject_is_written_without_strict(target: str, tool: Any) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
    tools = [{"name": "f", "input_schema": schema, "strict": True}]

    found = translate(asked("anthropic", tools=tools), source="anthropic", target=target)

    assert tool(found.body)["strict"] is False
    assert [loss.path for loss in found.untranslated] == ["tools[0]"]


@pytest.mark.parametrize(
    ("inner", "strict"),
    [
        ({"type": "string", "enum": ["a"], "default": {"type": "object"}}, True),
        ({"type": "object", "properties": {}, "additionalProperties": False}, True),
        ({"type": ["object", "null"], "properties": {}, "additionalProperties": False}, True),
        ({"type": ["object", "null"]}, False),
        ({"type": "array", "items": {"type": "object"}}, False),
        ({"anyOf": [{"type": "null"}, {"type": "object", "properties": {"b": {"type": "string"}}}]}, False),
        ({"$ref": "#/$defs/closed"}, True),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["a", "type", "properties", "default"])
def test_strict_is_kept_for_schemas_that_openai_accepts(name: str, inner: dict[str, Any], strict: bool) -> None:
    closed = {"type": "object", "properties": {}, "additionalProperties": False}
    schema = {**closed, "properties": {name: inner}, "required": [name], "$defs": {"closed": closed}}
    tools = [{"name": "f", "input_schema": schema, "strict": True}]

    found = translate(asked("anthropic", tools=tools), source="anthropic", target="responses")

    assert found.body["tools"][0]["strict"] is strict


def test_items_of_an_answer_that_calls_two_tools_are_one_turn_of_messages() -> None:
    body, _ = translate(RESPONSES, source="responses", target="openai")

    assert [message["role"] for message in body["messages"]][:5] == ["system", "user", "assistant", "tool", "tool"]
    assert len(body["messages"][2]["tool_calls"]) == 2


def test_a_prefill_is_reported() -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hel"}]
    body = {"model": "m", "max_tokens": 9, "messages": messages}

    for source, target in (("anthropic", "openai"), ("openai", "anthropic")):
        assert [loss.path for loss in translate(body, source=source, target=target).untranslated] == ["messages[1]"]


def test_calls_in_gemini_have_the_placeholder_signature_and_results_the_names() -> None:
    body, _ = translate(CHAT, source="openai", target="gemini")
    calls = [part for turn in body["contents"] for part in turn["parts"] if "functionCall" in part]
    results = [part for turn in body["contents"] for part in turn["parts"] if "functionResponse" in part]

    assert [(part["functionCall"]["name"], part["thoughtSignature"]) for part in calls] == [
        ("look", "skip_thought_signature_validator"),
        ("run", "skip_thought_signature_validator"),
    ]
    assert [part["functionResponse"] for part in results] == [
        {"id": "call_1", "name": "look", "response": {"output": "Seen"}},
        {"id": "call_2", "name": "run", "response": {"output": "Run"}},
    ]
    assert "model" not in body


@pytest.mark.parametrize(
    ("source", "body", "message"),
    [
        ("openai", [], "request: expected an object, found array"),
        ("openai", {"messages": "Hi"}, "messages: expected an array, found string"),
        ("openai", {"messages": [1]}, r"messages\[0\]: expected an object, found number"),
        ("openai", {"messages": [{}]}, r"messages\[0\].role: expected a string, found nothing"),
        (
            "openai",
            {"messages": [{"role": "secret"}]},
            r"messages\[0\].role: expected system, .*, found something else",
        ),
        ("openai", {"messages": [], "tools": {"a": 1}}, "tools: expected an array, found object"),
        ("openai", {"messages": [], "tool_choice": "any"}, "tool_choice: expected auto, none, required or an object"),
        ("anthropic", {"messages": [{"role": "user", "content": 1}]}, r"content: expected an array, found number"),
        ("anthropic", {"messages": [], "tool_choice": {"type": "x"}}, "tool_choice.type: expected auto, none, any"),
        ("responses", {"input": [{"type": "function_call"}]}, r"input\[0\].call_id: expected a string"),
        ("responses", {"input": [{"role": "x", "content": ""}]}, r"input\[0\].role: expected user"),
    ],
)
def test_an_invalid_request_raises_with_the_path_and_without_its_text(source: str, body: Any, message: str) -> None:
    target = "openai" if source != "openai" else "anthropic"

    with pytest.raises(ProtocolError, match=message) as caught:
        translate(body, source=source, target=target)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "body", [{}, {"model": "c"}, {"nonsense": 1}, {"messages": None, "contents": None, "input": None}]
)
@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("openai", "messages: expected an array, found nothing"),
        ("anthropic", "messages: expected an array, found nothing"),
        ("ai-sdk", "messages: expected an array, found nothing"),
        ("ag-ui", "messages: expected an array, found nothing"),
        ("gemini", "contents: expected an array, found nothing"),
        ("responses", "request: expected input, previous_response_id, conversation or prompt, found none of them"),
    ],
)
def test_a_body_without_content_is_not_a_request(source: str, target: str, body: Any, message: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        translate(body, source=source, target=target)
    assert str(caught.value) == message


@pytest.mark.parametrize("reference", ["previous_response_id", "conversation", "prompt"])
def test_a_request_of_responses_may_refer_to_stored_content_instead(reference: str) -> None:
    body, untranslated = translate({"model": "m", reference: "id-1"}, source="responses", target="openai")

    assert body["messages"] == []
    assert [loss.path for loss in untranslated] == [reference]


@pytest.mark.parametrize(("source", "target"), [("cohere", "openai"), ("openai", "cohere")])
def test_an_unknown_api_is_rejected(source: str, target: str) -> None:
    with pytest.raises(PipelineError, match=r"(source|target): expected one of openai, .*; found 'cohere'"):
        translate({}, source=source, target=target)


@each_pair
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_any_other_json_anywhere_is_translated_or_a_protocol_error(source: str, target: str, data: Any) -> None:
    body = copy.deepcopy(BODIES[source])
    path = data.draw(st.sampled_from([*places(body)]))
    parent: Any = body
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = data.draw(ANYTHING)

    with suppress(ProtocolError):
        json.dumps(translate(body, source=source, target=target), allow_nan=False)
