"""Changes to a built site: Mermaid, so that its pages need no other host, and the language of those that are not English. Notes
for readers of the Markdown are removed.

    python -m tests.docs.site.finish FOLDER

installs Mermaid, which draws the diagrams, into the folder. The theme would load it from another host in the reader's browser.
"""

import re
import shutil
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

from tests.clients.install import node, run

JAVASCRIPT = Path(__file__).parent / "javascript"
"""The version of Mermaid, in npm's lock."""
FILES = ("dist/mermaid.min.js", "LICENSE")
LANGUAGES = {"ko": "ko"}
"""The folders of pages in another language than English."""
UNBUILT = re.compile(r'<p class="unbuilt"[^>]*>.*?</p>\n*', re.DOTALL)
"""A note on a page whose Markdown is incomplete, for those who read it before it is built. Its links lead into the repository."""
_BUNDLE = re.compile(r'<script src="([./]*)assets/javascripts/bundle\.')
_LOADED = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "link": "href",
}
_LINKS = {"canonical", "alternate", "next", "prev", "edit"}
"""`rel` of what a browser does not load."""


def install(folder: Path) -> None:
    """Install Mermaid from npm, as locked, into `folder / "mermaid"`."""
    binary, npm = node()
    with tempfile.TemporaryDirectory() as made:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(JAVASCRIPT / name, made)
        run(*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=Path(made), path=binary.parent)
        target = folder / "mermaid"
        target.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            shutil.copy(Path(made, "node_modules/mermaid", name), target)


def finish(site: Path, mermaid: Path) -> None:
    """Put Mermaid beside the pages with a diagram, set the language of those that are not English, and remove notes `UNBUILT`."""
    shutil.copytree(mermaid, site / "assets/mermaid", dirs_exist_ok=True)
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        finished = with_mermaid(UNBUILT.sub("", text))
        if language := LANGUAGES.get(page.relative_to(site).parts[0]):
            finished = with_language(finished, language)
        if finished != text:
            page.write_text(finished, encoding="utf-8")


def with_mermaid(page: str) -> str:
    """The page with Mermaid before the theme's own script, which then does not load it, if it has a diagram."""
    if 'class="mermaid"' not in page:
        return page
    finished, times = _BUNDLE.subn(
        lambda found: f'<script src="{found[1]}assets/mermaid/mermaid.min.js"></script>\n      {found[0]}', page
    )
    if times != 1:
        raise SystemExit(f"expected the theme's script once in a page, found it {times} times")
    return finished


def with_language(page: str, language: str) -> str:
    """The page with this language in its first tag."""
    finished, times = re.subn(r'(<html\b[^>]*?\blang=")[^"]*', rf"\g<1>{language}", page, count=1)
    if times != 1:
        raise SystemExit("expected a page to have <html lang=…>, found none")
    return finished


class _Loaded(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        address = given.get(_LOADED.get(tag, ""))
        if address and not (tag == "link" and given.get("rel") in _LINKS) and urlsplit(address).netloc:
            self.found.append(address)


def external(site: Path) -> list[str]:
    """Each script, style sheet, picture or frame of a page that a browser would load from another host."""
    found: list[str] = []
    for page in sorted(site.rglob("*.html")):
        loaded = _Loaded()
        loaded.feed(page.read_text(encoding="utf-8"))
        found += [f"{page.relative_to(site)}: {address}" for address in loaded.found]
    for sheet in sorted(site.rglob("*.css")):
        styles = sheet.read_text(encoding="utf-8")
        found += [
            f"{sheet.relative_to(site)}: {address}"
            for address in re.findall(r"url\(['\"]?((?:https?:)?//[^'\")]+)", styles)
        ]
    return found


if __name__ == "__main__":
    install(Path(sys.argv[1]))
