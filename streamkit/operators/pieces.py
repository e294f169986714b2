"""Text in pieces that are good to read: words, lines, sentences, or by a rule of one's own.

A rule is asked with the text that waits, from the end of the last piece on, and says how many characters the next piece has,
or that it can't decide yet. Its result must not change when more text follows; then the pieces are the same for any cuts.
"""

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
from streamkit.events import Channel, Event, Finish, ReasoningDelta, RefusalDelta, StreamEnd, TextDelta
from streamkit.operators.each import check_number, choice_of
from streamkit.operators.language import Segmenter, check_language
from streamkit.operators.sentence import sentence_end

Rule: TypeAlias = Callable[[str], int | None]
# The same with a memory: how far this text was looked at, so that no part of it is looked at again and again.
_Finder: TypeAlias = Callable[[str, int], tuple[int | None, int]]
Delta: TypeAlias = TextDelta | ReasoningDelta | RefusalDelta
DELTAS: dict[Channel, type[Delta]] = {"content": TextDelta, "reasoning": ReasoningDelta, "refusal": RefusalDelta}
CHANNELS: dict[type, Channel] = {kind: channel for channel, kind in DELTAS.items()}
# Chinese and Japanese are written without spaces; there a character is as good as a word. (Unicode blocks: symbols and
# punctuation, kana, ideographs and their extensions, full-width forms)
_UNSPACED = "\u3000-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
_WORD = re.compile(rf"\s*(?:[{_UNSPACED}]|[^\s{_UNSPACED}]+(?:\s|(?=[{_UNSPACED}])))")


def _word_end(text: str, looked: int) -> tuple[int | None, int]:
    # Up to the first space after a word; a character of an alphabet without spaces is a word.
    found = _WORD.match(text)
    return (found.end() if found else None), 0


def _line_end(text: str, looked: int) -> tuple[int | None, int]:
    return text.find("\n", looked) + 1 or None, len(text)


_EXPECTED = "one of word, line, sentence, a regular expression or a function"
_RULES: dict[str, _Finder] = {"word": _word_end, "line": _line_end, "sentence": sentence_end}


@dataclass(repr=False)
class Smooth(ReadsAsWritten, Stage[Event, Event]):
    """Release text in pieces, `by`: `word`, `line`, `sentence`, each match of a regular expression with what stands before it, or
    by a function of the buffered text, which returns the length of the next piece or `None` while it can't decide.

    A match counts when a character follows it that is not part of it; an expression that looks further ahead may depend on
    the cuts. A piece has at most `max_held` characters. Each choice and channel has its pieces. Nothing is put in another
    order: any other event of a choice, or of none, first releases what waits before it, as the end does. So events that come
    with each delta, such as `Logprobs`, leave nothing to smooth: put `Select` before it. What leaves has no `raw`.
    """

    by: str | Rule = "word"
    max_held: int = 1000
    _texts: dict[tuple[int, Channel], str] = field(
        default_factory=dict[tuple[int, Channel], str], init=False, repr=False
    )

    def __post_init__(self) -> None:
        check_number("max_held", self.max_held)
        _finder(self.by)

    _looked: dict[tuple[int, Channel], int] = field(
        default_factory=dict[tuple[int, Channel], int], init=False, repr=False
    )

    @property
    def held(self) -> int:
        """Characters that wait for the rest of their piece."""
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
            else:
                yield from self._release(self.released_by(item))
                yield item

    def flush(self) -> Iterable[Event]:
        return self._release(self._waiting())

    def released_by(self, event: Event) -> list[tuple[int, Channel]]:
        """The texts that must leave before this event."""
        index = choice_of(event)
        return [key for key in self._waiting() if index is None or key[0] == index]

    def _waiting(self) -> list[tuple[int, Channel]]:
        return list(self._texts)

    def _text(self, delta: Delta) -> Iterable[Event]:
        index, channel = delta.index, CHANNELS[type(delta)]
        # Reasoning that still waits was before the answer.
        yield from self._release([key for key in self._waiting() if key[0] == index and key[1] != channel])
        for piece in self._pieces((index, channel), delta.text):
            yield DELTAS[channel](piece, index)

    def _pieces(self, key: tuple[int, Channel], added: str) -> Iterable[str]:
        find = _finder(self.by)
        text, at = self._texts.pop(key, "") + added, 0
        looked = self._looked.pop(key, 0)
        # The rule sees a window, so that neither an endless line nor a long delta costs more than its length. (Law 7)
        while window := text[at : at + self.max_held + 1]:
            found, looked = find(window, looked)
            if not found or found < 0:
                if len(window) <= self.max_held:
                    self._texts[key], self._looked[key] = window, looked
                    return
                found = self.max_held
            length = min(found, len(window), self.max_held)
            yield window[:length]
            at, looked = at + length, 0

    def _release(self, keys: list[tuple[int, Channel]]) -> Iterable[Event]:
        for index, channel in keys:
            self._looked.pop((index, channel), None)
            yield DELTAS[channel](self._texts.pop((index, channel)), index)


@dataclass(repr=False)
class Sentences(Smooth):
    """One `TextDelta` a sentence, of each choice and channel; all of them together are the text, spaces included.

    Sentence boundaries are found by `streamkit.operators.sentence`, which reads no language. With `language`, a code as `de`,
    `pt-BR` or `zh-Hans`, they follow the rules and abbreviations that the library sentencex has for it (`pip install
    'streamkit-llm[sentences]'`): a sentence is released when the word behind it is complete, or a quotation or bracket that is
    open is closed, and at the end of a line. Another code raises `PipelineError`, and so does a missing library.

    A sentence of more than `max_held` characters comes in parts. Unlike `Smooth`, it is not interrupted: events that are beside
    the text (`Usage`, `Logprobs`, notices, tool calls) pass at once, and may overtake the sentence that they came in. `Finish`
    and `StreamEnd` come after it.
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
        """Characters that wait for the rest of their sentence."""
        return super().held + sum(len(segmenter.text) for segmenter in self._segmenters.values())

    def released_by(self, event: Event) -> list[tuple[int, Channel]]:
        return super().released_by(event) if isinstance(event, Finish | StreamEnd) else []

    def _waiting(self) -> list[tuple[int, Channel]]:
        return [*super()._waiting(), *self._segmenters]

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
    """Join neighbouring deltas of one choice and channel, those of one burst: one event where one read brought many.

    Nothing waits. The text is the same for any cuts, its pieces follow the reads. What was joined has no `raw`.
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
        return _RULES[by] if by in _RULES else _matches(by)
    if not callable(by):
        raise PipelineError(f"expected {_EXPECTED}; found an object of type {type(by).__name__}")
    return lambda text, looked: (by(text), 0)


def _matches(expression: str) -> _Finder:
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise PipelineError(f"expected {_EXPECTED}; found {expression!r}: {error}") from error

    def find(text: str, looked: int) -> tuple[int | None, int]:
        # An empty match ends nothing; one at the end of the text may continue.
        ends = (found.end() for found in pattern.finditer(text) if found.start() < found.end() < len(text))
        return next(ends, None), 0

    return find


def bare(event: Event) -> Event:
    """The event without the chunk that it was taken from, which may hold text that waits or must not leave."""
    return msgspec.structs.replace(event, payload=None) if getattr(event, "payload", None) is not None else event


def _one(run: list[Delta]) -> Event:
    return run[0] if len(run) == 1 else type(run[0])("".join(delta.text for delta in run), run[0].index)
