"""Finds the token tables that are on this machine, with which counting needs no network."""

import hashlib
import os
import tempfile
from pathlib import Path

from streamkit import plugins


def where_table(encoding: str) -> str | None:
    """Return where the table of an encoding is available offline: in a package or in tiktoken's cache; otherwise `None`."""
    # Encodings that differ only in their special tokens share a table.
    table = {"o200k_harmony": "o200k_base", "p50k_edit": "p50k_base"}.get(encoding, encoding)
    if plugins.find("encodings", table):
        return "installed"
    return "in tiktoken's cache" if _cached(table) else None


def _cached(table: str) -> bool:
    # Same lookup as tiktoken.load.read_file_cached: the folder from these variables, the file name from the URL's SHA-1.
    default = os.path.join(tempfile.gettempdir(), "data-gym-cache")
    folder = os.environ.get("TIKTOKEN_CACHE_DIR", os.environ.get("DATA_GYM_CACHE_DIR", default))
    address = f"https://openaipublic.blob.core.windows.net/encodings/{table}.tiktoken"
    return bool(folder) and Path(folder, hashlib.sha1(address.encode()).hexdigest()).is_file()
