"""Tokens of a text that is still growing, exact at every moment, and of a prompt.

An encoding cuts text into pieces by a pattern before it merges bytes within each piece, so that whatever lies before a place
where a piece ends for certain is counted once and for all; only the tail is encoded again.
"""

import hashlib
import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from streamkit import plugins
from streamkit.errors import PluginError

if TYPE_CHECKING:
    import tiktoken

FALLBACK = "o200k_base"
_KEEP = 256  # characters of tail below which looking for a place to cut would cost more than it saves
_lock = threading.Lock()


def encoding_name(model: str) -> tuple[str, bool]:
    """The encoding of a model, or of an encoding's own name, and whether that is known.

    The table is tiktoken's own. A model that it does not have gets the newest encoding as a stand-in, and `False`.
    """
    import tiktoken
    from tiktoken.model import encoding_name_for_model

    if model in tiktoken.list_encoding_names():
        return model, True
    try:
        return encoding_name_for_model(model), True
    except KeyError:
        return FALLBACK, False


def load_encoding(name: str) -> "tiktoken.Encoding":
    """The encoding, with its table from an installed package (entry points `streamkit.encodings`) or by tiktoken's own way.

    tiktoken's way is its cache folder, then the network. Where neither works, `PluginError` says what to install. Takes some
    tenths of a second the first time.
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
        # Whatever tiktoken's downloading raises: requests' errors are OSErrors, a bad hash is a ValueError.
        except (OSError, ValueError) as error:
            raise PluginError(
                f"the table of {name} is not installed and could not be fetched: pip install streamkit-encodings"
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
    # tiktoken pins the SHA-256 of each table; a package must bring exactly that.
    if expected_hash and (found := hashlib.sha256(table).hexdigest()) != expected_hash:
        raise PluginError(f"the installed table of {name} has SHA-256 {found}, expected {expected_hash}")
    return table


class RunningCount:
    """The number of tokens in all text fed so far: always `len(encoding.encode_ordinary(that text))`."""

    def __init__(self, encoding: "tiktoken.Encoding") -> None:
        self._encoding = encoding
        self._final = 0
        self._tail = ""
        self._news: list[str] = []
        self._waiting = 0
        self._try_at = _KEEP
        self._tail_tokens: int | None = 0

    def feed(self, text: str) -> None:
        """Take more text. It is encoded when the count is read, or when enough has gathered."""
        self._news.append(text)
        self._waiting += len(text)
        self._tail_tokens = None
        if self._waiting > _KEEP:
            self._settle()

    @property
    def tokens(self) -> int:
        """The count now."""
        if self._tail_tokens is None:
            self._settle()
            self._tail_tokens = len(self._encoding.encode_ordinary(self._tail))
        return self._final + self._tail_tokens

    def _settle(self) -> None:
        tail = self._tail + "".join(self._news)
        self._news.clear()
        self._waiting = 0
        cut = _before_a_space(tail)
        # Text without spaces (Chinese, one long word): ask the pattern itself, each time the tail has doubled.
        if not cut and len(tail) > self._try_at:
            cut = self._between_pieces(tail)
            self._try_at = max(_KEEP, 2 * (len(tail) - cut))
        if cut:
            self._final += len(self._encoding.encode_ordinary(tail[:cut]))
        self._tail = tail[cut:]

    def _between_pieces(self, tail: str) -> int:
        import regex

        # A piece is certain when what decided its end is there: the characters after it, as many as the longest contraction
        # ('ll) has, and after white space a character that is none. That is not enough in o200k, where a lower-case letter
        # joins all capitals before it to the Chinese or marks before those; so the piece after it must be certain too.
        # The part before a cut must itself not end in white space, for at the end of a text white space is cut otherwise.
        solid = len(tail.rstrip())
        limit = min(len(tail) - 4, solid - 1)
        best = before = 0
        for piece in regex.finditer(self._encoding._pat_str, tail):  # pyright: ignore[reportPrivateUsage] # no public name
            if piece.end() > limit:
                break
            if before and not tail[before - 1].isspace():
                best = before
            before = piece.end()
        return best


def _before_a_space(text: str) -> int:
    # In every pattern of OpenAI's encodings a space can only begin a piece, unless it follows other white space.
    end = len(text)
    while (at := text.rfind(" ", 1, end)) > 0:
        if not text[at - 1].isspace():
            return at
        end = at
    return 0


def prompt_tokens(messages: Iterable[Mapping[str, Any]], model: str) -> int:
    """Tokens that a list of chat messages costs as a prompt, by the rule of the models since June 2023.

    Three tokens a message, one more for a `name`, and three that prime the answer.
    (https://github.com/openai/openai-cookbook, How_to_count_tokens_with_tiktoken)
    """
    encoding = load_encoding(encoding_name(model)[0])
    total = 3
    for message in messages:
        total += 3 + ("name" in message)
        total += sum(len(encoding.encode_ordinary(value)) for value in message.values() if isinstance(value, str))
    return total
