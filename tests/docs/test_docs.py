"""Every Python block of the README and the docs runs, page by page, in order, against the embedded provider."""

import ast
import asyncio
import inspect
import re
import sys
from importlib.metadata import requires
from pathlib import Path
from types import CodeType, ModuleType

import pytest
from anyio.from_thread import start_blocking_portal

from streamkit.cli.provider import Provider, serve
from tests.docs.pages import BLOCK, PAGES

ROOT = Path(__file__).parents[2]
RULES = '[[rule]]\ncategory = "secret"\nphrases = ["blue heron 42"]\n'


def blocks(page: Path) -> list[CodeType]:
    """The page's blocks, compiled so that `await` works at their top level and a traceback names the page's own line."""
    text = page.read_text(encoding="utf-8")
    return [
        compile(
            "\n" * text[: found.start(1)].count("\n") + found.group(1),
            str(page),
            "exec",
            ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
        )
        for found in BLOCK.finditer(text)
    ]


async def execute(page: Path, names: dict[str, object]) -> None:
    for code in blocks(page):
        result = eval(code, names)
        if inspect.iscoroutine(result):
            await result


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_on_the_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rules.toml").write_text(RULES, encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    # The provider in a thread of its own, since a page may show code that is not async and waits.
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serve(Provider(first_token_seconds=0, token_seconds=0))) as url,
    ):
        body = {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": "the launch code"}]}
        # A module, so that what a page defines can be pickled.
        module = ModuleType("page")
        monkeypatch.setitem(sys.modules, "page", module)
        names = vars(module)
        names |= {
            "url": f"{url}/v1/chat/completions",
            "body": body,
            "headers": {"authorization": "Bearer not-a-key"},
        }
        asyncio.run(execute(page, names))
    if page.parent == ROOT:
        shown = capsys.readouterr().out
        assert "the code word is [redacted]" in shown
        assert "blue heron 42" not in shown


def test_every_page_is_reached_by_a_link_from_the_readme() -> None:
    linked, left = set[Path](), [ROOT / "README.md"]
    while left:
        page = left.pop()
        found = {(page.parent / link).resolve() for link in re.findall(r"\]\(([^)#:]+\.md)", page.read_text("utf-8"))}
        left += found - linked
        linked |= found
    assert {page for page in PAGES if page.is_relative_to(ROOT / "docs")} <= linked


INSTALLED = {"hypothesis": r"testing|dev", "pytest": "testing", "stdnum": "python-stdnum"}
"""Installation names of modules whose package has another name."""


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_says_what_to_install_beside_streamkit(page: Path) -> None:
    text = page.read_text("utf-8")
    imported = {
        name.partition(".")[0]
        for code in BLOCK.findall(text)
        for name in re.findall(r"^(?:from|import) ([\w.]+)", code, re.M)
    }
    with_streamkit = {
        re.split(r"\W", name)[0] for name in requires("streamkit-llm") or () if "extra ==" not in name
    } | {"streamkit"}
    others = imported - with_streamkit - sys.stdlib_module_names
    said = "\n".join(re.findall(r"pip install .*|add\s`[^`]+`", text))
    assert [name for name in others if not re.search(INSTALLED.get(name, name.replace("_", "[-_]")), said)] == []


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("first stream", "tutorial/first-stream.md"),
        ("guardrails", "how-to/moderate.md"),
        ("gateway", "how-to/serve.md"),
        ("agent loop", "tutorial/agent-loop.md"),
        ("batch", "how-to/batch.md"),
        ("resume", "how-to/resume.md"),
        ("stage of your own", "how-to/write-a-stage.md"),
        ("dialect of your own", "how-to/add-a-dialect.md"),
        ("emitter of your own", "how-to/serve-other-clients.md"),
        ("cost", "how-to/count-and-cost.md"),
    ],
)
def test_a_newcomer_finds_a_task_on_the_first_page(words: str, page: str) -> None:
    rows = [row for row in (ROOT / "docs/index.md").read_text("utf-8").splitlines() if row.startswith("|")]
    found = [row.split(" | ")[1] for row in rows if words in row.split(" | ")[0]]
    assert found
    assert re.search(rf"\]\({re.escape(page)}[)#]", found[0])


def test_the_readme_has_the_table_of_the_sites_first_page() -> None:
    readme, index = (
        (ROOT / name).read_text("utf-8").partition("| you search for")[2].partition("\n\n")[0].strip()
        for name in ("README.md", "docs/index.md")
    )
    assert readme == re.sub(r"\]\(", "](docs/", index)


KOREAN = {"README.ko.md": "README.md"} | {
    str(page.relative_to(ROOT)): f"docs/tutorial/{page.name}" for page in (ROOT / "docs/ko").glob("*.md")
}


@pytest.mark.parametrize(("page", "original"), KOREAN.items())
def test_a_korean_page_has_the_code_of_the_english_one_with_comments_of_its_own(page: str, original: str) -> None:
    korean, english = (
        [re.sub(r"\s*#.*", "", code) for code in BLOCK.findall((ROOT / name).read_text("utf-8"))]
        for name in (page, original)
    )
    assert korean
    assert [code for code in english if code in korean] == korean


THEIRS = {"docs/how-to/read-bedrock.md"}
"""Pages whose `url` is not that of a chat."""


def given_from_outside(page: Path) -> set[str]:
    """Those of `url`, `body` and `headers` that a page uses before any block of it has given them a value."""
    given, found = set[str](), set[str]()
    for code in BLOCK.findall(page.read_text("utf-8")):
        tree = compile(code, str(page), "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
        arguments = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        given |= {name.id for name in names if isinstance(name.ctx, ast.Store)}
        found |= {name.id for name in names} & {"url", "body", "headers"} - given - arguments
    return found


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.is_relative_to(ROOT / "docs") and given_from_outside(page)],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_a_page_that_takes_the_request_from_its_reader_says_where_to_get_one(page: Path) -> None:
    text = page.read_text("utf-8")
    assert "first-stream.md#the-other-pages)" in text or str(page.relative_to(ROOT)) in THEIRS
