"""Split text into readable pieces: words, lines, sentences, or by a custom rule.

A rule is called with the buffered text after the last piece, and returns the length of the next piece, or `None` if it can't
decide yet. Its result must not change when more text follows; the pieces are then the same however the text is cut.
"""

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from streamkit.core.buffers import Buffer
from streamkit.core.engine import stage_name
from streamkit.core.naming import ReadsAsWritten
from streamkit.core.stage import Stage
from streamkit.errors import PipelineError
from streamkit.events import Channel, Event, Finish, ReasoningDelta, RefusalDelta, Reset, StreamEnd, TextDelta
from streamkit.operators.each import check_number, choice_of
from streamkit.operators.language import Segmenter, check_language
from streamkit.operators.sentence import sentence_end

Rule: TypeAlias = Callable[[str], int | None]
# A rule that also takes and returns the offset up to which the text was examined, so that no text is examined repeatedly.
_Finder: TypeAlias = Callable[[str, int], tuple[int | None, int]]
Delta: TypeAlias = TextDelta | ReasoningDelta | RefusalDelta
DELTAS: dict[Channel, type[Delta]] = {"content": TextDelta, "reasoning": ReasoningDelta, "refusal": RefusalDelta}
CHANNELS: dict[type, Channel] = {kind: channel for channel, kind in DELTAS.items()}
# Chinese and Japanese are written without spaces; each character counts as a word. (Unicode blocks: symbols and punctuation,
# kana, ideographs and their extensions, full-width forms)
_UNSPACED = "\u3000-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
_WORD = re.compile(rf"\s*(?:[{_UNSPACED}]|[^\s{_UNSPACED}]+(?:\s|(?=[{_UNSPACED}])))")


def _word_end(text: str, searched: int) -> tuple[int | None, int]:
    # Up to and including the first space after a word; a character of a script without spaces is a word.
    found = _WORD.match(text)
    return (found.end() if found else None), 0


def _line_end(text: str, searched: int) -> tuple[int | None, int]:
    return text.find("\n", searched) + 1 or None, len(text)


_EXPECTED = "one of word, line, sentence, a regular expression or a function"
_RULES: dict[str, _Finder] = {"word": _word_end, "line": _line_end, "sentence": sentence_end}


@dataclass(repr=False)
class Smooth(ReadsAsWritten, Stage[Event, Event]):
    """Release text in pieces.

    `by` is `word`, `line`, `sentence`, a regular expression, or a function. With an expression, a piece ends with each match; one
    of letters alone is written `(?:END)`, because a plain word is refused as an unknown name. A function is called with the
    buffered text, and returns the length of the next piece or `None` if it can't decide yet.

    A match counts when a character that is not part of it follows; with an expression that looks further ahead, the pieces may
    depend on how the text is cut. A piece has at most `max_held` characters. Each choice and channel is split separately. The
    order of events is kept: any other event of a choice, or of none, first releases the text buffered before it, and so does the
    end. Events that arrive with each delta, such as `Logprobs`, therefore prevent smoothing: remove them with `Select` before
    this stage. A `Reset` discards the buffered text. Emitted deltas have no `raw`.
    """

    by: str | Rule = "word"
    max_held: int = 1000
    _texts: dict[tuple[int, Channel], str] = field(
        default_factory=dict[tuple[int, Channel], str], init=False, repr=False
    )

    def __post_init__(self) -> None:
        check_number("max_held", self.max_held)
        _finder(self.by)

    _searched: dict[tuple[int, Channel], int] = field(
        default_factory=dict[tuple[int, Channel], int], init=False, repr=False
    )

    @property
    def held(self) -> int:
        """The number of buffered characters, which wait for the rest of their piece."""
        return sum(map(len, self._texts.values()))

    def buffers(self) -> Iterable[Buffer]:
        by = self.by if isinstance(self.by, str) and self.by in _RULES else "piece"
        return (Buffer(stage_name(self), self.held, "characters", f"the rest of the {by} has not arrived"),)

    def feed(self, item: Event) -> Iterable[Event]:
        return self.feed_all([item])

    def feed_all(self, items: list[Event]) -> Iterable[Event]:
        for item in items:
            if isinstance(item, Delta):
                yield from self._text(item)
            elif isinstance(item, Reset):
                self._discard()
                yield item
            else:
                yield from self._release(self.released_by(item))
                yield item

    def flush(self) -> Iterable[Event]:
        return self._release(self._waiting())

    def released_by(self, event: Event) -> list[tuple[int, Channel]]:
        """The texts to release before this event."""
        index = choice_of(event)
        return [key for key in self._waiting() if index is None or key[0] == index]

    def _waiting(self) -> list[tuple[int, Channel]]:
        return list(self._texts)

    def _discard(self) -> None:
        self._texts.clear()
        self._searched.clear()

    def _text(self, delta: Delta) -> Iterable[Event]:
        index, channel = delta.index, CHANNELS[type(delta)]
        # Text of another channel, such as reasoning, arrived before this delta and is released first.
        yield from self._release([key for key in self._waiting() if key[0] == index and key[1] != channel])
        for piece in self._pieces((index, channel), delta.text):
            yield DELTAS[channel](piece, index)

    def _pieces(self, key: tuple[int, Channel], added: str) -> Iterable[str]:
        find = _finder(self.by)
        text, at = self._texts.pop(key, "") + added, 0
        searched = self._searched.pop(key, 0)
        # The rule sees a window, so that the cost of a very long line or delta is linear in its length. (Law 7)
        while window := text[at : at + self.max_held + 1]:
            found, searched = find(window, searched)
            if not found or found < 0:
                if len(window) <= self.max_held:
                    self._texts[key], self._searched[key] = window, searched
                    return
                found = self.max_held
            length = min(found, len(window), self.max_held)
            yield window[:length]
            at, searched = at + length, 0

    def _release(self, keys: list[tuple[int, Channel]]) -> Iterable[Event]:
        for index, channel in keys:
            self._searched.pop((index, channel), None)
            yield DELTAS[channel](self._texts.pop((index, channel)), index)


@dataclass(repr=False)
class Sentences(Smooth):
    """Emit one delta per sentence, for each choice and channel. Joined, they are the whole text, including spaces.

    Sentence boundaries follow `streamkit.operators.sentence`, whose rules are independent of the language. With `language`, a
    code such as `de`, `pt-BR` or `zh-Hans`, they follow the rules and abbreviations of the library sentencex for that language
    (the extra `streamkit-llm[sentences]`): a sentence is released when the next word is complete, when an open quotation or
    bracket is closed, or at the end of a line. Raises `PipelineError` for any other code, and if the library is missing.

    A sentence of more than `max_held` characters is split. Unlike with `Smooth`, other events do not interrupt a sentence:
    events beside the text (`Usage`, `Logprobs`, notices, tool calls) pass through immediately, and may overtake the sentence in
    which they arrived. `Finish` and `StreamEnd` are emitted after it.
    """

    by: str | Rule = field(default="sentence", init=False, metadata={"state": False})
    max_held: int = 4000
    language: str | None = None
    _segmenters: dict[tuple[int, Channel], Segmenter] = field(
        default_factory=dict[tuple[int, Channel], Segmenter], init=False, repr=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.language is not None:
            check_language(self.language)

    @property
    def held(self) -> int:
        """The number of buffered characters, which wait for the rest of their sentence."""
        return super().held + sum(len(segmenter.text) for segmenter in self._segmenters.values())

    def released_by(self, event: Event) -> list[tuple[int, Channel]]:
        return super().released_by(event) if isinstance(event, Finish | StreamEnd) else []

    def _waiting(self) -> list[tuple[int, Channel]]:
        return [*super()._waiting(), *self._segmenters]

    def _discard(self) -> None:
        super()._discard()
        self._segmenters.clear()

    def _pieces(self, key: tuple[int, Channel], added: str) -> Iterable[str]:
        if self.language is None:
            return super()._pieces(key, added)
        segmenter = self._segmenters.setdefault(key, Segmenter())
        return segmenter.feed(added, check_language(self.language), self.max_held)

    def _release(self, keys: list[tuple[int, Channel]]) -> Iterable[Event]:
        if self.language is None:
            return super()._release(keys)
        code = check_language(self.language)
        return [
            DELTAS[channel](piece, index)
            for index, channel in keys
            for piece in self._segmenters.pop((index, channel)).flush(code)
        ]


@dataclass(repr=False)
class Coalesce(ReadsAsWritten, Stage[Event, Event]):
    """Join adjacent deltas of one choice and channel within a burst, so that one read gives one delta instead of many.

    Nothing is buffered. The text is the same however it is cut, but its pieces depend on the reads. Joined deltas have no `raw`.
    """

    def feed(self, item: Event) -> Iterable[Event]:
        return (item,)

    def feed_all(self, items: list[Event]) -> Iterable[Event]:
        joined: list[Event] = []
        run: list[Delta] = []
        for item in items:
            if run and (type(item) is not type(run[0]) or getattr(item, "index", None) != run[0].index):
                joined.append(_one(run))
                run = []
            if isinstance(item, Delta):
                run.append(item)
            else:
                joined.append(item)
        return [*joined, _one(run)] if run else joined


def _finder(by: str | Rule) -> _Finder:
    if isinstance(by, str):
        return _RULES[by] if by in _RULES else _matches(_expression(by))
    if not callable(by):
        raise PipelineError(f"expected {_EXPECTED}; found an object of type {type(by).__name__}")
    return lambda text, searched: (by(text), 0)


def _expression(by: str) -> str:
    # A single letter may separate pieces; a longer word was meant as a name.
    if len(by) > 1 and by.isascii() and by.isidentifier():
        near = difflib.get_close_matches(by.lower(), _RULES, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise PipelineError(f"expected {_EXPECTED} (a plain word as (?:…)); found {by!r}{hint}")
    return by


def _matches(expression: str) -> _Finder:
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise PipelineError(f"expected {_EXPECTED}; found {expression!r}: {error}") from error

    def find(text: str, searched: int) -> tuple[int | None, int]:
        # An empty match does not end a piece; a match at the end of the text may continue.
        ends = (found.end() for found in pattern.finditer(text) if found.start() < found.end() < len(text))
        return next(ends, None), 0

    return find


def bare(event: Event) -> Event:
    """The event without the provider's chunk, which may contain text that is still buffered or must not be released."""
    return msgspec.structs.replace(event, payload=None) if getattr(event, "payload", None) is not None else event


def _one(run: list[Delta]) -> Event:
    return run[0] if len(run) == 1 else type(run[0])("".join(delta.text for delta in run), run[0].index)
