"""`streamkit inspect`: the facts of a recording, without the text."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest

from streamkit.cli.main import main

DATA = Path(__file__).parents[1] / "data"


def chunk(content: str) -> str:
    return f'data: {{"model":"m","choices":[{{"index":0,"delta":{{"content":"{content}"}}}}]}}\n\n'


def recorded(folder: Path, *entries: dict[str, Any]) -> Path:
    head = {"streamkit": "recording/1", "method": "POST", "url": "http://a/v1", "status": 200, "headers": {"a": "b"}}
    path = folder / "r.jsonl"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in (head, *entries)))
    return path


def inspected(path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, Any]]:
    code = main(["inspect", str(path), "--json", *options])
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    last = f'data: {{"choices":[],"usage":{json.dumps(usage)}}}\n\ndata: [DONE]\n\n'
    finish = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    return recorded(
        tmp_path,
        {"t": 0.25, "text": chunk("secret")},
        {"t": 0.5, "text": chunk("words")},
        {"t": 2.5, "text": chunk("!")},
        {"t": 2.75, "text": finish + last},
        {"t": 2.75, "end": "closed"},
    )


def test_it_tells_what_was_asked_what_came_when_and_how_it_ended(
    whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = inspected(whole, capsys)

    size = sum(len(json.loads(line).get("text", "")) for line in whole.read_text().splitlines()[1:])
    assert code == 0
    assert found.pop("events")["TextDelta"] == 3
    assert found == {
        "file": str(whole),
        "recording": {"format": "recording/1", "method": "POST", "url": "http://a/v1", "status": 200},
        "pieces": {"number": 4, "bytes": size, "seconds": 2.75},
        "dialect": "openai",
        "model": "m",
        "end": "completed",
        "error": None,
        "choices": [{"finish": "stop", "characters": 12}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
        "timings": {
            "first_byte": 0.25,
            "first_content": 0.25,
            "first_released": 0.25,
            "total": 2.75,
            "deltas": 3,
            "inter_token_p50": 1.125,
            "inter_token_p95": pytest.approx(1.9125),
            "inter_token_p99": pytest.approx(1.9825),
            "inter_token_max": 2.0,
            "tokens": 3,
            "tokens_per_second": pytest.approx(2 / 2.25),
        },
        "stalls": [{"after": 2, "at": 0.5, "seconds": 2.0}],
    }


def test_for_people_it_is_a_few_lines_without_the_text(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(whole), "--stall", "3"]) == 0

    output, errors = capsys.readouterr()
    assert [line.split()[0] for line in output.splitlines()] == [
        *("file", "recording", "pieces", "dialect", "model", "events", "end", "choices", "usage", "timings")
    ]
    assert "finish stop, characters 12" in output
    assert "secret" not in output
    assert errors == ""


def test_a_recording_that_broke_off_is_told_as_far_as_it_came(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recorded(tmp_path, {"t": 0.5, "text": chunk("a")}, {"t": 1, "end": "error", "error": "Disconnected"})

    code, found = inspected(path, capsys)

    assert (code, found["end"], found["dialect"]) == (1, "truncated", "openai")
    assert found["error"] == "Disconnected: the recorded stream ended with Disconnected"
    assert found["timings"]["first_content"] == 0.5
    assert found["choices"] == [{"finish": None, "characters": 1}]


@pytest.mark.parametrize(
    ("name", "dialect"),
    [
        ("dialects/anthropic-messages.sse", "anthropic"),
        ("dialects/gemini-two-candidates.sse", "gemini"),
        ("dialects/cohere-chat.sse", "cohere"),
        ("dialects/responses.sse", "responses"),
        ("dialects/ollama-chat.ndjson", "ollama"),
        ("chat-tools.sse", "openai"),
    ],
)
def test_the_dialect_is_the_one_that_was_read(name: str, dialect: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, found = inspected(DATA / name, capsys)

    assert found["dialect"] == dialect
    assert found["recording"] == {"format": "no recording/1, but a body in one piece"}


def test_a_body_in_a_file_has_no_times_of_arrival(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "plain.sse"
    usage = '{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8}}'
    path.write_text(chunk("secret") + chunk("words") + f"data: {usage}\n\ndata: [DONE]\n\n")

    _, found = inspected(path, capsys)
    assert (found["pieces"]["number"], found["pieces"]["seconds"], found["stalls"]) == (1, None, None)
    assert {name: value for name, value in found["timings"].items() if value is not None} == {"tokens": 3}

    assert main(["inspect", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "timings    unknown, tokens 3"
    assert f"pieces     number 1, bytes {path.stat().st_size}" in lines


def test_a_second_response_in_the_same_body_is_reported_and_not_added(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(id: str, prompt: int) -> str:
        said = f'"id":"{id}","model":"m","choices":[{{"index":0,"delta":{{"content":"a"}},"finish_reason":"stop"}}]'
        usage = f'"usage":{{"prompt_tokens":{prompt},"completion_tokens":1,"total_tokens":{prompt + 1}}}'
        return f'data: {{{said}}}\n\ndata: {{"id":"{id}","model":"m","choices":[],{usage}}}\n\n'

    path = tmp_path / "turns.sse"
    path.write_text(answer("1", 10) + answer("2", 20) + "data: [DONE]\n\n")

    code, found = inspected(path, capsys)

    assert (code, found["end"]) == (1, "error")
    assert found["error"].endswith("expected one response, found the start of another; two responses are not merged")
    assert found["usage"] == {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11}


def test_a_file_that_is_no_answer_has_no_dialect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.sse").touch()

    code, found = inspected(tmp_path / "empty.sse", capsys)

    assert (code, found["dialect"], found["end"], found["events"]["StreamEnd"]) == (0, None, "truncated", 1)


def test_files_folders_and_globs_are_read_in_order_and_each_has_a_line_of_json(
    tmp_path: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "answers"
    folder.mkdir()
    for name in ("b.sse", "a.sse", "c.txt"):
        (folder / name).write_text(chunk("a") + "data: [DONE]\n\n")
    (folder / "d.jsonl").write_text(json.dumps({"id": "1", "body": chunk("b")}) + "\n" + "{nonsense\n")

    assert main(["inspect", str(whole), str(folder), str(folder / "*.txt"), "--json"]) == 1
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = [str(whole), *(f"{folder}/{name}" for name in ("a.sse", "b.sse", "d.jsonl:1", "d.jsonl:2", "c.txt"))]
    assert [each["file"] for each in found] == names
    assert [each["error"] is None for each in found] == [True, True, True, True, False, True]


def test_the_timelines_of_all_answers_are_drawn_into_files(
    tmp_path: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    svg, page = tmp_path / "t.svg", tmp_path / "t.html"

    assert main(["inspect", str(whole), str(whole), "--svg", str(svg), "--html", str(page), "--timeline"]) == 0
    output = capsys.readouterr().out
    assert output.count("timeline   |\N{MIDDLE DOT}") == 2
    assert "\n\nfile " in output
    assert svg.read_text().count("2.75 s</text>") == 2
    assert page.read_text().count("<td>2.75 s</td>") == 2
    assert "secret" not in output + svg.read_text() + page.read_text()


def test_a_path_that_names_nothing_is_an_error_before_anything_is_read(
    whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(whole), str(whole.parent / "*.sse")]) == 2
    problem = f"expected a file, folder or glob, found nothing at {whole.parent}/*.sse"
    assert capsys.readouterr() == ("", f"streamkit: {problem}\n")


def test_unknown_timings_without_tokens_have_no_comma(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.sse").write_text('data: {"choices": [{"index": 0, "delta": {"content": "a"}}]}\n\ndata: [DONE]\n\n')

    assert main(["inspect", str(tmp_path / "a.sse")]) == 0

    assert capsys.readouterr().out.splitlines()[-1] == "timings    unknown"


def test_standard_input_may_be_a_gzip_file(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    packed = gzip.compress(b'data: {"choices": [{"index": 0, "delta": {"content": "a"}}]}\n\ndata: [DONE]\n\n')

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(packed)))
    assert main(["inspect", "-"]) == 0
    assert "dialect    openai" in capsys.readouterr().out

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(packed[:-9])))
    assert main(["inspect", "-"]) == 1
    assert "error      RecordingError: its gzip data ends too early" in capsys.readouterr().out
