"""Which exchanges a batch finds, and in which order."""

import errno
import gzip
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.batch import inputs
from streamkit.batch.inputs import Input, check, in_order, places
from streamkit.errors import LimitExceeded, RecordingError
from streamkit.sources import recording


def found(*names: str | Path) -> list[Input]:
    return [place.input for place in places([str(name) for name in names])]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(path: Path, content: bytes = b"x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_folders_are_read_sorted_and_files_as_they_are_named(here: Path) -> None:
    for name in ("b/2.sse", "b/10.sse", "b/a/1.sse.gz", "b/note.txt", "b/.hidden.sse", "a.sse", "z.log"):
        put(here / name)

    assert [each.path for each in found("z.log", "b", "a.sse")] == [
        "z.log",
        "b/10.sse",
        "b/2.sse",
        "b/a/1.sse.gz",
        "a.sse",
    ]


def test_globs_are_sorted_and_reach_into_folders(here: Path) -> None:
    for name in ("x/2.sse", "x/1.sse", "y/0.sse", "y/deep/3.sse"):
        put(here / name)

    assert [each.path for each in found("*/*.sse")] == ["x/1.sse", "x/2.sse", "y/0.sse"]
    assert [each.path for each in found("**/3.sse")] == ["y/deep/3.sse"]
    assert [each.path for each in found("[y]")] == ["y/0.sse", "y/deep/3.sse"]


def test_a_file_with_a_name_like_a_glob_is_that_file(here: Path) -> None:
    put(here / "a[1].sse")

    assert [each.path for each in found("a[1].sse")] == ["a[1].sse"]


def test_links_to_folders_are_not_followed(here: Path) -> None:
    put(here / "x/1.sse")
    os.symlink(here, here / "x/circle")

    assert [each.path for each in found("x")] == ["x/1.sse"]


def test_double_stars_follow_no_links_and_find_each_file_once(here: Path) -> None:
    for name in ("1.sse", "x/2.sse", "x/y/3.sse", "x/y/note.txt", "x/y-/4.sse", "x/y/x/y/5.sse"):
        put(here / "in" / name)
    for name in ("in/a", "in/b", "in/x/c"):
        os.symlink(here / "in", here / name)
    everything = ["in/1.sse", "in/x/2.sse", "in/x/y/3.sse", "in/x/y/x/y/5.sse", "in/x/y-/4.sse"]

    for pattern in ("in/**", "in/**/", "in/**/*", "in/**/*.sse", "in/**/**/*.sse", "**/*.sse", f"{here}/in/**/*.sse"):
        paths = [os.path.relpath(each.path, here) for each in found(pattern)]
        assert sorted(set(paths)) == sorted(paths), pattern
        assert set(paths) - {"in/x/y/note.txt"} == set(everything), pattern
    assert [each.path for each in found("in/**/y/**/*.sse")] == ["in/x/y/3.sse", "in/x/y/x/y/5.sse"]


def test_links_that_lead_nowhere_are_inputs_that_can_t_be_read(here: Path) -> None:
    put(here / "x/1.sse")
    os.symlink("gone", here / "x/dangling.sse")
    os.symlink("self.jsonl", here / "x/self.jsonl")

    for each in (found("x"), found("x/*")):
        assert [one.path for one in each] == ["x/1.sse", "x/dangling.sse", "x/self.jsonl"]
        for one, reason in zip(each[1:], ("No such file", "Too many levels"), strict=True):
            with pytest.raises(RecordingError, match=f"it can't be read: {reason}"):
                one.read(str(here))


@pytest.mark.parametrize("pattern", ["x", "*"])
def test_a_folder_that_can_t_be_read_is_an_input_that_says_so(
    here: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    for name in ("x/1.sse", "x/secret/2.sse", "x/z/3.sse"):
        put(here / name)
    scandir = os.scandir

    def denied(path: str) -> Any:
        if str(path).endswith("secret") or str(path).endswith(f"secret{os.sep}."):
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)

    first, secret, last = found(pattern)

    assert [first.path, secret.path, last.path] == ["x/1.sse", "x/secret", "x/z/3.sse"]
    with pytest.raises(RecordingError, match="the folder can't be read: Permission denied"):
        secret.read(str(here))
    with pytest.raises(RecordingError, match="the folder x/secret can't be read: Permission denied"):
        check(["x/secret"])


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have shorter paths")
def test_folders_may_be_nested_deeper_than_calls(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(1200):
        os.mkdir("d")
        os.chdir("d")
    put(Path("1.sse"))
    monkeypatch.chdir(here)

    for pattern in ("d", "**/*.sse"):
        (each,) = found(pattern)
        assert each.path == "d/" * 1200 + "1.sse"
    # pytest's own removal of the folder is recursive.
    for _ in range(1000):
        os.rename("d/d", "e")
        os.rmdir("d")
        os.rename("e", "d")


LINES = b'{"id": "a"}\n\n{"id": "b"}\r\n{"id": "c"}'


@pytest.mark.parametrize("name", ["l.jsonl", "l.jsonl.gz"])
def test_each_line_of_jsonl_is_an_exchange(here: Path, name: str) -> None:
    put(here / name, gzip.compress(LINES) if name.endswith("gz") else LINES)

    each = found(name)

    assert [(one.offset, one.line, one.length) for one in each] == [(0, 1, 12), (13, 3, 13), (26, 4, 11)]
    assert [json.loads(one.read(str(here))) for one in each] == [{"id": "a"}, {"id": "b"}, {"id": "c"}]


def test_a_recording_is_one_exchange_though_it_is_jsonl(here: Path) -> None:
    put(here / "r.jsonl", b'{"streamkit": "recording/1"}\n{"t": 0, "end": "eof"}\n')

    assert found("r.jsonl") == [Input("r.jsonl")]


def test_ndjson_is_the_body_of_one_exchange(here: Path) -> None:
    put(here / "o.ndjson", b'{"response": "a"}\n{"response": "b"}\n')

    assert found("o.ndjson") == [Input("o.ndjson")]


def test_gzip_that_ends_too_early_has_its_lines_and_then_a_problem(here: Path) -> None:
    rows = b"".join(b'{"id": %d, "x": "%s"}\n' % (number, os.urandom(200).hex().encode()) for number in range(100))
    put(here / "l.jsonl.gz", gzip.compress(rows)[:-4000])

    *good, bad = found("l.jsonl.gz")

    assert len(good) > 50
    assert all(each.problem is None for each in good)
    assert bad.offset == good[-1].offset + (good[-1].length or 0)
    with pytest.raises(RecordingError, match="can't be read from here on: its gzip data ends too early"):
        bad.read(str(here))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x1f\x8b\x08broken", "its gzip data"),
        (gzip.compress(b"data: 1\n\n" * 99)[:-3], "its gzip data ends too early"),
        (gzip.compress(b"x" * 99)[:-8] + b"\0" * 8, "its gzip data is damaged"),
    ],
    ids=["head", "cut", "checksum"],
)
def test_damaged_gzip_is_a_typed_error(here: Path, content: bytes, message: str) -> None:
    put(here / "a.sse.gz", content)

    with pytest.raises(RecordingError, match=message):
        found("a.sse.gz")[0].read(str(here))


def test_a_file_that_is_gone_is_a_typed_error(here: Path) -> None:
    with pytest.raises(RecordingError, match="it can't be read: No such file or directory"):
        Input("gone.sse").read(str(here))


@pytest.mark.parametrize("name", ["big.sse", "bomb.sse.gz", "big.jsonl", "big.jsonl.gz"])
def test_an_exchange_beyond_the_limit_is_an_error_and_the_next_one_is_read(
    here: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for module in (inputs, recording):
        monkeypatch.setattr(module, "MAX_BYTES", 1000)
    content = b"x" * 3000 + b"\n" + b'{"id": 1}\n'
    put(here / name, gzip.compress(content) if name.endswith("gz") else content)

    first, *rest = found(name)

    with pytest.raises(LimitExceeded, match="expected an exchange of at most 1000 bytes, found more"):
        first.read(str(here))
    assert [each.read(str(here)) for each in rest] == ([b'{"id": 1}\n'] if "jsonl" in name else [])


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems refuse such names")
def test_a_file_name_that_is_no_utf_8_is_read_and_can_be_written(here: Path) -> None:
    put(here / os.fsdecode(b"f/\xff.sse"), b"data: 1\n\n")

    (each,) = found("f")

    assert each.read(str(here)) == b"data: 1\n\n"
    assert each.name == "f/\\xff.sse"


def test_places_say_how_many_files_are_read(here: Path) -> None:
    put(here / "1.sse")
    put(here / "2.jsonl", b'{"id": "a"}\n{"id": "b"}\n')
    put(here / "3.sse")

    assert [place.files for place in places(["1.sse", "2.jsonl", "3.sse"])] == [1.0, 1.5, 2.0, 3.0]


@given(st.lists(st.text(st.characters(codec=None), max_size=5), max_size=40), st.integers(1, 12))
def test_names_are_in_the_same_order_however_many_are_sorted_at_once(names: list[str], at_once: int) -> None:
    written = [name for name in names if name.isascii() or name.encode("utf-8", "replace").decode() == name]

    assert list(in_order(written, at_once)) == sorted(written)
