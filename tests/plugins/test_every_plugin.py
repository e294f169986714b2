"""Properties of every package in `plugins/`: it uses the public API only, and its stages keep the laws."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

import streamkit as sk
from streamkit import plugins
from streamkit.testing import check_stage

ROOT = Path(__file__).parents[2]
ALONE = {"streamkit-dask", "streamkit-ray"}
"""Packages that need a cluster, installed and run by `make cluster`; test_cluster_packages.py has their other tests."""
PACKAGES = sorted(file for file in (ROOT / "plugins").glob("*/pyproject.toml") if file.parent.name not in ALONE)
EVENTS: list[sk.Event] = [
    sk.events.ResponseStart("chatcmpl-1", model="gpt-4o"),
    sk.events.RoleDelta("assistant"),
    sk.ReasoningDelta("Who asks? "),
    sk.ReasoningDelta("+44 20 8366"),
    sk.ReasoningDelta(" 1177 does."),
    sk.TextDelta("Pay 4111 1111 11"),
    sk.TextDelta("11 1111, or "),
    sk.TextDelta("write to a@exam"),
    sk.TextDelta("ple.org. 안녕 👩‍👩‍👧"),
    sk.ToolCallDelta(0, "call_1", "pay", '{"to": "DE89 3704 0044'),
    sk.ToolCallDelta(0, arguments=' 0532 0130 00"}'),
    sk.Finish("stop"),
    sk.Usage(9, 4, 13),
    sk.StreamEnd("completed", saw_done=True),
]


def project(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    return found


def entry_points(group: str) -> list[tuple[str, str]]:
    return [
        (file.parent.name, name)
        for file in PACKAGES
        for name in project(file).get("entry-points", {}).get(f"streamkit.{group}", {})
    ]


every_package = pytest.mark.parametrize("file", PACKAGES, ids=lambda file: file.parent.name)


def test_there_are_packages() -> None:
    assert {file.parent.name for file in PACKAGES} >= {
        "streamkit-encodings",
        "streamkit-otel",
        "streamkit-pii",
        "streamkit-prices",
    }


@every_package
def test_it_is_installed_and_offers_what_it_declares(file: Path) -> None:
    declared = {
        (group.removeprefix("streamkit."), name, target)
        for group, entries in project(file).get("entry-points", {}).items()
        for name, target in entries.items()
    }
    found = [plugin for plugin in plugins.installed() if plugin.package == file.parent.name]

    assert {(plugin.group, plugin.name, plugin.target) for plugin in found} == declared
    assert [plugin for plugin in found if plugin.state != "ok"] == []


@every_package
def test_it_is_typed_tested_described_and_licensed(file: Path) -> None:
    name = file.parent.name
    module = name.replace("-", "_")
    tests = [*(ROOT / "tests/plugins").glob("test_*.py"), *(ROOT / "tests/relay").glob("*.py")]

    assert project(file)["name"] == name
    assert (file.parent / "src" / module / "py.typed").is_file()
    assert "```python" in (file.parent / "README.md").read_text(encoding="utf-8")
    assert (file.parent / "LICENSE").is_file()
    assert any(f"import {module}" in text or f"from {module}" in text for text in (test.read_text() for test in tests))


@pytest.mark.parametrize(("package", "name"), entry_points("stages"))
def test_its_stages_keep_the_laws(package: str, name: str) -> None:
    check_stage(plugins.find("stages", name)(), EVENTS)


@pytest.mark.parametrize(("package", "name"), entry_points("moderators"))
def test_its_checks_keep_the_laws_of_moderation(package: str, name: str) -> None:
    check_stage(sk.Moderate(sk.Rule("checked", check=name)), EVENTS)


@pytest.mark.parametrize("path", ["Makefile", "pyproject.toml"])
def test_it_is_installed_and_type_checked_by_make(path: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    if path == "Makefile":
        # By a pattern, so that another one needs no line.
        assert "$(wildcard plugins/*/pyproject.toml)" in text
        assert "$(PLUGINS:%=-e %)" in text
    else:
        tools = tomllib.loads(text)["tool"]
        sources = {f"plugins/{file.parent.name}/src" for file in PACKAGES}
        assert sources <= set(tools["mypy"]["files"])
        assert sources <= set(tools["pyright"]["include"])
