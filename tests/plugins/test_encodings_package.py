"""streamkit-encodings: the tables are the published ones, and no network is needed."""

import base64
import importlib
import lzma
import runpy
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from hashlib import sha256
from importlib.metadata import distribution
from pathlib import Path

import pytest
import streamkit_encodings
import tiktoken
from streamkit_encodings import SHA256, TableError

BUILD_TABLES = Path(__file__).parents[2] / "plugins/streamkit-encodings/build_tables.py"

PINNED = {
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    "o200k_harmony": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    "p50k_base": "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069",
    "p50k_edit": "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069",
    "r50k_base": "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930",
}

every_encoding = pytest.mark.parametrize("name", PINNED)

openai_public = importlib.import_module("tiktoken_ext.openai_public")


def entry_points() -> dict[str, Callable[[], bytes]]:
    declared = distribution("streamkit-encodings").entry_points
    return {entry.name: entry.load() for entry in declared.select(group="streamkit.encodings")}


def ranks(table: bytes) -> dict[bytes, int]:
    pairs = (line.split() for line in table.splitlines())
    return {base64.b64decode(token): int(rank) for token, rank in pairs}


AUDIT = """
import sys
seen = []
sys.addaudithook(lambda event, args: seen.append(f"{event} {args[:1]}"))
import streamkit_encodings
imported = len(seen)
streamkit_encodings.p50k_edit()
print("\\n".join([*seen[:imported], "imported", *seen[imported:]]))
"""


@pytest.fixture(scope="module")
def audit() -> list[str]:
    """Record what a new interpreter opens, by importing and then by loading one table."""
    run = subprocess.run([sys.executable, "-c", AUDIT], capture_output=True, text=True, check=True)
    events = run.stdout.splitlines()
    return [event for event in events if event.startswith(("open ", "socket.", "imported"))]


def test_the_hashes_are_the_pinned_ones() -> None:
    assert SHA256 == PINNED


@every_encoding
def test_tiktoken_pins_the_same_hash(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def load(_url: str, expected_hash: str) -> dict[bytes, int]:
        asked.append(expected_hash)
        return {}

    monkeypatch.setattr(openai_public, "load_tiktoken_bpe", load)

    openai_public.ENCODING_CONSTRUCTORS[name]()

    assert asked == [PINNED[name]]


def test_every_encoding_is_an_entry_point() -> None:
    assert sorted(entry_points()) == [
        "cl100k_base",
        "o200k_base",
        "o200k_harmony",
        "p50k_base",
        "p50k_edit",
        "r50k_base",
    ]


@every_encoding
def test_every_table_has_the_hash_that_tiktoken_pins(name: str) -> None:
    assert sha256(entry_points()[name]()).hexdigest() == PINNED[name]


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("cl100k_base", [15339, 1917]),
        ("o200k_base", [24912, 2375]),
        ("o200k_harmony", [24912, 2375]),
        ("p50k_base", [31373, 995]),
        ("p50k_edit", [31373, 995]),
        ("r50k_base", [31373, 995]),
    ],
)
def test_an_encoding_built_from_the_table_gives_the_known_ids(name: str, ids: list[int]) -> None:
    encoding = tiktoken.Encoding(
        name,
        pat_str=r" ?\S+",
        mergeable_ranks=ranks(entry_points()[name]()),
        special_tokens={},
    )

    assert encoding.encode_ordinary("hello world") == ids


def test_importing_reads_no_table(audit: list[str]) -> None:
    importing = audit[: audit.index("imported")]

    assert any("streamkit_encodings" in event for event in importing)
    assert [event for event in importing if ".tiktoken" in event] == []


def test_loading_reads_one_table(audit: list[str]) -> None:
    loading = audit[audit.index("imported") + 1 :]

    assert len(loading) == 1
    assert "p50k_base.tiktoken.xz" in loading[0]


def test_neither_importing_nor_loading_opens_a_socket(audit: list[str]) -> None:
    assert [event for event in audit if event.startswith("socket.")] == []


def test_a_table_with_another_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "r50k_base.tiktoken.xz").write_bytes(lzma.compress(b"IQ== 0\n"))
    monkeypatch.setattr("streamkit_encodings._TABLES", tmp_path)

    with pytest.raises(TableError, match=r"r50k_base: expected SHA-256 '306c.*', found '6835"):
        streamkit_encodings.r50k_base()


@pytest.mark.parametrize(
    "stored",
    [b"", b"IQ== 0\n", lzma.compress(b"IQ== 0\n")[:-1]],
    ids=["empty", "not xz", "cut short"],
)
def test_a_damaged_table_is_refused(stored: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "r50k_base.tiktoken.xz").write_bytes(stored)
    monkeypatch.setattr("streamkit_encodings._TABLES", tmp_path)

    with pytest.raises(TableError, match="r50k_base: expected an xz file, found damage"):
        streamkit_encodings.r50k_base()


def test_the_build_finds_tables_by_content_in_packages_and_folders(tmp_path: Path) -> None:
    build = runpy.run_path(str(BUILD_TABLES))
    plain = tmp_path / "folder" / "deep" / "any name"
    plain.parent.mkdir(parents=True)
    plain.write_bytes(streamkit_encodings.p50k_base())
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as wheel:
        wheel.writestr("cache/9b5ad71b", streamkit_encodings.cl100k_base())
        wheel.writestr("cache/other", b"IQ== 0\n")
    with tarfile.open(tmp_path / "b.tgz", "w:gz", compresslevel=1) as package:
        package.add(plain.parent, "package/data")

    assert build["find"]([tmp_path / "a.whl"]) == {"cl100k_base": streamkit_encodings.cl100k_base()}
    assert build["find"]([tmp_path / "b.tgz"]) == {"p50k_base": streamkit_encodings.p50k_base()}
    assert build["find"]([tmp_path / "folder"]) == {"p50k_base": streamkit_encodings.p50k_base()}


def test_the_build_is_reproducible() -> None:
    build = runpy.run_path(str(BUILD_TABLES))
    table = streamkit_encodings.r50k_base()[:50_000]

    assert build["compress"](table) == build["compress"](table)
    assert lzma.decompress(build["compress"](table)) == table


def test_the_build_writes_nothing_while_a_table_is_missing(tmp_path: Path) -> None:
    (tmp_path / "r50k_base.tiktoken").write_bytes(streamkit_encodings.r50k_base())

    run = subprocess.run(
        [sys.executable, str(BUILD_TABLES), "--out", str(tmp_path / "out"), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 1
    assert run.stderr.splitlines() == [
        f"cl100k_base: no file has SHA-256 '{PINNED['cl100k_base']}'",
        f"o200k_base: no file has SHA-256 '{PINNED['o200k_base']}'",
        f"p50k_base: no file has SHA-256 '{PINNED['p50k_base']}'",
    ]
    assert not (tmp_path / "out").exists()
