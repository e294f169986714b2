"""Sentence boundaries in streamed text, found as soon as the next sentence begins.

- One or more of `.`, `!`, `?` and `…`, with closing quotes and brackets, end a sentence if a space follows and the next word does
  not begin with a lower-case letter.
- A full stop does not end a sentence after one of the abbreviations below, after capital letters with a full stop each ("J.",
  "U.S."), or after a number at the beginning of the sentence (a list item).
- `。`, `！`, `？` and `｡` end a sentence without a space; closing quotes and brackets after them belong to it.
- The end of a line ends a sentence, since answers have headings, lists and verses.
- The spaces after a sentence belong to it, so that the sentences joined are the text.

The rules are independent of the language: an abbreviation that is not listed ends a sentence if a name or a number follows ("Acme
Inc. Paris"), and a listed one never does ("in the U.S. Then"). Thai, which has no end marks, is split into lines.
"""

import re

# Abbreviations of titles, references and dates, in English and related languages, without the last full stop. None of them is
# also a word or often the last word of a sentence.
_ABBREVIATIONS = re.compile(
    "mr|mrs|ms|dr|prof|mt|st|gen|col|sgt|capt|lt|gov|hon|rev|messrs|mme|mlle|vs|cf|e[.]g|i[.]e|viz|approx|nos|vols?|pp|figs?|"
    "eqs?|sec|ch|dept|univ|jan|feb|apr|aug|sept|oct|nov|dec|bzw|z[.]b|d[.]h|nr|hr|fr|bspw|sra?"
)
_CLOSERS = "\"'”’»)\\]}*_"
_CJK_CLOSERS = "」』】〉》）”’"
# Possessive, and matching only at the first of several marks, so that a run of marks is read only once. (Law 7)
_END = re.compile(
    rf"(?P<cjk>(?<![。！？｡])[。！？｡]++[{_CJK_CLOSERS}]*+)|(?P<latin>(?<![.!?…])[.!?…]++[{_CLOSERS}]*+)(?=\s)|\n"
)
_MARKS = ".!?…\"'”’»)]}*_"
_INITIALS = re.compile(r"(?:[A-ZÀ-ÖØ-Þ]\.)*[A-ZÀ-ÖØ-Þ]")
_SPACES = re.compile(r"\s*")
_LAST_WORD = re.compile(r"[^\s(\[\"'“‘«*_]*\Z")


def sentence_end(text: str, searched: int = 0) -> tuple[int | None, int]:
    """The length of the first sentence of `text`, `None` if that depends on more text, and the offset up to which it was read.

    `searched`: the offset returned by the previous call for a prefix of this text.
    """
    first = len(text) - len(text.lstrip())
    for found in _END.finditer(text, searched):
        next_word = _SPACES.match(text, found.end())
        begin = next_word.end() if next_word else found.end()
        if begin == len(text):
            return None, found.start()
        if found.start() > first and _ends(text, found, begin, first):
            return begin, begin
    # The marks at the end are examined again, since the next character decides what they belong to.
    return None, len(text.rstrip(_MARKS))


def _ends(text: str, found: "re.Match[str]", begin: int, first: int) -> bool:
    if found["latin"] is None or "\n" in text[found.end() : begin]:
        return True
    if text[begin].islower():
        return False
    return found["latin"] != "." or not _abbreviated(text, found.start(), first)


def _abbreviated(text: str, end: int, first: int) -> bool:
    # Only the last 32 characters are searched, since no abbreviation is longer.
    found = _LAST_WORD.search(text, max(0, end - 32), end)
    word = found[0] if found else ""
    if word.isdecimal():
        return end - len(word) in (0, first)
    return bool(_INITIALS.fullmatch(word) or _ABBREVIATIONS.fullmatch(word.lower()))
