"""Incremental token counts of a text that arrives in pieces, exact at any time.

An encoding splits text into pieces with a pattern and merges bytes within each piece. Text before a certain end of a piece is
counted once; only the tail is encoded again. A very long piece (a word without spaces, a row of dashes) is cut inside. The count
is still exact for these reasons:

- Merging is greedy by rank, from the left. A sequence of tokens is therefore the encoding of its bytes if and only if each pair
  of adjacent tokens is the encoding of its own bytes. (Within a pair the merges happen in the same order whatever surrounds it,
  as long as no merge crosses its outer ends; the first merge that crosses a boundary in the sequence would also cross it in the
  pair alone. https://github.com/github/rust-gems/tree/main/crates/bpe relies on the same fact.) So the two tokens next to a cut
  are enough to decide whether the tokens before it and after it belong together.
- The places where the pattern ends pieces depend only on the first characters of the text before the cut, and on its last
  characters of each kind that the pattern distinguishes; no pattern counts more than three. So a short substitute for the text
  before the cut, its `context`, is enough to find the end of the piece that contains the cut.

Both conditions are checked each time the count is read. If one fails, the cut is undone: cuts are a stack, and as many as
necessary are popped.
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

_SHORT = 16  # a tail of up to this many characters is encoded again instead of cut, which would cost two encodings
_KEEP = 256  # characters of new text above which it is processed even if the count is not read
_TRY = 128  # characters of tail above which a cut is searched for with the pattern, and inside a piece
_LEFT = 48  # characters that stay in the tail after a cut inside a piece
_LEFT_TOKENS = 3  # the same in tokens, since the last ones of a row of spaces may change; doubled after a failed cut
_MOST_LEFT_TOKENS = 48
_SLICE = 2048  # characters of new text processed at a time
_WINDOW = 1024  # bytes of a long piece merged at a time
_LONGEST = 4096  # characters passed to tiktoken's own pattern matching, whose stack overflows at 100,000 spaces (o200k)
_MOST_KNOWN = 8192
_KNOWN: "WeakKeyDictionary[tiktoken.Encoding, dict[str, int]]" = WeakKeyDictionary()
"""A cache of the token counts of short texts, by encoding, with at most `_MOST_KNOWN` texts of up to `_SHORT` characters."""
_CONTEXT = 512  # characters of context above which a cut is not made
_KINDS = (r"[\p{Lu}\p{Lt}]", r"\p{Ll}", r"[\p{Lm}\p{Lo}]", r"\p{M}", r"\p{N}", r"[\r\n]", " ", r"[^\S\r\n ]", "'", "/")
"""The kinds of characters that the patterns distinguish; all other characters are one more kind."""
_KIND = "|".join(f"({kind})" for kind in _KINDS)
_AMID = "|".join(f"(?<={kind}{kind}){kind}+(?={kind}{kind})" for kind in (*_KINDS, r"[^\s\p{L}\p{M}\p{N}'/]"))
"""A character with two characters of its kind before it and two after it."""


class _Cut(NamedTuple):
    # A cut inside a piece: the text since the previous cut, and the data to check whether the cut is still valid.
    text: str
    tokens: int
    last: bytes  # the token before the cut
    context: str
    ends: list[int]  # the ends of the pieces in the context


class RunningCount:
    """The number of tokens in all text fed so far: always `len(encoding.encode_ordinary(text))`.

    Reading it encodes at most the last few hundred characters, except when new text changes the pieces of a very long one (for
    example if a million spaces after a line end turn out to be an indentation); this costs once per such piece. Only the text of
    the last piece is stored.
    """

    def __init__(self, encoding: "tiktoken.Encoding") -> None:
        self._encoding = encoding
        self._known = _KNOWN.setdefault(encoding, {})
        self._final = 0
        self._cuts: list[_Cut] = []
        self._inside = 0
        self._spare = _LEFT_TOKENS
        self._tail = ""
        self._new: list[str] = []
        self._new_chars = 0
        self._try_at = _TRY
        self._tail_tokens: int | None = 0

    def feed(self, text: str) -> None:
        """Add more text. It is encoded when the count is read, or when enough text is buffered."""
        if self._tail_tokens and text[:1] == " " and not self._cuts and not self._tail[-1].isspace():
            # Fast path for the usual delta: it begins a piece, so the tokens before it, just counted, are final.
            self._final += self._tail_tokens
            self._tail = ""
        self._new.append(text)
        self._new_chars += len(text)
        self._tail_tokens = None
        if self._new_chars > _KEEP:
            self._settle()

    @property
    def tokens(self) -> int:
        """The current count."""
        if self._tail_tokens is None:
            if self._cuts or self._new_chars + len(self._tail) > _SHORT:
                self._settle()
                self._tail_tokens = len(self._encode_tail())
            else:
                new = self._new
                tail = self._tail + (new[0] if len(new) == 1 else "".join(new))
                new.clear()
                self._new_chars = 0
                if (at := tail.rfind(" ", 1)) > 0 and not tail[at - 1].isspace():
                    self._final += self._short(tail[:at])
                    tail = tail[at:]
                self._tail = tail
                self._tail_tokens = self._short(tail)
        return self._final + self._inside + self._tail_tokens

    def _short(self, text: str) -> int:
        # Words are repeated, so the counts are cached.
        if (tokens := self._known.get(text)) is None:
            if len(self._known) == _MOST_KNOWN:
                self._known.clear()
            tokens = self._known[text] = len(self._encoding.encode_ordinary(text))
        return tokens

    def fork(self) -> "RunningCount":
        """Return an independent copy of the running count."""
        fork = copy.copy(self)
        fork._cuts, fork._new = self._cuts.copy(), self._new.copy()
        return fork

    def state(self) -> dict[str, Any]:
        """Return the state as plain data, for a checkpoint."""
        text = "".join([*(cut.text for cut in self._cuts), self._tail, *self._new])
        # A delta may end with a lone surrogate, which JSON in UTF-8 can't represent.
        return {"final": self._final, "text": text.encode("utf-16-le", "surrogatepass").hex()}

    def restore(self, state: Any) -> None:
        """Restore from `state()`, on a fresh count of the same encoding."""
        self._final = state["final"]
        self.feed(bytes.fromhex(state["text"]).decode("utf-16-le", "surrogatepass"))

    # Cutting

    def _settle(self) -> None:
        new = "".join(self._new)
        self._new.clear()
        self._new_chars = 0
        for at in range(0, len(new), _SLICE):
            self._tail += new[at : at + _SLICE]
            self._shorten()

    def _shorten(self) -> None:
        cut = _before_a_space(self._tail)
        # Text without spaces (Chinese, one long word): use the pattern, each time the tail has grown enough.
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
                taken = self._undo(taken)
            tokens = self._encode(self._tail)
            if not self._cuts or self._belong(self._cuts[-1].last, tokens[0]):
                return tokens
            taken = self._undo(taken)
            self._spare = min(2 * self._spare, _MOST_LEFT_TOKENS)

    def _undo(self, cuts: int) -> int:
        # Returns how many cuts to undo the next time: an increasing number, since each check reads the whole tail.
        undone = self._cuts[-cuts:]
        del self._cuts[-cuts:]
        self._inside -= sum(cut.tokens for cut in undone)
        self._tail = "".join([*(cut.text for cut in undone), self._tail])
        return 4 * cuts

    def _is_inside(self, cut: _Cut) -> bool:
        # Whether the pieces before the cut end where they did, and the piece that contains the cut ends where the first piece
        # of the tail ends.
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
        # Encoded as one piece, without the pattern, which might split these two tokens elsewhere.
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
        # Places where both a token and a character end, from the back: the number of tokens and of characters before each.
        data = tail.encode()
        at, target = len(data), len(tail[:-_LEFT].encode())
        for position in range(len(tokens) - 1, 0, -1):
            at -= len(self._encoding.decode_single_token_bytes(tokens[position]))
            if at <= target and position <= len(tokens) - self._spare and data[at] & 0xC0 != 0x80:
                yield position, len(data[:at].decode())

    def _add(self, cut: _Cut) -> bool:
        tail, self._tail = self._tail, self._tail[len(cut.text) :]
        # The tokens on both sides belong together, since they are from one encoding.
        if len(cut.context) > _CONTEXT or not self._is_inside(cut):
            self._tail = tail
            return False
        self._cuts.append(cut)
        self._inside += cut.tokens
        return True

    def _between_pieces(self) -> int:
        # A piece is final when the text that decides its end has arrived: as many characters after it as the longest
        # contraction ('ll) has, and after white space a character that is not white space. In o200k this is not enough, since
        # a lower-case letter joins all capitals before it to the Chinese characters or marks before those; so the following
        # piece must be final too. The text before a cut must not end in white space, because white space at the end of a text
        # is split differently.
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
        # Encoded in windows: for a row of a million characters, tiktoken takes three times as long without them.
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
    # In all patterns of OpenAI's encodings a space can only begin a piece, unless it follows other white space.
    end = len(text)
    while (at := text.rfind(" ", 1, end)) > 0:
        if not text[at - 1].isspace():
            return at
        end = at
    return 0


def _is_whole(text: str) -> bool:
    # A lone surrogate (from a cut inside JSON's \ud83d\ude00) is left to tiktoken, which replaces it.
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _collapsed(text: str) -> str:
    # The first two characters and the last two of each kind, in order.
    text = _compiled(_AMID).sub("", text)
    seen, kept = Counter[int | None](), list[str]()
    for at in reversed(range(len(text))):
        match = _compiled(_KIND).match(text, at)
        kind = match.lastindex if match else None
        seen[kind] += 1
        if at < 2 or seen[kind] <= 2:
            kept.append(text[at])
    return "".join(reversed(kept))
