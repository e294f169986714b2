"""`streamkit count`: texts, prompts and responses."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from streamkit.cli.main import main


def written(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def test_texts_have_a_line_each_and_a_sum(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = written(tmp_path, "a.txt", "Count to 10"), written(tmp_path, "b.txt", "안녕하세요")

    assert main(["count", one, two, "--model", "gpt-4o", "--price", "1/1000000"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"       4        11  {one}  cost 4.000000",
        f"       2         5  {two}  cost 2.000000",
        "       6        16  total  6.000000",
    ]


def test_the_prices_are_those_of_a_file_for_the_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = written(tmp_path, "a.txt", "Count to 10")
    table = written(tmp_path, "prices.toml", 'currency = "USD"\n[models."gpt-4o"]\ninput = 1\noutput = 1000000\n')

    assert main(["count", text, "--model", "gpt-4o", "--price", table]) == 0
    assert capsys.readouterr().out == f"       4        11  {text}  cost 4.000000\n"
    with pytest.raises(SystemExit) as left:
        main(["count", text, "--price", table])
    assert left.value.code == 2
    assert "--price: expected a price for 'o200k_base', found none" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("terminal", "message"), [(False, ""), (True, "streamkit: reading standard input; Ctrl-D ends it\n")]
)
def test_standard_input_is_the_default(
    terminal: bool, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin = SimpleNamespace(buffer=io.BytesIO(b"Count to 10"), isatty=lambda: terminal)
    monkeypatch.setattr(sys, "stdin", stdin)

    assert main(["count", "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == message
    assert json.loads(printed.out) == {
        "file": "standard input",
        "kind": "text",
        "tokens": 4,
        "exact": True,
        "characters": 11,
        "reported": None,
        "error": None,
    }


def test_a_request_is_counted_as_a_prompt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "r.json", '{"messages": [{"role": "user", "content": "Hi there"}]}')

    assert main(["count", path, "--model", "gpt-4o"]) == 0
    # Three tokens that prime the answer, three for the message, one for its role, two for the text.
    assert capsys.readouterr().out == f"       9         8  {path}  (prompt)\n"


def test_an_answer_has_the_counted_tokens_beside_the_reported_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = '"usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14}'
    chunk = '{"choices":[{"index":0,"delta":{"content":"Count to 10"},"finish_reason":"stop"}]}'
    path = written(tmp_path, "a.sse", f'data: {chunk}\n\ndata: {{"choices":[],{usage}}}\n\ndata: [DONE]\n\n')

    assert main(["count", path, "--model", "gpt-4o"]) == 0
    assert capsys.readouterr().out == (
        f"       4        11  {path}  (answer)  reported: prompt 9, completion 5, total 14\n"
    )


def test_an_estimate_is_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "a.txt", "Count to 10")

    assert main(["count", path, "--counter", "characters"]) == 0
    assert capsys.readouterr().out.split()[0].startswith("~")


def test_an_answer_that_can_not_be_read_is_an_error_and_the_others_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, good = written(tmp_path, "a.sse", "data: {nonsense\n\n"), written(tmp_path, "b.txt", "Count to 10")

    assert main(["count", bad, good]) == 1
    output, errors = capsys.readouterr()
    assert output.splitlines()[0].endswith(good)
    assert errors.startswith(f"streamkit: {bad}: UnknownDialect: event 1: ")


def test_the_total_is_that_of_the_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    delta = 'data: {"choices":[{"index":0,"delta":{"content":"Count"}}]}\n\n'
    broken, good = written(tmp_path, "a.sse", f"{delta}data: {{x\n\n"), written(tmp_path, "b.txt", "Count to 10")

    assert main(["count", broken, good]) == 1
    assert capsys.readouterr().out.splitlines() == [f"       4        11  {good}", "       4        11  total"]


def test_a_text_is_no_prompt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "a.txt", "Count to 10")

    assert main(["count", path, "--as", "prompt"]) == 2
    assert capsys.readouterr() == ("", f"streamkit: {path}: expected a request, a JSON object with messages\n")


@pytest.mark.filterwarnings("default")
def test_an_unknown_model_is_a_warning_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["count", written(tmp_path, "a.txt", "Count to 10"), "--model", "no-such-model"]) == 0

    output, errors = capsys.readouterr()
    assert output.split()[0] == "~4"
    assert errors == (
        "streamkit: warning: the encoding of model 'no-such-model' is unknown; o200k_base is used instead, and counts are "
        "estimates\n"
    )
