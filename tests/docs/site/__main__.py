"""Build the documentation site, and fail on any warning, broken link or page outside of the navigation.

    python -m tests.docs.site

Needs the environment of requirements/docs.txt: `make docs` makes it. Afterwards the site also has `llms.txt`, `llms-full.txt` and
each page as Markdown.
"""

import re
import subprocess
import sys
import zlib
from pathlib import Path

from tests.docs.site import finish, links, llms
from tests.docs.site.api_index import ENTRY, FOLDER
from tests.docs.site.navigation import ROOT, configuration, files, navigation, problems

WARNING = re.compile(r"\bwarning\b|\berror\b|could not", re.IGNORECASE)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def build() -> list[str]:
    """Build into the folder of the configuration; what the builder complained about."""
    command = [str(Path(sys.executable).parent / "zensical"), "build", "--strict", "--clean"]
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=600
    )
    shown = COLOUR.sub("", done.stdout)
    print(shown, end="", flush=True)
    complaints = [line for line in shown.splitlines() if WARNING.search(line)]
    return complaints or ([f"zensical ended with {done.returncode}"] if done.returncode else [])


def absent(site: Path) -> list[str]:
    """The entries of the API reference that `objects.inv` lacks, by which other sites link them."""
    head, _, packed = (site / "objects.inv").read_bytes().partition(b"zlib.\n")
    if not head.startswith(b"# Sphinx inventory version 2"):
        return ["objects.inv"]
    listed = {line.split(" ")[0] for line in zlib.decompress(packed).decode().splitlines()}
    entries = {path for page in FOLDER.glob("*.md") for path, _ in ENTRY.findall(page.read_text(encoding="utf-8"))}
    return sorted(entries - listed)


def main() -> int:
    """Build and check; 1 with every problem on a line of its own."""
    pages, project = navigation(), configuration()
    site = ROOT / project["site_dir"]
    if found := problems(pages, files()) or build():
        print(*found, sep="\n", file=sys.stderr)
        return 1
    llms.write(site, project["site_name"], project["site_description"], pages)
    finish.finish(site, Path(sys.prefix) / "mermaid")
    if found := finish.external(site):
        print("loaded from another host:", *found, sep="\n", file=sys.stderr)
        return 1
    if found := links.broken(site):
        print("broken links:", *found, sep="\n", file=sys.stderr)
        return 1
    if found := absent(site):
        print("not in objects.inv:", *found, sep="\n", file=sys.stderr)
        return 1
    count = len(list(site.rglob("*.html")))
    print(
        f"{count} pages, every link resolves, nothing is loaded from another host: {site.relative_to(ROOT)}/index.html"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
