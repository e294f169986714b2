"""`streamkit compare` against the embedded provider."""

from __future__ import annotations

import io
import json
from collections.abc import Generator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from streamkit.cli import show
from streamkit.cli.main import main
from streamkit.cli.provider import Provider
from tests.cli.served import served


@pytest.fixture(scope="module")
def url() -> Generator[str]:
    with served(Provider(first_token_seconds=0.01, token_seconds=0.0002)) as base:
        yield base


def test_the_guides_two_requests_make_a_table_and_a_picture(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "compared.svg"

    assert main(["compare", url, "--legacy-model", "any", "--svg", str(picture)]) == 0

    output, errors = capsys.readouterr()
    lines = output.splitlines()
    assert [line.split()[:2] for line in lines[:5]] == [
        ["api", "mode"],
        ["chat", "streaming"],
        ["chat", "whole"],
        ["legacy", "streaming"],
        ["legacy", "whole"],
    ]
    assert [line.partition(":")[0] for line in lines[5:]] == ["chat", "legacy"]
    assert errors == ""
    assert len(list(ElementTree.parse(picture).iter("{http://www.w3.org/2000/svg}polyline"))) == 4


def test_a_request_of_ones_own_and_the_figures_as_json(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = tmp_path / "body.json"
    body.write_text('{"model": "m", "prompt": "1,2,3,", "max_tokens": 4}')

    assert main(["compare", url, "--body", str(body), "--runs", "3", "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert [(row["api"], row["mode"], row["tokens"], row["ends"]) for row in found["rows"]] == [
        ("legacy", "streaming", 4, ["length"] * 3),
        ("legacy", "whole", 4, ["length"] * 3),
    ]
    assert set(found["saved"]) == {"legacy"}


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_a_terminal_gets_colors_and_a_pipe_plain_lines(
    url: str, terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    body = tmp_path / "body.json"
    body.write_text('{"prompt": "1,2,3,", "max_tokens": 2}')
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, color_system="standard" if terminal else None, width=100)
    monkeypatch.setattr(show, "make_console", lambda: console)

    assert main(["compare", url, "--body", str(body)]) == 0

    assert ("\x1b[" in file.getvalue()) is terminal
    assert "legacy: the first text" in file.getvalue()


def test_an_endpoint_that_refuses_is_one_line(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", f"{url}/nowhere"]) == 1
    output, errors = capsys.readouterr()
    assert (output, errors.count("\n")) == ("", 1)
    assert "found status 404" in errors


@pytest.mark.parametrize("runs", ["0", "-1", "1001", "x"])
def test_the_number_of_runs_is_a_sensible_one(runs: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["compare", "http://here", "--runs", runs])

    assert f"expected 1 to 1000, found '{runs}'" in capsys.readouterr().err
