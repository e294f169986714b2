"""`streamkit chat`: turns, tools from a file, and the stored conversation."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

import streamkit as sk
from streamkit.cli import tool_file
from streamkit.cli.chat import form_of
from streamkit.cli.main import main
from streamkit.cli.provider import Provider
from streamkit.cli.script import Answer
from tests.cli.served import served

TOOLS = '''\
import dataclasses
import json as _json
from typing import Literal


@dataclasses.dataclass
class Place:
    city: str
    country: str = "France"


def get_weather(city: str, unit: Literal["C", "F"] = "C") -> dict[str, object]:
    """Return the weather of a city."""
    return {"city": city, "degrees": 18}


async def look_up(place: Place) -> str:
    """Describe a place."""
    return place.city


def _private() -> None: ...
'''


def answer(prompt: str) -> Answer | None:
    # The provider's own script calls get_weather, and answers once it has the result.
    return {"Ping?": "Pong.", "And?": "Nothing."}.get(prompt)


@pytest.fixture(scope="module")
def url() -> Generator[str]:
    with served(Provider(answers=answer, first_token_seconds=0, token_seconds=0, seed=1)) as base:
        yield base


def asked(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    lines = io.StringIO(text)
    monkeypatch.setattr(sys, "stdin", lines)


def test_each_line_is_a_question_and_each_answer_is_written(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(monkeypatch, "Ping?\n\nAnd?\n")

    assert main(["chat", url, "--model", "m"]) == 0
    assert capsys.readouterr() == ("Pong.\nNothing.\n", "")


def test_the_functions_of_a_file_are_called_and_their_results_answered(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tools.py").write_text(TOOLS)
    asked(monkeypatch, "What is the weather in Paris?\n")

    assert main(["chat", url, "--model", "m", "--tools", str(tmp_path / "tools.py"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["text"] == "It is 18 degrees and sunny in Paris."
    assert found["tools"] == [{"name": "get_weather", "content": {"city": "Paris", "degrees": 18}, "failed": False}]
    assert (found["end"], found["usage"]) == ("completed", None)


def test_the_conversation_with_its_calls_goes_into_the_next_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bodies: list[dict[str, object]] = []
    post = sk.http.post

    def spy(url: str, **options: object) -> object:
        body = options["json"]
        assert isinstance(body, dict)
        bodies.append(body)
        return post(url, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(sk.http, "post", spy)
    (tmp_path / "tools.py").write_text(TOOLS)
    asked(monkeypatch, "What is the weather in Paris?\n1+1\n")

    arguments = ["chat", "demo", "--tools", str(tmp_path / "tools.py"), "--system", "Be brief."]
    assert main(arguments) == 0

    assert [[message["role"] for message in body["messages"]] for body in bodies] == [  # type: ignore[attr-defined]
        ["system", "user"],
        ["system", "user", "assistant", "tool"],
        ["system", "user", "assistant", "tool", "assistant", "user"],
    ]
    assert bodies[0]["model"] == "gpt-4o-mini"
    assert '[get_weather returned: {"city":"Paris","degrees":18}]' in capsys.readouterr().out


def test_the_first_answer_that_fails_ends_a_chat_without_a_terminal(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(monkeypatch, "Ping?\nPing?\n")

    assert main(["chat", url, "--model", "error-429"]) == 1
    output, errors = capsys.readouterr()
    assert (output, errors.count("\n")) == ("", 1)
    assert "found status 429" in errors


def test_the_definitions_of_tools_have_each_provider_s_form(tmp_path: Path) -> None:
    path = tmp_path / "tools.py"
    path.write_text(TOOLS)
    functions = tool_file.load(path)
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}},
        "required": ["city"],
        "additionalProperties": False,
    }
    text = "Return the weather of a city."

    assert list(functions) == ["get_weather", "look_up"]
    assert tool_file.definitions(functions, "openai")[0] == {
        "type": "function",
        "function": {"name": "get_weather", "description": text, "parameters": schema},
    }
    assert tool_file.definitions(functions, "anthropic")[0] == {
        "name": "get_weather",
        "description": text,
        "input_schema": schema,
    }
    assert tool_file.definitions(functions, "responses")[0] == {
        "type": "function",
        "name": "get_weather",
        "description": text,
        "parameters": schema,
    }
    (gemini,) = tool_file.definitions(functions, "gemini")
    assert gemini["functionDeclarations"][0] == {
        "name": "get_weather",
        "description": text,
        "parametersJsonSchema": schema,
    }
    place = tool_file.definitions(functions, "openai")[1]["function"]["parameters"]
    assert place["properties"] == {"city": {"type": "string"}, "country": {"type": "string", "default": "France"}}


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("x = 1\n", "--tools: expected functions in tools.py, found none"),
        ("def f(:\n", "--tools: tools.py can't be imported: SyntaxError: "),
        ("raise SystemExit(3)\n", "--tools: tools.py can't be imported: SystemExit: 3"),
        (None, "--tools: expected a Python file, found tools.py"),
    ],
    ids=["no function", "no Python", "it exits", "no file"],
)
def test_a_file_without_tools_is_an_error_before_anything_is_asked(
    code: str | None, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if code is not None:
        (tmp_path / "tools.py").write_text(code)

    assert main(["chat", "http://127.0.0.1:9/v1", "--model", "m", "--tools", str(tmp_path / "tools.py")]) == 2
    assert capsys.readouterr().err.startswith(f"streamkit: {problem}")


@pytest.mark.parametrize(
    ("url", "form"),
    [
        ("http://a/v1", "openai"),
        ("http://a/api/chat", "openai"),
        ("http://a/v1/messages", "anthropic"),
        ("http://a/v1/responses", "responses"),
        ("http://a/models/m:streamGenerateContent?alt=sse", "gemini"),
    ],
)
def test_the_form_of_the_requests_is_that_of_the_address(url: str, form: str) -> None:
    assert form_of(url) == form


def test_the_legacy_completions_are_no_chat() -> None:
    with pytest.raises(sk.PipelineError, match="the legacy completions have no turns"):
        form_of("http://a/v1/completions")


def test_without_a_model_the_arguments_are_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["chat", "openai"])

    assert left.value.code == 2
    assert "expected --model" in capsys.readouterr().err
