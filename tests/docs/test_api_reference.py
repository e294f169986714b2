"""The API reference has every public name once, and the docstring of each explains its options and fields."""

import ast
import dataclasses
import importlib
import inspect
import re
import textwrap
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import pairwise, zip_longest
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Protocol

import msgspec
import pytest

import streamkit
from streamkit.completion import EventBase
from streamkit.emitters.emitter import Emitter
from streamkit.relay import Log
from tests.docs.site.api_index import FOLDER, index

PAGES = sorted((Path(__file__).parents[2] / "docs/reference/api").glob("*.md"))
DIRECTIVE = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)
MODULES = (
    "",
    "batch",
    "completion",
    "core",
    "dialects",
    "display",
    "errors",
    "events",
    "hops",
    "moderation",
    "moderation.rule_file",
    "operators",
    "plugins.pipeline_files",
    "relay",
    "sources",
    "sse",
    "structured",
    "testing",
    "tokens",
)
"""Modules whose public names are those of their `__all__`."""
ALSO = {
    "cli.provider": ["Provider", "serve"],
    "dialects.tool_identity": ["Identity"],
    "emitters.blocks": ["Block", "BlockEmitter"],
    "emitters.emitter": ["Checkpointed", "Emitter", "Settings"],
    "emitters.failures": ["ErrorFrame", "Failure", "failure_at_end"],
    "latency": ["Stall", "intervals", "percentile", "stalls"],
    "moderation.classifiers.remote": ["Remote", "http_classifier", "openai_moderation"],
    "plugins": ["API", "GROUPS", "Plugin", "find", "installed", "names"],
    "requests": ["Translation", "Untranslated", "translate"],
    "sinks.aiohttp": ["respond", "respond_durable"],
    "sinks.starlette": ["DurableStreamResponse", "EventStreamResponse"],
    "sources.aws": ["SigV4"],
    "sources.faults": ["Cut", "Drip", "Duplicate", "Garbage", "Pause"],
    "sources.feed": ["Feed", "Reconnect", "Reconnection"],
    "sources.http": ["Http", "get", "post"],
    "sources.request": ["RequestToSign"],
    "sources.replay": ["Replay", "recut"],
    "sources.retry": ["Retry"],
    "sources.ws": ["Connection", "WebSocketSource", "connect"],
    "testing.strategies": ["answers", "chat_bodies", "cuts", "texts"],
    "tokens.prices": ["Price", "Tier", "from_file"],
}
"""Names that pages tell to import from a module without one."""
PROTOCOLS = (Emitter, Log)
"""Their methods are explained in them, and not again in what implements them."""
MADE_BY = re.compile(r"[Cc]reated by `")
MADE_BY = re.compile(r"[Cc]reated by `")


def find(path: str) -> Any:
    """The object of a dotted path."""
    found: Any = importlib.import_module("streamkit")
    for name, after in zip_longest(parts := path.split(".")[1:], parts[1:]):
        # A function hides the module of its name: `streamkit.hops.race.race`.
        hidden = after is not None and isinstance(getattr(found, name, None), FunctionType)
        module = f"{getattr(found, '__name__', '')}.{name}"
        found = importlib.import_module(module) if hidden or not hasattr(found, name) else getattr(found, name)
    return found


def place(path: str) -> str:
    """The one path of an object that has several: that of its definition; the name of what has none."""
    found = find(path)
    return f"{found.__module__}.{found.__qualname__}" if isinstance(found, type | FunctionType) else path.split(".")[-1]


def module_of(name: str) -> str:
    return f"streamkit.{name}".rstrip(".")


def public() -> Iterator[tuple[str, Any]]:
    """Every public name but modules, each object once."""
    seen = set[str]()
    listed = {name: list(importlib.import_module(module_of(name)).__all__) for name in MODULES}
    for module, names in {**listed, **ALSO}.items():
        for name in names:
            path = f"{module_of(module)}.{name}"
            found = getattr(importlib.import_module(module_of(module)), name)
            if not isinstance(found, ModuleType) and (where := place(path)) not in seen:
                seen.add(where)
                yield path, found


PUBLIC = dict(public())
EXPLAINED = {path: found for path, found in PUBLIC.items() if isinstance(found, type | FunctionType)}


def own_docs(kind: type) -> str:
    """The docstrings of a class and of those of ours that it inherits from."""
    ours = [base for base in kind.__mro__ if base.__module__.startswith("streamkit")]
    return "\n".join(base.__doc__ or "" for base in ours if "__doc__" in vars(base))


@cache
def field_docs(kind: type) -> set[str]:
    """The fields that have a docstring of their own."""
    found = set[str]()
    for base in kind.__mro__:
        if not base.__module__.startswith("streamkit"):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(tree, ast.ClassDef)
        for field, after in pairwise(tree.body):
            if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr) and isinstance(field.target, ast.Name):
                found.add(field.target.id)
    return found


def options(kind: type) -> list[str]:
    """The names that a caller gives to make one; but the first argument of a constructor is what the class is about."""
    if issubclass(kind, msgspec.Struct):
        of_events = {"payload", "index"} if issubclass(kind, EventBase) else set[str]()
        return [name for name in kind.__struct_fields__ if name not in of_events]
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind) if field.init]
    own = "__init__" in vars(kind) and Protocol not in kind.__bases__
    return list(inspect.signature(kind.__init__).parameters)[2:] if own else []


def is_named(name: str, text: str) -> bool:
    return re.search(rf"`[^`\n]*\b{re.escape(name)}\b[^`\n]*`", text) is not None


def docs_of_others(text: str) -> str:
    """The docstrings of those of whose options a docstring says that they are its own: "those of `post`", "as in `Classify`"."""
    names = re.findall(r"(?:as in|as for|those of) `([\w.]+)`", text)
    others = [
        found for path, found in EXPLAINED.items() if path.split(".")[-1] in {name.split(".")[-1] for name in names}
    ]
    fields = [f"`{name}`" for found in others if isinstance(found, type) for name in field_docs(found)]
    return "\n".join(
        [*fields, *(own_docs(found) if isinstance(found, type) else found.__doc__ or "" for found in others)]
    )


def test_every_public_name_has_one_place_in_the_reference() -> None:
    listed = [path for page in PAGES for path in DIRECTIVE.findall(page.read_text(encoding="utf-8"))]
    places = Counter(place(path) for path in listed)
    assert [where for where, count in places.items() if count > 1] == []
    assert {place(path): path for path in PUBLIC if place(path) not in places} == {}


def test_every_public_module_has_names_in_the_reference() -> None:
    modules = [module for name in streamkit.__all__ if isinstance(module := getattr(streamkit, name), ModuleType)]
    known = [module_of(name) for name in (*MODULES, *ALSO)]
    assert [module.__name__ for module in modules if not any(name.startswith(module.__name__) for name in known)] == []


def test_the_first_page_is_made_of_the_others() -> None:
    assert (FOLDER / "index.md").read_text(encoding="utf-8") == index(), "python -m tests.docs.site.api_index"


@pytest.mark.parametrize("path", EXPLAINED)
def test_a_docstring_explains_every_option_and_field(path: str) -> None:
    found = EXPLAINED[path]
    assert found.__doc__
    if isinstance(found, FunctionType):
        text, names = found.__doc__, list(inspect.signature(found).parameters)[1:]
    else:
        text = own_docs(found)
        names = [] if MADE_BY.search(text) else [name for name in options(found) if name not in field_docs(found)]
    text += docs_of_others(text)
    assert [name for name in names if not name.startswith("_") and not is_named(name, text)] == []


@pytest.mark.parametrize("path", [path for path, found in EXPLAINED.items() if isinstance(found, type)])
def test_every_public_method_and_property_has_a_docstring(path: str) -> None:
    kind = EXPLAINED[path]
    bare = []
    for name, member in vars(kind).items():
        function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if name.startswith("_") or not isinstance(function, FunctionType | property):
            continue
        declared = [getattr(base, name, None) for base in (*kind.__mro__, *PROTOCOLS)]
        if not any(getattr(one, "__doc__", None) for one in declared):
            bare.append(name)
    assert bare == []
