"""The rules, and a stage with them."""

from collections.abc import Iterable
from typing import Literal

from streamkit import Moderate, PipelineError, Rule
from streamkit_pii.numbers import NATIONAL
from streamkit_pii.searches import WINDOW, NationalIds, Numbers, Phones

KINDS = ("card", "iban", "email", "phone")
"""Kinds that are found for every region; without `countries`, only phone numbers with a country code."""
COUNTRIES = tuple(NATIONAL)
"""The countries whose national identity numbers are known."""


def redact(
    *,
    countries: Iterable[str] = (),
    kinds: Iterable[str] = KINDS,
    action: Literal["annotate", "redact", "replace", "block", "stop"] = "redact",
    replacement: str | None = None,
) -> Moderate:
    """Return a stage that replaces personal data by marks. Use `rules` to add the same rules to your own `Moderate`."""
    return Moderate(rules(countries=countries, kinds=kinds, action=action, replacement=replacement))


def rules(
    *,
    countries: Iterable[str] = (),
    kinds: Iterable[str] = KINDS,
    action: Literal["annotate", "redact", "replace", "block", "stop"] = "redact",
    replacement: str | None = None,
) -> list[Rule]:
    """Return a rule for each kind, and one for the identity numbers of each country.

    `countries` (ISO 3166, such as `DE`) are also the countries whose phone numbers are found without a country code. Without a
    `replacement`, each mark names the kind: `[phone]`, `[US id]`. Unknown names raise `PipelineError`.
    """
    chosen = [country.upper() for country in _several("countries", countries)]
    wanted = _several("kinds", kinds)
    _known("kinds", wanted, KINDS)
    _known("countries", chosen, tuple(Phones.regions()))
    found = [_rule(kind, replacement or f"[{kind}]", action, _check(kind, tuple(chosen))) for kind in wanted]
    ids = [country for country in chosen if country in NATIONAL]
    return found + [
        _rule(f"{country} id", replacement or f"[{country} id]", action, NationalIds((country,))) for country in ids
    ]


def _check(kind: str, countries: tuple[str, ...]) -> Numbers | Phones | None:
    match kind:
        case "phone":
            return Phones(countries)
        case "email":
            return None
        case _:
            return Numbers(kind)


def _rule(
    category: str,
    replacement: str,
    action: Literal["annotate", "redact", "replace", "block", "stop"],
    check: Numbers | Phones | NationalIds | None,
) -> Rule:
    # Normalize zero-width characters, so that they can't hide a number.
    if check is None:
        # streamkit has its own e-mail detector.
        return Rule(category, detectors=(category,), action=action, replacement=replacement, normalize=("zero_width",))
    return Rule(category, check=check, window=WINDOW, action=action, replacement=replacement, normalize=("zero_width",))


def _several(name: str, given: Iterable[str]) -> list[str]:
    if isinstance(given, str):
        raise PipelineError(f"expected {name} as a list of strings, found a string")
    return list(dict.fromkeys(given))


def _known(name: str, found: Iterable[str], known: tuple[str, ...]) -> None:
    if wrong := [value for value in found if value not in known]:
        shown = ", ".join(known) if len(known) < 10 else "ISO 3166, such as DE"
        raise PipelineError(f"expected {name} of {shown}; found {', '.join(map(repr, wrong))}")
