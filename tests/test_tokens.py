"""Tokens: which encoding counts, where its table comes from, and what a prompt costs."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
import tiktoken
import tiktoken.load
import tiktoken.registry

from streamkit import Count, PluginError, TextDelta, plugins, prompt_tokens
from streamkit.tokens import RunningCount, encoding_name, load_encoding

COUNT_TO_100 = "Count to 100, with a comma between each number and no newlines. E.g., 1, 2, 3, ..."
Table = Callable[[], bytes]


@pytest.mark.parametrize(
    ("model", "name", "known"),
    [
        ("gpt-4o", "o200k_base", True),
        ("gpt-4o-mini-2024-07-18", "o200k_base", True),
        ("gpt-3.5-turbo", "cl100k_base", True),
        ("gpt-3.5-turbo-instruct", "cl100k_base", True),
        ("davinci-002", "cl100k_base", True),
        ("text-davinci-003", "p50k_base", True),
        ("cl100k_base", "cl100k_base", True),
        ("nobody-knows-1", "o200k_base", False),
        ("", "o200k_base", False),
    ],
)
def test_a_models_encoding_or_a_stand_in(model: str, name: str, known: bool) -> None:
    assert encoding_name(model) == (name, known)


def test_the_guides_count_to_100_has_300_tokens() -> None:
    """Also in two pieces, as it comes from a stream."""
    encoding, text = load_encoding("cl100k_base"), "\n\n" + ", ".join(str(number) for number in range(1, 101)) + "."
    count = RunningCount(encoding)
    count.feed(text[:100])
    count.feed(text[100:])

    assert count.tokens == len(encoding.encode_ordinary(text)) == 300


def test_the_guides_prompt_costs_36_tokens() -> None:
    assert prompt_tokens([{"role": "user", "content": COUNT_TO_100}], "gpt-3.5-turbo") == 36


@pytest.mark.parametrize(
    ("messages", "tokens"),
    [
        ([], 3),
        ([{"role": "user", "content": "Hello"}], 3 + 3 + 1 + 1),
        ([{"role": "user", "name": "Alice", "content": "Hello"}], 3 + 3 + 1 + 1 + 1 + 1),
        ([{"role": "user", "content": "Hello"}, {"role": "assistant", "content": None}], 3 + 3 + 1 + 1 + 3 + 1),
        ([{"role": "user", "content": "<|endoftext|>"}], 3 + 3 + 1 + 7),
    ],
    ids=["no message", "one", "a name", "no content", "what looks like a special token"],
)
def test_what_a_prompt_costs(messages: list[dict[str, object]], tokens: int) -> None:
    assert prompt_tokens(messages, "gpt-4") == tokens


def test_a_count_may_be_read_before_anything_was_fed() -> None:
    assert RunningCount(load_encoding("r50k_base")).tokens == 0


def test_long_text_is_not_encoded_again_and_again() -> None:
    """What was encoded in all is a small multiple of the text, though the count is read at every delta."""
    encoding, seen = load_encoding("cl100k_base"), list[int]()

    class Watched:
        _pat_str = encoding._pat_str

        def encode_ordinary(self, text: str) -> list[int]:
            seen.append(len(text))
            return encoding.encode_ordinary(text)

    count = RunningCount(Watched())  # type: ignore[arg-type]
    for _ in range(5000):
        count.feed(" word")
        count.tokens  # noqa: B018

    assert count.tokens == 5000
    assert sum(seen) < 4 * 5 * 5000


# Where the tables come from


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
        PluginError, match=r"^the table of r50k_base is not installed .*: pip install streamkit-encodings$"
    ):
        load_encoding("r50k_base")


@pytest.mark.usefixtures("nothing_loaded")
def test_a_stage_says_so_when_its_run_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, None)

    with pytest.raises(PluginError, match="pip install streamkit-encodings"):
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
