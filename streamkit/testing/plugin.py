"""The pytest plugin, loaded through its entry point: cassettes, and fixtures for tests of streams.

It is imported in every pytest run, so other modules are imported when a test first uses them.
"""

import os
import re
from collections.abc import Generator, Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from anyio.from_thread import start_blocking_portal

from streamkit import testing
from streamkit.errors import PipelineError, RecordingError

if TYPE_CHECKING:
    from streamkit.testing.cassettes.cassette import Cassette
    from streamkit.testing.sources import VirtualClock

_MODES = ("once", "new", "all", "none")
_FAILED = pytest.StashKey[bool]()
_OPTIONS = ("upstream", "name", "match", "ignore", "redact", "pace", "repeat", "faults", "env")
_MARKER = (
    "cassette(upstream, *, name, match, ignore, redact, pace, repeat, faults, env): record the test's HTTP exchanges with the "
    "provider at that base URL once, and replay them from then on (streamkit)"
)
_PLAIN = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_NAME = 100


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option `--cassette-mode` and the settings `cassette_mode` and `cassette_dir`."""
    help = (
        "once: record a cassette that is missing (default); new: and requests without a recording; all: record all anew; "
        "none: never record (default where the environment has CI)"
    )
    parser.getgroup("streamkit").addoption("--cassette-mode", choices=_MODES, help=help)
    parser.addini("cassette_mode", f"as --cassette-mode. {help}", default="")
    parser.addini("cassette_dir", "the folder of cassettes beside each test file", default="cassettes")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", _MARKER)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Add the fixture `cassette` to tests that have the marker but do not request the fixture."""
    for item in items:
        if not isinstance(item, pytest.Function) or item.get_closest_marker("cassette") is None:
            continue
        if "cassette" not in item.fixturenames:
            # First, so that a fixture that creates the client sees the variables of `env`.
            item.fixturenames.insert(0, "cassette")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Record whether the test has failed, for saving its cassette."""
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    return report


@pytest.fixture
def cassette(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> "Iterator[Cassette]":
    """A server that records the provider's responses once and then replays them. Use `cassette.url` as the client's base URL.

    For tests with `@pytest.mark.cassette("https://api.example/v1")`. The test fails at its end if a request had no recording and
    could not be recorded.
    """
    found = request.node.get_closest_marker("cassette")
    if found is None:
        raise pytest.UsageError(
            'the fixture cassette needs @pytest.mark.cassette("https://…/v1"), the base URL of a provider'
        )
    options = _options(found)
    faults, env = options.pop("faults", ()), options.pop("env", None)
    folder = _folder(request, options.pop("name", None))
    try:
        made = testing.Cassette(folder, mode=_mode(request.config), **options)
        for fault in [faults] if isinstance(faults, str) else faults:
            made.fail(fault)
    except (PipelineError, RecordingError) as error:
        raise pytest.UsageError(f"{folder.name}: {error}") from None
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(made.serving()):
        for name, variable in _variables(env, made.urls):
            monkeypatch.setenv(variable, made.urls[name])
        yield made
    made.save(test_failed=request.node.stash.get(_FAILED, False))
    if made.problems:
        pytest.fail("\n".join([f"cassette {folder}:", *made.problems]), pytrace=False)


@pytest.fixture
def nothing_is_left() -> Iterator[None]:
    """Fail the test if it leaves a task or an open file behind; see `no_leaks`."""
    with testing.no_leaks():
        yield


@pytest.fixture
def virtual_clock() -> "VirtualClock":
    """A clock that only changes with `advance`."""
    return testing.VirtualClock()


def _options(marker: pytest.Mark) -> dict[str, Any]:
    options = dict(marker.kwargs)
    if len(marker.args) == 1 and "upstream" not in options:
        options["upstream"] = marker.args[0]
    unknown = options.keys() - set(_OPTIONS)
    if len(marker.args) > 1 or "upstream" not in options or unknown:
        found = ", ".join(sorted(unknown)) or f"{len(marker.args)} arguments"
        raise pytest.UsageError(
            f"@pytest.mark.cassette: expected the base URL of a provider and {_MARKER.partition(':')[0]}, found {found}"
        )
    return options


def _mode(config: pytest.Config) -> Any:
    chosen = config.getoption("--cassette-mode") or config.getini("cassette_mode")
    if chosen and chosen not in _MODES:
        raise pytest.UsageError(f"cassette_mode: expected one of {', '.join(_MODES)}, found {chosen!r}")
    return chosen or ("none" if os.environ.get("CI") else "once")


def _folder(request: pytest.FixtureRequest, name: str | None) -> Path:
    """`cassettes/test_file/test_name` beside the file of the test."""
    file = request.path
    named = name or request.node.nodeid.partition("::")[2].replace("::", ".")
    plain = _PLAIN.sub("-", named).strip("-.")
    if plain != named or len(plain) > _LONGEST_NAME:
        # A hash keeps tests apart whose names differ only in characters that were replaced.
        plain = f"{plain[:_LONGEST_NAME]}-{sha256(named.encode()).hexdigest()[:8]}"
    return file.parent / str(request.config.getini("cassette_dir")) / file.stem / plain


def _variables(env: Any, urls: dict[str, str]) -> list[tuple[str, str]]:
    if env is None:
        return []
    variables = cast("dict[str, str]", env) if isinstance(env, dict) else {next(iter(urls)): str(env)}
    if not variables.keys() <= urls.keys() or (isinstance(env, str) and len(urls) > 1):
        raise pytest.UsageError(
            "env: expected the name of a variable, or for several providers one for each by its name"
        )
    return list(variables.items())
