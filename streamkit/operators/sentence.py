"""Sentence boundaries in a growing text, found as soon as the next sentence begins.

- `.`, `!`, `?` or `…`, several of them, and closing quotes and brackets, end a sentence when a space follows and the next
  word does not begin with a small letter.
- A full stop does not end it after one of the abbreviations below, capital letters with a full stop each ("J.", "U.S."), or a
  number at its beginning (of a list).
- `。`, `！`, `？` and `｡` end one without a space; closing quotes and brackets after them belong to it.
- The end of a line ends one: answers have headings, lists and verses.
- The spaces after a sentence belong to it, so that all sentences together are the text.

It reads no language: an abbreviation that is not listed ends a sentence where a name or a number follows ("Acme Inc. Paris"),
and one that is listed never does ("in the U.S. Then"). Thai, which marks no ends, comes in lines.
"""

import re

# Of titles, references and dates, in English and its neighbours, without their last full stop. None is a word by itself, or
# often the last of a sentence.
_ABBREVIATIONS = re.compile(
    "mr|mrs|ms|dr|prof|mt|st|gen|col|sgt|capt|lt|gov|hon|rev|messrs|mme|mlle|vs|cf|e[.]g|i[.]e|viz|approx|nos|vols?|pp|figs?|"
    "eqs?|sec|ch|dept|univ|jan|feb|apr|aug|sept|oct|nov|dec|bzw|z[.]b|d[.]h|nr|hr|fr|bspw|sra?"
)
_CLOSERS = "\"'”’»)\\]}*_"
_CJK_CLOSERS = "」』】〉》）”’"
# Possessive, and only from the first mark of several on, so that no run of marks is looked at more than once. (Law 7)
_END = re.compile(
    rf"(?P<cjk>(?<![。！？｡])[。！？｡]++[{_CJK_CLOSERS}]*+)|(?P<latin>(?<![.!?…])[.!?…]++[{_CLOSERS}]*+)(?=\s)|\n"
)
_MARKS = ".!?…\"'”’»)]}*_"
_INITIALS = re.compile(r"(?:[A-ZÀ-ÖØ-Þ]\.)*[A-ZÀ-ÖØ-Þ]")
_SPACES = re.compile(r"\s*")
_LAST_WORD = re.compile(r"[^\s(\[\"'“‘«*_]*\Z")


def sentence_end(text: str, looked: int = 0) -> tuple[int | None, int]:
    """The length of the first sentence of `text`, or `None` if that depends on more text; and how far the text was examined.

    `looked`: how far this text was examined before.
    """
    first = len(text) - len(text.lstrip())
    for found in _END.finditer(text, looked):
        next_word = _SPACES.match(text, found.end())
        begin = next_word.end() if next_word else found.end()
        if begin == len(text):
            return None, found.start()
        if found.start() > first and _ends(text, found, begin, first):
            return begin, begin
    # The space after a closing mark shows what the mark belongs to.
    return None, len(text.rstrip(_MARKS))


def _ends(text: str, found: "re.Match[str]", begin: int, first: int) -> bool:
    if found["latin"] is None or "\n" in text[found.end() : begin]:
        return True
    if text[begin].islower():
        return False
    return found["latin"] != "." or not _abbreviated(text, found.start(), first)


def _abbreviated(text: str, end: int, first: int) -> bool:
    # Only the end is looked at, since no such word is longer.
    found = _LAST_WORD.search(text, max(0, end - 32), end)
    word = found[0] if found else ""
    if word.isdecimal():
        return end - len(word) in (0, first)
    return bool(_INITIALS.fullmatch(word) or _ABBREVIATIONS.fullmatch(word.lower()))
