"""The rank tables of tiktoken's encodings, without network access.

Each function returns the published `.tiktoken` file, byte for byte, and raises
`TableError` if the stored copy is damaged. Importing reads no table. Nothing is
cached, because a caller builds its encoding only once.
"""

import lzma
from hashlib import sha256
from importlib.resources import files

__all__ = [
    "SHA256",
    "TableError",
    "cl100k_base",
    "o200k_base",
    "o200k_harmony",
    "p50k_base",
    "p50k_edit",
    "r50k_base",
]

# As pinned by tiktoken (tiktoken_ext/openai_public.py, `expected_hash`).
SHA256: dict[str, str] = {
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    "o200k_harmony": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    "p50k_base": "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069",
    "p50k_edit": "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069",
    "r50k_base": "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930",
}

_TABLES = files(__name__) / "tables"


class TableError(ValueError):
    """A stored table differs from the published one: the installation is damaged."""


def cl100k_base() -> bytes:
    """Return the ranks of GPT-4 and GPT-3.5."""
    return _table("cl100k_base")


def o200k_base() -> bytes:
    """Return the ranks of GPT-4o and later models."""
    return _table("o200k_base")


def o200k_harmony() -> bytes:
    """Return the ranks of `o200k_base`: only the special tokens differ."""
    return o200k_base()


def p50k_base() -> bytes:
    """Return the ranks of Codex and text-davinci-003."""
    return _table("p50k_base")


def p50k_edit() -> bytes:
    """Return the ranks of `p50k_base`: only the special tokens differ."""
    return p50k_base()


def r50k_base() -> bytes:
    """Return the ranks of GPT-3."""
    return _table("r50k_base")


def _table(name: str) -> bytes:
    stored = (_TABLES / f"{name}.tiktoken.xz").read_bytes()
    try:
        table = lzma.decompress(stored)
    except lzma.LZMAError as error:
        message = f"{name}: expected an xz file, found damage: {error}"
        raise TableError(message) from error
    if (found := sha256(table).hexdigest()) != (expected := SHA256[name]):
        message = f"{name}: expected SHA-256 {expected!r}, found {found!r}"
        raise TableError(message)
    return table
