"""`streamkit batch`."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from streamkit.batch import Progress, Summary
from streamkit.cli import batching
from streamkit.cli.main import main

ROOT = Path(__file__).parents[2]
CHUNK = '{"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "Falcon One"}}]}'
BODY = f"data: {CHUNK}\n\ndata: [DONE]\n\n"
RULES = '[[rule]]\ncategory = "codename"\nphrases = ["Falcon"]\nreplacement = "[…]"\n'


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recordings").mkdir()
    for name in "abc":
        (tmp_path / f"recordings/{name}.sse").write_text(BODY)
    (tmp_path / "rules.toml").write_text(RULES)
    return tmp_path


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(command: str) -> int:
    return main(["batch", *shlex.split(command), "--workers", "1"])


def test_one_command_writes_text_tokens_and_flags(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("recordings --model gpt-4o --rules rules.toml --out results.jsonl") == 0

    assert [(row["input"], row["text"], row["tokens"], row["flagged"]) for row in rows(here / "results.jsonl")] == [
        (f"recordings/{name}.sse", "[…] One", 2, True) for name in "abc"
    ]
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("streamkit: 3 inputs: 3 results (3 ")


def test_the_summary_is_written_as_json(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("recordings --out results.jsonl --json") == 0

    output, errors = capfd.readouterr()
    found = json.loads(output)
    assert found.pop("seconds") > 0
    assert found == {"inputs": 3, "results": 3, "dead_letters": 0, "ends": {"completed": 3}, "resumed": 0}
    assert errors == ""


def test_a_pipeline_file_is_read_through(here: Path) -> None:
    (here / "pipeline.toml").write_text('[[stage]]\nuse = "Moderate"\nrules = "rules.toml"\n')

    assert run("recordings/a.sse --pipeline pipeline.toml --out results.jsonl") == 0

    (row,) = rows(here / "results.jsonl")
    assert (row["text"], row["tokens"], row["flagged"]) == ("[…] One", None, True)


def test_dead_letters_have_an_exit_code_of_their_own(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (here / "recordings/b.sse").write_text("<html>")

    assert run("recordings --out results.jsonl --dead-letters dead.jsonl") == 3

    assert [row["input"] for row in rows(here / "dead.jsonl")] == ["recordings/b.sse"]
    assert "3 inputs: 2 results (2 completed), 1 dead letter; " in capfd.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        '{"prompt": "Ping?"}',
        '{"messages": [{"role": "user", "content": "Ping?"}]}',
        '{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m", "messages": []}}',
        '"Ping?"',
        "Ping?",
    ],
)
def test_a_file_of_prompts_is_answered_with_what_a_batch_reads(
    here: Path, capfd: pytest.CaptureFixture[str], line: str
) -> None:
    (here / "prompts.jsonl").write_text(f"{line}\n" * 2)

    assert run("prompts.jsonl --out results.jsonl") == 3

    printed = capfd.readouterr().err
    assert printed.startswith("streamkit: no input can be read as a recorded answer, and a batch sends no requests; ")
    page, _, heading = printed.splitlines()[0].rpartition("see ")[2].partition("#")
    headings = re.findall(r"^## (.*)", (ROOT / page).read_text("utf-8"), re.M)
    assert heading in [each.lower().replace(" ", "-") for each in headings]


def test_an_interrupted_batch_says_how_it_is_resumed(
    here: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(batching.batch, "run", interrupted)

    assert run("recordings --out results.jsonl") == 130
    assert capfd.readouterr().err == "\nstreamkit: interrupted; run the same command again to resume the batch\n"


@pytest.mark.parametrize(("written", "id"), [('"row-7"', "row-7"), ("7", "7"), ("null", None), ("[7]", None)])
def test_the_id_in_a_recording_is_that_of_its_result(here: Path, written: str, id: str | None) -> None:
    piece = json.dumps({"t": 0.1, "text": BODY})
    (here / "a.jsonl").write_text(
        f'{{"streamkit": "recording/1", "id": {written}}}\n{piece}\n{{"t": 0.2, "end": "eof"}}\n'
    )

    assert run("a.jsonl --out results.jsonl") == 0
    assert [(row["id"], row["text"]) for row in rows(here / "results.jsonl")] == [(id, "Falcon One")]


def test_a_recorded_web_page_is_a_dead_letter_by_its_type(here: Path) -> None:
    head = {"streamkit": "recording/1", "headers": {"Content-Type": "text/html"}, "id": "row-7"}
    end = {"t": 0.1, "end": "error", "error": "ContentTypeError"}
    (here / "a.jsonl").write_text(f"{json.dumps(head)}\n{json.dumps(end)}\n")

    assert run("a.jsonl --out results.jsonl") == 3
    assert [(row["id"], row["error"]) for row in rows(here / "results.jsonl.dead")] == [("row-7", "ContentTypeError")]


def test_the_same_command_again_resumes(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("recordings --out results.jsonl") == 0
    assert run("recordings --out results.jsonl") == 0
    assert ", 3 done before; " in capfd.readouterr().err

    assert run("recordings --out results.jsonl --shard 1") == 2
    assert "begun with a different shard size" in capfd.readouterr().err

    assert run("recordings --out results.jsonl --shard 1 --restart") == 0
    assert len(rows(here / "results.jsonl")) == 3


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("recordings", "required: --out"),
        ("recordings --out x --workers 0", "expected 1 or more, found '0'"),
        (
            "recordings --out x --pipeline p --rules r",
            "--pipeline has all stages: leave out --stage, --rules and --model",
        ),
    ],
)
def test_wrong_arguments(here: Path, capsys: pytest.CaptureFixture[str], command: str, message: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["batch", *shlex.split(command)])

    assert message in capsys.readouterr().err


def test_a_wrong_pipeline_is_one_line(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (here / "pipeline.toml").write_text('[[stage]]\nuse = "Parse"\n')

    assert run("recordings --pipeline pipeline.toml --out results.jsonl") == 2

    expected = "streamkit: --pipeline: expected a pipeline that gives events, this one gives ServerSentEvent\n"
    assert capfd.readouterr().err == expected


def test_the_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["batch", "--help"])

    assert (
        "streamkit batch recordings/ --model gpt-4o --rules rules.toml --out results.jsonl" in capsys.readouterr().out
    )


def test_metrics_and_the_time_remaining() -> None:
    progress = Progress(inputs=6_000, dead=1, share=0.6, seconds=100.0, resumed=1_000, resumed_share=0.1)

    assert batching.metrics(progress) == "6000 inputs, 50/s, 1 dead letter"
    assert batching.left(progress) == "0:01:20 remaining"
    assert batching.left(Progress(0, 0, 0.0, 1.0)) == "time remaining unknown"


def test_the_summary_in_one_line() -> None:
    summary = Summary(1000, 998, 2, {"completed": 990, "truncated": 8}, 12.34, 500)

    assert batching.summary_line(summary) == (
        "1000 inputs: 998 results (990 completed, 8 truncated), 2 dead letters, 500 done before; 12.3 s"
    )


def test_without_a_terminal_progress_is_a_line_from_time_to_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr("streamkit.cli.batching.time.monotonic", lambda: now)
    lines = batching.ProgressLines()
    lines(Progress(1, 0, 0.01, 1.0))
    now = 110.0
    lines(Progress(50, 0, 0.5, 10.0))
    lines(Progress(60, 0, 0.6, 11.0))

    assert capsys.readouterr().err == "streamkit: 50%, 50 inputs, 5/s, 0:00:10 remaining\n"
