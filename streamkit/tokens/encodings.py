"""tiktoken's encodings, with their tables from an installed package or from the network."""

import hashlib
import threading
from typing import TYPE_CHECKING

from streamkit import plugins
from streamkit.errors import PluginError

if TYPE_CHECKING:
    import tiktoken

_lock = threading.Lock()


def load_encoding(name: str) -> "tiktoken.Encoding":
    """Load the encoding, with its table from an installed package (entry points `streamkit.encodings`) or as tiktoken does.

    tiktoken uses its cache folder, then the network. If both fail, this raises a `PluginError` that names the package to install.
    The first call takes some tenths of a second.
    """
    import tiktoken
    import tiktoken.load as loader
    from tiktoken.registry import ENCODINGS

    if name in ENCODINGS:
        return ENCODINGS[name]
    table = plugins.find("encodings", name)
    if table is None:
        try:
            return tiktoken.get_encoding(name)
        # Errors of tiktoken's download: those of requests are OSErrors, a wrong hash is a ValueError.
        except (OSError, ValueError) as error:
            raise PluginError(
                f"the table of {name} is not installed and could not be fetched: install the package streamkit-encodings"
            ) from error
    with _lock:
        own = loader.read_file_cached

        def installed(blobpath: str, expected_hash: str | None = None) -> bytes:
            return _checked(name, table(), expected_hash)

        loader.read_file_cached = installed
        try:
            return tiktoken.get_encoding(name)
        finally:
            loader.read_file_cached = own


def _checked(name: str, table: bytes, expected_hash: str | None) -> bytes:
    # tiktoken pins the SHA-256 of each table; that of a package must match.
    if expected_hash and (found := hashlib.sha256(table).hexdigest()) != expected_hash:
        raise PluginError(f"the installed table of {name} has SHA-256 {found}, expected {expected_hash}")
    return table
