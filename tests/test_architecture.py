"""The import table: who may know whom. Imports inside functions count; of rooms, those for type checkers alone don't."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, cast

import pytest

import streamkit

PACKAGE = Path(streamkit.__file__).parent
PLUGINS = PACKAGE.parent / "plugins"

LEVELS: list[set[str]] = [
    {"errors", "latency"},
    {"completion"},
    {"events"},
    {"core"},
    {"plugins"},
    {"sse", "structured", "tokens"},
    {"dialects"},
    {"sources"},
    {"moderation"},
    {"stages", "operators"},
    {"hops"},
    {"emitters", "requests"},
    {"sinks", "relay", "pipeline_files"},
    {"display"},
    {"batch"},
    {"streamkit"},
    {"cli"},
    {"testing"},
    {"__main__"},
]
"""Rooms, a module or a folder each, from the bottom; `streamkit` is the public names, `pipeline_files` one file of `plugins`.
A file imports files of its own room and of rooms below it."""
APART = {"stages"}
"""Rooms whose files do not import each other."""
ONE_ROOM = [{"errors", "latency"}]
ONLY_IN: dict[str, set[str]] = {
    "yarl": {"sources/redirects.py", "sources/signing.py", "testing/"},
    "botocore": {"sources/aws.py"},
    "aiohttp": {
        "sources/http.py",
        "sources/ws.py",
        "sinks/aiohttp.py",
        "sinks/watch/server.py",
        "moderation/classifiers/remote.py",
        "cli/",
        "testing/",
    },
    "starlette": {"sinks/starlette.py"},
    "tiktoken": {"tokens/encodings.py", "tokens/models.py"},
    "rich": {"cli/", "display/comparison.py", "display/live.py"},
    "ahocorasick": {"moderation/"},
    "regex": {"moderation/", "tokens/running.py", "operators/language.py"},
    "asyncio": {"core/waiting.py", "sinks/aiohttp.py", "sinks/watch/server.py", "cli/", "testing/"},
    "trio": set(),
}
TASKS = {"create_task", "TaskGroup", "create_task_group", "ensure_future", "gather", "start_soon"}


class Import(NamedTuple):
    """One name that a file imports."""

    file: str
    line: int
    module: str


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(file: Path) -> str:
    return file.relative_to(PACKAGE).as_posix()


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_bytes())


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All but what is for type checkers alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for other in node.orelse:
                yield from (other, *nodes(other))
        else:
            yield from (node, *nodes(node))


def imported(node: ast.AST, file: Path) -> list[str]:
    """The full names that a statement imports."""
    package = ["streamkit", *file.relative_to(PACKAGE).parts[:-1]] if file.is_relative_to(PACKAGE) else []
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=module, names=names, level=level):
            base = ".".join([*(package[: len(package) - level + 1] if level else []), *([module] if module else [])])
            # `from streamkit import plugins` imports a module.
            return [f"{base}.{alias.name}" for alias in names]
        case _:
            return []


@cache
def imports(file: Path) -> tuple[Import, ...]:
    return tuple(_imports(file))


def _imports(file: Path) -> Iterator[Import]:
    name = file.relative_to(PACKAGE if file.is_relative_to(PACKAGE) else PLUGINS).as_posix()
    for node in nodes(tree_of(file)):
        yield from (Import(name, cast("ast.Import", node).lineno, module) for module in imported(node, file))


def room_of(module: str) -> str:
    if module.startswith("streamkit.plugins.pipeline_files"):
        return "pipeline_files"
    first = module.split(".")[1] if "." in module else "streamkit"
    return first if any(first in level for level in LEVELS) else "streamkit"


def level_of(room: str) -> int:
    return next(height for height, level in enumerate(LEVELS) if room in level)


def allowed(importer: str, imported: str) -> bool:
    if importer == imported:
        return importer not in APART
    return level_of(imported) < level_of(importer) or any({importer, imported} <= rooms for rooms in ONE_ROOM)


def test_every_module_is_in_a_room() -> None:
    rooms = {path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}

    assert rooms - {"__init__", "__pycache__", "py.typed"} == set().union(*LEVELS) - {"streamkit", "pipeline_files"}


def test_the_page_on_the_house_has_the_same_table() -> None:
    page = (PACKAGE.parent / "docs/explanation/architecture.md").read_text(encoding="utf-8")
    table = page.partition("```text\n")[2].partition("```")[0]

    assert [set(line.removeprefix("→").strip().split(", ")) for line in table.splitlines()] == LEVELS[::-1]


@pytest.mark.parametrize("file", files(), ids=name_of)
def test_imports_point_one_way(file: Path) -> None:
    importer = room_of(".".join(["streamkit", *file.relative_to(PACKAGE).with_suffix("").parts]))

    wrong = [
        found
        for found in imports(file)
        if found.module.split(".")[0] == "streamkit" and not allowed(importer, room_of(found.module))
    ]

    assert wrong == []


@pytest.mark.parametrize(("library", "places"), ONLY_IN.items(), ids=ONLY_IN.keys())
def test_a_library_is_imported_only_where_it_belongs(library: str, places: set[str]) -> None:
    wrong = [
        found
        for file in files()
        for found in imports(file)
        if found.module.split(".")[0] == library and not any(found.file.startswith(place) for place in places)
    ]

    assert wrong == []


def dependencies(file: Path) -> set[str]:
    """The files of the package that a file imports, inside functions and for type checkers too."""
    found = [module for node in ast.walk(tree_of(file)) for module in imported(node, file)]
    paths = (PACKAGE.joinpath(*module.split(".")[1:]) for module in found if module.split(".")[0] == "streamkit")
    # A name that is no module is one of the module before it.
    return {name for path in paths for name in [named(path) or named(path.parent)] if name and name != name_of(file)}


def named(path: Path) -> str | None:
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return name_of(file) if file.is_file() else None


def test_no_file_imports_itself_by_way_of_others() -> None:
    graph = {name_of(file): dependencies(file) for file in files()}

    assert len(list(TopologicalSorter(graph).static_order())) == len(graph)


def test_no_function_imports_a_file_of_ours() -> None:
    late = [
        (name_of(file), node.lineno)
        for file in files()
        for function in ast.walk(tree_of(file))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if any(module.split(".")[0] == "streamkit" for module in imported(node, file))
    ]

    assert late == []


LAZY = sorted(file for file in PACKAGE.rglob("__init__.py") if "lazily(__name__" in file.read_text("utf-8"))


@pytest.mark.parametrize("file", LAZY, ids=lambda file: str(file.relative_to(PACKAGE).parent))
def test_the_names_for_checkers_are_those_that_python_finds(file: Path) -> None:
    package = import_module(".".join(file.relative_to(PACKAGE.parent).parent.parts))
    for_checkers, at_run_time = (node for node in tree_of(file).body if isinstance(node, ast.If))
    imports = [node for node in for_checkers.body if isinstance(node, ast.ImportFrom)]
    # What is a module's __getattr__ for checkers lets any name pass.
    assert ast.unparse(for_checkers.test) == "TYPE_CHECKING"
    (assigned,) = at_run_time.body
    assert ast.unparse(at_run_time.test) == "not TYPE_CHECKING"
    assert ast.unparse(assigned).startswith("__getattr__, __dir__ = lazily(__name__, _WHERE")

    assert {alias.asname or alias.name for node in imports for alias in node.names} == set(package.__all__)
    for node in imports:
        for alias in node.names:
            expected = getattr(import_module(str(node.module)), alias.name, None) or import_module(
                f"{node.module}.{alias.name}"
            )
            assert getattr(package, alias.asname or alias.name) is expected


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'streamkit' has no attribute 'Parser'"):
        _ = streamkit.Parser  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("RoleDelta", "; write streamkit.events.RoleDelta"),
        ("ProtocolError", "; write streamkit.errors.ProtocolError"),
        ("Smooth", "; write streamkit.ops.Smooth"),
        ("ConcurrentMap", "; write streamkit.hops.ConcurrentMap"),
        ("race", "; write streamkit.hops.race"),
        ("ServerSentEvent", "; write streamkit.sse.ServerSentEvent"),
        ("Window", "; write streamkit.moderation.Window"),
        ("Prices", "; write streamkit.tokens.Prices"),
        ("Parser", ""),
        ("msgspec", ""),
        ("__wrapped__", ""),
    ],
)
def test_a_name_of_a_named_module_is_said_to_be_there(name: str, hint: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(streamkit, name)
    assert str(caught.value) == f"module 'streamkit' has no attribute {name!r}{hint}"


def test_tasks_are_started_only_in_hops_the_relay_and_the_kit() -> None:
    wrong = [
        (name_of(file), node.lineno, name)
        for file in files()
        if not name_of(file).startswith(("hops/", "relay/", "cli/", "testing/"))
        for node in nodes(tree_of(file))
        if isinstance(node, ast.Attribute | ast.Name)
        and (name := node.attr if isinstance(node, ast.Attribute) else node.id) in TASKS
    ]

    assert wrong == []


@pytest.mark.parametrize(
    "file", sorted(PLUGINS.glob("*/src/**/*.py")), ids=lambda file: file.relative_to(PLUGINS).as_posix()
)
def test_a_plugin_imports_only_what_a_third_party_could(file: Path) -> None:
    private = [
        found
        for found in imports(file)
        if found.module.split(".")[0] == "streamkit" and any(part.startswith("_") for part in found.module.split("."))
    ]

    assert private == []


def test_importing_streamkit_is_cheap() -> None:
    late = ["aiohttp", "tiktoken", "rich", "trio", "requests", "openai", "streamkit.cli", "streamkit.testing"]
    code = f"import streamkit, sys; print([name for name in {late} if name in sys.modules])"

    printed = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True).stdout

    assert printed == "[]\n"


# The test of the test


@pytest.mark.parametrize(
    ("source", "modules"),
    [
        ("import aiohttp.web", ["aiohttp.web"]),
        ("from streamkit import plugins, Stage", ["streamkit.plugins", "streamkit.Stage"]),
        ("def f():\n    from streamkit.cli import main", ["streamkit.cli.main"]),
        ("from . import lines", ["streamkit.sse.lines"]),
        ("from ..stages.extract import Extract", ["streamkit.stages.extract.Extract"]),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import aiohttp", ["typing.TYPE_CHECKING"]),
        ("if TYPE_CHECKING:\n    import a\nelse:\n    import b", ["b"]),
        ("try:\n    import a\nexcept ImportError:\n    import b", ["a", "b"]),
    ],
)
def test_all_imports_are_seen(source: str, modules: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    file = tmp_path / "sse" / "here.py"
    file.parent.mkdir()
    file.write_text(source)

    assert [found.module for found in imports(file)] == modules


@pytest.mark.parametrize(
    ("importer", "imported", "may"),
    [
        ("sse", "core", True),
        ("core", "sse", False),
        ("events", "completion", True),
        ("completion", "events", False),
        ("events", "core", False),
        ("stages", "stages", False),
        ("stages", "dialects", True),
        ("dialects", "sse", True),
        ("sse", "dialects", False),
        ("stages", "sources", True),
        ("sources", "hops", False),
        ("plugins", "stages", False),
        ("pipeline_files", "stages", True),
        ("cli", "streamkit", True),
        ("streamkit", "cli", False),
        ("sources", "streamkit", False),
        ("moderation", "moderation", True),
        ("relay", "emitters", True),
        ("relay", "sinks", False),
    ],
)
def test_who_may_know_whom(importer: str, imported: str, may: bool) -> None:
    assert allowed(importer, imported) is may
