"""Chunking: text that is still arriving, split into the windows that a classifier receives.

Where a window ends depends on the text alone, however that is split, so that the same text gives the same windows. (Law 2)
Time is the exception, and only if it is configured.
"""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import regex

from streamkit.core.options import NamedOptions
from streamkit.errors import PipelineError
from streamkit.events import Channel

_CLOSING = r"""["'”’»)\]}*_」』）]{0,4}"""
_SENTENCE_END = regex.compile(
    rf"""
    [.!?…] {_CLOSING} \s                                   # so that neither 3.14 nor a name with a dot in it is an end
    | [。！？｡]    {_CLOSING} (?![。！？｡"'”’»)\]}}*_」』）]) (?=[\s\S])   # no space follows in these scripts
    | \n
    """,
    regex.VERBOSE,
)
_LOOK_BACK = 8
"""Characters before the end of the text in which an end of a sentence may begin that is not complete."""
_WORD = regex.compile(r"\s{24}|\s{0,23}(?:\S{24}|\S+(?=\s))")
"""Unit of token counting: a word with the space before it, or part of a long word, complete when the next character arrives."""
_ZWJ = "\u200d"
_REGIONAL = "".join(map(chr, range(0x1F1E6, 0x1F200)))
_PART = 256


class Window(msgspec.Struct, frozen=True):
    """A piece of one channel of one choice, to be classified. `context` is the text before it, which was classified already.

    `text` begins at `start` in the channel's whole text. Its representation does not contain the text.
    """

    id: int
    """Counts windows of a stream, from 0."""
    text: str
    context: str = ""
    start: int = 0
    channel: Channel = "content"
    """The channel of the text."""
    index: int = 0
    """The choice's number."""

    @property
    def end(self) -> int:
        """Where it ends in the channel's text."""
        return self.start + len(self.text)

    def __repr__(self) -> str:
        return f"<window {self.id}: {self.channel} of choice {self.index}, {self.start} to {self.end}>"


@dataclass(frozen=True)
class Windows(NamedOptions):
    """How text is split into windows. Of several limits the one that is reached first ends the window.

    `sentences`: after so many. `tokens`: after the word with which `count` (by default a token for each four characters)
    reaches so many. `seconds`: when the first character has been buffered for so long, by the source's clock. `chars`: a
    window is never longer; it ends after white space if there is any in its second half, and never inside a character that
    is made of several code points. The end of the text, of its channel or its choice ends a window too.

    `overlap`: so many characters before the window are passed to the classifier as its context.
    """

    sentences: int | None = None
    chars: int = 2000
    tokens: int | None = None
    seconds: float | None = None
    overlap: int = 0
    count: Callable[[str], int] | None = None

    def __post_init__(self) -> None:
        for name in ("sentences", "chars", "tokens"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise PipelineError(f"windows: expected {name} of 1 or more, found {value}")
        if self.overlap < 0:
            raise PipelineError(f"windows: expected an overlap of 0 or more, found {self.overlap}")
        if self.seconds is not None and self.seconds < 0:
            raise PipelineError(f"windows: expected seconds of 0 or more, found {self.seconds}")

    def tokens_of(self, text: str) -> int:
        """Tokens of `text`, by `count` or by its length."""
        return self.count(text) if self.count else -(-len(text) // 4)


class Chunker:
    """One text under one policy: returns the windows that are complete, and keeps the beginning of the next."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self.text = ""
        """The window that is not complete yet."""
        self._begin()

    def _begin(self) -> None:
        self._scanned = 0  # up to where ends of sentences were looked for
        self._sentences = 0
        self._blank = 0  # up to where there is nothing but white space
        self._says = False  # whether there is anything else after that
        self._counted = 0  # up to where words were counted
        self._tokens = 0

    def feed(self, text: str, *, final: bool = False) -> list[str]:
        """Take more text and return the windows that it completes. With `final` the rest is one too."""
        found: list[str] = []
        # In parts, so that the rest of a long text is not scanned again for each of its windows. (Law 7)
        for at in range(0, len(text), _PART):
            self.text += text[at : at + _PART]
            while (end := self._end()) is not None:
                found.append(self.text[:end])
                self.text = self.text[end:]
                self._begin()
        if final and self.text:
            found.append(self.text)
            self.text = ""
            self._begin()
        return found

    def state(self) -> Any:
        """Return the state as JSON-compatible data, for a checkpoint. Counts are recomputed after a restore."""
        return self.text

    def restore(self, state: Any) -> None:
        """Continue from `state`."""
        self.text = state
        self._begin()

    def _end(self) -> int | None:
        # Every end is certain with the character behind it at the latest, so that the first one of all is found first.
        most = self._windows.chars
        ends = [end for end in (self._sentence_end(), self._token_end()) if end is not None and end <= most]
        if ends:
            return min(ends)
        return _bound(self.text, most) if len(self.text) > most else None

    def _sentence_end(self) -> int | None:
        if self._windows.sentences is None:
            return None
        while found := _SENTENCE_END.search(self.text, self._scanned):
            self._scanned = int(found.end())
            # A line without anything is no sentence.
            if self._says_something(self._scanned):
                self._sentences += 1
                if self._sentences >= self._windows.sentences:
                    return self._scanned
        self._scanned = max(self._scanned, len(self.text) - _LOOK_BACK)
        return None

    def _says_something(self, until: int) -> bool:
        if not self._says:
            self._says, self._blank = not self.text[self._blank : until].isspace(), until
        return self._says

    def _token_end(self) -> int | None:
        if self._windows.tokens is None:
            return None
        while found := _WORD.match(self.text, self._counted):
            self._counted = int(found.end())
            self._tokens += self._windows.tokens_of(found[0])
            if self._tokens >= self._windows.tokens:
                return self._counted
        return None


def _bound(text: str, most: int) -> int:
    for end in range(most, most // 2, -1):
        if text[end - 1].isspace():
            return end
    for end in range(most, 0, -1):
        if not _joined(text, end):
            return end
    return most


def _joined(text: str, at: int) -> bool:
    """Whether a cut before `at` would fall inside one character as readers see it. (UAX 29, the rules that matter here)"""
    here, before = text[at], text[at - 1]
    if before == _ZWJ or here == _ZWJ or unicodedata.category(here) in ("Mn", "Me", "Mc"):
        return True
    if "\U0001f3fb" <= here <= "\U0001f3ff" or (before == "\r" and here == "\n"):
        return True
    if here in _REGIONAL:
        # Flags are pairs of letters: an odd number of them before is half a flag.
        return (at - len(text[:at].rstrip(_REGIONAL))) % 2 == 1
    return False
