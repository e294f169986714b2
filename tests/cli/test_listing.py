"""`streamkit plugins`: the plugins, their problems, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamkit.cli.main import main
from tests.cli.packages import install

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def listed(capsys: Captured, *packages: str) -> list[list[str]]:
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["group", "name", "package", "version", "state", "problem"]
    return [line.split(maxsplit=5) for line in lines if line.split()[2] in packages]


def test_what_is_installed_here_is_well(capsys: Captured) -> None:
    assert main(["plugins"]) == 0
    assert ["encodings", "o200k_base", "streamkit-encodings", "0.1.0", "ok"] in listed(capsys, "streamkit-encodings")


def test_each_entry_point_is_a_line(site: Path, capsys: Captured) -> None:
    install(site, "kit-list-a", {"shout": "Shout", "hush": "Hush"}, "class Shout: ...\nclass Hush: ...")
    install(site, "kit-list-b", {"wisper": "read"}, "def read(): ...", group="sources")

    assert main(["plugins"]) == 0
    assert listed(capsys, "kit-list-a", "kit-list-b") == [
        ["stages", "hush", "kit-list-a", "1.2", "ok"],
        ["stages", "shout", "kit-list-a", "1.2", "ok"],
        ["sources", "wisper", "kit-list-b", "1.2", "ok"],
    ]


def test_what_is_broken_is_told_beside_the_others_and_the_exit_code_is_1(site: Path, capsys: Captured) -> None:
    install(site, "kit-list-c", {"torn": "Torn"}, "1 / 0")
    install(site, "kit-list-d", {"whole": "Whole"}, "class Whole: ...")

    assert main(["plugins"]) == 1
    problem = "streamkit.stages: 'torn' can't be loaded from kit_list_c:Torn: ZeroDivisionError: division by zero"
    assert listed(capsys, "kit-list-c", "kit-list-d") == [
        ["stages", "torn", "kit-list-c", "1.2", "broken", problem],
        ["stages", "whole", "kit-list-d", "1.2", "ok"],
    ]


def test_a_clash_names_both_packages_and_the_exit_code_is_1(site: Path, capsys: Captured) -> None:
    install(site, "kit-list-e", {"same": "One"}, "One = int")
    install(site, "kit-list-f", {"same": "Two"}, "Two = int")

    assert main(["plugins"]) == 1
    problem = "expected one package to offer 'same', found several: kit-list-e, kit-list-f"
    assert [line[2:] for line in listed(capsys, "kit-list-e", "kit-list-f")] == [
        ["kit-list-e", "1.2", "clash", problem],
        ["kit-list-f", "1.2", "clash", problem],
    ]


def test_what_is_left_out_on_purpose_is_no_failure(
    site: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site, "kit-list-g", {"torn": "Torn"}, "1 / 0")
    monkeypatch.setenv("STREAMKIT_PLUGINS", "")

    assert main(["plugins"]) == 0
    assert listed(capsys, "kit-list-g") == [
        ["stages", "torn", "kit-list-g", "1.2", "restricted", "not named in STREAMKIT_PLUGINS"]
    ]


def test_as_json_each_is_an_object(site: Path, capsys: Captured) -> None:
    install(site, "kit-list-h", {"shout": "Shout"}, "class Shout: ...")

    assert main(["plugins", "--json"]) == 0
    assert {
        "group": "stages",
        "name": "shout",
        "package": "kit-list-h",
        "version": "1.2",
        "target": "kit_list_h:Shout",
        "state": "ok",
        "problem": "",
    } in json.loads(capsys.readouterr().out)


def test_where_nothing_is_offered_it_says_so(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamkit.plugins.installed", list)

    assert main(["plugins"]) == 0
    assert capsys.readouterr().out == "no installed package offers anything to streamkit\n"
