"""Ready-made detectors for what leaks in practice: a bounded regular expression for the candidates, and a check of each.

The shapes are those that their makers publish, or that secret scanners agree on; the source stands beside each. They are
matched against the text as it is, or as the rule normalizes it.
"""

import base64
import binascii
import ipaddress
import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import regex


class Detector(NamedTuple):
    """A candidate's pattern, and how much of a candidate is a match: its length, or 0 for none.

    `anchor` is an expression for a character that every candidate has, with at most `lead` characters before it: text without
    one is not searched. `tail` finds these characters at the end of a text, read from there.
    """

    pattern: str
    accept: Callable[[str], int] = len
    longest: int = 512
    anchor: str = ""
    lead: int = 0
    tail: str = ""

    @property
    def anchored(self) -> Callable[..., Any] | None:
        """Return the expression that finds an anchor in a text."""
        return re.compile(self.anchor).search if self.anchor else None

    @property
    def tails(self) -> Callable[..., Any] | None:
        """Return the expression that finds the characters before an anchor that has not arrived."""
        return regex.compile(self.tail).search if self.tail else None


def _card(text: str) -> int:
    # ISO/IEC 7812-1: 13 to 19 digits, the last of them by Luhn's sum; payment networks begin with 2 to 6.
    if text[0] not in "23456":
        return 0
    digits = [(place, int(character)) for place, character in enumerate(text) if character in "0123456789"]
    for count in range(min(19, len(digits)), 12, -1):
        end = digits[count - 1][0] + 1
        if _ends(text, end) and _luhn([digit for _, digit in digits[:count]]):
            return end
    return 0


def _luhn(digits: list[int]) -> bool:
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _ends(text: str, end: int) -> bool:
    return end == len(text) or not text[end].isalnum()


# The length of an IBAN by its country. (SWIFT's IBAN registry, https://www.swift.com/standards/data-standards/iban)
_IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FI FO GL NL SD", 19: "MK SI",
        20: "AT BA EE KZ LT LU MN XK", 21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL", 24: "AD CZ DZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST",
        26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
        29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip


def _iban(text: str) -> int:
    # ISO 13616: four characters from the front to the end, letters as 10 to 35, and the rest by 97 is 1.
    places = [place for place, character in enumerate(text) if character.isalnum()]
    length = _IBAN_LENGTHS.get(text[:2].upper(), 0)
    if not length or len(places) < length or not _ends(text, end := places[length - 1] + 1):
        return 0
    number = "".join(text[place] for place in places[:length])
    return end if int("".join(str(int(c, 36)) for c in number[4:] + number[:4])) % 97 == 1 else 0


def _phone(text: str) -> int:
    # ITU-T E.164: at most 15 digits with the country's code; shorter than 8 is not a whole number of any country.
    digits = [place for place, character in enumerate(text) if character.isdigit()]
    return digits[-1] + 1 if 8 <= len(digits) <= 17 else 0


def _jwt(text: str) -> int:
    # RFC 7519 and 7515: the header is a JSON object that names its algorithm.
    head = text.partition(".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return 0
    return len(text) if isinstance(header, dict) and "alg" in header else 0


def _ipv6(text: str) -> int:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return 0
    # `::` and `::1` name this machine, or an operator of C++.
    return len(text) if sum(bool(group) for group in text.split(":")) > 1 else 0


_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_START = r"(?<![A-Za-z0-9])"
_GAP = r"[ .\-/]{0,2}"
_LOCAL = r"[\w.!#$%&'*+/=?^`{|}~-]"
_LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
# Scripts written without spaces between words, or that attach particles to a word. No top-level domain mixes one with Latin
# letters. (Root Zone Label Generation Rules, https://www.icann.org/resources/pages/root-zone-lgr-2015-06-21-en)
_UNSPACED = r"\p{Hangul}\p{Hiragana}\p{Katakana}\p{Han}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_LINE = r"(?:\s|\\[rn]){1,6}+"  # keys are often quoted with their line feeds escaped

API_KEYS = {
    # https://platform.openai.com/docs/api-reference/authentication; shapes of gitleaks' rules
    "openai_key": Detector(_START + r"sk-(?!ant-)(?:(?:proj|svcacct|admin|None)-)?[A-Za-z0-9_-]{20,240}"),
    # https://docs.anthropic.com/en/api/getting-started: sk-ant-api03-…, sk-ant-admin01-…
    "anthropic_key": Detector(_START + r"sk-ant-[a-z0-9]{2,12}-[A-Za-z0-9_-]{20,200}"),
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html: a prefix and 16 of base 32
    "aws_key": Detector(_START + r"A(?:KI|SI|BI|CC)A[A-Z0-9]{16}(?![A-Za-z0-9])"),
    # https://github.blog/engineering/behind-githubs-new-authentication-token-formats/
    "github_key": Detector(_START + r"(?:gh[pousr]_[A-Za-z0-9]{36,251}|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59})"),
    # https://api.slack.com/concepts/token-types
    "slack_key": Detector(_START + r"(?:xox[abeoprs]-[A-Za-z0-9-]{10,250}|xapp-[0-9]-[A-Za-z0-9-]{10,250})"),
    # https://cloud.google.com/docs/authentication/api-keys; gitleaks' gcp-api-key
    "google_key": Detector(_START + r"AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"),
    # https://docs.stripe.com/keys: secret and restricted ones; those that begin with pk_ are public
    "stripe_key": Detector(_START + r"[sr]k_(?:live|test)_[A-Za-z0-9]{10,247}"),
    # https://huggingface.co/docs/hub/security-tokens
    "huggingface_key": Detector(_START + r"hf_[A-Za-z0-9]{30,60}"),
    # https://docs.gitlab.com/security/tokens/#token-prefixes
    "gitlab_key": Detector(_START + r"gl(?:pat|dt|rt|ptt)-[A-Za-z0-9_-]{20,100}"),
    # https://github.blog/2021-09-23-announcing-npms-new-access-token-format/
    "npm_key": Detector(_START + r"npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])"),
}
"""Keys by whose they are; `api_key` is all of them."""

_DETECTORS = {
    # RFC 5321: at most 64 characters before the @, labels of at most 63. Letters of any alphabet (RFC 6531). A top-level domain
    # in ASCII letters ends before a letter of these scripts, such as the particle in `kim@naver.com으로`.
    "email": Detector(
        rf"{_LOCAL}{{0,63}}[\w+-]@(?:{_LABEL}\.){{1,8}}"
        rf"(?:[A-Za-z]{{2,24}}(?=[{_UNSPACED}])|[^\W\d_]{{2,24}}(?![\w-]))",
        anchor="@",
        lead=64,
        tail=rf"(?r){_LOCAL}{{0,63}}[\w+-]?\Z",
    ),
    # With a country's code, as North America writes it, and with the 0 before an area's code. After an area's code of two digits,
    # groups of 3 or 4 and 4 digits are required, since a date may begin in the same way. Without separators only Korea's mobile
    # numbers are matched: 010, and then 2 to 9, so that a number in binary is not.
    "phone": Detector(
        r"(?<![\w+])(?=[+(0-9])"
        rf"(?:(?:\+|00)[1-9](?:{_GAP}\(?[0-9]\)?){{6,14}}"
        rf"|(?:1{_GAP})?(?:\([2-9][0-9]{{2}}\) ?|[2-9][0-9]{{2}}[ .-])[2-9][0-9]{{2}}[ .-][0-9]{{4}}"
        r"|\(?0[1-9][0-9]{1,4}\)?[ /-][0-9](?:[ -]?[0-9]){5,9}"
        r"|(?<![0-9][ /.-])(?:\(0[1-9]\) ?|0[1-9][ -])[0-9]{3,4}[ -][0-9]{4}"
        r"|010[2-9][0-9]{7})(?!\w)",
        _phone,
        anchor="[+(0-9]",
    ),
    "card": Detector(r"(?<![0-9])[2-6](?:[ -]?[0-9]){12,18}(?![0-9])", _card, anchor="[2-6]"),
    "iban": Detector(
        _START + r"[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]){11,30}(?![A-Za-z0-9])", _iban, anchor="[0-9]", lead=2
    ),
    # The two first parts are JSON objects, which begin with `{"`.
    "jwt": Detector(r"(?<![\w-])eyJ[\w-]{5,2000}\.eyJ[\w-]{5,6000}\.[\w-]{0,1500}", _jwt, 10_000),
    # RFC 7468. One that is cut off is a key too: what looks like its lines goes with it. Nothing in a line is tried twice.
    "private_key": Detector(
        r"-----BEGIN (?:[A-Z0-9]{1,16} ){0,4}PRIVATE KEY(?: BLOCK)?-----"
        rf"(?:{_LINE}(?:[A-Za-z-]{{4,20}}: [^\r\n\\]{{1,100}}+|[A-Za-z0-9+/=]{{20,100}}+)){{0,300}}+"
        rf"(?:(?:{_LINE}[A-Za-z0-9+/=]{{1,100}}+){{0,2}}{_LINE}-----END [A-Z0-9 ]{{0,60}}PRIVATE KEY(?: BLOCK)?-----)?",
        longest=34_000,
    ),
    "ipv4": Detector(rf"(?<![\w.])(?=[0-9])(?:{_OCTET}\.){{3}}{_OCTET}(?![\w]|\.[0-9])", anchor="[0-9]"),
    "ipv6": Detector(
        r"(?<![\w:.])(?=[0-9A-Fa-f]{0,4}:)"
        rf"(?:[0-9A-Fa-f]{{0,4}}:){{2,7}}(?:(?:{_OCTET}\.){{3}}{_OCTET}|[0-9A-Fa-f]{{0,4}})(?![\w:])",
        _ipv6,
        anchor=":",
        lead=4,
    ),
    **API_KEYS,
}
_GROUPS = {"api_key": tuple(API_KEYS), "ip": ("ipv4", "ipv6")}
NAMES = frozenset({*_DETECTORS, *_GROUPS})


def named(names: tuple[str, ...]) -> list[Detector]:
    """The detectors with these names, each once."""
    single = dict.fromkeys(member for name in names for member in _GROUPS.get(name, (name,)))
    return [_DETECTORS[name] for name in single]
