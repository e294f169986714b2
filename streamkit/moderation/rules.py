"""Rules: what must not leave, and what is done about it."""

import tomllib
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from streamkit.errors import PipelineError

Action: TypeAlias = Literal["flag", "redact", "block"]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Phrases and regular expressions (of the `regex` package) that belong together, and what happens where one matches.

    `flag` lets the text through and says so; `redact` releases `replacement` instead; `block` releases nothing more of that
    choice. Phrases match anywhere, inside words too. `ignore_case` compares characters by their lower case.
    """

    category: str
    phrases: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    action: Action = "redact"
    replacement: str = "[redacted]"
    ignore_case: bool = True

    def __post_init__(self) -> None:
        if not self.phrases and not self.patterns:
            raise PipelineError(f"rule {self.category!r}: expected phrases or patterns, found neither")
        if "" in self.phrases:
            raise PipelineError(
                f"rule {self.category!r}: expected phrases of at least one character, found an empty one"
            )


class _File(msgspec.Struct, forbid_unknown_fields=True):
    rule: list[Rule]


def from_file(path: str | PathLike[str]) -> tuple[Rule, ...]:
    """Rules from a TOML file with a `[[rule]]` table for each. What is wrong in it raises `PipelineError`."""
    content = Path(path).read_bytes()
    try:
        return tuple(msgspec.convert(tomllib.loads(content.decode()), _File).rule)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise PipelineError(f"{Path(path).name}: {error}") from error


def as_rules(rules: "Rule | Iterable[Rule]") -> tuple[Rule, ...]:
    """One rule or many as a tuple. Anything else raises `PipelineError`."""
    found: tuple[Any, ...] = (rules,) if isinstance(rules, Rule) else tuple(rules)
    for rule in found:
        if not isinstance(rule, Rule):
            raise PipelineError(f"expected rules (streamkit.Rule(…)), found an object of type {type(rule).__name__}")
    return found
