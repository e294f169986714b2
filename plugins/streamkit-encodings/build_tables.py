"""Compress the published rank files into `src/streamkit_encodings/tables`.

Takes packages (`.whl`, `.zip`, `.tgz`, `.tar.gz`), folders and plain files, and downloads
nothing. A table is recognized by its SHA-256, under any file name. Nothing is written
unless all tables are found.
"""

import argparse
import lzma
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path

from streamkit_encodings import SHA256

TABLES = ("cl100k_base", "o200k_base", "p50k_base", "r50k_base")
HERE = Path(__file__).parent


def main() -> None:
    """Find, compress and write all tables, or exit with a list of the missing ones."""
    parser = argparse.ArgumentParser(description="Compress the published rank files.")
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=HERE / "src/streamkit_encodings/tables")
    args = parser.parse_args()
    found = find(args.paths)
    if missing := [name for name in TABLES if name not in found]:
        sys.exit("\n".join(f"{name}: no file has SHA-256 {SHA256[name]!r}" for name in missing))
    args.out.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        (args.out / f"{name}.tiktoken.xz").write_bytes(compress(found[name]))


def find(paths: Iterable[Path]) -> dict[str, bytes]:
    """Return the published tables found in `paths`."""
    names = {SHA256[name]: name for name in TABLES}
    return {
        names[digest]: data
        for path in paths
        for data in contents(path)
        if (digest := sha256(data).hexdigest()) in names
    }


def contents(path: Path) -> Iterator[bytes]:
    """Yield the bytes of each file in a package or a folder, or of the file itself."""
    if path.is_dir():
        for child in sorted(path.iterdir()):
            yield from contents(child)
    elif path.name.endswith((".whl", ".zip")):
        with zipfile.ZipFile(path) as archive:
            yield from map(archive.read, archive.namelist())
    elif path.name.endswith((".tgz", ".tar.gz")):
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile() and (file := archive.extractfile(member)):
                    yield file.read()
    else:
        yield path.read_bytes()


def compress(table: bytes) -> bytes:
    """Return `table` as xz. The format has no timestamp and no file name, so the output is reproducible.

    Another release of liblzma may produce other bytes; only the decompressed content is pinned.
    """
    return lzma.compress(table, preset=9 | lzma.PRESET_EXTREME)


if __name__ == "__main__":
    main()
