"""Dialects of installed packages are found by name and by the first event; broken ones do no harm."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import streamkit as sk
from streamkit import dialects

PARROT = """
from dataclasses import dataclass
import streamkit as sk

LOADED.append(__name__)

@dataclass
class Parrot(sk.dialects.Dialect):
    @classmethod
    def recognizes(cls, event, data):
        return isinstance(data, dict) and "squawk" in data

    def take(self, item, data, number, out):
        self.finished.setdefault(0, None)
        out.append(sk.TextDelta(data["squawk"], payload=item.data))
"""
WORDS = b'data: {"squawk": "Polly "}\n\ndata: {"squawk": "wants"}\n\ndata: [DONE]\n\n'
OPENAI = b'data: {"choices": [{"index": 0, "delta": {"content": "Hi"}}]}\n\ndata: [DONE]\n\n'
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
Install = Callable[[str, str, str], None]


@pytest.fixture
def loaded() -> list[str]:
    return []


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loaded: list[str]) -> Iterator[Install]:
    """Put a package with a dialect on the path, as an installer would."""
    monkeypatch.setattr("builtins.LOADED", loaded, raising=False)
    dialects.installed.cache_clear()
    modules: list[str] = []

    def put(name: str, source: str, target: str) -> None:
        module = f"package_of_{name}_{tmp_path.name}".replace("-", "_")
        modules.append(module)
        site = tmp_path / f"site-{len(modules)}"
        info = site / f"{name}_{len(modules)}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-{len(modules)}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[streamkit.dialects]\n{name} = {module}:{target}\n")
        (site / f"{module}.py").write_text(source)
        monkeypatch.syspath_prepend(site)

    yield put
    dialects.installed.cache_clear()
    for module in modules:
        sys.modules.pop(module, None)


def read(*bodies: bytes, dialect: str | None = None) -> tuple[list[sk.Event], sk.StreamkitError | None]:
    seen: list[sk.Event] = []
    try:
        seen.extend((sk.sse.Lines() | sk.Parse() | sk.Extract(dialect)).run(list(bodies)))
    except sk.StreamkitError as error:
        return seen, error
    return seen, None


SPOKEN = [sk.TextDelta("Polly "), sk.TextDelta("wants"), sk.StreamEnd("completed", True, (0,))]


def test_the_first_event_selects_the_dialect_of_a_package(install: Install) -> None:
    install("parrot", PARROT, "Parrot")

    assert read(WORDS) == (SPOKEN, None)
    assert read(WORDS, dialect="parrot") == (SPOKEN, None)


def test_a_ping_before_it_does_not_decide(install: Install) -> None:
    install("parrot", PARROT, "Parrot")

    assert read(PING, WORDS) == ([sk.events.ProviderNotice("ping", {"type": "ping"}), *SPOKEN], None)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_dialect_does_not_depend_on_how_the_body_is_split(install: Install, size: int) -> None:
    install("parrot", PARROT, "Parrot")
    body = PING + WORDS

    assert read(*(body[at : at + size] for at in range(0, len(body), size))) == read(body)


def test_packages_are_loaded_once_and_only_if_no_built_in_dialect_matches(install: Install, loaded: list[str]) -> None:
    install("parrot", PARROT, "Parrot")

    read(OPENAI)
    read(b": a comment\n\ndata:\n\n", OPENAI)
    assert loaded == []

    read(WORDS)
    read(WORDS)
    assert len(loaded) == 1


def test_a_built_in_dialect_takes_precedence_over_a_packages(install: Install) -> None:
    install("greedy", PARROT.replace('"squawk" in data', "True"), "Parrot")

    assert read(OPENAI)[0][0] == sk.TextDelta("Hi")


BROKEN = {
    "does not import": ("import no_such_module_anywhere", "Parrot", "No module named 'no_such_module_anywhere'"),
    "fails when imported": ("raise RuntimeError('no luck')", "Parrot", "no luck"),
    "has no such name": (PARROT, "Cockatoo", "has no attribute 'Cockatoo'"),
    "is no dialect": ("Parrot = dict", "Parrot", "'broken' is not a subclass of Dialect"),
    "fails at being asked": (
        PARROT.replace("return isinstance", "raise KeyError(str(data))\n        return isinstance"),
        "Parrot",
        "'broken' failed in recognizes(): KeyError",
    ),
}
broken = pytest.mark.parametrize("how", BROKEN)


@broken
def test_a_broken_package_does_not_affect_built_in_dialects(install: Install, how: str) -> None:
    source, target, _ = BROKEN[how]
    install("broken", source, target)

    events, error = read(PING, OPENAI)

    assert error is None
    assert events[1:] == [sk.TextDelta("Hi"), sk.StreamEnd("completed", True, (0,))]


@broken
def test_a_broken_package_does_not_affect_the_dialect_of_another(install: Install, how: str) -> None:
    source, target, _ = BROKEN[how]
    install("broken", source, target)
    install("parrot", PARROT, "Parrot")

    assert read(WORDS) == (SPOKEN, None)


@broken
def test_a_broken_package_is_named_if_no_dialect_matches(install: Install, how: str) -> None:
    source, target, message = BROKEN[how]
    install("broken", source, target)

    events, error = read(WORDS)

    assert [type(event) for event in events] == [sk.events.ProviderNotice, sk.events.ProviderNotice, sk.StreamEnd]
    assert isinstance(error, sk.errors.PluginError)
    assert str(error).startswith("no dialect recognizes this answer, and streamkit.dialects: 'broken' ")
    assert str(error).count(message) == 1
    assert "Polly" not in str(error)


def test_two_packages_with_the_same_dialect_name_are_reported(install: Install) -> None:
    install("parrot", PARROT, "Parrot")
    install("parrot", PARROT + "\nCockatoo = Parrot\n", "Cockatoo")

    _, error = read(WORDS)

    assert "expected one package to offer 'parrot', found several: parrot-1, parrot-2" in str(error)


def test_an_error_before_the_end_names_a_broken_package_in_its_notes(install: Install) -> None:
    install("broken", "import no_such_module_anywhere", "Parrot")

    _, error = read(b"data: squawk, squawk\n\n")

    assert isinstance(error, sk.errors.ProtocolError)
    assert any("'broken' can't be loaded" in note for note in error.__notes__)


@pytest.mark.parametrize("done", [b"", b"data: [DONE]\n\n"], ids=["to its end", "behind [DONE]"])
def test_without_packages_an_unrecognized_answer_is_an_error(install: Install, done: bytes) -> None:
    events, error = read(b'data: {"squawk": "Polly"}\n\n' + done)

    assert [*map(type, events)] == [sk.events.ProviderNotice, sk.StreamEnd]
    assert events[-1] == sk.StreamEnd("error", bool(done))
    assert isinstance(error, sk.errors.UnknownDialect)
    assert error.shape == "event 'message' with {squawk: string}"


def test_dialects_of_packages_are_listed_among_those_tried(install: Install) -> None:
    install("parrot", PARROT, "Parrot")

    _, error = read(b'data: {"growl": "Grr"}\n\n')

    assert isinstance(error, sk.errors.UnknownDialect)
    assert error.tried == (*dialects.DIALECTS, "parrot")
