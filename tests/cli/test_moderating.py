"""`streamkit moderate`: what is buffered and withheld, why, and at which offset."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import streamkit as sk
from streamkit.cli.main import main
from streamkit.cli.moderating import Moderation
from streamkit.events import PartDelta, PartEnd, PartStart

RULES = """\
[[rule]]
category = "secret"
phrases = ["blue heron 42"]

[[rule]]
category = "card"
patterns = ['\\d{4} \\d{4}']
action = "annotate"
severity = "high"

[[rule]]
category = "stop"
phrases = ["the end"]
action = "block"
"""


@pytest.fixture
def rules(tmp_path: Path) -> str:
    path = tmp_path / "rules.toml"
    path.write_text(RULES)
    return str(path)


def written(folder: Path, text: str, name: str = "answer.txt") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def chunk(text: str) -> str:
    return f'data: {{"choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}\n\n'


def test_each_verdict_and_each_buffered_span_has_its_offsets(
    rules: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "my card is 4111 1111, a blue heron 41 is no blue heron 42.")

    assert main(["moderate", path, "--rules", rules, "--cut", "1"]) == 7
    assert capsys.readouterr().out.splitlines() == [
        "flagged    content 11-20  card  severity high  decided after 20 characters (annotate)",
        "buffered   content 11-20  at most 8 characters",
        "buffered   content 24-38  at most 12 characters",
        "redacted   content 44-57  secret  decided after 57 characters (redact)",
        "buffered   content 44-57  at most 12 characters",
        "1 flagged, 1 redacted; 58 characters, 13 withheld, at most 12 buffered",
    ]


def test_matches_are_quoted_only_if_that_is_asked_for(
    rules: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "it is Blue Heron 42")

    for options, quoted in (([], False), (["--quote"], True)):
        assert main(["moderate", path, "--rules", rules, *options]) == 7
        assert ("'Blue Heron 42'" in capsys.readouterr().out) is quoted
        assert main(["moderate", path, "--rules", rules, "--json", *options]) == 7
        assert ("Blue Heron" in capsys.readouterr().out) is quoted


def test_a_text_without_a_match_is_no_finding(rules: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["moderate", written(tmp_path, "Hi."), "--rules", rules]) == 0
    assert capsys.readouterr().out == "no verdicts; 3 characters, 0 withheld, at most 0 buffered\n"


def test_an_answer_is_json_with_its_end(rules: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, chunk("this is the") + chunk(" end, or not") + "data: [DONE]\n\n", "a.sse")

    assert main(["moderate", path, "--rules", rules, "--json"]) == 7
    assert json.loads(capsys.readouterr().out) == {
        "file": path,
        "verdicts": [
            {
                "what": "blocked",
                "category": "stop",
                "start": 8,
                "end": 15,
                "decided": 23,
                "action": "block",
                "channel": "content",
                "index": 0,
                "severity": None,
                "tool_index": None,
            }
        ],
        "buffered": [{"channel": "content", "index": 0, "tool_index": None, "start": 8, "most": 3, "decided": 23}],
        "characters": 23,
        "withheld": 15,
        "max_buffered": 3,
        "end": "moderated",
        "error": None,
    }


def test_offsets_in_tool_calls_count_the_arguments_of_each_call(
    rules: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = [
        {"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"query": '}},
        {"index": 0, "function": {"arguments": '"a long text"}'}},
        {"index": 1, "id": "b", "function": {"name": "g", "arguments": '{"a": "blue heron 42"}'}},
    ]
    chunks = [{"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]} for call in calls]
    body = "".join(f"data: {json.dumps(each)}\n\n" for each in chunks)
    path = written(tmp_path, body + "data: [DONE]\n\n", "a.sse")

    assert main(["moderate", path, "--rules", rules]) == 7
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "buffered   tool_arguments of call 0 0-24  at most 11 characters",
        "redacted   tool_arguments of call 1 7-20  secret  decided after 22 characters (redact)",
    ]
    assert lines[-1] == "1 redacted; 46 characters, 13 withheld, at most 11 buffered; end tool_calls"


def test_the_quote_of_a_match_in_arguments_with_escapes_is_the_decoded_text(
    rules: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": r'{"a": "\"\u0041\" \u0062lue heron 42"}'}}
    body = f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'tool_calls': [call]}}]})}\n\n"
    path = written(tmp_path, body + "data: [DONE]\n\n", "a.sse")

    assert main(["moderate", path, "--rules", rules, "--json", "--quote"]) == 7
    found = json.loads(capsys.readouterr().out)
    (verdict,) = found["verdicts"]
    assert (verdict["start"], verdict["end"], verdict["text"]) == (11, 24, "blue heron 42")
    assert found["withheld"] == len(r"\u0062lue heron 42")


def test_the_quote_of_a_match_in_a_part_is_from_the_text_of_its_field() -> None:
    def delta(text: str, part: int, field: str, *, json: bool = False) -> PartDelta:
        return PartDelta(text, "tool_input", part, (field,), json)

    events: list[sk.Event] = [
        PartStart("tool", 0, {}),
        delta("a blue one ", 0, "a"),
        delta('{"k": "\\u0068er', 0, "b", json=True),
        delta("her", 0, "a"),
        delta('on"}', 0, "b", json=True),
        delta("on x", 0, "a"),
        PartEnd(0, {}),
        delta("the heron", 0, "a"),
        PartStart("tool", 0, {"a": ""}),
        delta("heron", 0, "a"),
        delta("heron!", 1, "a"),
        sk.StreamEnd("completed", True),
    ]
    stage = sk.Moderate([sk.Rule("bird", ("heron",)), sk.Rule("blue", ("blue",), action="annotate")], keep_raw=True)
    found = Moderation(stage.fresh(), quote=True)
    found.run((None, event) for event in events)
    assert [(one.text, one.part, one.start) for one in found.verdicts] == [
        ("blue", 0, 2),
        ("heron", 0, 7),
        ("heron", 0, 11),
        ("heron", 0, 4),
        ("heron", 0, 0),
        ("heron", 1, 0),
    ]


def test_the_released_text_goes_to_standard_output_and_the_report_to_standard_error(
    rules: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    body = (chunk("a blue her") + chunk("on 42") + "data: [DONE]\n\n").encode()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(body)))

    assert main(["moderate", "-", "--rules", rules, "--released"]) == 7
    output, errors = capsys.readouterr()
    assert output == "a [redacted]"
    assert errors.splitlines()[0] == "redacted   content 2-15  secret  decided after 15 characters (redact)"


@pytest.mark.parametrize(("mode", "code"), [("hold", 7), ("observe", 7), ("optimistic", 7)])
def test_all_modes_have_the_same_verdicts(
    mode: str, code: int, rules: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "a blue heron 42")

    assert main(["moderate", path, "--rules", rules, "--mode", mode, "--json"]) == code
    (verdict,) = json.loads(capsys.readouterr().out)["verdicts"]
    assert (verdict["category"], verdict["start"], verdict["end"]) == ("secret", 2, 15)


def test_every_answer_of_a_folder_has_its_report_and_one_that_can_not_be_read_is_an_error(
    rules: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "answers"
    folder.mkdir()
    written(folder, chunk("fine") + "data: [DONE]\n\n", "a.sse")
    written(folder, chunk("fi") + "data: {nonsense\n\n", "b.sse")

    assert main(["moderate", str(folder), "--rules", rules]) == 1
    output, errors = capsys.readouterr()
    assert [line for line in output.splitlines() if line.endswith(":")] == [f"{folder}/a.sse:", f"{folder}/b.sse:"]
    assert errors.startswith(f"streamkit: {folder}/b.sse: ProtocolError: event 2: ")


def test_rules_with_a_mistake_are_an_error_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r.toml").write_text('[[rule]]\ncategory = "x"\nphrase = "y"\n')

    assert main(["moderate", "-", "--rules", str(tmp_path / "r.toml")]) == 2
    assert "r.toml, line 3: " in capsys.readouterr().err
