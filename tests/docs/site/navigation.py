"""The pages of the site in the order of its navigation, and what the navigation misses."""

import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"


class Page(NamedTuple):
    """A page, the titles of the sections that it is in, and its own."""

    sections: tuple[str, ...]
    title: str
    path: Path


def configuration() -> dict[str, Any]:
    """The table `project` of zensical.toml."""
    project: dict[str, Any] = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
    return project


def navigation() -> list[Page]:
    """Every page that the navigation names."""
    return list(_walk(configuration()["nav"], ()))


def _walk(entries: list[dict[str, Any]], sections: tuple[str, ...]) -> Iterator[Page]:
    for entry in entries:
        for title, inside in entry.items():
            if isinstance(inside, str):
                yield Page(sections, title, DOCS / inside)
            else:
                yield from _walk(inside, (*sections, title))


def problems(pages: list[Page], files: list[Path]) -> list[str]:
    """The problems of a navigation of `pages` over these files, a line each."""
    named = Counter(page.path for page in pages)
    return [
        *(f"{path.relative_to(DOCS)}: not in the navigation (zensical.toml)" for path in files if path not in named),
        *(
            f"{path.relative_to(DOCS)}: in the navigation, but there is no such page"
            for path in named
            if path not in files
        ),
        *(f"{path.relative_to(DOCS)}: in the navigation {n} times" for path, n in named.items() if n > 1),
    ]


def files() -> list[Path]:
    """Every Markdown file of the site."""
    return sorted(DOCS.rglob("*.md"))
