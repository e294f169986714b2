"""Entry points: found by name, loaded late, restricted by the environment, and never a danger to each other."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from streamkit import plugins
from streamkit.errors import PluginError
from streamkit.plugins import Plugin

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a package of one module, with entry points of one group."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(package: str, entries: dict[str, str], code: str, group: str = "stages") -> None:
        info = tmp_path / f"{package.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        module = package.replace("-", "_")
        lines = [f"{name} = {module}:{target}" for name, target in entries.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[streamkit.{group}]", *lines]))
        (tmp_path / f"{module}.py").write_text(code)
        monkeypatch.delitem(sys.modules, module, raising=False)

    return install


def listed(*packages: str) -> list[Plugin]:
    return [plugin for plugin in plugins.installed() if plugin.package in packages]


def test_an_object_is_found_by_its_group_and_name(install: Install) -> None:
    install("kit-shop", {"answer": "ANSWER"}, "ANSWER = 42")

    assert plugins.find("stages", "answer") == 42
    assert plugins.find("dialects", "answer") is None
    assert plugins.find("stages", "question") is None
    assert "answer" in plugins.names("stages")
    assert listed("kit-shop") == [Plugin("stages", "answer", "kit-shop", "1.2", "kit_shop:ANSWER", "ok")]


def test_names_are_listed_without_an_import(install: Install) -> None:
    install("kit-shop", {"answer": "ANSWER"}, "raise SystemExit(1)")

    assert "answer" in plugins.names("stages")
    assert "kit_shop" not in sys.modules


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit(1)", "SystemExit: 1"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("ANSER = 42", "AttributeError: module 'broken_shop' has no attribute 'ANSWER'"),
    ],
)
def test_a_broken_plugin_is_reported_and_disturbs_no_other(install: Install, code: str, problem: str) -> None:
    install("broken-shop", {"answer": "ANSWER"}, code)
    install("kit-shop", {"other": "OTHER"}, "OTHER = 1")

    with pytest.raises(PluginError) as caught:
        plugins.find("stages", "answer")

    assert str(caught.value) == f"streamkit.stages: 'answer' can't be loaded from broken_shop:ANSWER: {problem}"
    assert plugins.find("stages", "other") == 1
    assert {plugin.name: plugin.state for plugin in listed("broken-shop", "kit-shop")} == {
        "answer": "broken",
        "other": "ok",
    }
    assert problem in next(plugin.problem for plugin in listed("broken-shop"))


def test_two_packages_with_one_name_are_an_error_that_names_both(install: Install) -> None:
    install("kit-shop", {"answer": "ANSWER"}, "ANSWER = 42")
    install("other-shop", {"answer": "ANSWER"}, "ANSWER = 43")

    with pytest.raises(
        PluginError, match="expected one package to offer 'answer', found several: kit-shop, other-shop"
    ):
        plugins.find("stages", "answer")
    assert {plugin.state for plugin in listed("kit-shop", "other-shop")} == {"clash"}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("kit-shop", 42), ("other, Kit_Shop", 42), ("other", None), ("", None)],
)
def test_the_environment_restricts_what_is_used(
    install: Install, monkeypatch: pytest.MonkeyPatch, wanted: str, found: int | None
) -> None:
    install("kit-shop", {"answer": "ANSWER"}, "ANSWER = 42")
    monkeypatch.setenv("STREAMKIT_PLUGINS", wanted)

    assert plugins.find("stages", "answer") == found
    assert ("answer" in plugins.names("stages")) is (found is not None)
    assert [plugin.state for plugin in listed("kit-shop")] == ["ok" if found else "restricted"]


def test_the_environment_settles_a_clash(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("kit-shop", {"answer": "ANSWER"}, "ANSWER = 42")
    install("other-shop", {"answer": "ANSWER"}, "ANSWER = 43")
    monkeypatch.setenv("STREAMKIT_PLUGINS", "other-shop")

    assert plugins.find("stages", "answer") == 43


def test_a_plugin_for_another_version_of_the_interface_is_refused(install: Install) -> None:
    install("new-shop", {"answer": "ANSWER"}, "STREAMKIT_API = 2; ANSWER = 42")
    install("kit-shop", {"other": "OTHER"}, "STREAMKIT_API = 1; OTHER = 1")

    with pytest.raises(PluginError, match="was written for API 2, this streamkit has 1"):
        plugins.find("stages", "answer")
    assert plugins.find("stages", "other") == 1


def test_the_installed_encodings_are_plugins_like_any_other() -> None:
    assert {plugin.state for plugin in listed("streamkit-encodings")} == {"ok"}
    assert {plugin.group for plugin in listed("streamkit-encodings")} == {"encodings"}
