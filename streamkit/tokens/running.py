"""Tokens of a text that is still growing, exact at every moment.

An encoding cuts text into pieces by a pattern, and merges bytes within each piece. Whatever lies before a place where a piece
ends for certain is counted once and for all; only the tail is encoded again. A piece may be endless (a word without spaces,
a row of dashes), and is then cut inside. That is exact for these reasons:

- Merging is greedy by rank, from the left. So a row of tokens is the encoding of its bytes if and only if each two neighbours
  are the encoding of theirs. (Merges happen in one order within any two neighbours, whatever stands around them, as long
  as none crosses their outer ends; the first merge that crossed any boundary would cross it in a pair by itself too. The
  fact is also the ground of https://github.com/github/rust-gems/tree/main/crates/bpe.) Whether the tokens before a cut and
  those after it belong together is therefore known from the two tokens beside the cut.
- Where the pattern ends pieces depends on what stands before the cut by its first characters and the last ones of each kind
  that the pattern distinguishes, and no pattern counts further than three. So a short stand-in of the text before the cut,
  its `context`, shows where the piece ends that the cut lies in.

Both are checked each time the count is read. When one fails, the cut is taken back: cuts are a stack, and it is taken down
as far as needed.
"""

import copy
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    import tiktoken

_SHORT = 16  # characters of tail that are encoded again rather than cut, which costs two encodings
_KEEP = 256  # characters of news that are worth a look before anybody reads
_TRY = 128  # characters of tail above which a place to cut is looked for by pattern, and inside a piece
_LEFT = 48  # characters that a cut inside a piece leaves behind it, and
_LEFT_TOKENS = (
    3  # tokens, for the last ones of a row of spaces are its remainder and change; twice as many after each mistake
)
_MOST_LEFT_TOKENS = 48
_SLICE = 2048  # characters of news that are taken at a time
_WINDOW = 1024  # bytes of a long piece that are merged at a time
_LONGEST = 4096  # characters that tiktoken's own pattern matching is given: o200k overflows its stack at a row of 100,000 spaces
_MOST_KNOWN = 8192
_KNOWN: "WeakKeyDictionary[tiktoken.Encoding, dict[str, int]]" = WeakKeyDictionary()
"""The tokens of short texts, by encoding. None is longer than `_SHORT`, and there are at most `_MOST_KNOWN`."""
_CONTEXT = 512  # characters of context above which a cut is not worth it
_KINDS = (r"[\p{Lu}\p{Lt}]", r"\p{Ll}", r"[\p{Lm}\p{Lo}]", r"\p{M}", r"\p{N}", r"[\r\n]", " ", r"[^\S\r\n ]", "'", "/")
"""The kinds of characters that any of the patterns distinguishes; all others are one more."""
_KIND = "|".join(f"({kind})" for kind in _KINDS)
_AMID = "|".join(f"(?<={kind}{kind}){kind}+(?={kind}{kind})" for kind in (*_KINDS, r"[^\s\p{L}\p{M}\p{N}'/]"))
"""A character between two and two of its own kind."""


class _Cut(NamedTuple):
    # A cut inside a piece: what stands between it and the cut before, and what must hold for it to be one.
    text: str
    tokens: int
    last: bytes  # the token before it
    context: str
    ends: list[int]  # where the pieces in the context end


class RunningCount:
    """The number of tokens in all text fed so far: always `len(encoding.encode_ordinary(that text))`.

    Reading costs the encoding of the last few hundred characters at most, save where new text makes an endless piece another
    one (a million spaces after a line end turn out to be an indentation), once for each such piece. What is kept is
    the text of the last piece alone.
    """

    def __init__(self, encoding: "tiktoken.Encoding") -> None:
        self._encoding = encoding
        self._known = _KNOWN.setdefault(encoding, {})
        self._final = 0
        self._cuts: list[_Cut] = []
        self._inside = 0
        self._spare = _LEFT_TOKENS
        self._tail = ""
        self._news: list[str] = []
        self._waiting = 0
        self._try_at = _TRY
        self._tail_tokens: int | None = 0

    def feed(self, text: str) -> None:
        """Take more text. It is encoded when the count is read, or when enough has gathered."""
        if self._tail_tokens and text[:1] == " " and not self._cuts and not self._tail[-1].isspace():
            # The usual delta: it begins a piece, and the tokens before it, which were just counted, stay what they are.
            self._final += self._tail_tokens
            self._tail = ""
        self._news.append(text)
        self._waiting += len(text)
        self._tail_tokens = None
        if self._waiting > _KEEP:
            self._settle()

    @property
    def tokens(self) -> int:
        """The count now."""
        if self._tail_tokens is None:
            if self._cuts or self._waiting + len(self._tail) > _SHORT:
                self._settle()
                self._tail_tokens = len(self._encode_tail())
            else:
                news = self._news
                tail = self._tail + (news[0] if len(news) == 1 else "".join(news))
                news.clear()
                self._waiting = 0
                if (at := tail.rfind(" ", 1)) > 0 and not tail[at - 1].isspace():
                    self._final += self._short(tail[:at])
                    tail = tail[at:]
                self._tail = tail
                self._tail_tokens = self._short(tail)
        return self._final + self._inside + self._tail_tokens

    def _short(self, text: str) -> int:
        # Words come again and again.
        if (tokens := self._known.get(text)) is None:
            if len(self._known) == _MOST_KNOWN:
                self._known.clear()
            tokens = self._known[text] = len(self._encoding.encode_ordinary(text))
        return tokens

    def fork(self) -> "RunningCount":
        """Return an independent copy of the running count."""
        fork = copy.copy(self)
        fork._cuts, fork._news = self._cuts.copy(), self._news.copy()
        return fork

    def state(self) -> dict[str, Any]:
        """Return the state as plain data, for a checkpoint."""
        text = "".join([*(cut.text for cut in self._cuts), self._tail, *self._news])
        # JSON in UTF-8 has no place for half a character, which a delta may end with.
        return {"final": self._final, "text": text.encode("utf-16-le", "surrogatepass").hex()}

    def restore(self, state: Any) -> None:
        """Restore from `state()`, on a fresh count of the same encoding."""
        self._final = state["final"]
        self.feed(bytes.fromhex(state["text"]).decode("utf-16-le", "surrogatepass"))

    # Cutting

    def _settle(self) -> None:
        news = "".join(self._news)
        self._news.clear()
        self._waiting = 0
        for at in range(0, len(news), _SLICE):
            self._tail += news[at : at + _SLICE]
            self._shorten()

    def _shorten(self) -> None:
        cut = _before_a_space(self._tail)
        # Text without spaces (Chinese, one long word): ask the pattern itself, each time the tail has grown enough.
        if not cut and len(self._tail) > self._try_at:
            cut = self._between_pieces()
            done = bool(cut) or (_is_whole(self._tail) and self._cut_inside())
            left = len(self._tail) - cut
            self._try_at = left + _TRY if done else 2 * left
        if cut:
            self._finish(cut)

    def _finish(self, cut: int) -> None:
        rest = self._tail[cut:]
        self._tail = self._tail[:cut]
        tokens = self._encode_tail()
        self._final += self._inside + len(tokens)
        self._cuts.clear()
        self._inside, self._spare = 0, _LEFT_TOKENS
        self._tail = rest

    def _encode_tail(self) -> list[int]:
        taken = 1
        while True:
            while self._cuts and not self._is_inside(self._cuts[-1]):
                taken = self._take_back(taken)
            tokens = self._encode(self._tail)
            if not self._cuts or self._belong(self._cuts[-1].last, tokens[0]):
                return tokens
            taken = self._take_back(taken)
            self._spare = min(2 * self._spare, _MOST_LEFT_TOKENS)

    def _take_back(self, cuts: int) -> int:
        # And how many to take back the next time: more and more, for each costs a look at the whole tail.
        undone = self._cuts[-cuts:]
        del self._cuts[-cuts:]
        self._inside -= sum(cut.tokens for cut in undone)
        self._tail = "".join([*(cut.text for cut in undone), self._tail])
        return 4 * cuts

    def _is_inside(self, cut: _Cut) -> bool:
        # Whether the pieces up to the cut end where they did, and the one that it lies in where the tail's first one ends.
        ends, at = list[int](), 0
        for piece in self._pattern.finditer(cut.context + self._tail):
            at = piece.end()
            if at > len(cut.context):
                break
            ends.append(at)
        first = self._pattern.match(self._tail)
        return bool(first and ends == cut.ends and at == len(cut.context) + first.end())

    def _belong(self, last: bytes, token: int) -> bool:
        following = self._encoding.decode_single_token_bytes(token)
        # As one piece: without the pattern, which may cut elsewhere between the two.
        joined = self._piece(last + following)
        return len(joined) == 2 and joined[1] == token

    def _cut_inside(self) -> bool:
        tokens = self._encode_tail()
        tail, context = self._tail, self._cuts[-1].context if self._cuts else ""
        pieces = [piece.span() for piece in self._pattern.finditer(context + tail)]
        for position, place in self._boundaries(tail, tokens):
            cut = len(context) + place
            start = next(start for start, end in pieces if start <= cut < end)
            if start < cut:
                last = self._encoding.decode_single_token_bytes(tokens[position - 1])
                heads = [_collapsed((context + tail)[start : min(end, cut)]) for start, end in pieces if start < cut]
                ends = [*accumulate(map(len, heads))][:-1]
                return self._add(_Cut(tail[:place], position, last, "".join(heads), ends))
        return False

    def _boundaries(self, tail: str, tokens: list[int]) -> Iterator[tuple[int, int]]:
        # Places where a token and a character end, from the back: how many tokens are before it, and characters.
        data = tail.encode()
        at, target = len(data), len(tail[:-_LEFT].encode())
        for position in range(len(tokens) - 1, 0, -1):
            at -= len(self._encoding.decode_single_token_bytes(tokens[position]))
            if at <= target and position <= len(tokens) - self._spare and data[at] & 0xC0 != 0x80:
                yield position, len(data[:at].decode())

    def _add(self, cut: _Cut) -> bool:
        tail, self._tail = self._tail, self._tail[len(cut.text) :]
        # That the tokens belong together is known, for they come from one encoding.
        if len(cut.context) > _CONTEXT or not self._is_inside(cut):
            self._tail = tail
            return False
        self._cuts.append(cut)
        self._inside += cut.tokens
        return True

    def _between_pieces(self) -> int:
        # A piece is certain when what decided its end is there: the characters after it, as many as the longest contraction
        # ('ll) has, and after white space a character that is none. That is not enough in o200k, where a lower-case letter
        # joins all capitals before it to the Chinese or marks before those; so the piece after it must be certain too.
        # The part before a cut must itself not end in white space, for at the end of a text white space is cut otherwise.
        context = self._cuts[-1].context if self._cuts else ""
        text = context + self._tail
        limit = min(len(text) - 4, len(text.rstrip()) - 1)
        best = before = 0
        for piece in self._pattern.finditer(text):
            if piece.end() > limit:
                break
            if before > len(context) and not text[before - 1].isspace():
                best = before - len(context)
            before = piece.end()
        return best

    # The encoding

    @property
    def _pattern(self) -> Any:
        return _compiled(self._encoding._pat_str)  # pyright: ignore[reportPrivateUsage] # no public name

    def _encode(self, text: str) -> list[int]:
        if len(text) <= _LONGEST or not _is_whole(text):
            return self._encoding.encode_ordinary(text)
        pieces = (piece.group().encode() for piece in self._pattern.finditer(text))
        return [token for piece in pieces for token in self._long_piece(piece)]

    def _long_piece(self, piece: bytes) -> list[int]:
        # In windows: at once a row of a million characters takes tiktoken three times as long.
        tokens, at = list[int](), 0
        while at < len(piece):
            found = self._piece(piece[at : at + _WINDOW])
            if tokens and not self._belong(self._encoding.decode_single_token_bytes(tokens[-1]), found[0]):
                return self._piece(piece)
            if at + _WINDOW < len(piece):
                found = found[:-_LEFT_TOKENS]
            tokens += found
            at += sum(len(self._encoding.decode_single_token_bytes(token)) for token in found)
        return tokens

    def _piece(self, piece: bytes) -> list[int]:
        encode = cast(Any, self._encoding)._encode_single_piece  # It has no public name.
        return cast(list[int], encode(piece))


@cache
def _compiled(pattern: str) -> Any:
    import regex

    return regex.compile(pattern)


def _before_a_space(text: str) -> int:
    # In every pattern of OpenAI's encodings a space can only begin a piece, unless it follows other white space.
    end = len(text)
    while (at := text.rfind(" ", 1, end)) > 0:
        if not text[at - 1].isspace():
            return at
        end = at
    return 0


def _is_whole(text: str) -> bool:
    # Half a character (a lone surrogate, from a cut in JSON's \ud83d\ude00) is for tiktoken to replace.
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _collapsed(text: str) -> str:
    # The first two characters, and the last two of each kind, in their order.
    text = _compiled(_AMID).sub("", text)
    seen, kept = Counter[int | None](), list[str]()
    for at in reversed(range(len(text))):
        match = _compiled(_KIND).match(text, at)
        kind = match.lastindex if match else None
        seen[kind] += 1
        if at < 2 or seen[kind] <= 2:
            kept.append(text[at])
    return "".join(reversed(kept))
