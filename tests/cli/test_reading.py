"""`streamkit run` and `streamkit replay`: the text, the exit code, and the line in a terminal."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from types import SimpleNamespace

import pytest

import streamkit as sk
from streamkit.cli.exits import EXIT_CODES, OF_AN_ANSWER
from streamkit.cli.main import main
from streamkit.cli.provider import Provider
from streamkit.cli.reading import Meter
from streamkit.cli.script import ScriptedCall
from streamkit.events import EndReason
from streamkit.tokens import Prices
from tests.cli.packages import install
from tests.cli.served import served

ANSWERS = {
    "Ping?": ["Po", "ng"],
    "Lines?": "one\ntwo\n",
    "Secret?": "the code word is blue heron 42, and more",
    "Tool?": ScriptedCall("now", '{"zone": "UTC"}', ""),
}
COMMAND = (sys.executable, "-W", "error", "-c", "import sys; from streamkit.cli.main import main; sys.exit(main())")


@pytest.fixture(scope="module")
def url() -> Generator[str]:
    with served(Provider(answers=ANSWERS, first_token_seconds=0, token_seconds=0, seed=1)) as base:
        yield f"{base}/chat/completions"


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    return request(tmp_path, "Ping?")


def request(folder: Path, text: str, **options: object) -> Path:
    path = folder / "body.json"
    path.write_text(json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": text}], **options}))
    return path


def test_the_text_is_written_and_its_last_line_ended(url: str, asked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", url, "--body", str(asked)]) == 0
    assert capsys.readouterr() == ("Pong\n", "")


def test_a_last_line_that_is_ended_stays_as_it_is(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", url, "--body", str(request(tmp_path, "Lines?"))]) == 0
    assert capsys.readouterr() == ("one\ntwo\n", "")


def test_the_request_comes_from_standard_input(
    url: str, asked: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(asked.read_bytes()), isatty=lambda: False))

    assert main(["run", url]) == 0
    assert capsys.readouterr().out == "Pong\n"


def test_the_completion_is_written_as_json(url: str, asked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", url, "--body", str(asked), "--json"]) == 0

    completion = json.loads(capsys.readouterr().out)
    assert completion["object"] == "chat.completion"
    assert completion["choices"][0]["message"]["content"] == "Pong"


def test_a_request_that_is_not_to_be_streamed_is_read_too(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", url, "--body", str(request(tmp_path, "Ping?", stream=False))]) == 0
    assert capsys.readouterr().out == "Pong\n"


def test_a_request_that_does_not_say_is_streamed_unless_it_is_to_stay_as_it_is(
    url: str, asked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for options in ([], ["--as-is"]):
        recording = tmp_path / "r.jsonl"
        assert main(["run", url, "--body", str(asked), "--record", str(recording), *options]) == 0
        assert ("chat.completion.chunk" in recording.read_text()) is (options == [])
    assert capsys.readouterr().out == "Pong\nPong\n"


def test_without_an_answer_there_is_no_json(url: str, asked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", url.replace("chat", "nowhere"), "--body", str(asked), "--json"]) == 1

    output, errors = capsys.readouterr()
    assert (output, errors.count("\n")) == ("", 1)
    assert "found status 404" in errors


@pytest.mark.parametrize("flag", ["-v", "--verbose"])
@pytest.mark.parametrize("command", ["run", "compare"])
def test_the_provider_s_reason_is_shown_with_verbose_which_the_error_mentions(
    command: str, flag: str, url: str, asked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [command, url, "--body", str(asked), "--header", "x-demo-status: 429"]
    line = (
        f"streamkit: <POST {url}>: expected a success, found status 429 (code 'rate_limit_exceeded', type 'requests')"
    )

    assert main(arguments) == 1
    assert capsys.readouterr().err == f"{line}; --verbose shows the provider's own reason\n"
    assert main([*arguments, flag]) == 1
    assert capsys.readouterr().err.splitlines() == [
        line,
        "  code: rate_limit_exceeded",
        "  type: requests",
        "  detail: error 429, as the request demanded",
    ]


def test_the_reason_of_an_error_inside_the_stream_is_shown_with_verbose(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = tmp_path / "answer.sse"
    recording.write_bytes(b'data: {"error": {"message": "Alice is busy", "code": "alice"}}\n\n')
    line = "streamkit: event 1: the provider reported an error (see .code); its message is in .detail"

    assert main(["replay", str(recording), "--pace", "0"]) == 6
    assert capsys.readouterr().err == f"{line}; --verbose shows the provider's own reason\n"
    assert main(["replay", str(recording), "--pace", "0", "--verbose"]) == 6
    assert capsys.readouterr().err == f"{line}\n  code: alice\n  detail: Alice is busy\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["Ping?", "--model", "m"],
        ["--model", "m", "Ping?"],
        ["--json", "--model", "m", "Ping?", "--price", "1/2"],
    ],
    ids=["before the options", "after them", "between them"],
)
def test_a_prompt_on_the_command_line_is_asked(
    url: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for address in (url, url.removesuffix("/chat/completions")):
        assert main(["run", address, *arguments]) == 0
        assert "Pong" in capsys.readouterr().out


def test_a_base_url_is_completed_by_the_request_as_compare_does(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = url.removesuffix("/chat/completions")
    legacy = tmp_path / "legacy.json"
    legacy.write_text(json.dumps({"model": "m", "prompt": "Ping?"}))
    new = tmp_path / "new.json"
    new.write_text(json.dumps({"model": "m", "input": "Ping?"}))

    assert main(["run", base, "--body", str(request(tmp_path, "Ping?"))]) == 0
    assert main(["run", f"{base}/", "--body", str(legacy)]) == 0
    assert capsys.readouterr().out == "Pong\nPong\n"
    assert main(["run", base, "--body", str(new)]) == 0
    assert capsys.readouterr().out == "Pong\n"


def test_model_replaces_that_of_a_body(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", url, "--body", str(request(tmp_path, "Ping?")), "--model", "other", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "other"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Ping?"], "PROMPT needs --model"),
        (["Ping?", "--model", "m", "--body", "-"], "expected PROMPT or --body, found both"),
        (["Ping?", "--model", "m", "Pong?"], "unrecognized arguments: Pong?"),
        (["--model", "m", "Ping?", "Pong?"], "unrecognized arguments: Pong?"),
        (["Ping?", "--model", "m", "--nothing"], "unrecognized arguments: --nothing"),
        (["Ping?", "--model", "m", "--pipeline", "p.toml", "--rules", "r.toml"], "--pipeline has all stages"),
        (["Ping?", "--model", "m", "--pipeline", "p.toml", "--stage", "shout"], "--pipeline has all stages"),
    ],
)
def test_arguments_that_do_not_fit_are_wrong(
    url: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["run", url, *arguments])

    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("stage", ["Take(3)", "Take(1)"])
def test_an_answer_that_a_stage_ends_is_a_success(
    stage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deltas = "".join(f'data: {{"choices": [{{"index": 0, "delta": {{"content": "{text}"}}}}]}}\n\n' for text in "abc")
    (tmp_path / "n.sse").write_text(f"{deltas}data: [DONE]\n\n")

    assert main(["replay", str(tmp_path / "n.sse"), "--stage", stage]) == 0
    assert capsys.readouterr().err == ""


SECRET = '[[stage]]\nuse = "Moderate"\nrules = [{ category = "x", phrases = ["blue heron 42"], action = "block" }]\n'
READ = '[[stage]]\nuse = "Parse"\n[[stage]]\nuse = "Extract"\n'
END = '[[stage]]\nuse = "Accumulate"\n[[stage]]\nuse = "Timing"\n'


@pytest.mark.parametrize(
    "text",
    [SECRET, READ + SECRET, READ + SECRET + END, '[[stage]]\nuse = "Extract"\n' + SECRET],
    ids=["the middle", "from the beginning", "whole", "from the events"],
)
def test_an_answer_is_read_through_the_pipeline_of_a_file(
    text: str, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pipeline.toml"
    file.write_text(text)

    assert main(["run", url, "Secret?", "--model", "m", "--pipeline", str(file)]) == 7
    assert capsys.readouterr() == ("the code word is \n", "streamkit: the answer ended with moderated\n")


def test_a_recording_is_read_through_the_pipeline_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "answer.sse").write_bytes(
        b'data: {"choices": [{"index": 0, "delta": {"content": "a b"}}]}\n\ndata: [DONE]\n\n'
    )
    (tmp_path / "pipeline.json").write_text('[{"use": "Parse"}, {"use": "Extract"}, {"use": "StopAt", "stops": " "}]')

    assert main(["replay", str(tmp_path / "answer.sse"), "--pipeline", str(tmp_path / "pipeline.json")]) == 0
    assert capsys.readouterr() == ("a\n", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[stage]]\nuse = "Pasre"', "pipeline.toml: line 1: expected one of"),
        (
            READ + '[[stage]]\nuse = "Emit"',
            "--pipeline: expected a pipeline that gives events, this one gives ServerSentEvent",
        ),
        (None, "pipeline.toml"),
    ],
    ids=["a mistake", "no events", "no file"],
)
def test_a_pipeline_that_can_not_be_used_is_reported_before_anything_is_sent(
    text: str | None, message: str, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        (tmp_path / "pipeline.toml").write_text(text)

    assert main(["run", url, "Ping?", "--model", "m", "--pipeline", str(tmp_path / "pipeline.toml")]) == 2

    output, errors = capsys.readouterr()
    assert (output, errors.count("\n")) == ("", 1)
    assert message in errors


def test_the_module_is_the_command(url: str, tmp_path: Path) -> None:
    file = tmp_path / "pipeline.toml"
    file.write_text(READ + SECRET)
    command = [sys.executable, "-W", "error", "-m", "streamkit"]

    asked = [*command, "run", url.removesuffix("/chat/completions"), "Secret?", "--model", "m", "--pipeline", str(file)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (
        7,
        "the code word is \n",
        "streamkit: the answer ended with moderated\n",
    )

    refused = [*command, "run", url, "Ping?", "--model", "error-401", "--verbose"]
    done = subprocess.run(refused, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        "found status 401 (code 'invalid_api_key', type 'invalid_request_error')\n  code: invalid_api_key\n"
        in done.stderr
    )
    assert "\n  detail: error 401, as the request demanded\n" in done.stderr

    assert (
        subprocess.run([*command, "--version"], capture_output=True, text=True, check=True).stdout
        == f"streamkit {sk.__version__}\n"
    )
    assert subprocess.run([*command, "nothing"], capture_output=True, text=True, check=False).returncode == 2


def test_a_call_of_a_tool_is_a_line_of_json(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = request(tmp_path, "Tool?", tools=[{"type": "function", "function": {"name": "now"}}])

    assert main(["run", url, "--body", str(body)]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": "now", "arguments": '{"zone": "UTC"}'}


def test_of_several_answers_the_first_is_written(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", url, "--body", str(request(tmp_path, "Ping?", n=2))]) == 0
    assert capsys.readouterr().out == "Pong\n"


def test_what_a_rule_forbids_is_not_written_and_the_exit_code_tells(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\ncategory = "secret"\nphrases = ["blue heron 42"]\naction = "block"\n')

    assert main(["run", url, "--body", str(request(tmp_path, "Secret?")), "--rules", str(rules)]) == 7
    assert capsys.readouterr() == ("the code word is \n", "streamkit: the answer ended with moderated\n")


def test_every_reason_for_an_end_has_an_exit_code_that_the_help_tells() -> None:
    assert set(EXIT_CODES) == set(EndReason.__args__)
    assert all(f"{code} {reason}" in OF_AN_ANSWER for reason, code in EXIT_CODES.items() if reason != "cancelled")
    assert 2 not in EXIT_CODES.values()


@pytest.mark.parametrize(
    ("body", "code", "complaint"),
    [
        (b"data: {}\n\n", 5, "the answer ended with truncated"),
        (
            b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\n\ndata: [DONE]\n\n',
            3,
            "the answer ended with length",
        ),
        (
            b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"content_filter"}]}\n\ndata: [DONE]\n\n',
            4,
            "the answer ended with content_filter",
        ),
        (b'data: {"error":{"message":"secret words","code":"x"}}\n\n', 6, "the provider reported an error"),
        (b"data: {nonsense\n\n", 1, "expected JSON"),
        (
            b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"odd_one"}]}\n\ndata: [DONE]\n\n',
            10,
            "the answer ended with unknown (odd_one)\n",
        ),
        (
            b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"secret words\\u001b[2J"}]}\n\ndata: [DONE]\n\n',
            10,
            "the answer ended with unknown\n",
        ),
        (
            b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"abort"}]}\n\ndata: [DONE]\n\n',
            6,
            "the provider reported an error",
        ),
        (b'data: {"secret":"secret words"}\n\ndata: [DONE]\n\n', 1, "no dialect recognizes"),
        (b"data: [DONE]\n\n", 5, "the answer ended with truncated"),
    ],
    ids=[
        "truncated",
        "length",
        "content filter",
        "provider's error",
        "no JSON",
        "unknown",
        "unknown, in a word that can't be shown",
        "abort",
        "unknown dialect",
        "nothing but the marker",
    ],
)
def test_how_an_answer_ended_is_told_on_standard_error_and_by_the_exit_code(
    body: bytes, code: int, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.sse").write_bytes(body)

    assert main(["replay", str(tmp_path / "a.sse")]) == code
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith("streamkit: ")
    assert complaint in errors
    assert "secret words" not in errors


def test_an_answer_that_broke_off_is_written_as_far_as_it_came(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chunk = json.dumps('data: {"choices":[{"index":0,"delta":{"content":"Half"}}]}\n\n')
    (tmp_path / "a.jsonl").write_text(
        f'{{"streamkit": "recording/1"}}\n{{"t": 0, "text": {chunk}}}\n{{"t": 0, "end": "error", "error": "Disconnected"}}\n'
    )

    assert main(["replay", str(tmp_path / "a.jsonl")]) == 5
    assert capsys.readouterr() == ("Half\n", "streamkit: the recorded stream ended with Disconnected\n")


CHUNK = 'data: {"choices":[{"index":0,"delta":{"content":"Half"}}]}\n\n'


@pytest.mark.parametrize(
    ("content", "written"),
    [
        (CHUNK + "data: [DONE]\n\n", (0, "Half\n", "")),
        ('{"choices":[{"index":0,"message":{"content":"Half"},"finish_reason":"stop"}]}', (0, "Half\n", "")),
        (
            '{"streamkit":"recording/1"}\n'
            f'{{"t":0,"text":{json.dumps(CHUNK)}}}\n{{"t":0,"end":"error","error":"Disconnected"}}\n',
            (5, "Half\n", "streamkit: the recorded stream ended with Disconnected\n"),
        ),
        (CHUNK, (5, "Half\n", "streamkit: the answer ended with truncated\n")),
        ("", (5, "", "streamkit: the answer ended with truncated\n")),
        (
            "no answer",
            (1, "", "streamkit: line 1: expected an event stream or JSON, found 9 characters that are neither\n"),
        ),
    ],
    ids=["server-sent events", "JSON", "a recording", "truncated", "nothing", "anything else"],
)
def test_a_replay_reads_standard_input(content: str, written: tuple[int, str, str]) -> None:
    done = subprocess.run([*COMMAND, "replay", "-"], input=content, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == written


def test_a_replay_of_standard_input_writes_the_text_while_it_arrives() -> None:
    with subprocess.Popen([*COMMAND, "replay", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(CHUNK.encode())
        process.stdin.flush()
        assert process.stdout.read(4) == b"Half"
        process.stdin.write(b"data: [DONE]\n\n")
        process.stdin.close()
        assert process.stdout.read() == b"\n"

    assert process.returncode == 0


def test_what_was_recorded_can_be_replayed(
    url: str, asked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = str(tmp_path / "r.jsonl")

    assert main(["run", url, "--body", str(asked), "--record", recording]) == 0
    assert main(["replay", recording, "--pace", "0"]) == 0
    assert main(["replay", recording, "--pace", "1000"]) == 0
    assert capsys.readouterr() == ("Pong\nPong\nPong\n", "")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("replay", "the following arguments are required: FILE"),
        ("replay x --pace -1", "argument --pace: expected 0 or more, found '-1'"),
        ("replay x --pace fast", "argument --pace: expected 0 or more, found 'fast'"),
        ("replay x --price a/b", "argument --price: expected two prices, such as 0.15/0.60; found 'a/b'"),
        ("replay x --pace inf", "argument --pace: expected 0 or more, found 'inf'"),
        (
            "replay x --price 1",
            "argument --price: expected two prices, such as 0.15/0.60, or a table of them: expected",
        ),
        ("replay x --price nowhere.toml", "or a table of them: nowhere.toml can't be read: No such file or directory"),
        ("watch a.sse --model m --price nowhere.json", "nowhere.json can't be read: No such file or directory"),
        ("replay x --price 1/nan", "argument --price: expected two prices, such as 0.15/0.60; found '1/nan'"),
        ("run", "the following arguments are required: URL"),
    ],
)
def test_a_wrong_argument_is_named(arguments: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments.split())

    assert left.value.code == 2
    assert complaint in capsys.readouterr().err


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(tmp_path / "missing.jsonl")]) == 2
    output, errors = capsys.readouterr()
    assert (output, errors.count("\n")) == ("", 1)
    assert errors == f"streamkit: {tmp_path / 'missing.jsonl'} can't be read: No such file or directory\n"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such pipes")
def test_who_reads_only_the_beginning_gets_no_traceback(tmp_path: Path) -> None:
    words = "".join(f'data: {{"choices":[{{"index":0,"delta":{{"content":"{"x" * 5000}"}}}}]}}\n\n' for _ in range(40))
    (tmp_path / "a.sse").write_text(words)
    with subprocess.Popen(
        [*COMMAND, "replay", str(tmp_path / "a.sse")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.read(10) == b"x" * 10
        process.stdout.close()
        errors = process.stderr.read()

    assert (process.returncode, errors) == (141, b"")


# Presets and stages


def exit_code(*arguments: str) -> object:
    """Return the exit code, also for wrong arguments."""
    try:
        return main(arguments)
    except SystemExit as left:
        return left.code


def test_the_demo_needs_no_address_no_key_and_no_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "demo", "1+1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["choices"][0]["message"]["content"] == "2"


@pytest.mark.parametrize(
    ("arguments", "url", "headers"),
    [
        (["openai"], "https://api.openai.com/v1/chat/completions", {"authorization": "Bearer k-OPENAI_API_KEY"}),
        (["openai-responses"], "https://api.openai.com/v1/responses", {"authorization": "Bearer k-OPENAI_API_KEY"}),
        (
            ["anthropic"],
            "https://api.anthropic.com/v1/messages",
            {"anthropic-version": "2023-06-01", "x-api-key": "k-ANTHROPIC_API_KEY"},
        ),
        (
            ["gemini"],
            "https://generativelanguage.googleapis.com/v1beta/models/m:streamGenerateContent?alt=sse",
            {"x-goog-api-key": "k-GOOGLE_API_KEY"},
        ),
        (["ollama"], "http://localhost:11434/api/chat", {}),
        (
            ["groq", "--key-from", "OTHER_KEY", "--key-header", "api-key", "--header", "a: b"],
            "https://api.groq.com/openai/v1/chat/completions",
            {"a": "b", "api-key": "k-OTHER_KEY"},
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_preset_has_the_address_the_key_and_the_headers(
    arguments: list[str], url: str, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY", "OTHER_KEY"):
        monkeypatch.setenv(name, f"k-{name}")
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    sent: dict[str, object] = {}

    def post(address: str, **options: object) -> object:
        sent.update(options, url=address)
        raise sk.SourceError("nothing is sent")

    monkeypatch.setattr(sk.http, "post", post)

    assert main(["run", *arguments, "--model", "m", "Ping?"]) == 1
    assert (sent["url"], sent["headers"]) == (url, headers)


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (["openai", "Ping?", "--model", "m"], 2, "environment variable OPENAI_API_KEY, found none"),
        (["gemini", "Ping?", "--model", "m"], 2, "environment variable GEMINI_API_KEY or GOOGLE_API_KEY, found none"),
        (["gemini", "Ping?"], 2, "gemini needs --model"),
        (["openia", "Ping?", "--model", "m"], 2, "one of the presets openai, "),
    ],
)
def test_what_a_preset_lacks_is_told(
    arguments: list[str],
    code: int,
    problem: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    assert exit_code("run", *arguments) == code
    assert problem in capsys.readouterr().err


ONE_CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"one two END three"},"finish_reason":"stop"}]}\n\n'


@pytest.mark.parametrize(
    ("stages", "code", "output"),
    [
        (['StopAt("END")'], 0, "one two \n"),
        (["StopAt(stops=['two', 'END'])"], 0, "one \n"),
        (["Smooth"], 0, "one two END three\n"),
        (["Extract(dialect='openai')", "StopAt('two')"], 0, "one \n"),
        (["Count('gpt-4o')", "Smooth('word')"], 0, "one two END three\n"),
        (['Budget(1, model="gpt-4o")'], 9, None),
    ],
)
def test_built_in_stages_are_put_in_by_name_with_their_options(
    stages: list[str], code: int, output: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.sse").write_bytes(ONE_CHUNK)
    options = [word for stage in stages for word in ("--stage", stage)]

    assert main(["replay", str(tmp_path / "a.sse"), *options]) == code
    assert output in (None, capsys.readouterr().out)


@pytest.mark.parametrize(
    ("stage", "code", "problem"),
    [
        ("Smooth(", 2, "expected a stage such as Smooth"),
        ("Smooth(1 +)", 2, "expected the options of Smooth as Python writes them"),
        ("Smooth(open('x'))", 2, "expected the options of Smooth as Python writes them"),
        ("Smooth(**{'by': 'word'})", 2, "expected the options of Smooth as Python writes them"),
        ("", 2, "expected a stage such as Smooth"),
        ("Smoth", 2, "--stage: expected one of the stages Accumulate, "),
        ("StopAt(stop='END')", 2, "--stage: StopAt has no option 'stop'; it has stops"),
        ("StopAt('END', 1, 2, 3, 4, 5, 6, 7)", 2, "--stage: StopAt: expected "),
        ("StopAt('END', stops='x')", 2, "--stage: StopAt: the option stops is given twice"),
        ("StopAt", 2, "--stage: StopAt needs stops"),
        ("Emit", 2, "--stage: expected a pipeline that gives events, this one gives ServerSentEvent"),
        ("no.such.module:Stage", 2, "--stage: 'no.such.module:Stage' can't be found"),
    ],
)
def test_a_stage_that_is_written_wrongly_is_told(
    stage: str, code: int, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.sse").write_bytes(ONE_CHUNK)

    assert exit_code("replay", str(tmp_path / "a.sse"), "--stage", stage) == code
    output, errors = capsys.readouterr()
    assert output == ""
    assert problem in errors


# The line


TWO_AND_TEN = Prices({"currency": "", "models": {"*": {"input": 2, "output": 10}}})


def metered(messages: object, *, counted: bool = True, price: Prices | None = TWO_AND_TEN) -> Meter:
    """Return the meter of a response of three tokens without a usage."""
    body = b"".join(
        b'data: {"choices":[{"index":0,"delta":{"content":" %s"}}]}\n\n' % word for word in (b"a", b"b", b"c")
    )
    pipeline = sk.Parse() | sk.Extract() | sk.Count("gpt-4o") | sk.Timing()
    bare = sk.Parse() | sk.Extract() | sk.Timing()
    return Meter((pipeline if counted else bare).open(body), price, {"model": "gpt-4o", "messages": messages})


ONE_WORD = [{"role": "user", "content": "Ping?"}]
A_PART = [{"role": "user", "content": [{"type": "text", "text": "Ping?"}]}]


@pytest.mark.parametrize(
    ("meter", "before", "after"),
    [
        # Nine prompt tokens and three completion tokens.
        (lambda: metered(ONE_WORD), "0 tokens  cost 0.000018", "3 tokens  cost 0.000048"),
        (lambda: metered(A_PART), "0 tokens  cost >= 0.000000", "3 tokens  cost >= 0.000030"),
        (lambda: metered(ONE_WORD, price=None), "0 tokens", "3 tokens"),
        (lambda: metered(ONE_WORD, counted=False), "0 deltas  cost >= 0.000000", "3 deltas  cost >= 0.000000"),
    ],
    ids=["counted", "a prompt that can't be counted", "without a price", "not counted"],
)
@pytest.mark.asyncio
async def test_before_a_usage_comes_the_line_has_what_was_counted(
    meter: Callable[[], Meter], before: str, after: str
) -> None:
    found = meter()
    assert found.line().startswith(before)
    async with found.stream as events:
        assert len([event async for event in events if isinstance(event, sk.TextDelta)]) == 3
        assert found.line().startswith(after)
        assert found.line().endswith("s  truncated")


# In a terminal

# Variables by which rich detects a terminal.
ASKED = ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "LINES")
needs_pty = pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")


class Terminal:
    """A command that runs in a terminal of 60 columns."""

    def __init__(self, *arguments: str) -> None:
        import pty

        self.shown = ""
        self._screen, its_end = pty.openpty()
        environment = {name: value for name, value in os.environ.items() if name not in ASKED}
        environment |= {"TERM": "xterm", "COLUMNS": "60"}
        self._process = subprocess.Popen(
            [*COMMAND, *arguments], stdin=its_end, stdout=its_end, stderr=its_end, env=environment
        )
        os.close(its_end)

    def read_until(self, text: str | None) -> None:
        """Read until `text` is on the screen, or to the end."""
        while text is None or text not in self.shown:
            try:
                came = os.read(self._screen, 65536)
            except OSError:  # the end, on Linux
                came = b""
            if not came:
                assert text is None, f"ended without {text!r}: {self.shown!r}"
                return
            self.shown += came.decode()

    def press_ctrl_c(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def end(self) -> int:
        self.read_until(None)
        os.close(self._screen)
        return self._process.wait(timeout=30)


@needs_pty
def test_in_a_terminal_there_is_a_line_with_tokens_rate_and_cost_below_the_text(tmp_path: Path) -> None:
    body = request(tmp_path, "Ping?", stream_options={"include_usage": True})
    with served(Provider(answers={"Ping?": ["po", "ng"] * 20}, first_token_seconds=0, token_seconds=0.01)) as base:
        terminal = Terminal("run", f"{base}/chat/completions", "--body", str(body), "--price", "2/10")
        code = terminal.end()

    assert code == 0
    assert terminal.shown.startswith("\x1b[?25l")
    assert terminal.shown.endswith("\x1b[?25h")
    *_, rest, line, _ = terminal.shown.replace("\x1b[2m", "").replace("\x1b[0m", "").split("\r\n")
    # 80 characters in rows of 60, and the reported usage: 9 prompt tokens and 20 completion tokens.
    assert rest.endswith("po" + "ngpo" * 4 + "ng")
    assert re.fullmatch(r"20 tokens  [0-9.]+ tokens/s  cost 0\.000218  [0-9.]+ s  completed", line)


@needs_pty
def test_ctrl_c_leaves_the_text_the_line_and_the_cursor(tmp_path: Path) -> None:
    with served(Provider(first_token_seconds=0, token_seconds=0.02)) as base:
        terminal = Terminal(
            "run", f"{base}/chat/completions", "--body", str(request(tmp_path, "Count to 1000")), "--price", "2/10"
        )
        terminal.read_until("1, 2, 3")
        terminal.press_ctrl_c()
        code = terminal.end()

    assert code == 130
    assert "cancelled" in terminal.shown
    assert terminal.shown.rindex("\x1b[?25h") > terminal.shown.rindex("\x1b[?25l")
    assert "Traceback" not in terminal.shown


STAGES = """
from dataclasses import dataclass
import streamkit as sk

@dataclass
class Shout(sk.Stage[sk.Event, sk.Event]):
    def feed(self, item):
        return (sk.TextDelta(item.text.upper()),) if isinstance(item, sk.TextDelta) else (item,)

@sk.stage
async def twice(delta: sk.TextDelta) -> list[sk.TextDelta]:
    return [delta, delta]

@dataclass
class Named(Shout):
    name: str

def nothing():
    return 42
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    # Use only these packages of all that may be installed.
    monkeypatch.setenv("STREAMKIT_PLUGINS", "kit-read,streamkit-encodings")
    monkeypatch.delitem(sys.modules, "kit_read", raising=False)
    names = {"shout": "Shout", "twice": "twice", "named": "Named", "nothing": "nothing"}
    install(tmp_path, "kit-read", names, STAGES)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("stages", "expected"),
    [(["shout"], "PONG\n"), (["twice"], "PoPongng\n"), (["twice", "shout"], "POPONGNG\n")],
    ids=["a class", "a decorated function that may wait", "both"],
)
def test_stages_of_installed_packages_are_put_in_by_name(
    url: str, asked: Path, capsys: pytest.CaptureFixture[str], stages: list[str], expected: str
) -> None:
    options = [word for name in stages for word in ("--stage", name)]

    assert main(["run", url, "--body", str(asked), *options]) == 0
    assert capsys.readouterr().out == expected


@pytest.mark.usefixtures("installed")
def test_the_rules_see_what_the_stages_make(
    url: str, asked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r.toml").write_text('[[rule]]\ncategory = "x"\nphrases = ["PONG"]\nignore_case = false\n')

    assert main(["run", url, "--body", str(asked), "--stage", "shout", "--rules", str(tmp_path / "r.toml")]) == 0
    assert capsys.readouterr().out == "[redacted]\n"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "code", "problem"),
    [
        ("loud", 2, "--stage: expected one of the stages Accumulate, "),
        ("named", 2, "--stage named: Named needs name"),
        ("nothing", 1, "streamkit.stages: expected 'nothing' to make a stage, found an object of type int"),
    ],
)
def test_a_stage_that_can_not_be_put_in_is_told_before_anything_is_asked(
    asked: Path, capsys: pytest.CaptureFixture[str], name: str, code: int, problem: str
) -> None:
    assert main(["run", "http://127.0.0.1:9/", "--body", str(asked), "--stage", name]) == code

    output, errors = capsys.readouterr()
    assert (output, errors.count("\n")) == ("", 1)
    assert errors.startswith(f"streamkit: {problem}")
