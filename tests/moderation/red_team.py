"""Attempts to get forbidden text past the rules, or to have harmless text taken for it: what is said, and what may be read.

`[…]` is what the rules release instead. Each verdict is the category and the place, in code points of the text as it came.
"""

from typing import Any, NamedTuple

from streamkit import Event, ReasoningDelta, RefusalDelta, Rule, TextDelta, ToolCallDelta
from streamkit.events import PartEnd, PartStart

Verdict = tuple[str, int, int]


class Attempt(NamedTuple):
    """One text of one channel."""

    name: str
    rules: tuple[Rule, ...]
    text: str
    released: str
    verdicts: tuple[Verdict, ...] = ()


def phrase(text: str, *normalize: str, **fields: Any) -> Rule:
    return Rule(**{"category": "x", "phrases": (text,), "replacement": "[…]", "normalize": normalize, **fields})


def pattern(source: str, *normalize: str, **fields: Any) -> Rule:
    return Rule(**{"category": "x", "patterns": (source,), "replacement": "[…]", "normalize": normalize, **fields})


def _same(name: str, rule: Rule, text: str) -> Attempt:
    return Attempt(name, (rule,), text, text)


SECRET = phrase("secret")
HIDDEN = phrase("secret", "nfkc", "accents", "look_alikes", "zero_width")
KEY = phrase("ключ", "nfkc", "zero_width")

UNICODE = [
    Attempt("plain", (SECRET,), "the Secret plan", "the […] plan", (("x", 4, 10),)),
    _same("a zero-width space, and a rule that does not ask", SECRET, "the se\u200bcret plan"),
    Attempt("a zero-width space", (HIDDEN,), "the se\u200bcret plan", "the […] plan", (("x", 4, 11),)),
    Attempt(
        "a zero-width joiner between all", (HIDDEN,), "s\u200de\u200dc\u200dr\u200de\u200dt!", "[…]!", (("x", 0, 11),)
    ),
    Attempt(
        "what is invisible after the last letter goes with it", (HIDDEN,), "secret\u200b\u200d.", "[…].", (("x", 0, 8),)
    ),
    Attempt("and before the first stays", (HIDDEN,), "\u200b\u2060secret", "\u200b\u2060[…]", (("x", 2, 8),)),
    Attempt("soft hyphens", (HIDDEN,), "se\u00adcr\u00adet", "[…]", (("x", 0, 8),)),
    Attempt("bidi marks", (HIDDEN,), "\u202ase\u200e\u200fcret\u202c", "\u202a[…]", (("x", 1, 10),)),
    Attempt("an override of direction", (HIDDEN,), "\u202dsec\u2068ret\u2069 ", "\u202d[…] ", (("x", 1, 9),)),
    _same("written backwards behind an override is another text", HIDDEN, "\u202eterces\u202c"),
    Attempt("variation selectors and tags", (HIDDEN,), "se\ufe0fcr\U000e0065et", "[…]", (("x", 0, 8),)),
    Attempt("a byte order mark", (HIDDEN,), "sec\ufeffret", "[…]", (("x", 0, 7),)),
    Attempt("fullwidth", (HIDDEN,), "ｓｅｃｒｅｔ", "[…]", (("x", 0, 6),)),
    Attempt("mathematical letters", (HIDDEN,), "𝐬𝑒𝓬𝔯𝕖𝚝", "[…]", (("x", 0, 6),)),
    Attempt("circled letters", (HIDDEN,), "ⓢⓔⓒⓡⓔⓣ", "[…]", (("x", 0, 6),)),
    Attempt("raised letters", (HIDDEN,), "ˢᵉᶜʳᵉᵗ", "[…]", (("x", 0, 6),)),
    Attempt("a ligature", (phrase("office", "nfkc"),), "my oﬃce!", "my […]!", (("x", 3, 7),)),
    Attempt("a ligature of which half belongs to the match", (phrase("of", "nfkc"),), "oﬃce", "[…]ce", (("x", 0, 2),)),
    Attempt("a long s with t", (phrase("stop", "nfkc"),), "ﬅop", "[…]", (("x", 0, 3),)),
    Attempt(
        "a mark on every letter", (HIDDEN,), "s\u0335e\u0335c\u0335r\u0335e\u0335t\u0335.", "[…].", (("x", 0, 12),)
    ),
    Attempt("a composed letter", (HIDDEN,), "sécrêt", "[…]", (("x", 0, 6),)),
    Attempt("a mark before the first letter stays", (HIDDEN,), " \u0301secret", " \u0301[…]", (("x", 2, 8),)),
    _same("a mark that makes another letter, where accents count", phrase("secret", "nfkc"), "secre\u0301t"),
    Attempt("Cyrillic for Latin", (HIDDEN,), "ѕесrеt", "[…]", (("x", 0, 6),)),
    Attempt("Greek and Armenian for Latin", (phrase("noun", "look_alikes"),), "ոουո", "[…]", (("x", 0, 4),)),
    Attempt("all at once", (HIDDEN,), "ｓ\u200bе\u0301𝐜r\u00adêｔ", "[…]", (("x", 0, 9),)),
    _same("a letter that looks like none of it", HIDDEN, "sеcrеd"),
    Attempt(
        "the dotted and the dotless i, as look-alikes",
        (phrase("kill", "accents", "look_alikes"),),
        "KİLL kıll",
        "[…] […]",
        (("x", 0, 4), ("x", 5, 9)),
    ),
    _same("a dotless i is another letter", phrase("kill"), "kıll"),
    Attempt("a dotted capital I lowers to itself", (phrase("İstanbul"),), "in İSTANBUL", "in […]", (("x", 3, 11),)),
    Attempt(
        "final sigma", (phrase("οδοσ"),), "ΟΔΟΣ οδος οδοσ", "[…] […] […]", (("x", 0, 4), ("x", 5, 9), ("x", 10, 14))
    ),
    Attempt("sharp s", (phrase("masse", "case"),), "MAẞE maße", "[…] […]", (("x", 0, 4), ("x", 5, 9))),
    _same("sharp s without full case folding", phrase("masse"), "maße"),
    Attempt("jamo", (phrase("한국", "nfkc"),), "\u1112\u1161\u11ab\u1100\u116e\u11a8!", "[…]!", (("x", 0, 6),)),
    _same("another final consonant is another syllable", phrase("하", "nfkc"), "\u1112\u1161\u11ab"),
    Attempt("halfwidth kana", (phrase("ガス", "nfkc"),), "ｶﾞｽ。", "[…]。", (("x", 0, 3),)),
    Attempt("Cyrillic with its own marks", (phrase("йод", "nfkc"),), "и\u0306од", "[…]", (("x", 0, 4),)),
    Attempt("a word of another alphabet, hidden", (KEY,), "кл\u200bюч", "[…]", (("x", 0, 5),)),
    Attempt("an emoji of several", (phrase("👩\u200d👧"),), "a 👩\u200d👧.", "a […].", (("x", 2, 5),)),
    Attempt(
        "part of an emoji of several", (phrase("👩"),), "👨\u200d👩\u200d👧", "👨\u200d[…]\u200d👧", (("x", 2, 3),)
    ),
    Attempt("an emoji with its joiners ignored", (phrase("👩👧", "zero_width"),), "👩\u200d👧", "[…]", (("x", 0, 3),)),
    Attempt("a flag is two letters", (phrase("🇩🇪"),), "🇫🇷🇩🇪🇫🇷", "🇫🇷[…]🇫🇷", (("x", 2, 4),)),
    _same("a color of skin is no part of a phrase without it", phrase("👍🏽"), "👍🏿 👍"),
    Attempt("leet", (phrase("secret", "leet"),), "53cr37", "[…]", (("x", 0, 6),)),
    Attempt(
        "other spaces",
        (phrase("blue heron", "nfkc"),),
        "blue\u00a0heron blue\u3000heron",
        "[…] […]",
        (("x", 0, 10), ("x", 11, 21)),
    ),
    _same(
        "more than one space, or the end of a line, is other text",
        phrase("blue heron", "nfkc"),
        "blue  heron blue\nheron",
    ),
    Attempt(
        "and a pattern may say so",
        (pattern(r"blue\s+heron"),),
        "blue  heron blue\nheron.",
        "[…] […].",
        (("x", 0, 11), ("x", 12, 22)),
    ),
    Attempt(
        "whole words with what is invisible",
        (phrase("secret", "zero_width", whole_words=True),),
        "secret\u200bs sec\u200bret.",
        "secret\u200bs […].",
        (("x", 9, 16),),
    ),
    _same("spaces between letters are other text", HIDDEN, "s e c r e t"),
]

SHAPES = [
    Attempt("at the start and at the end", (SECRET,), "secret and secret", "[…] and […]", (("x", 0, 6), ("x", 11, 17))),
    Attempt("all there is", (SECRET,), "secret", "[…]", (("x", 0, 6),)),
    Attempt("one after the other", (SECRET,), "secretsecret", "[…][…]", (("x", 0, 6), ("x", 6, 12))),
    Attempt("begun again and again", (SECRET,), "secrsecresecret", "secrsecre[…]", (("x", 9, 15),)),
    Attempt("a beginning at the end", (SECRET,), "top secre", "top secre"),
    Attempt("overlapping itself", (phrase("anana"),), "bananananas", "b[…]s", (("x", 1, 6), ("x", 6, 10))),
    Attempt("two that overlap, of which the first is only reported",
            (phrase("blue heron", category="a", action="annotate"), phrase("heron flies", category="b")),
            "a blue heron flies.", "a blue […].", (("a", 2, 12), ("b", 7, 18))),
    Attempt("one inside another, of which the inner is only reported",
            (phrase("heron", category="in", action="annotate"), phrase("blue heron 42", category="out")),
            "the blue heron 42 or heron", "the […] or heron", (("out", 4, 17), ("in", 9, 14), ("in", 21, 26))),
    Attempt("one inside another, of which the outer is only reported",
            (phrase("blue heron 42", category="out", action="annotate"), phrase("heron", category="in")),
            "the blue heron 42!", "the blue […] 42!", (("out", 4, 17), ("in", 9, 14))),
    Attempt("a chain of overlaps is one",
            (phrase("ab", category="a"), phrase("bc", category="b"), phrase("cd", category="c", replacement="?")),
            "xabcdx", "x[…]x", (("a", 1, 3), ("b", 3, 5))),
    Attempt("neighbours are two", (phrase("ab", category="a"), phrase("cd", category="b")), "abcd", "[…][…]",
            (("a", 0, 2), ("b", 2, 4))),
    Attempt("an exception around it", (SECRET, phrase("secret santa", action="allow")), "secret santa, secret",
            "secret santa, […]", (("x", 14, 20),)),
    Attempt("an exception that only touches it", (SECRET, phrase("top sec", action="allow")), "top secret", "top […]",
            (("x", 4, 10),)),
    Attempt("an exception that begins with it and is not completed", (SECRET, phrase("secret santa", action="allow")),
            "secret sant", "[…] sant", (("x", 0, 6),)),
    Attempt("an exception by a pattern", (pattern(r"\b\w+@\w+\.org\b"), pattern(r"help@\w+\.org", action="allow")),
            "help@a.org ann@a.org", "help@a.org […]", (("x", 11, 20),)),
    Attempt("two exceptions that only together cover it",
            (SECRET, phrase("sec", action="allow"), phrase("ret", action="allow")), "secret", "[…]", (("x", 0, 6),)),
    Attempt("what is released instead is not looked at again", (phrase("b", replacement=""),), "sebcret", "secret",
            (("x", 2, 3),)),
    Attempt("what is released instead makes no match with its neighbours",
            (phrase("heron", category="a", replacement="cr"), phrase("secret", category="b")), "se" "heron" "et", "secret",
            (("a", 2, 7),)),
    Attempt("what is released instead may hold a phrase", (SECRET, phrase("ABC", category="b", replacement="secret")),
            "an abc", "an secret", (("b", 3, 6),)),
    Attempt("the end by a block", (phrase("stop here", action="block", message="Over."),), "so stop here and go on",
            "so Over.", (("x", 3, 12),)),
    Attempt("the rest by one replacement", (phrase("stop here", action="replace"),), "so stop here and go on", "so […]",
            (("x", 3, 12),)),
    Attempt("after the end nothing is found", (phrase("a", action="block"), phrase("b", category="y")), "cab", "c",
            (("x", 1, 2),)),
    Attempt("whole words", (phrase("cat", whole_words=True),), "concat cats cat_ cat, 'cat'", "concat cats cat_ […], '[…]'",
            (("x", 17, 20), ("x", 23, 26))),
    Attempt("the longest that can still grow", (pattern(r"key=\w+"),), "a key=abc_1 key=é.", "a […] […].",
            (("x", 2, 11), ("x", 12, 17))),
    Attempt("lazy", (pattern(r"<.*?>"),), "a <b> <c <d>", "a […] […]", (("x", 2, 5), ("x", 6, 12))),
    Attempt("greedy, to the last there is", (pattern(r"<.*>"),), "a <b> <c>\n<", "a […]\n<", (("x", 2, 9),)),
    Attempt("with a look behind", (pattern(r"(?<=pin )\d{4}"),), "pin 1234, tin 1234", "pin […], tin 1234", (("x", 4, 8),)),
    Attempt("with a look ahead", (pattern(r"\d+(?= dollars)"),), "10 euros, 20 dollars", "10 euros, […] dollars",
            (("x", 10, 12),)),
    Attempt("of two ways the first", (pattern("ab|abc"),), "abc ab", "[…]c […]", (("x", 0, 2), ("x", 4, 6))),
    Attempt("the same again", (pattern(r"(\w)\1\1"),), "aab bbb", "aab […]", (("x", 4, 7),)),
    Attempt("the end of the line", (pattern(r"(?m)secret$"),), "secret.\nsecret\nsecret", "secret.\n[…]\n[…]",
            (("x", 8, 14), ("x", 15, 21))),
    Attempt("across lines", (pattern(r"BEGIN[\s\S]*?END"),), "a BEGIN\nx\r\nEND b", "a […] b", (("x", 2, 14),)),
    Attempt("a pattern, disguised", (pattern(r"\bcode \d{4}\b", "nfkc", "look_alikes", "zero_width"),),
            "соdе\u200b １２3\u00ad4!", "[…]!", (("x", 0, 11),)),
    Attempt("a detector, disguised", (Rule("x", detectors=("email",), replacement="[…]", normalize=("nfkc", "zero_width")),),
            "ann＠exa\u200bmple．org,", "[…],", (("x", 0, 16),)),
    Attempt("a detector beside a phrase", (phrase("gmail"), Rule("y", detectors=("email",), replacement="[e-mail]")),
            "ann@gmail.com gmail", "[e-mail] […]", (("y", 0, 13), ("x", 14, 19))),
]  # fmt: skip

HERON = phrase("blue heron")


class Scene(NamedTuple):
    """Several texts of one answer, and what is released of each, in the order in which they begin."""

    name: str
    rules: tuple[Rule, ...]
    events: tuple[Event, ...]
    released: dict[str, str]
    verdicts: tuple[Verdict, ...] = ()


def _call(arguments: str, tool_index: int = 0, name: str = "save") -> ToolCallDelta:
    return ToolCallDelta(tool_index, f"call_{tool_index}", name, arguments)


SCENES = [
    Scene("two choices do not join", (HERON,), (TextDelta("blue ", 0), TextDelta("heron", 1)),
          {"TextDelta 0": "blue ", "TextDelta 1": "heron"}),
    Scene("two choices by turns", (HERON,),
          (TextDelta("blue ", 0), TextDelta("heron blue", 1), TextDelta("heron", 0), TextDelta(" heron", 1)),
          {"TextDelta 0": "[…]", "TextDelta 1": "heron […]"}, (("x", 0, 10), ("x", 6, 16))),
    Scene("reasoning and content do not join", (HERON,), (ReasoningDelta("blue "), TextDelta("heron"), RefusalDelta("blue ")),
          {"ReasoningDelta 0": "blue ", "TextDelta 0": "heron", "RefusalDelta 0": "blue "}),
    Scene("content goes on after reasoning", (HERON,), (TextDelta("blue "), ReasoningDelta("hm"), TextDelta("heron")),
          {"TextDelta 0": "[…]", "ReasoningDelta 0": "hm"}, (("x", 0, 10),)),
    Scene("reasoning and a refusal are looked at too", (HERON,), (ReasoningDelta("a blue heron"), RefusalDelta("blue heron")),
          {"ReasoningDelta 0": "a […]", "RefusalDelta 0": "[…]"}, (("x", 2, 12), ("x", 0, 10))),
    Scene("text and a call do not join", (HERON,), (TextDelta("blue "), _call('{"a": "heron"}')),
          {"TextDelta 0": "blue ", "ToolCallDelta 0": '{"a": "heron"}'}),
    Scene("content goes on in its next part", (HERON,),
          (PartStart(0), TextDelta("a blue "), PartEnd(0), PartStart(1), TextDelta("heron."), PartEnd(1)),
          {"TextDelta 0": "a […]."}, (("x", 2, 12),)),
    Scene("content goes on after a call", (HERON,), (TextDelta("blue "), _call("{}"), TextDelta("heron")),
          {"TextDelta 0": "[…]", "ToolCallDelta 0": "{}"}, (("x", 0, 10),)),
    Scene("two calls do not join", (HERON,), (_call('{"a": "blue '), _call('{"a": "heron"}', 1), _call('"}')),
          {"ToolCallDelta 0": '{"a": "blue "}', "ToolCallDelta 1": '{"a": "heron"}'}),
    Scene("two strings of a call do not join", (HERON,), (_call('["blue ", "heron"]'),),
          {"ToolCallDelta 0": '["blue ", "heron"]'}),
    Scene("what stands between them belongs to the text", (pattern('blue ", "heron'),), (_call('["blue ", "heron", 1]'),),
          {"ToolCallDelta 0": '["[…]", "", 1]'.replace("…", "\\u2026")}, (("x", 2, 16),)),
    Scene("escapes of JSON", (HERON,), (_call(r'{"a": "\u0062lue\u0020heron", "b": "bl\u0075e \u0068eron\n"}'),),
          {"ToolCallDelta 0": r'{"a": "[\u2026]", "b": "[\u2026]\n"}'}, (("x", 7, 17), ("x", 26, 36))),
    Scene("escapes of halves", (phrase("😀!"),), (_call(r'{"a": "\ud83d\ude00!", "b": "\ud83d!"}'),),
          {"ToolCallDelta 0": r'{"a": "[\u2026]", "b": "\ud83d!"}'}, (("x", 7, 9),)),
    Scene("an escape twice over is another text", (HERON,), (_call(r'{"a": "\\u0062lue heron"}'),),
          {"ToolCallDelta 0": r'{"a": "\\u0062lue heron"}'}),
    Scene("a quote and a backslash in a phrase", (phrase('a"b\\c'),), (_call(r'{"a": "a\"b\\c"}'),),
          {"ToolCallDelta 0": r'{"a": "[\u2026]"}'}, (("x", 7, 12),)),
    Scene("a key, a number and a word", (phrase("heron"), phrase("42"), phrase("true")), (_call('{"heron": 42, "b": true}'),),
          {"ToolCallDelta 0": r'{"[\u2026]": "[\u2026]", "b": "[\u2026]"}'}, (("x", 2, 7), ("x", 10, 12), ("x", 19, 23))),
    Scene("a replacement that would break JSON", (phrase("heron", replacement='"}\n'),), (_call('{"a": "heron"}'),),
          {"ToolCallDelta 0": r'{"a": "\"}\n"}'}, (("x", 7, 12),)),
    Scene("arguments that are no JSON", (HERON,), (_call("{'a': 'blue heron', "),),
          {"ToolCallDelta 0": r'''{'a': "[\u2026]" "", '''}, (("x", 7, 17),)),
    Scene("a call that is blocked does not leave", (phrase("heron", action="block"),), (TextDelta("a"), _call('{"a": "heron"}')),
          {"TextDelta 0": "a"}, (("x", 7, 12),)),
    Scene("the name of a call", (HERON,), (_call('{"a": 1}', name="blue heron"),),
          {"ToolCallDelta 0": '{"a": 1}'}, (("x", 0, 10),)),
]  # fmt: skip
