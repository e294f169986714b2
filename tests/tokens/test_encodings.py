"""Encodings: where their tables come from."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
import tiktoken
import tiktoken.load
import tiktoken.registry

from streamkit import Count, TextDelta, plugins
from streamkit.errors import PluginError
from streamkit.tokens import load_encoding

Table = Callable[[], bytes]


@pytest.fixture
def nothing_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a new process: no encoding in memory, none in the cache, and no network."""

    def no_network(_path: str) -> bytes:
        raise OSError("no network")

    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    monkeypatch.setattr(tiktoken.load, "read_file", no_network)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))


def install(monkeypatch: pytest.MonkeyPatch, table: Table | None) -> None:
    """Make this what an installed package offers under every name."""

    def find(group: str, name: str) -> Table | None:
        assert group == "encodings"
        return table

    monkeypatch.setattr(plugins, "find", find)


@pytest.mark.usefixtures("nothing_loaded")
def test_an_installed_table_needs_no_network() -> None:
    assert load_encoding("r50k_base").encode_ordinary("hello world") == [31373, 995]


@pytest.mark.usefixtures("nothing_loaded")
def test_without_a_table_and_network_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, None)

    with pytest.raises(
        PluginError, match=r"^the table of r50k_base is not installed .*: install the package streamkit-encodings$"
    ):
        load_encoding("r50k_base")


@pytest.mark.usefixtures("nothing_loaded")
def test_a_stage_says_so_when_its_run_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, None)

    with pytest.raises(PluginError, match="install the package streamkit-encodings"):
        Count("gpt-4o").run([TextDelta("a")])


@pytest.mark.usefixtures("nothing_loaded")
def test_a_table_with_another_hash_is_refused_and_the_right_one_is_taken_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        install(patched, lambda: b"another")
        found = sha256(b"another").hexdigest()
        with pytest.raises(PluginError, match=f"^the installed table of r50k_base has SHA-256 {found}, expected 306c"):
            load_encoding("r50k_base")

    assert load_encoding("r50k_base").encode_ordinary("hello world") == [31373, 995]


@pytest.mark.usefixtures("nothing_loaded")
def test_tiktokens_own_reading_is_as_it_was_after_loading() -> None:
    own = tiktoken.load.read_file_cached

    load_encoding("r50k_base")

    assert tiktoken.load.read_file_cached is own
