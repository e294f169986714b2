"""Matches and non-matches of the built-in detectors. Keys are assembled here, so that no file contains one."""

import base64
import json
import random
from dataclasses import replace
from itertools import pairwise
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit import Rule
from streamkit.moderation import detectors
from streamkit.moderation.match.expressions import compiled
from streamkit.moderation.match.patterns import Pattern, Patterns, PatternSearch, SearchBudget
from tests.moderation.reading import Reading

HEX = "0123456789abcdef" * 16
JWT = ".".join(
    base64.urlsafe_b64encode(part).decode().rstrip("=")
    for part in (json.dumps({"alg": "HS256", "typ": "JWT"}).encode(), json.dumps({"sub": "1"}).encode(), b"signature")
)
KEY = "PRIVATE " + "KEY-----"
BODY = "\n".join(["QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2"] * 3)
PEM = f"-----BEGIN {KEY}\n{BODY}\nd3h5ejAxMjM0NTY3ODk=\n-----END {KEY}"
ENCRYPTED = (
    f"-----BEGIN RSA {KEY}\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123456789ABCDEF\n\n"
    f"{BODY}\n-----END RSA {KEY}"
)


def redacted(text: str, *names: str, **fields: object) -> str:
    """The text with `*` for what was found, the same in one piece and in single characters."""
    rule = Rule("x", detectors=names, replacement="*", **fields)  # type: ignore[arg-type]
    whole, single = (
        "".join(part.text for piece in [*pieces, None] for part in reading.feed(piece or "", final=piece is None))
        for reading, pieces in ((Reading((rule,)), [text]), (Reading((rule,)), list(text)))
    )
    assert single == whole
    return whole


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("email", "mail ann.lee+x@mail.example.co.uk, or", "mail *, or"),
        ("email", "write to a@b.com.", "write to *."),
        ("email", "jürgen@müller.example!", "*!"),
        ("email", "f" * 70 + "@example.org", "f" * 6 + "*"),
        ("email", "kim@naver.com으로 보내세요. a@b.co.kr과 c@d.com입니다", "*으로 보내세요. *과 *입니다"),
        ("email", "kim@naver.com\u110b\u1173\u1105\u1169", "*\u110b\u1173\u1105\u1169"),
        ("email", "ann@example.comに送る, 联系ann@example.com或者, ann@example.co.thครับ", "*に送る, *或者, *ครับ"),
        ("email", "김@한글.한국, a@예.com, a@예시kr.com으로", "*, *, *으로"),
        ("email", "a@b.vermögensberatung, a@b.comñ, a@b.сом.", "*, *, *."),
        ("email", "a@b.com1, a@b.com_x", "a@b.com1, a@b.com_x"),
        ("email", "a @ b.com, a@b, @handle, a@b.c", "a @ b.com, a@b, @handle, a@b.c"),
        ("phone", "call +1 (415) 555-2671 today", "call * today"),
        ("phone", "call +442071838750.", "call *."),
        ("phone", "call 0049 89 1234 5678", "call *"),
        ("phone", "call (415) 555-2671 or 415.555.2671", "call * or *"),
        ("phone", "Tel. 089/1234567", "Tel. *"),
        ("phone", "02-1234-5678, 02-123-4567, (02) 123-4567, 03-1234-5678", "*, *, *, *"),
        ("phone", "010-1234-5678, 031-123-4567, 01023456789, (02)123-4567.", "*, *, *, *."),
        ("phone", "am 02-12-2024, 02-2024, 2024-02-1234-5678, 7-02-123-4567, 01001011011, 0102345678", None),
        ("phone", "Paris 01 23 45 67 89, Utrecht 06-12345678, 01 02 03 04 05", None),
        ("phone", "on 2024-01-15, 1234567890, 3.14159265 and +5", "on 2024-01-15, 1234567890, 3.14159265 and +5"),
        ("card", "card 4111 1111 1111 1111, exp", "card *, exp"),
        ("card", "378282246310005 and 5555-5555-5555-4444", "* and *"),
        ("card", "4111 1111 1111 1112 is none", "4111 1111 1111 1112 is none"),
        ("card", "1234 4111 1111 1111 1111 99", "1234 * 99"),
        ("card", "4111111111111111 123", "* 123"),
        ("card", "0000 0000 0000 0000 41111111111111110", "0000 0000 0000 0000 41111111111111110"),
        ("iban", "to GB82 WEST 1234 5698 7654 32 please", "to * please"),
        ("iban", "DE89370400440532013000, NO93 8601 1117 947", "*, *"),
        (
            "iban",
            "GB82 WEST 1234 5698 7654 33 and ZZ82WEST12345698765432",
            "GB82 WEST 1234 5698 7654 33 and ZZ82WEST12345698765432",
        ),
        ("jwt", f"Bearer {JWT} end", "Bearer * end"),
        ("jwt", "eyJub3RoaW5n.eyJhIjoxfQ.abc", "eyJub3RoaW5n.eyJhIjoxfQ.abc"),
        ("private_key", f"key:\n{PEM}\nthat was it", "key:\n*\nthat was it"),
        ("private_key", f"{ENCRYPTED} done", "* done"),
        ("private_key", json.dumps(PEM), '"*"'),
        ("private_key", f"cut off: {PEM[:150]}", "cut off: *"),
        ("private_key", "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----", None),
        ("ip", "at 192.168.0.1, 2001:db8::8a2e:370:7334 and fe80::1.", "at *, * and *."),
        ("ip", "version 1.2.3, 1.2.3.4.5, 256.1.1.1, 12:30:45, std::vector, ::1", None),
        ("ipv4", "10.0.0.1 and 2001:db8::1", "* and 2001:db8::1"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "nothing",
)
def test_what_is_found(name: str, text: str, found: str | None) -> None:
    assert redacted(text, name) == (text if found is None else found)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("openai_key", "sk-" + HEX[:48]),
        ("openai_key", "sk-" + "proj-" + HEX[:80] + "_-"),
        ("anthropic_key", "sk-" + "ant-api03-" + HEX[:93] + "AA"),
        ("aws_key", "AKIA" + "IOSFODNN7EXAMPLE"),
        ("github_key", "ghp_" + HEX[:36]),
        ("github_key", "github_" + "pat_" + HEX[:22] + "_" + HEX[:59]),
        ("slack_key", "xox" + "b-" + "123456789012-abcdefghij"),
        ("google_key", "AIza" + HEX[:35]),
        ("stripe_key", "sk_" + "live_" + HEX[:24]),
        ("huggingface_key", "hf_" + "aBcDeFgH" * 4 + "ij"),
        ("gitlab_key", "glpat-" + HEX[:20]),
        ("npm_key", "npm_" + HEX[:36]),
    ],
    ids=lambda value: value[:9],
)
def test_a_key_is_found_by_its_maker_and_among_all(name: str, key: str) -> None:
    text = f'{{"key": "{key}"}}, not {key[:8]}'

    assert redacted(text, name) == redacted(text, "api_key") == f'{{"key": "*"}}, not {key[:8]}'
    others = tuple(other for other in detectors.API_KEYS if other != name)
    assert redacted(text, *others) == text


def test_a_detector_that_is_named_twice_searches_once() -> None:
    assert len(detectors.named(("ip", "ipv4", "email", "ip"))) == 3


@pytest.mark.parametrize(
    ("text", "fields", "found"),
    [
        ("4111\u200b1111 1111\u00ad 1111", {"normalize": ("zero_width",)}, "*"),
        ("４１１１ 1111 1111 １１１１!", {"normalize": ("nfkc",)}, "*!"),
        ("AKIA" + "IOSFODNN7EXAMPLE", {"normalize": ("case", "look_alikes", "leet")}, "*"),
        ("аnn@example.com", {"normalize": ("look_alikes",)}, "*"),
    ],
    ids=["zero-width", "fullwidth", "digits and capitals stay what they are", "Cyrillic"],
)
def test_a_disguise_that_the_rule_sees_through_does_not_hide_it(
    text: str, fields: dict[str, object], found: str
) -> None:
    assert redacted(text, "card", "email", "aws_key", **fields) == found


def test_an_address_may_be_excepted() -> None:
    rules = (
        Rule("x", detectors=("email",), replacement="*"),
        Rule("ours", phrases=("help@example.com",), action="allow"),
    )

    for pieces in (["help@example.com, ann@example.com"], [*"help@example.com, ann@example.com"]):
        reading = Reading(rules)
        out = [part for piece in pieces for part in reading.feed(piece)] + reading.feed("", final=True)
        assert "".join(part.text for part in out) == "help@example.com, *"


@pytest.mark.parametrize("name", sorted(detectors.NAMES))
def test_no_text_makes_a_detector_slow(name: str) -> None:
    """Text of what its candidates are made of, and no match: a reading that is not linear takes minutes."""
    texts = ["a" * 20_000, "1 " * 10_000, "a.b-" * 5_000, "1:" * 10_000, "eyJ" * 7_000, "sk-" * 7_000, "@a." * 7_000]

    began = process_time()
    for text in texts:
        reading = Reading((Rule("x", detectors=(name,), action="annotate"),))
        causes = {part.source for part in [*reading.feed(text), *reading.feed("", final=True)]}
        assert causes <= {"rules", "too_long"}

    assert process_time() - began < 5


PIECES = (
    *"aBz09 .,:;@-_+/()\n\u0301é١",
    "word ", "a@b.", "com ", "sk-", "ant-", "api03-", "AKIA", "gh", "p_", "github", "_pat_", "xox", "b-", "xapp-1-", "AIza",
    "sk_", "live_", "hf_", "gl", "pat-", "npm_", "4111 1111 ", "11111111", "+49 ", "(0", "GB82", "WEST", "eyJ", "eyJhbGciOiJ9.",
    "-----BEGIN ", "PRIVATE ", "KEY-----", "127.0.", "0.1", "fe80::", "1:2:3:4:", HEX[:40], HEX[:22], "x" * 64,
)  # fmt: skip


@settings(deadline=None, max_examples=25)
@given(
    pieces=st.lists(st.sampled_from(PIECES) | st.sampled_from([JWT, PEM, "a@b.com", "+1 415 555 2671"]), max_size=25)
)
@pytest.mark.parametrize("name", sorted({*detectors.NAMES} - {"api_key", "ip"}))
def test_to_look_first_for_how_it_begins_changes_nothing(name: str, pieces: list[str]) -> None:
    (kind,) = detectors.named((name,))
    rule = Rule("x", detectors=(name,), seconds=60)
    accept = None if kind.accept is len else kind.accept
    expression = compiled(kind.pattern, False)
    quick, plain = (
        Patterns(PatternSearch((pattern,)), SearchBudget(60))
        for pattern in (
            Pattern(expression, 0, rule, 100, accept, kind.anchored, kind.lead, kind.tails),
            Pattern(replace(expression, prefixes=()), 0, rule, 100, accept),
        )
    )

    for piece in pieces:
        quick_spans, quick_undecided = quick.feed(piece, final=False)
        spans, undecided = plain.feed(piece, final=False)
        assert quick_spans == spans
        # What a match may begin with can be undecided where the whole expression is not.
        assert quick_undecided <= undecided
    assert quick.feed("", final=True) == plain.feed("", final=True)


def test_any_cuts_give_the_same() -> None:
    text = f"a@b.com {JWT} 4111 1111 1111 1111 {PEM} GB82 WEST 1234 5698 7654 32, +1 (415) 555-2671 fe80::1 "
    rule = Rule(
        "x", detectors=("email", "jwt", "card", "private_key", "iban", "phone", "ip", "api_key"), replacement="*"
    )
    whole = Reading((rule,))
    expected = [part for part in [*whole.feed(text), *whole.feed("", final=True)] if part.rule]
    choose = random.Random(7)

    assert len(expected) == 7
    for _ in range(20):
        cuts = sorted(choose.choices(range(len(text)), k=12))
        reading = Reading((rule,))
        out = [part for a, b in pairwise([0, *cuts, len(text)]) for part in reading.feed(text[a:b])]
        assert [part for part in [*out, *reading.feed("", final=True)] if part.rule] == expected


@pytest.mark.parametrize("size", [4, 64, 10_000], ids=lambda size: f"in pieces of {size}")
def test_a_long_key_is_redacted_within_its_time(size: int) -> None:
    """Of RSA with 16,384 bits: 196 lines."""
    line = BODY.split("\n")[0]
    text = f"-----BEGIN {KEY}\n" + f"{line}\n" * 195 + f"{line[:20]}\n-----END {KEY} and so on"
    reading = Reading((Rule("x", detectors=("private_key",), replacement="*"),))

    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    parts = [part for piece in pieces for part in reading.feed(piece)] + reading.feed("", final=True)

    assert "".join(part.text for part in parts) == "* and so on"
    assert [(part.source, part.start) for part in parts if part.rule] == [("rules", 0)]
