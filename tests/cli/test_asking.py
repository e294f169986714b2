"""The request of a command: its key is read from the environment, never from the command line."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

import streamkit as sk
from streamkit.cli import asking


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    asking.describe(parser)
    return parser.parse_args(["http://here", *arguments])


@pytest.mark.parametrize(
    ("arguments", "headers"),
    [
        ([], {}),
        (["--key-from", "MY_KEY"], {"authorization": "Bearer k-1"}),
        (["--key-from", "MY_KEY", "--key-header", "x-api-key"], {"x-api-key": "k-1"}),
        (
            ["--header", "anthropic-version: 2023-06-01", "--header", "x-a:b:c"],
            {"anthropic-version": "2023-06-01", "x-a": "b:c"},
        ),
    ],
    ids=["none", "bearer", "another header", "other headers"],
)
def test_headers(arguments: list[str], headers: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "k-1")

    assert asking.headers(parsed(*arguments)) == headers


@pytest.mark.parametrize("value", [None, ""])
def test_a_key_that_is_not_there_is_missed_before_anything_is_sent(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("MY_KEY", value)

    with pytest.raises(sk.PipelineError, match="expected a key in the environment variable MY_KEY, found none"):
        asking.headers(parsed("--key-from", "MY_KEY"))


@pytest.mark.parametrize("header", ["Authorization: Bearer k-1", "x-api-key: k-1", "api-key:k-1", "Cookie: a=k-1"])
def test_a_key_on_the_command_line_is_refused_and_not_repeated(header: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--header", header)

    errors = capsys.readouterr().err
    assert "looks like a secret: put it into the environment, and use --key-from" in errors
    assert "k-1" not in errors


@pytest.mark.parametrize("header", ["nothing", ": value", "name "])
def test_a_header_has_a_name_and_a_value(header: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--header", header)

    assert "expected 'NAME: VALUE'" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"[1]", b"secret words", b'{"a": ', b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_json_object_is_not_quoted(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "body.json"
    path.write_bytes(content)

    with pytest.raises(sk.PipelineError) as caught:
        asking.body(str(path))

    assert str(caught.value) == f"{path}: expected a JSON object"
    assert caught.value.__cause__ is None


def test_a_body_is_what_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "body.json"
    path.write_text('{"prompt": "é", "n": 1}', encoding="utf-8")

    assert asking.body(str(path)) == {"prompt": "é", "n": 1}


MESSAGES = [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize(
    ("url", "body"),
    [
        ("https://api.openai.com/v1", {"model": "m", "messages": MESSAGES}),
        ("https://api.openai.com/v1/chat/completions", {"model": "m", "messages": MESSAGES}),
        ("https://api.openai.com/v1/completions?a=b", {"model": "m", "prompt": "Hi"}),
        ("https://api.openai.com/v1/responses", {"model": "m", "input": "Hi"}),
        ("https://api.anthropic.com/v1/messages", {"model": "m", "max_tokens": 1024, "messages": MESSAGES}),
        ("http://localhost:11434/api/chat", {"model": "m", "messages": MESSAGES}),
        ("http://localhost:11434/api/generate", {"model": "m", "prompt": "Hi"}),
        ("https://api.cohere.com/v2/chat/", {"model": "m", "messages": MESSAGES}),
        (
            "https://generativelanguage.googleapis.com/v1beta/models/gemini:streamGenerateContent?alt=sse",
            {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
        ),
    ],
)
def test_a_prompt_becomes_a_request_of_the_endpoint_s_form(url: str, body: object) -> None:
    assert asking.body_of("Hi", "m", url) == body
