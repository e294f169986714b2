"""The written form of each kind of number, and its validation.

A shape selects candidates; python-stdnum decides. For numbers without a checksum, the shape requires the usual separators,
because digits alone may be anything.
"""

import re
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import NamedTuple, cast

from stdnum import iban, luhn


class Number(NamedTuple):
    """A kind of number: `shape` matches the longest candidate, and `accept` validates it as it is written."""

    shape: re.Pattern[str]
    accept: Callable[[str], bool]


def _digits(text: str) -> str:
    return "".join(character for character in text if character.isdigit())


# Prefixes and lengths of card numbers by network. (ISO/IEC 7812-1; the ranges are published by the networks)
_CARD = re.compile(
    r"4[0-9]{12}(?:[0-9]{3}){0,2}"  # Visa: 13, 16, 19
    r"|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"  # Mastercard
    r"|3[47][0-9]{13}"  # American Express
    r"|(?:30[0-5]|36[0-9]|3[89][0-9])[0-9]{11}"  # Diners Club
    r"|(?:6011|64[4-9][0-9]|65[0-9]{2}|62[0-9]{2}|81[0-9]{2}|35(?:2[89]|[3-8][0-9]))[0-9]{12,15}"  # Discover, UnionPay, JCB
    r"|(?:50|5[6-9]|6[0-9])[0-9]{14}"  # Maestro, 16 digits
    r"|220[0-4][0-9]{12}"  # Mir
)


def _card(text: str) -> bool:
    number = _digits(text)
    return _CARD.fullmatch(number) is not None and luhn.is_valid(number)


def _iban(text: str) -> bool:
    return iban.is_valid(text)


def _stdnum(name: str) -> Callable[[str], bool]:
    """Return python-stdnum's `is_valid` for a number; its module is imported when the first candidate is found."""
    return lambda text: _validator(name)(text)


@cache
def _validator(name: str) -> Callable[[str], bool]:
    return cast("Callable[[str], bool]", import_module(f"stdnum.{name}").is_valid)


def _number(shape: str, accept: Callable[[str], bool] | str) -> Number:
    return Number(re.compile(shape, re.ASCII | re.IGNORECASE), _stdnum(accept) if isinstance(accept, str) else accept)


EVERYWHERE: dict[str, Number] = {
    "card": _number(r"[2-68](?:[ -]?\d){12,18}", _card),
    "iban": _number(r"[A-Z]{2}\d{2}(?:[ -]?[A-Z\d]{4}){2,7}(?:[ -]?[A-Z\d]{1,3})?", _iban),
}

NATIONAL: dict[str, tuple[Number, ...]] = {
    "AT": (_number(r"\d{4} ?\d{6}", "at.vnr"),),
    "AU": (_number(r"\d{3} ?\d{3} ?\d{3}", "au.tfn"),),
    "BE": (_number(r"\d\d\.?\d\d\.?\d\d[ -]?\d{3}[ .-]?\d\d", "be.nn"),),
    "BR": (_number(r"\d{3}\.?\d{3}\.?\d{3}[ -]?\d\d", "br.cpf"),),
    "CA": (_number(r"\d{3}[ -]?\d{3}[ -]?\d{3}", "ca.sin"),),
    "CH": (_number(r"756\.?\d{4}\.?\d{4}\.?\d\d", "ch.ssn"),),
    "DE": (_number(r"\d\d ?\d{3} ?\d{3} ?\d{3}", "de.idnr"),),
    "DK": (_number(r"\d{6}-\d{4}", "dk.cpr"),),
    "ES": (_number(r"\d{8}-?[A-Z]", "es.dni"), _number(r"[XYZ]-?\d{7}-?[A-Z]", "es.nie")),
    "FI": (_number(r"\d{6}[-+A-FU-Y]\d{3}[\dA-Y]", "fi.hetu"),),
    "FR": (_number(r"[1-478] ?\d\d ?\d\d ?\d[\dAB] ?\d{3} ?\d{3} ?\d\d", "fr.nir"),),
    "GB": (_number(r"\d{3}[ -]?\d{3}[ -]?\d{4}", "gb.nhs"),),
    "IE": (_number(r"\d{7}[A-W][ABHTWX]?", "ie.pps"),),
    "IN": (_number(r"\d{4}[ -]?\d{4}[ -]?\d{4}", "in_.aadhaar"), _number(r"[A-Z]{5}\d{4}[A-Z]", "in_.pan")),
    "IT": (_number(r"[A-Z]{6} ?[\dL-V]{2}[A-EHLMPRST][\dL-V]{2} ?[A-Z][\dL-V]{3}[A-Z]", "it.codicefiscale"),),
    "KR": (_number(r"\d{6}-\d{7}", "kr.rrn"),),
    "MX": (_number(r"[A-Z]{4}\d{6}[HMX][A-Z]{5}[\dA-Z]\d", "mx.curp"),),
    "NL": (_number(r"\d{4}\.?\d\d\.?\d{3}", "nl.bsn"),),
    "NO": (_number(r"\d{6} ?\d{5}", "no.fodselsnummer"),),
    "PL": (_number(r"\d{11}", "pl.pesel"),),
    "PT": (_number(r"\d{3} ?\d{3} ?\d{3}", "pt.nif"),),
    "SE": (_number(r"(?:\d\d)?\d{6}[-+]\d{4}", "se.personnummer"),),
    "US": (_number(r"\d{3}[ -]\d\d[ -]\d{4}", "us.ssn"), _number(r"9\d\d[ -]\d\d[ -]\d{4}", "us.itin")),
    "ZA": (_number(r"\d{6} ?\d{4} ?\d{3}", "za.idnr"),),
}
"""National identity numbers by country code (ISO 3166)."""
