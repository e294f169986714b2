"""`llms.txt` and `llms-full.txt`: the site as plain Markdown, as an index and as one file, by llmstxt.org.

A directive of mkdocstrings (`::: name`) becomes the signature and the docstrings that the site shows in its place.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import griffe

from tests.docs.site.fields import Fields
from tests.docs.site.finish import UNBUILT
from tests.docs.site.navigation import DOCS, ROOT, Page

DIRECTIVE = re.compile(r"^::: ([\w.]+)\n(?:(?: {4}.*)?\n)*", re.MULTILINE)
SNIPPET = re.compile(r'^--8<-- "(.+)"$', re.MULTILINE)
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def write(site: Path, title: str, description: str, pages: list[Page]) -> None:
    """Write both files, and each page beside its HTML, into the built site."""
    package = griffe.load("streamkit", search_paths=[str(ROOT)], extensions=griffe.load_extensions(Fields))
    texts = {page.path: as_markdown(page.path.read_text(encoding="utf-8"), package) for page in pages}
    for path, text in texts.items():
        target = site / path.relative_to(DOCS)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    head = f"# {title}\n\n> {description}\n"
    (site / "llms.txt").write_text(head + index(pages, texts), encoding="utf-8")
    full = "\n\n".join(text.strip() for text in texts.values())
    (site / "llms-full.txt").write_text(f"{head}\n{full}\n", encoding="utf-8")


def index(pages: list[Page], texts: dict[Path, str]) -> str:
    """A section of links for each part of the navigation, each with the first sentence of its page."""
    lines: list[str] = []
    last = None
    for page in pages:
        section = page.sections[0] if page.sections else page.title
        if section != last:
            lines += ["", f"## {section}", ""]
            last = section
        says = first_sentence(texts[page.path])
        lines.append(f"- [{page.title}]({page.path.relative_to(DOCS).as_posix()})" + (f": {says}" if says else ""))
    return "\n".join(lines) + "\n"


def first_sentence(text: str) -> str:
    """The first sentence of prose on a page, without its links."""
    for paragraph in FENCE.sub("", text).split("\n\n"):
        line = " ".join(paragraph.split())
        if line and line[0] not in "#|<-!*:":
            line = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", line)
            return re.split(r"(?<=[.:?])\s", line, maxsplit=1)[0].rstrip(":")
    return ""


def as_markdown(text: str, package: griffe.Object | griffe.Alias) -> str:
    """A page's text with its snippets and its directives replaced by what they stand for."""
    text = UNBUILT.sub("", text)
    text = SNIPPET.sub(lambda found: (ROOT / found[1]).read_text(encoding="utf-8").strip(), text)
    return DIRECTIVE.sub(lambda found: "\n".join(_entry(_find(package, found[1]), found[1])) + "\n", text)


def _find(package: griffe.Object | griffe.Alias, path: str) -> griffe.Object | griffe.Alias:
    return package if "." not in path else package[path.partition(".")[2]]


def _entry(found: griffe.Object | griffe.Alias, path: str) -> Iterator[str]:
    yield f"### {path}"
    yield ""
    if isinstance(target := found.final_target if isinstance(found, griffe.Alias) else found, griffe.Module):
        yield _text(target)
        return
    yield from ("```python", *_source(target), "```", "", _text(target))
    if isinstance(target, griffe.Class):
        for member in target.members.values():
            if not member.is_alias and member.is_public and member.has_docstring:
                yield from ("", f"`{_line(member)}`: {_text(member)}")


def _source(found: griffe.Object | griffe.Alias) -> list[str]:
    """The lines of the declaration without its body, and for a class those of its fields."""
    if isinstance(found, griffe.Function):
        return [_line(found)]
    if isinstance(found, griffe.Class):
        bases = ", ".join(str(base) for base in found.bases)
        fields = [
            f"    {_line(member)}"
            for member in found.members.values()
            if isinstance(member, griffe.Attribute) and member.is_public and "property" not in member.labels
        ]
        return [f"class {found.name}({bases})" if bases else f"class {found.name}", *fields]
    return [_line(found)]


def _line(found: griffe.Object | griffe.Alias) -> str:
    if isinstance(found, griffe.Function):
        prefix = "async def " if "async" in found.labels else "def "
        return prefix + found.signature()
    if isinstance(found, griffe.Attribute):
        value = f" = {found.value}" if found.value is not None and "property" not in found.labels else ""
        return f"{found.name}: {found.annotation}{value}" if found.annotation else f"{found.name}{value}"
    return found.name


def _text(found: griffe.Object | griffe.Alias) -> str:
    return found.docstring.value if found.docstring else ""
