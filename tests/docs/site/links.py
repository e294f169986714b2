"""Links of a built site: whatever a page refers to on its own site is there, down to the anchor."""

from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _References(HTMLParser):
    """The anchors of a page, and what it refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.references: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and (name == "id" or (tag == "a" and name == "name")):
                self.anchors.add(value)
            elif value and name in ("href", "src"):
                self.references.add(value)


@cache
def _read(page: Path) -> _References:
    found = _References()
    found.feed(page.read_text(encoding="utf-8"))
    return found


def broken(site: Path) -> list[str]:
    """Every reference to a file or an anchor that the site doesn't have. Other sites are not asked."""
    # The page for unknown addresses refers to the site's root, which only the server knows.
    pages = sorted(page for page in site.rglob("*.html") if page != site / "404.html")
    return [
        f"{page.relative_to(site)}: {reference}"
        for page in pages
        for reference in sorted(_read(page).references)
        if not _resolves(page, reference)
    ]


def _resolves(page: Path, reference: str) -> bool:
    parts = urlsplit(reference)
    if parts.scheme or parts.netloc:
        return parts.scheme in ("https", "http", "data", "mailto")
    target = page.parent / unquote(parts.path) if parts.path else page
    if target.is_dir():
        target /= "index.html"
    if not target.is_file():
        return False
    anchor = unquote(parts.fragment)
    return not anchor or target.suffix != ".html" or anchor in _read(target).anchors
