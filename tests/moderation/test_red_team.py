"""A corpus of attempts to bring a forbidden text out, cut at every place, at every two, and at all."""

from itertools import combinations

import pytest

from streamkit import Rule
from tests.moderation.reading import Reading

DISGUISES = ("nfkc", "accents", "look_alikes", "zero_width")
WORD = Rule("word", phrases=("blue heron",), replacement="*")
HIDDEN = Rule("word", phrases=("blue heron",), replacement="*", normalize=DISGUISES)
LEET = Rule("word", phrases=("blue heron",), replacement="*", normalize=("leet", "zero_width"))
NESTED = Rule("word", phrases=("heron", "blue heron", "blue heron nest", "her"), replacement="*")
STRICT = (Rule("a", phrases=("blue her",), replacement="*"), Rule("b", phrases=("heron",), action="block"))
KEY = Rule("key", patterns=(r"\bkey-\d{3,5}\b",), replacement="*")
LONE = Rule("key", patterns=(r"(?<!\w)k.{0,3}y(?!\w)",), replacement="*")
ALLOW = (Rule("mail", detectors=("email",), replacement="*"), Rule("ours", phrases=("us@our.org",), action="allow"))

CORPUS: dict[str, tuple[tuple[Rule, ...], str, str]] = {
    "in the middle": ((WORD,), "a blue heron!", "a *!"),
    "all of the text": ((WORD,), "blue heron", "*"),
    "at the start and at the end": ((WORD,), "blue heron blue heron", "* *"),
    "two that touch": ((WORD,), "blue heronblue heron", "**"),
    "begun again": ((WORD,), "blue blue heron", "blue *"),
    "begun within itself": ((WORD,), "blue heblue heron", "blue he*"),
    "begun, and no more": ((WORD,), "a blue hero", "a blue hero"),
    "other case": ((WORD,), "BLUE hErOn", "*"),
    "one within another": ((NESTED,), "a blue heron nest, her", "a *, *"),
    "the longer does not come": ((NESTED,), "a blue heron nes", "a * nes"),
    "overlapping, and the stricter ends it": (STRICT, "a blue heron b", "a *"),
    "overlapping, and the stricter does not come": (STRICT, "a blue hero b", "a *o b"),
    "zero width": ((HIDDEN,), "b\u200bl\u200cu\u2060e\ufeff her\u00adon", "*"),
    "zero width around it": ((HIDDEN,), "\u200bblue heron\u200b.", "\u200b*."),
    "fullwidth": ((HIDDEN,), "ｂｌｕｅ ｈｅｒｏｎ", "*"),
    "mathematical letters": ((HIDDEN,), "𝐛𝐥𝐮𝐞 𝓱𝓮𝓻𝓸𝓷", "*"),
    "circled letters": ((HIDDEN,), "ⓑⓛⓤⓔ ⓗⓔⓡⓞⓝ", "*"),
    "a no-break space": ((HIDDEN,), "blue\u00a0heron", "*"),
    "marks on every letter": ((HIDDEN,), "b\u0336l\u0336u\u0336e\u0336 h\u0301e\u0323\u0301ron\u0336!", "*!"),
    "composed and not": ((HIDDEN,), "blüe hér\u0300on", "*"),
    "Cyrillic": ((HIDDEN,), "bluе hеrоn", "*"),
    "Cyrillic with marks": ((HIDDEN,), "blu\u0451 h\u0435\u0301r\u043en", "*"),
    "tag characters": ((HIDDEN,), "blue\U000e0041 her\U000e0020on", "*"),
    "leet": ((LEET,), "8|u3 h3r0n", "*"),
    "another word": ((HIDDEN,), "blue herring", "blue herring"),
    "an emoji beside it": ((HIDDEN,), "👩\u200d👧blue heron👩\u200d👧", "👩\u200d👧*👩\u200d👧"),
    "digits that may go on": ((KEY,), "key-1234, key-123456 key-12", "*, key-123456 key-12"),
    "a boundary that the next character denies": ((KEY,), "key-1234a xkey-1234", "key-1234a xkey-1234"),
    "a look behind and ahead": ((LONE,), "k12y ky_ kay", "* ky_ *"),
    "an exception": (ALLOW, "us@our.org, me@our.org", "us@our.org, *"),
    "more than the exception": (ALLOW, "us@our.org.uk", "*"),
    "half of the exception": (ALLOW, "bus@our.org", "*"),
}


@pytest.mark.parametrize(("rules", "text", "readable"), CORPUS.values(), ids=CORPUS)
def test_nothing_comes_out(rules: tuple[Rule, ...], text: str, readable: str) -> None:
    places = range(1, len(text))
    cuts = [(), *((place,) for place in places), *combinations(places, 2), tuple(places)]
    verdicts = set[tuple[tuple[int, int, str], ...]]()

    for cut in cuts:
        reading, out, found = Reading(rules), "", list[tuple[int, int, str]]()
        for start, end in zip((0, *cut), (*cut, len(text)), strict=True):
            parts = reading.feed(text[start:end], final=end == len(text))
            out += "".join(part.text for part in parts)
            found += [(part.start, part.end, part.rule.category) for part in parts if part.rule]
            assert readable.startswith(out), cut
        assert out == readable, cut
        verdicts.add(tuple(found))

    assert len(verdicts) == 1


def test_texts_of_two_choices_do_not_join() -> None:
    first, second = Reading((WORD,)), Reading((WORD,))

    out = [first.feed("blue "), second.feed("heron"), first.feed("", final=True), second.feed("", final=True)]

    assert [part.text for parts in out for part in parts] == ["heron", "blue "]
