"""The first page of the API reference, made of the others: `python -m tests.docs.site.api_index`."""

import re

from tests.docs.site.navigation import DOCS, navigation

FOLDER = DOCS / "reference" / "api"
ENTRY = re.compile(r"^::: ([\w.]+)\n((?:    .*\n)*)", re.MULTILINE)
HEAD = """\
# API reference

<p class="unbuilt" data-search-exclude>This page is built by <code>make docs</code>, which resolves its links; the names are in
<a href="../../../streamkit">streamkit/</a>.</p>

Every public name, from its docstring. `import streamkit as sk` gives those that most programs need; everything else is an
attribute of a named module, such as `sk.events.PartStart`.
"""


def index() -> str:
    """A section for each page, in the order of the navigation, with a link to each of its entries."""
    sections = [HEAD]
    for page in navigation():
        if page.path.parent == FOLDER and page.path.name != "index.md":
            entries = ENTRY.findall(page.path.read_text("utf-8"))
            # One a line, so that two changes that each add a name can be merged.
            links = ",\n".join(f"[`{_shown(path, options)}`][{path}]" for path, options in entries)
            sections.append(f"## [{page.title}]({page.path.name})\n\n{links}\n")
    return "\n".join(sections)


def _shown(path: str, options: str) -> str:
    heading = re.search(r"heading: (.+)", options)
    return (heading[1] if heading else path).removeprefix("streamkit.")


if __name__ == "__main__":
    (FOLDER / "index.md").write_text(index(), encoding="utf-8")
