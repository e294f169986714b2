"""The navigation of the site has every page once, and the check of links finds those that lead nowhere."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.docs.site.finish import UNBUILT, external, finish
from tests.docs.site.links import broken
from tests.docs.site.navigation import DOCS, ROOT, Page, files, navigation, problems
from tests.docs.site.terminal import Cells, Piece, Style, draw, pieces


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
    snippets = {name: UNBUILT.sub("", text) for name, text in shown.items()}
    assert snippets == {f"{file.parent.name}.md": f'--8<-- "{file.relative_to(ROOT).as_posix()}"\n' for file in readmes}


def test_a_page_that_is_incomplete_before_it_is_built_links_the_source_of_its_text() -> None:
    incomplete = re.compile(r"^(?:--8<-- |::: |\[`[^`]+`\]\[)", re.MULTILINE)
    pages = [page for page in files() if incomplete.search(page.read_text("utf-8"))]
    assert len(pages) > 20
    for page in pages:
        (note,) = UNBUILT.findall(page.read_text("utf-8"))
        (target,) = re.findall(r'href="([^"]+)"', note)
        assert (page.parent / target).exists(), page


def test_notes_for_readers_of_the_markdown_are_not_on_the_site(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    page = tmp_path / "site/index.html"
    page.write_text('<h1>One</h1>\n<p class="unbuilt">See <a href="../up">\nup</a>.</p>\n<p>Two</p>', encoding="utf-8")
    (tmp_path / "mermaid").mkdir()
    finish(tmp_path / "site", tmp_path / "mermaid")
    assert page.read_text("utf-8") == "<h1>One</h1>\n<p>Two</p>"


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


BUNDLE = '<script src="{}assets/javascripts/bundle.12.min.js"></script>'
DIAGRAM = '<pre class="mermaid"><code>flowchart LR</code></pre>'


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A site of three pages, one of them with a diagram and one in Korean."""
    site = tmp_path / "site"
    pages = {"index.html": ("./", DIAGRAM), "how-to/index.html": ("../", ""), "ko/first/index.html": ("../../", "")}
    for name, (root, body) in pages.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(f'<html lang="en" class="no-js">{body}{BUNDLE.format(root)}', encoding="utf-8")
    (tmp_path / "mermaid").mkdir()
    (tmp_path / "mermaid/mermaid.min.js").write_text("var mermaid = {}", encoding="utf-8")
    finish(site, tmp_path / "mermaid")
    return site


def test_a_page_with_a_diagram_has_mermaid_of_the_site_itself_before_the_themes_script(built: Path) -> None:
    pages = {str(page.relative_to(built)): page.read_text("utf-8") for page in built.rglob("*.html")}
    sources = {name: re.findall(r'<script src="([^"]*)"', text) for name, text in pages.items()}
    assert sources == {
        "index.html": ["./assets/mermaid/mermaid.min.js", "./assets/javascripts/bundle.12.min.js"],
        "how-to/index.html": ["../assets/javascripts/bundle.12.min.js"],
        "ko/first/index.html": ["../../assets/javascripts/bundle.12.min.js"],
    }
    assert (built / "assets/mermaid/mermaid.min.js").read_text("utf-8") == "var mermaid = {}"


def test_korean_pages_say_that_they_are(built: Path) -> None:
    pages = {str(page.relative_to(built)): page.read_text("utf-8") for page in built.rglob("*.html")}
    assert {name: re.findall(r'<html lang="(..)" class="no-js">', text) for name, text in pages.items()} == {
        "index.html": ["en"],
        "how-to/index.html": ["en"],
        "ko/first/index.html": ["ko"],
    }


@pytest.mark.parametrize(
    ("tag", "found"),
    [
        ('<script src="https://host/a.js"></script>', ["index.html: https://host/a.js"]),
        ('<script src="//host/a.js"></script>', ["index.html: //host/a.js"]),
        ('<link rel="stylesheet" href="https://host/a.css">', ["index.html: https://host/a.css"]),
        ('<link rel="preconnect" href="https://host">', ["index.html: https://host"]),
        ('<img src="http://host/a.png">', ["index.html: http://host/a.png"]),
        ('<link rel="canonical" href="https://host/page/">', []),
        ('<a href="https://host/">other</a>', []),
        ('<script src="./a.js"></script><img src="data:image/png;base64,AA"><script>1</script>', []),
    ],
)
def test_what_a_page_loads_from_another_host_is_named(tmp_path: Path, tag: str, found: list[str]) -> None:
    (tmp_path / "index.html").write_text(f"<html>{tag}</html>", encoding="utf-8")
    assert external(tmp_path) == found


def test_what_a_style_sheet_loads_from_another_host_is_named(tmp_path: Path) -> None:
    sheet = '@import url("//host/b.css"); a { background: url(c.png) } b { background: url(https://host/d.png) }'
    (tmp_path / "a.css").write_text(sheet, encoding="utf-8")
    assert external(tmp_path) == ["a.css: //host/b.css", "a.css: https://host/d.png"]


@pytest.mark.parametrize("page", files(), ids=lambda page: str(page.relative_to(DOCS)))
def test_no_code_in_a_table_has_an_escaped_bar(page: Path) -> None:
    # GitHub wants it escaped and the site shows the backslash; <code>&#124;</code> is read by both.
    rows = [row for row in page.read_text("utf-8").splitlines() if row.startswith("|")]
    assert [row for row in rows if re.search(r"`[^`|]*\\\|[^`]*`", row)] == []


def line(text: str) -> Cells:
    return tuple((character, Style()) for character in text)


def test_a_line_of_a_terminal_that_grew_gets_a_piece_more_and_one_that_changed_is_replaced() -> None:
    shown = {0: [line("1,")], 3: [line("1, 2,"), line("0 %")], 5: [line("1, 2,"), line("99 %")]}
    assert pieces(shown) == [
        Piece(0, 0, "1,", Style(), 0, None),
        Piece(0, 3, "2,", Style(), 3, None),
        Piece(1, 0, "0 %", Style(), 3, 5),
        Piece(1, 0, "99 %", Style(), 5, None),
    ]


def test_the_picture_of_a_terminal_is_one_document_that_shows_its_end_where_nothing_moves() -> None:
    root = ElementTree.fromstring(draw("a & b", {0: [line("<1>")], 10: [line("<2>")]}))
    style = next(element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}style"))
    texts = {element.text: element.get("class") for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert texts == {"a & b": None, "<1>": "t0", "<2>": "t1"}
    assert ".t0{opacity:0;animation-name:t0}" in style
    assert ".t1{animation-name:t1}" in style
    assert "@media(prefers-reduced-motion:reduce){[class],#s{animation:none}}" in style


@pytest.mark.parametrize("picture", sorted((DOCS / "assets").glob("*.svg")), ids=lambda path: path.name)
def test_a_picture_needs_nothing_from_elsewhere(picture: Path) -> None:
    root = ElementTree.parse(picture).getroot()
    assert {element.tag.rpartition("}")[2] for element in root.iter()} & {"script", "image", "foreignObject"} == set()
    assert "http" not in picture.read_text("utf-8").replace("http://www.w3.org/2000/svg", "").replace(
        "http://127.0.0.1", ""
    )
