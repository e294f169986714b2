"""The navigation of the site has every page once, and the check of links finds those that lead nowhere."""

from pathlib import Path

import pytest

from tests.docs.site.links import broken
from tests.docs.site.navigation import DOCS, ROOT, Page, files, navigation, problems


def test_every_page_has_one_place_in_the_navigation() -> None:
    assert problems(navigation(), files()) == []


def test_a_page_outside_of_the_navigation_is_named() -> None:
    pages = [Page((), "One", DOCS / "one.md"), Page((), "Two", DOCS / "two.md"), Page((), "Again", DOCS / "two.md")]
    assert problems(pages, [DOCS / "two.md", DOCS / "how-to/three.md"]) == [
        "how-to/three.md: not in the navigation (zensical.toml)",
        "one.md: in the navigation, but there is no such page",
        "two.md: in the navigation 2 times",
    ]


def test_every_plugin_has_a_page_that_shows_its_readme() -> None:
    shown = {page.name: page.read_text("utf-8") for page in (DOCS / "plugins").glob("streamkit-*.md")}
    readmes = sorted(ROOT.glob("plugins/*/README.md"))
    assert shown == {f"{file.parent.name}.md": f'--8<-- "{file.relative_to(ROOT).as_posix()}"\n' for file in readmes}


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("other/", []),
        ("other/index.html#here", []),
        ("#top", []),
        ("style.css", []),
        ("https://example.com/any", []),
        ("missing/", ["index.html: missing/"]),
        ("other/#there", ["index.html: other/#there"]),
        ("#nowhere", ["index.html: #nowhere"]),
        ("style.scss", ["index.html: style.scss"]),
        ("javascript:alert(1)", ["index.html: javascript:alert(1)"]),
    ],
)
def test_a_reference_resolves_or_is_named(tmp_path: Path, reference: str, found: list[str]) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "style.css").write_text("", encoding="utf-8")
    (tmp_path / "other/index.html").write_text('<h2 id="here">Here</h2>', encoding="utf-8")
    (tmp_path / "index.html").write_text(f'<h1 id="top">Top</h1><a href="{reference}">x</a>', encoding="utf-8")
    assert broken(tmp_path) == found
