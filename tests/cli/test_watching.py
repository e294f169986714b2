"""`streamkit watch`: responses on a page, from an endpoint and from files."""

import json
import re
from pathlib import Path

import pytest

from streamkit.cli.main import main
from streamkit.cli.provider import Provider
from streamkit.sinks.watch import Watch
from streamkit.sinks.watch.board import Board
from tests.cli.served import served

BODY = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


@pytest.fixture
def boards(monkeypatch: pytest.MonkeyPatch) -> list[Board]:
    """The boards of all pages that are created."""
    made: list[Board] = []
    begin = Watch.__init__

    def noted(self: Watch, **options: object) -> None:
        begin(self, **options)  # type: ignore[arg-type]
        made.append(self.board)

    monkeypatch.setattr(Watch, "__init__", noted)
    return made


def test_files_are_shown_one_after_the_other(
    boards: list[Board], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / name for name in ("a.sse", "b.sse")]
    for file in files:
        file.write_bytes(BODY)

    assert main(["watch", *map(str, files), "--pace", "0", "--exit"]) == 0

    (board,) = boards
    shown = [message["updates"] for message in board.changes({})]
    assert [updates[0]["title"] for updates in shown] == ["a.sse", "b.sse"]
    assert [updates[-1]["end"] for updates in shown] == ["completed", "completed"]
    assert re.fullmatch(r"watch http://127\.0\.0\.1:\d+/\n", capsys.readouterr().out)


def test_an_endpoint_is_asked_and_its_answer_moderated_and_priced(boards: list[Board], tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\ncategory = "secret"\nphrases = ["blue heron 42"]\n', encoding="utf-8")
    with served(Provider(first_token_seconds=0, token_seconds=0)) as url:
        asked = ["--prompt", "the launch code", "--model", "gpt-4o", "--price", "2/10", "--rules", str(rules)]
        assert main(["watch", "--url", url, *asked, "--exit"]) == 0

    (message,) = boards[0].changes({})
    assert [update["category"] for update in message["updates"] if "decision" in update] == ["secret"]
    assert message["metrics"]["tokens"] == 24
    assert message["metrics"]["cost"] == "0.000260"


def test_json_has_the_page_and_the_end_of_each_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.sse").write_bytes(BODY)

    assert main(["watch", str(tmp_path / "a.sse"), "--pace", "0", "--exit", "--json"]) == 0

    page, answer = map(json.loads, capsys.readouterr().out.splitlines())
    assert page["page"].startswith("http://127.0.0.1:")
    assert answer == {"answer": "a.sse", "end": "completed"}


def test_what_fails_is_on_the_page_and_in_the_exit_code(
    boards: list[Board], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "page.sse").write_text("<html>not found</html>")

    assert main(["watch", str(tmp_path / "page.sse"), "--pace", "0", "--exit"]) == 1

    (message,) = boards[0].changes({})
    assert message["updates"][-1]["end"] not in ("completed", "closed")
    assert capsys.readouterr().err.startswith("streamkit: ")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "expected either FILE or --url"),
        (["a.sse", "--url", "demo"], "expected either FILE or --url"),
        (["--url", "demo"], "--url needs either --prompt or --body"),
        (["--url", "https://example.com/v1", "--prompt", "Hi"], "--prompt needs --model"),
        (["a.sse", "--price", "1/2"], "--price needs --model"),
    ],
)
def test_wrong_arguments_are_refused(arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["watch", *arguments])

    assert caught.value.code == 2
    assert problem in capsys.readouterr().err
