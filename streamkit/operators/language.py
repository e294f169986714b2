"""Sentence boundaries by the rules of a language, with the library sentencex (the extra `streamkit-llm[sentences]`).

sentencex segments complete texts; whether a full stop ends a sentence depends on the words after it. Here each end mark is
decided as soon as the next word is complete, and always with the same characters after it. The sentences are therefore the same
however the text is cut, with any version of the library.

- An open quotation or bracket is assumed to be closed later: no sentence ends inside it. At the end of the line this assumption
  is dropped.
- The end of a line ends a sentence, and a number or bullet at the start of a line belongs to the sentence. So lists and headings
  do not wait for the end of the paragraph.
- Emphasis marks (`**`, `_`) are removed for the library, which would treat them as words.
"""

import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import Any, cast

import msgspec

from streamkit.core.lazy import missing_extra
from streamkit.core.wrong_input import shown
from streamkit.errors import PipelineError

OWN_RULES = (
    "am, ar, bg, bn, ca, da, de, el, en, es, fi, fr, gu, hi, hy, it, ja, kk, kn, ml, mr, my, nl, pa, pl, "
    "pt, ru, sk, ta, te, uk"
)
"""Languages for which sentencex has rules or abbreviations. Others use those of a related language or of English."""
_CODES = {
    "a": "abefkmnrsvyz",
    "b": "aegimnors",
    "c": "aehorsuvy",
    "d": "aevz",
    "e": "elnostu",
    "f": "afijory",
    "g": "adlnuv",
    "h": "aeiortuyz",
    "i": "adegikostu",
    "j": "av",
    "k": "agijklmnorsuvwy",
    "l": "abginotuv",
    "m": "ghiklnrsty",
    "n": "abdeglnorvy",
    "o": "cjmrs",
    "p": "ailst",
    "q": "u",
    "r": "mnouw",
    "s": "acdegiklmnoqrstuvw",
    "t": "aeghiklnorstwy",
    "u": "gkrz",
    "v": "eio",
    "w": "ao",
    "x": "h",
    "y": "io",
    "z": "ahu",
}
"""The codes of ISO 639-1, by their first letter."""
_TAG = re.compile(r"([a-z]{2})(?:[-_][a-z0-9]{1,8})*", re.IGNORECASE)
# The next word, after spaces, marks and references ("[1]"), with the space that completes it. For a word that begins with a
# non-ASCII letter the first character is enough: the words that sentencex compares as a whole (initials, names of months, words
# that begin sentences) begin with an ASCII letter. After a full-width mark any character is enough.
_MARKS = r"(?:\[[0-9]+\]|\W)*+"
_CHARACTER = re.compile(rf"{_MARKS}(?!(?<=\[)[0-9]+(?:\]|\Z))\w")
_WORD = re.compile(rf"{_MARKS}\w\S*\s")
_WORD_OR_CHARACTER = re.compile(rf"{_MARKS}(?:[^\W\x00-\x7f]|\w\S*\s)")
_INSIDE = re.compile(r"\.[0-9a-z]")
_AHEAD = 40
"""The number of characters after a mark with which it is decided if no word is complete before. (sentencex reads 30 bytes.)"""
_CONTEXT = 200
"""The minimum number of characters before a mark with which it is decided."""
_SPACES = re.compile(r"\s*")
_LINE_START = re.compile(
    r"\s*(?:[-*+•◦▪]\s+|#{1,6}\s+|>\s*)*(?:\(?(?:\d{1,3}|[A-Za-z]|[ivx]{2,5}|[IVX]{2,5})[.)]{1,2}(?:\s+|(?=[^\W\x00-\x7f])))?"
)
_EMPHASIS = re.compile(r"\*+|(?<!\w)_+|_+(?!\w)")
_UNREADABLE = re.compile(r"[^\S\x00-\x7f]|[\ud800-\udfff]")
_FULL_WIDTH_MARKS = "。！？｡"
_BEHIND_FULL_WIDTH = re.compile(rf"([{_FULL_WIDTH_MARKS}][」』】〉》）”’\"]*+)([0-9a-z])")
_FULL_WIDTH = ord("０") - ord("0")
_DELIMITER = re.compile(r"``|''|[\"'`«»‘’‚“”„‹›《》「」()（）<>{}\[\]]")
_OPENERS, _CLOSERS = "([{<（", ")]}>）"
# The closing marks of each quotation mark; the first one is used to close an open quotation.
_QUOTES = {
    '"': ('"',),
    "“": ("”",),
    "„": ("“", "”"),
    "‘": ("’",),
    "‚": ("‘", "’", "‚"),
    "«": ("»",),
    "»": ("«",),
    "‹": ("›",),
    "›": ("‹",),
    "《": ("》",),
    "「": ("」",),
    "``": ("''", "``"),
    "''": ("''",),
    "`": ("'", "`"),
    "'": ("'",),
}
_ONLY_OPEN = "«‹“‘„‚《「"
_AMBIGUOUS = "'`"
"""Marks that are also apostrophes or code: they count as quotation marks only at the edges of words."""


def check_language(language: str) -> str:
    """The ISO 639-1 code of a language tag. Raises `PipelineError` for anything else, and if sentencex is not installed."""
    tag = _TAG.fullmatch(language) if isinstance(cast(object, language), str) else None
    code = tag[1].lower() if tag else "--"
    if code[1] not in _CODES.get(code[0], ""):
        raise PipelineError(
            "language: expected an ISO 639-1 code, alone or with a script or region, such as 'de' or 'pt-BR'; "
            f"found {shown(language)}. Languages with rules of their own: {OWN_RULES}; "
            "any other uses those of a related one, or the general ones"
        )
    _sentencex()
    return code


class _Progress(msgspec.Struct):
    """The progress of examining the first sentence of a text. All fields except `quote` are offsets in the text."""

    marks: int = 0
    decided: int = 0
    ahead: int = 0
    delimiters: int = 0
    quote: str = ""
    quote_at: int = 0
    bracket_at: int = -1
    context: int = 0
    next_context: int = 0

    @property
    def open_at(self) -> int | None:
        """The offset of the first open quotation or bracket; `None` if none is open."""
        opened = ([self.quote_at] if self.quote else []) + ([self.bracket_at] if self.bracket_at >= 0 else [])
        return min(opened, default=None)


class Segmenter(msgspec.Struct):
    """Splits one streamed text into sentences, each as soon as it is decided. Buffers at most `most` characters."""

    text: str = ""
    progress: _Progress = msgspec.field(default_factory=_Progress)

    def feed(self, text: str, language: str, most: int) -> list[str]:
        """Add text, and return the sentences that are complete. `language`: a code from `check_language`."""
        found: list[str] = []
        text, at = self.text + text, 0
        while lengths := self._complete(text[at : at + most + 1], language, most):
            self.progress = _Progress()
            for length in lengths:
                found.append(text[at : at + length])
                at += length
        self.text = text[at:]
        return found

    def flush(self, language: str) -> list[str]:
        """The sentences of the buffered text at its end."""
        text, self.text, self.progress = self.text, "", _Progress()
        found: list[str] = []
        while text:
            first = len(text) - len(text.lstrip())
            line = text.find("\n", first)
            for length in _lengths(text, line if line >= 0 else len(text), language):
                found.append(text[:length])
                text = text[length:]
        return found

    def _complete(self, window: str, language: str, most: int) -> list[int]:
        first = len(window) - len(window.lstrip())
        line = window.find("\n", first)
        stop = line if line >= 0 else len(window)
        if end := self._marked(window, stop, language):
            return [end]
        if line >= 0:
            lengths = _lengths(window, line, language)
            if sum(lengths) < len(window):
                return lengths
        if len(window) <= most:
            return []
        # The buffer is full: release the sentences so far, or else a part of one.
        lengths = _lengths(window[:most], min(stop, most), language)
        return lengths[:-1] or lengths

    def _marked(self, window: str, stop: int, language: str) -> int | None:
        """The length of the first sentence if the text after its end mark decides it; `None` otherwise."""
        terminators, progress = _terminators(), self.progress
        for mark in terminators.finditer(window, progress.marks, stop):
            ahead = _decided(window, mark, stop)
            if ahead is None:
                progress.marks = mark.start()
                return None
            progress.ahead = ahead = max(progress.ahead, ahead)
            _delimit(progress, window, ahead)
            opened = progress.open_at
            if not _joins(window, mark) and (opened is None or opened >= mark.end()):
                following = terminators.search(window, mark.end(), ahead)
                latest = following.start() if following else ahead
                begin = progress.context or _line_start(window, ahead)
                for end in _ends(window[begin:ahead], _closers(progress), language):
                    if max(progress.decided, begin) < begin + end <= latest and begin + end < ahead:
                        return _spaces_end(window, begin + end, ahead)
                # Text far before the mark does not matter and is skipped, so that the cost of many marks is linear.
                if mark.end() - progress.next_context > _CONTEXT:
                    progress.context, progress.next_context = progress.next_context, mark.end()
            progress.decided = mark.end()
        progress.marks = stop
        return None


def _lengths(text: str, stop: int, language: str) -> list[int]:
    """The lengths of all sentences up to `stop`, the end of a line or of the text, including the spaces after each."""
    begin = _line_start(text, stop)
    lengths: list[int] = []
    start = 0
    for end in [*(begin + end for end in _ends(text[begin:stop], "", language)), stop]:
        end = _spaces_end(text, end, len(text))
        # A number or bullet alone is not a sentence.
        if end > start and (end >= stop or _line_start(text, stop, start) < end):
            lengths.append(end - start)
            start = end
    return lengths


def _spaces_end(text: str, start: int, stop: int) -> int:
    found = _SPACES.match(text, start, stop)
    return found.end() if found else start


def _line_start(text: str, stop: int, start: int = 0) -> int:
    found = _LINE_START.match(text, start, stop)
    return found.end() if found else 0


def _joins(text: str, mark: "re.Match[str]") -> bool:
    """Whether the mark is part of the number or bullet at the start, or inside a word: "3.5", "example.com"."""
    return _line_start(text, mark.end() + 1) >= mark.end() or bool(_INSIDE.match(text, mark.start()))


def _decided(text: str, mark: "re.Match[str]", stop: int) -> int | None:
    """The length of the text that is needed to decide whether a sentence ends at the mark; `None` if more text is needed."""
    end = mark.end()
    if end == stop:
        return None
    if _joins(text, mark):
        return end
    if mark[0][-1] in _FULL_WIDTH_MARKS:
        next_word = _CHARACTER
    elif mark[0] == "." and text[end - 2 : end - 1].isdecimal() and not text[end].isspace():
        next_word = _WORD  # as in "7.Bg5", where the whole word matters
    else:
        next_word = _WORD_OR_CHARACTER
    if word := next_word.match(text, end, min(stop, end + _AHEAD)):
        return word.end()
    return end + _AHEAD if end + _AHEAD <= stop else None


def _ends(text: str, closers: str, language: str) -> Iterator[int]:
    """The ends of all sentences of the text except the last. `closers` are appended for sentencex and not part of the text."""
    hidden = [found.span() for found in _EMPHASIS.finditer(text)]
    plain = _EMPHASIS.sub("", text) if hidden else text
    end = 0
    for segment in _segments(plain + closers, language):
        end += len(segment)
        if end >= len(plain):
            return
        yield _shown(text, end, hidden)


def _shown(text: str, end: int, hidden: list[tuple[int, int]]) -> int:
    """Convert an offset in the text without emphasis marks to one in the original text."""
    closing = False
    for start, stop in hidden:
        if start > end:
            break
        if start == end:
            # Between two sentences: a closing mark belongs to the first one.
            return stop if closing and not text[end - 1].isspace() else end
        end += stop - start
        closing = not closing
    return end


def _segments(text: str, language: str) -> list[str]:
    segments: list[str]
    try:
        segments = _sentencex().segment(language, text if text.isascii() else _readable(text))
    except BaseException as error:
        # A Rust panic is not an Exception, and its message quotes the text.
        if type(error).__name__ != "PanicException":
            raise
        raise RuntimeError(f"sentencex failed (language {language!r}, {len(text)} characters)") from None
    return segments


def _readable(text: str) -> str:
    """The text with the characters replaced, one for one, for which sentencex fails or returns wrong results."""
    # It panics at some non-ASCII spaces and rejects lone surrogates, which JSON can contain.
    text = _UNREADABLE.sub(lambda found: " " if found[0].isspace() else "\ufffd", text)
    # It treats a digit or lower-case letter as a continuation, even after a full-width stop, which no space ever follows.
    return _BEHIND_FULL_WIDTH.sub(lambda found: found[1] + chr(ord(found[2]) + _FULL_WIDTH), text)


def _delimit(progress: _Progress, text: str, stop: int) -> None:
    """Record which quotation and which bracket are open at `stop`."""
    for found in _DELIMITER.finditer(text, progress.delimiters, stop):
        mark, at = found[0], found.start()
        if found.end() == stop:
            break  # the next character decides its role
        progress.delimiters = found.end()
        before, behind = text[at - 1 : at], text[found.end()]
        if mark in _CLOSERS:
            progress.bracket_at = -1
        elif mark in _OPENERS:
            if progress.bracket_at < 0 and _opens(mark, before, behind):
                progress.bracket_at = at
        elif progress.quote:
            if mark in _QUOTES[progress.quote] and (
                mark not in _AMBIGUOUS or not (before.isspace() or behind.isalnum())
            ):
                progress.quote = ""
        elif mark in _QUOTES and _opens(mark, before, behind):
            progress.quote, progress.quote_at = mark, at


def _closers(progress: _Progress) -> str:
    """The marks that close the open quotation and bracket, so that each counts as one."""
    # An ambiguous quotation mark closes only after a word, so a letter is inserted.
    ends = [(progress.quote_at, f"x{_QUOTES[progress.quote][0]}")] if progress.quote else []
    ends += [(progress.bracket_at, ")")] if progress.bracket_at >= 0 else []
    return "".join(closer for _, closer in sorted(ends, reverse=True))


def _opens(mark: str, before: str, behind: str) -> bool:
    if mark in _AMBIGUOUS or mark == "<":
        return behind.isalpha() and not before.isalnum()
    if mark in _ONLY_OPEN:
        return True
    # After a word a straight quotation mark closes, or means inches.
    return not behind.isspace() and not (mark == '"' and before.isalnum())


@cache
def _terminators() -> Any:
    """Characters that end sentences in any script: those of sentencex, and more for Greek, Armenian and Burmese."""
    import regex

    return regex.compile(r"[\p{SB=STerm}\p{SB=ATerm}…;:՜၏]++")


@cache
def _sentencex() -> Any:
    try:
        return import_module("sentencex")
    except ImportError as error:
        raise PipelineError(missing_extra("Sentences(language=…)", "sentencex", "sentences")) from error
