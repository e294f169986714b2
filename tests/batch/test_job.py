"""The output of a batch, its order, and resuming. Processes are in test_processes.py."""

import errno
import gzip
import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

import streamkit as sk
from streamkit import batch
from streamkit.batch.job import DEATHS, WINDOW, Progress
from tests.batch import generated
from tests.batch.inline import Inline
from tests.conftest import SHARED, needs_shared

RULES = [sk.Rule("codename", phrases=(generated.SECRET,), replacement="[…]")]
PIPELINE = sk.Parse() | sk.Extract() | sk.Moderate(tuple(RULES)) | sk.Accumulate() | sk.Count(counter=len) | sk.Timing()
SHARD = 3


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def run(folder: Path, out: Path, **options: Any) -> batch.Summary:
    return batch.run(folder, PIPELINE, out=out, **{"shard": SHARD, "executor": Inline(), **options})


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return generated.write(tmp_path / "archive", 40)


def files(out: Path) -> tuple[bytes, bytes, bytes]:
    return tuple(Path(f"{out}{end}").read_bytes() for end in ("", ".dead", ".journal"))  # type: ignore[return-value]


def test_every_input_is_a_result_or_a_dead_letter_in_order(archive: Path, tmp_path: Path) -> None:
    summary = run(archive, tmp_path / "out.jsonl")

    inputs = sorted(str(path) for path in archive.rglob("*.*"))
    results, dead = lines(tmp_path / "out.jsonl"), lines(tmp_path / "out.jsonl.dead")
    assert [row["input"] for row in results] == [
        name for name in inputs if int(Path(name).name[:6]) % 20 not in (5, 11)
    ]
    assert [Path(row["input"]).name for row in dead] == [
        "000005.sse",
        "000011.sse.gz",
        "000025.sse",
        "000031.sse.gz",
    ]
    assert summary == batch.Summary(
        40, 36, 4, {"completed": 30, "truncated": 4, "provider_error": 2}, summary.seconds, 0
    )


def test_a_result_has_what_the_answer_was(archive: Path, tmp_path: Path) -> None:
    run(archive, tmp_path / "out.jsonl")

    row = next(row for row in lines(tmp_path / "out.jsonl") if row["input"].endswith("000014.jsonl"))
    text = row.pop("text")
    assert "[…]" in text
    assert generated.SECRET not in text
    assert row == {
        "input": str(archive / "000/000014.jsonl"),
        "offset": 0,
        "line": None,
        "id": None,
        "end": "completed",
        "provider_reason": "stop",
        "error": None,
        "model": "gpt-4o-mini",
        "response_id": "chatcmpl-14",
        "reasoning": None,
        "refusal": None,
        "tool_calls": [],
        "choices": [],
        "output": None,
        "tokens": len(text),
        "prompt_tokens": 9,
        "completion_tokens": 12,
        "total_tokens": 21,
        "usage": {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21},
        "cost": None,
        "currency": None,
        "flagged": True,
        "flags": [
            {
                "action": "redact",
                "category": "codename",
                "start": row["flags"][0]["start"],
                "end": row["flags"][0]["start"] + len(generated.SECRET),
                "channel": "content",
                "index": 0,
                "severity": None,
                "tool_index": None,
                "source": "rules",
            }
        ],
        "first_byte_seconds": 0.25,
        "first_token_seconds": 0.25,
        "seconds": 0.25 + 14 / 64,
    }


async def live(path: Path) -> dict[str, Any]:
    stream = sk.replay(path) | PIPELINE
    verdicts = 0
    error = None
    try:
        async with stream as events:
            async for event in events:
                verdicts += isinstance(event, sk.events.Flagged | sk.Redacted | sk.Blocked)
    except sk.StreamkitError as failure:
        error = f"{type(failure).__name__}: {failure}"
    completion, timings, end = stream.stage(sk.Accumulate).snapshot, stream.stage(sk.Timing).timings, stream.end
    assert end is not None
    return {
        "text": completion.choices[0].content if completion.choices else None,
        "tokens": stream.stage(sk.Count).tokens(),
        "flagged": verdicts > 0,
        "end": end.reason,
        "usage": completion.usage.to_dict() if completion.usage else None,
        "first_token_seconds": timings.first_content,
        "seconds": timings.total,
        "error": error,
    }


@pytest.mark.anyio
async def test_a_result_is_that_of_a_live_run(tmp_path: Path, anyio_backend: str) -> None:
    folder = tmp_path / "archive"
    folder.mkdir()
    for number in (0, 3, 7, 13, 16, 18, 23):
        name, content = generated.content(number, 20)
        (folder / name).write_bytes(content)
    await anyio.to_thread.run_sync(lambda: run(folder, tmp_path / "out.jsonl"))

    for row in lines(tmp_path / "out.jsonl"):
        expected = await live(Path(row["input"]))
        assert {name: row[name] for name in expected} == expected, row["input"]


@needs_shared
@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_shared_recordings_give_what_a_live_run_gives(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    await anyio.to_thread.run_sync(lambda: run(SHARED / "recordings/public", out))

    rows = lines(out)
    assert len(rows) > 20
    for row in rows:
        if row["line"] is None and not row["input"].endswith(".gz"):
            expected = await live(Path(row["input"]))
            assert {name: row[name] for name in expected} == expected, row["input"]


def test_a_recording_that_broke_off_is_a_result(tmp_path: Path) -> None:
    from streamkit.sources.recording import end_line, head_line, piece_line

    piece = piece_line(0.5, "".join(generated.chunks(1, 3)[:2]).encode())
    (tmp_path / "a.jsonl").write_bytes(head_line({}) + piece + end_line(0.75, "error", "Disconnected"))

    run(tmp_path / "a.jsonl", tmp_path / "out.jsonl")

    (row,) = lines(tmp_path / "out.jsonl")
    assert (row["end"], row["error"], row["seconds"]) == (
        "truncated",
        "Disconnected: the recorded stream ended with Disconnected",
        0.5,
    )
    assert row["text"]


def test_a_dead_letter_names_the_reason_and_the_place_but_no_text(archive: Path, tmp_path: Path) -> None:
    run(archive, tmp_path / "out.jsonl")

    page, gzip, *_ = lines(tmp_path / "out.jsonl.dead")
    assert (page["error"], page["offset"], page["body_line"]) == ("ProtocolError", 0, 1)
    assert "found a page" in page["reason"]
    assert "Gateway" not in json.dumps(page)
    assert (gzip["error"], gzip["reason"]) == ("RecordingError", "it can't be read: its gzip data ends too early")


@sk.stage
def fails(event: sk.Event) -> sk.Event:
    if isinstance(event, sk.TextDelta) and "fox" in event.text:
        raise ValueError(event.text)
    return event


def test_a_stage_that_raises_costs_its_input_and_its_message_is_not_written(tmp_path: Path) -> None:
    for name, text in (("a", "cat"), ("b", "fox"), ("c", "dog")):
        body = {"object": "chat.completion", "choices": [{"index": 0, "message": {"content": text}}]}
        (tmp_path / f"{name}.json").write_text(json.dumps(body))

    summary = batch.run(tmp_path, sk.Parse() | sk.Extract() | fails, out=tmp_path / "out", executor=Inline())

    assert [row["text"] for row in lines(tmp_path / "out")] == ["cat", "dog"]
    (letter,) = lines(tmp_path / "out.dead")
    assert (letter["error"], letter["reason"]) == (
        "ValueError",
        "a stage raised an exception; in stage 3 of 5: fails",
    )
    assert summary.dead_letters == 1


def test_half_of_a_surrogate_pair_is_written_as_an_escape(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(
        b'{"object": "chat.completion", "choices": [{"index": 0, "message": {"content": "\\ud83d"}}]}'
    )

    run(tmp_path / "a.json", tmp_path / "out")

    assert lines(tmp_path / "out")[0]["text"] in ("\ud83d", "\ufffd")


BODY = "".join(generated.chunks(1, 3)).encode()
DAMAGED = {
    "utf-16": (".sse", BODY.decode().encode("utf-16")),
    "utf-16 lines": (".jsonl", json.dumps({"body": BODY.decode()}).encode("utf-16")),
    "nul": (".sse", b"\0" * 999),
    "zip": (".sse.gz", b"PK\x03\x04" + bytes(range(200))),
    "bytes": (".sse", bytes(range(256)) * 9),
    "deep": (".jsonl", b'{"body":' + b"[" * 99_999 + b"]" * 99_999 + b"}"),
    "no object": (".jsonl", b"[]"),
    "wrong base64": (".jsonl", b'{"b64": "!"}'),
    "wrong pieces": (".jsonl", b'{"pieces": [{"t": "x"}]}'),
    "garbage behind gzip": (".sse.gz", gzip.compress(BODY) + b"garbage"),
    "gzip in gzip": (".sse.gz", gzip.compress(gzip.compress(BODY))),
    "a long line": (".jsonl", b'{"body":"data: ' + b"x" * 20_000_000 + b'"}'),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_input_is_a_typed_dead_letter_beside_whole_results(tmp_path: Path, kind: str) -> None:
    end, content = DAMAGED[kind]
    for name in ("a.sse", "z.sse"):
        (tmp_path / name).write_bytes(BODY)
    (tmp_path / f"m{end}").write_bytes(content)

    run(tmp_path, tmp_path / "out")

    assert [(Path(row["input"]).name, row["end"]) for row in lines(tmp_path / "out")] == [
        ("a.sse", "completed"),
        ("z.sse", "completed"),
    ]
    (letter,) = lines(tmp_path / "out.dead")
    assert Path(letter["input"]).name == f"m{end}"
    assert issubclass(getattr(sk.errors, letter["error"]), sk.StreamkitError)


@pytest.mark.parametrize("end", [".sse", ".sse.gz", ".jsonl", ".json"])
def test_an_input_that_is_cut_anywhere_costs_nothing_but_itself(tmp_path: Path, end: str) -> None:
    whole = {
        ".sse": BODY,
        ".sse.gz": gzip.compress(BODY),
        ".jsonl": generated.recording(generated.chunks(1, 3)),
        ".json": b'{"object": "chat.completion", "choices": [{"index": 0, "message": {"content": "Hi"}}]}',
    }[end]
    step = max(1, len(whole) // 60)
    cuts = range(1, len(whole), step)
    for at in cuts:
        (tmp_path / f"{at:05}{end}").write_bytes(whole[:at])

    summary = run(tmp_path, tmp_path / "out", shard=50)

    assert summary.results + summary.dead_letters == len(cuts)
    assert {row["end"] for row in lines(tmp_path / "out")} <= {"truncated", "completed"}
    assert all(issubclass(getattr(sk.errors, row["error"]), sk.StreamkitError) for row in lines(tmp_path / "out.dead"))


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems refuse such names")
def test_inputs_with_any_name_are_read_and_resumed(tmp_path: Path) -> None:
    names = [b"\xff.sse", b"a\nb.sse", b"\xed\xa0\x80.sse", b"*.sse", b"-x.sse", b"\\xff.sse", b"\x1b[31m.sse"]
    paths = [os.path.join(tmp_path, os.fsdecode(name)) for name in names]
    for path in paths:
        Path(path).write_bytes(BODY)

    for _ in range(2):
        summary = batch.run(paths, PIPELINE, out=tmp_path / "out", executor=Inline())
        assert (summary.results, summary.dead_letters) == (7, 0)
    assert [Path(row["input"]).name for row in lines(tmp_path / "out")][:2] == ["\\xff.sse", "a\nb.sse"]


# The window


def test_no_more_than_a_window_of_shards_is_under_way(archive: Path, tmp_path: Path) -> None:
    executor = Inline()

    batch.run(archive, PIPELINE, out=tmp_path / "out", shard=1, executor=executor)

    assert executor.most == WINDOW * executor.workers
    assert len(executor.ran) == 40
    assert executor.closed


def test_an_input_on_which_workers_die_is_a_dead_letter_and_the_others_have_results(
    archive: Path, tmp_path: Path
) -> None:
    run(archive, tmp_path / "expected")
    executor = Inline(dies=lambda name: name.endswith("000001.jsonl"))

    run(archive, tmp_path / "out", executor=executor)

    assert executor.ran.count((0, None)) == 1
    assert executor.ran.count((0, 1)) == DEATHS
    results = [row for row in lines(tmp_path / "expected") if not row["input"].endswith("000001.jsonl")]
    assert lines(tmp_path / "out") == results
    assert lines(tmp_path / "out.dead")[0] == {
        "input": str(archive / "000/000001.jsonl"),
        "offset": 0,
        "line": None,
        "id": None,
        "error": "WorkerDied",
        "reason": "the worker process died while it read this input, 3 times",
        "body_line": None,
        "body_offset": None,
    }


def test_a_worker_that_dies_by_chance_changes_nothing(archive: Path, tmp_path: Path) -> None:
    run(archive, tmp_path / "expected")
    deaths = iter([True] * 3)

    run(archive, tmp_path / "out", executor=Inline(dies=lambda name: "17" in name and next(deaths, False)))

    assert files(tmp_path / "out") == files(tmp_path / "expected")


# Resuming


class Killed(BaseException):
    """Stands for `kill -9`."""


def killed_after(shards: int) -> Any:
    left = iter([None] * shards)

    def report(progress: Progress) -> None:
        if next(left, "end") == "end":
            raise Killed

    return report


@pytest.mark.parametrize("torn", [(0, 0, 0), (7, 0, 0), (7, 5, 0), (90, 9, 12)], ids=str)
def test_a_batch_that_was_killed_is_resumed_to_the_same_bytes(
    archive: Path, tmp_path: Path, torn: tuple[int, int, int]
) -> None:
    run(archive, tmp_path / "expected")
    out = tmp_path / "out"

    for _ in range(4):
        with pytest.raises(Killed):
            run(archive, out, progress=killed_after(2))
        for end, extra in zip(("", ".dead", ".journal"), torn, strict=True):
            with Path(f"{out}{end}").open("ab") as file:
                file.write(b'{"shard": 9, "in'[:extra].ljust(extra, b"x"))
    summary = run(archive, out)

    assert files(out) == files(tmp_path / "expected")
    assert 0 < summary.resumed < summary.inputs == 40


def test_files_that_lost_what_the_journal_has_are_written_again(archive: Path, tmp_path: Path) -> None:
    run(archive, tmp_path / "expected")
    run(archive, tmp_path / "out")
    with (tmp_path / "out").open("r+b") as file:
        file.truncate(2000)

    run(archive, tmp_path / "out")

    assert files(tmp_path / "out") == files(tmp_path / "expected")


@pytest.mark.parametrize("damage", [b"\x00\x00\n", b'{"shard":2}\n', b"[]\n", b'{"shard":0,"digest":"x"}\n'], ids=repr)
def test_a_damaged_line_of_the_journal_is_written_again(archive: Path, tmp_path: Path, damage: bytes) -> None:
    run(archive, tmp_path / "expected")
    run(archive, tmp_path / "out")
    journal = tmp_path / "out.journal"
    kept = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*kept[:3], damage, *kept[4:]]))

    run(archive, tmp_path / "out")

    assert files(tmp_path / "out") == files(tmp_path / "expected")


def test_a_journal_that_is_cut_at_any_byte_resumes_to_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    run(archive, tmp_path / "expected", shard=10)
    expected = files(tmp_path / "expected")
    out = tmp_path / "out"
    head = expected[2].index(b"\n") + 1
    for at in [head, head + 1, *range(head + 7, len(expected[2]), 91), len(expected[2]) - 1]:
        for end, content in zip(("", ".dead", ".journal"), (*expected[:2], expected[2][:at]), strict=True):
            Path(f"{out}{end}").write_bytes(content)
        run(archive, out, shard=10)
        assert files(out) == expected, at


@pytest.mark.parametrize("at", [0, 1, 30, -1])
def test_results_whose_journal_lost_its_head_are_not_written_over(archive: Path, tmp_path: Path, at: int) -> None:
    run(archive, tmp_path / "out")
    before, journal = files(tmp_path / "out"), tmp_path / "out.journal"
    head = before[2].splitlines(keepends=True)[0]
    journal.write_bytes(head[:at])

    with pytest.raises(sk.PipelineError, match="exists and is no batch that can be resumed"):
        run(archive, tmp_path / "out")

    assert files(tmp_path / "out") == (*before[:2], head[:at])
    run(archive, tmp_path / "out", restart=True)
    assert files(tmp_path / "out") == before


@pytest.mark.parametrize("end", ["", ".dead"])
@pytest.mark.parametrize("edit", ["a line more", "a line less", "another text at the end"])
def test_files_that_were_edited_are_not_continued(archive: Path, tmp_path: Path, end: str, edit: str) -> None:
    with pytest.raises(Killed):
        run(archive, tmp_path / "out", progress=killed_after(8))
    path = Path(f"{tmp_path / 'out'}{end}")
    kept = path.read_bytes().splitlines(keepends=True)
    edited = {"a line more": [b"{}\n", *kept], "a line less": [b"" if end else b"\n", *kept[1:], b"{}\n" * 99]}
    path.write_bytes(b"".join(edited.get(edit, [*kept[:-1], kept[-1].replace(b'"input"', b'"INPUT"')])))
    before = files(tmp_path / "out")

    with pytest.raises(sk.PipelineError, match="or its dead letters were changed since this batch wrote them"):
        run(archive, tmp_path / "out")

    assert files(tmp_path / "out") == before


def test_dead_letters_that_go_to_another_file_are_all_there(archive: Path, tmp_path: Path) -> None:
    run(archive, tmp_path / "expected")
    with pytest.raises(Killed):
        run(archive, tmp_path / "out", progress=killed_after(8))

    run(archive, tmp_path / "out", dead_letters=tmp_path / "other.dead")

    assert (tmp_path / "out").read_bytes() == (tmp_path / "expected").read_bytes()
    assert (tmp_path / "other.dead").read_bytes() == (tmp_path / "expected.dead").read_bytes()


def test_a_full_disk_is_an_error_and_the_batch_is_resumed(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(archive, tmp_path / "expected")
    left = iter([None] * 9)

    def fsync(number: int) -> None:
        if next(left, "full") == "full":
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(sk.errors.RecordingError, match=r"out can't be written: No space left on device"):
            run(archive, tmp_path / "out")
    run(archive, tmp_path / "out")

    assert files(tmp_path / "out") == files(tmp_path / "expected")


def test_a_complete_batch_runs_nothing_again(archive: Path, tmp_path: Path) -> None:
    first = run(archive, tmp_path / "out")
    executor = Inline()

    second = run(archive, tmp_path / "out", executor=executor)

    assert executor.ran == []
    assert (second.inputs, second.results, second.ends, second.resumed) == (40, 36, first.ends, 40)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"shard": 4}, "was begun with a different shard size"),
        ({"pipeline": sk.Parse() | sk.Extract()}, "was begun with a different pipeline"),
        ({"inputs": "."}, "was begun with a different list of inputs"),
    ],
    ids=["shard", "pipeline", "inputs"],
)
def test_a_batch_is_not_resumed_as_another_one(
    archive: Path, tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    run(archive, tmp_path / "out")
    before = files(tmp_path / "out")
    inputs = tmp_path if "inputs" in changed else archive

    with pytest.raises(sk.PipelineError, match=message):
        batch.run(
            inputs,
            changed.get("pipeline", PIPELINE),
            out=tmp_path / "out",
            shard=changed.get("shard", SHARD),
            executor=Inline(),
        )
    assert files(tmp_path / "out") == before

    changed_run = run(archive, tmp_path / "out", shard=4, restart=True)
    assert changed_run.resumed == 0


def test_other_inputs_are_not_taken_for_those_that_were_read(archive: Path, tmp_path: Path) -> None:
    run(archive, tmp_path / "out")
    (archive / "000/000000a.sse").write_text("")

    with pytest.raises(sk.PipelineError, match=r"the inputs are not those that .*out was begun with, from .*000000"):
        run(archive, tmp_path / "out")


def test_inputs_that_are_gone_are_noticed(archive: Path, tmp_path: Path) -> None:
    run(archive, tmp_path / "out", shard=40)
    for path in sorted(archive.rglob("*.*"))[20:]:
        path.unlink()

    with pytest.raises(sk.PipelineError, match="the inputs are not those"):
        run(archive, tmp_path / "out", shard=40)


def test_results_without_a_journal_are_not_written_over(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("precious")

    with pytest.raises(sk.PipelineError, match="exists and is no batch that can be resumed"):
        run(archive, tmp_path / "out")

    assert (tmp_path / "out").read_text() == "precious"


def test_two_batches_do_not_write_to_the_same_files(archive: Path, tmp_path: Path) -> None:
    def report(progress: Progress) -> None:
        with pytest.raises(sk.PipelineError, match=r"out\.journal is in use: another process runs this batch"):
            run(archive, tmp_path / "out")
        raise Killed

    with pytest.raises(Killed):
        run(archive, tmp_path / "out", progress=report)


def test_the_files_of_the_batch_are_not_its_inputs(archive: Path, tmp_path: Path) -> None:
    out = archive / "out.jsonl"
    with pytest.raises(Killed):
        run(archive, out, progress=killed_after(2))

    summary = run(archive, out)

    assert summary.inputs == 40


# Arguments


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shard": 0}, "shard: expected a number of at least 1, found 0"),
        ({"workers": True}, "workers: expected a number of at least 1, found True"),
    ],
)
def test_wrong_numbers_are_refused(archive: Path, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(sk.PipelineError, match=message):
        run(archive, tmp_path / "out", **options)

    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("restart", [False, True])
def test_no_input_is_written_over_and_no_file_written_twice(tmp_path: Path, restart: bool) -> None:
    one, out = tmp_path / "a.sse", tmp_path / "out"
    one.write_bytes(BODY)
    for options in ({"out": one}, {"out": out, "dead_letters": tmp_path / "." / "a.sse"}):
        with pytest.raises(sk.PipelineError, match=r"a\.sse is an input, and would be written over"):
            batch.run(one, PIPELINE, executor=Inline(), restart=restart, **options)  # type: ignore[arg-type]
    for twice in ("out", "./out", "out.journal"):
        with pytest.raises(sk.PipelineError, match="expected different files for results, dead letters and journal"):
            batch.run(one, PIPELINE, out=out, dead_letters=f"{tmp_path}/{twice}", executor=Inline(), restart=restart)
    assert one.read_bytes() == BODY
    assert list(tmp_path.iterdir()) == [one]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "expected at least one file, folder or glob, found none"),
        (["nowhere"], "expected a file, folder or glob, found nothing at nowhere"),
        (["*.none"], r"expected a file, folder or glob, found nothing at \*\.none"),
        (["empty"], "expected a folder with recordings, found nothing at empty"),
    ],
    ids=["none", "missing", "glob", "empty"],
)
def test_inputs_that_name_nothing_are_an_error_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inputs: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()

    with pytest.raises(sk.errors.RecordingError, match=message):
        batch.run(inputs, PIPELINE, out="out", executor=Inline())

    assert not (tmp_path / "out").exists()


def test_a_place_that_can_not_be_written_is_an_error(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(sk.errors.RecordingError, match=r"nowhere.out can't be written: No such file or directory"):
        run(archive, tmp_path / "nowhere" / "out")


def test_progress_reaches_one(archive: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []

    run(archive, tmp_path / "out", progress=seen.append)

    assert [each.inputs for each in seen][-1] == 40
    assert [each.share for each in seen] == sorted(each.share for each in seen)
    assert seen[-1].share == 1.0
    assert seen[-1].dead == 4
