"""The changelog has one heading for an area and one line for an entry, and names and links only what exists."""

import re
from collections import Counter
from functools import reduce
from importlib import import_module
from pathlib import Path

import streamkit as sk

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
LONGEST = 200
TABLE = "### Names: old and new module\n"


def newest() -> str:
    """The newest section, without the table of names."""
    return TEXT.split("\n## ")[1].split(TABLE)[0]


def areas(section: str) -> dict[str, list[str]]:
    """The lines of each area below its heading. An area that comes twice is a `ValueError`."""
    found: dict[str, list[str]] = {}
    for area in section.split("\n### ")[1:]:
        heading, *lines = area.splitlines()
        if heading in found:
            raise ValueError(f"two areas {heading!r}")
        found[heading] = [line for line in lines if line]
    return found


def faults(line: str) -> list[str]:
    return [
        fault
        for fault, found in (
            ("is no entry", not line.startswith("- ")),
            ("is too long", len(line) > LONGEST),
            ("has no end", line[-1] not in ".:" or line.count("`") % 2 == 1),
        )
        if found
    ]


def names(text: str) -> set[str]:
    """The dotted names in backticks that begin with `sk`, `streamkit` or a name of the top level (`hops.race`), without calls."""
    found = set(re.findall(r"`@?(\w+(?:\.\w+)+)", text))
    return {name for name in found if name.split(".")[0] in {"sk", "streamkit", *sk.__all__}}


def exists(name: str) -> bool:
    first, *rest = name.split(".")
    if first in sk.__all__:
        rest = [first, *rest]
    # Modules are imported only for names that are written out: `sk.…` must be there after `import streamkit as sk`.
    for depth in range(len(rest) if first == "streamkit" else 0, -1, -1):
        try:
            start = import_module(".".join(["streamkit", *rest[:depth]]))
            reduce(getattr, rest[depth:], start)
        except (ImportError, AttributeError):
            continue
        return True
    return False


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as Markdown renderers make them."""
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(text: str) -> list[str]:
    """Links to files of this repository and to headings that do not exist."""
    found: list[str] = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        page = ROOT / (path or "CHANGELOG.md")
        if ":" not in path and (not page.exists() or (anchor and anchor not in anchors(page.read_text("utf-8")))):
            found.append(link)
    return found


def test_each_area_of_the_newest_section_has_entries_of_one_line() -> None:
    found = {line: faults(line) for lines in areas(newest()).values() for line in lines}

    assert {line: why for line, why in found.items() if why} == {}
    assert all(areas(newest()).values())


def test_no_entry_comes_twice() -> None:
    entries = Counter(line for lines in areas(newest()).values() for line in lines)

    assert [line for line, count in entries.items() if count > 1] == []


def test_names_in_the_newest_section_exist() -> None:
    assert sorted(name for name in names(newest()) if not exists(name)) == []


def test_each_old_name_has_one_new_name_that_exists() -> None:
    rows = re.findall(r"^\| `sk\.(\w+)` \| `(sk\.[\w.]+)` \|$", TEXT.split(TABLE)[1], re.MULTILINE)

    assert TEXT.split(TABLE)[1].count("\n| `") == len(rows) == len(dict(rows)) >= 107
    assert [new for _, new in rows if not exists(new)] == []
    assert [old for old, new in rows if old in sk.__all__ and new != f"sk.{old}"] == []


def test_links_of_the_changelog_resolve() -> None:
    assert broken(TEXT) == []


def test_faults_of_an_entry_are_found() -> None:
    assert faults("- Batch: reads many files.") == []
    assert faults("- See `sk.batch`:") == []
    assert faults("  on two lines.") == ["is no entry"]
    assert faults(f"- {'a' * 200}.") == ["is too long"]
    assert faults("- Rules that see through `whole_words`, ready-made") == ["has no end"]


def test_names_and_links_that_do_not_exist_are_found() -> None:
    text = "`sk.Parse`, `@sk.stage(concurrency=8)`, `streamkit.testing.check_stage`, `hops.race(a, b)`, `Stream.closed`, `a.b`"
    wrong = "`sk.Prase`, `streamkit.none.Parse`, `hops.rase`, `Stream.shut`"

    assert [name for name in names(text) if not exists(name)] == []
    assert {name for name in names(wrong) if not exists(name)} == {
        "sk.Prase",
        "streamkit.none.Parse",
        "hops.rase",
        "Stream.shut",
    }
    assert broken("[a](docs/index.md), [b](docs/none.md), [c](#unreleased), [d](#none), [e](https://host/f)") == [
        "docs/none.md",
        "#none",
    ]
