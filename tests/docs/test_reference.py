"""The pages and the table of contents one looks things up in have all of it, and nothing twice."""

import re
from collections import Counter
from pathlib import Path
from typing import get_args

import streamkit as sk
from streamkit import errors
from streamkit.cli.commands import COMMANDS
from streamkit.dialects import DIALECTS
from streamkit.emitters.registry import BUILT_IN as EMITTERS
from streamkit.events import EndReason
from tests.cli.reference import PAGE, PART, written

ROOT = Path(__file__).parents[2]


def table(page: str, heading: str) -> str:
    """The rows of the first table whose first heading that is."""
    text = (ROOT / "docs/reference" / page).read_text(encoding="utf-8")
    return text[text.index(f"\n| {heading} |" if heading else "\n| |") :].split("\n\n")[0].partition("|\n|---")[2]


def first_column(page: str, heading: str) -> Counter[str]:
    rows = table(page, heading).splitlines()[1:]
    return Counter(name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1]))


def test_every_event_has_its_place_in_the_table_of_events() -> None:
    assert first_column("events.md", "event") == Counter(kind.__name__ for kind in get_args(sk.Event))


def test_every_end_has_its_place_in_the_table_of_ends() -> None:
    assert first_column("events.md", "`StreamEnd.reason`") == Counter(get_args(EndReason))


def test_every_emitter_has_its_place_in_the_table_of_wire_formats() -> None:
    assert first_column("wires.md", "name") == Counter(list(EMITTERS))


def test_every_error_has_its_place_in_the_table_of_errors() -> None:
    named = Counter(re.findall(r"`([A-Z]\w+)`", table("errors.md", "error")))
    tree = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, sk.StreamkitError)]
    assert named == Counter(kind.__name__ for kind in tree)


def test_every_dialect_has_its_place_in_the_table_of_dialects() -> None:
    assert first_column("dialects.md", "dialect") == Counter(list(DIALECTS))


def test_every_operator_has_its_place_in_the_table_of_operators() -> None:
    named = Counter(name.split("(")[0] for name in first_column("operators.md", ""))
    assert named == Counter(name for name in sk.ops.__all__ if name[0].isupper())


def test_the_commands_on_their_page_are_those_of_the_parser() -> None:
    page = PAGE.read_text(encoding="utf-8")
    parts = Counter(PART.sub(r"\2", match[0]) for match in PART.finditer(page))

    assert parts == Counter([*COMMANDS, "commands", "exit-codes", "presets"])
    assert page == written(page), "python -m tests.cli.reference writes the page"


def test_every_module_has_its_place_in_the_tour_of_the_package() -> None:
    tour = (sk.__doc__ or "").partition("Where things live:\n\n")[2]
    named = re.findall(r"^    ([a-z][a-z_, ()]*?)  ", tour, re.MULTILINE)
    modules = Counter(name for names in named for name in re.sub(r"\(.*\)", "", names).replace(",", " ").split())
    files = (ROOT / "streamkit").iterdir()
    assert modules == Counter(
        path.stem for path in files if path.suffix == ".py" or (path / "__init__.py").is_file()
    ) - Counter(["__init__"])
