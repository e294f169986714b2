"""`streamkit doctor`: what is installed and what is missing."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

import streamkit
from streamkit import plugins
from streamkit.cli import doctor
from streamkit.cli.main import main

TABLE = "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken"

AIOHTTP = "aiohttp>=3.10.5" if sys.version_info >= (3, 13) else "aiohttp>=3.10"


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    lines = capsys.readouterr().out.splitlines()
    return {line[:22].strip(): line[22:].strip() for line in lines}


def test_here_nothing_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0

    found = told(capsys)
    assert found["Python"].startswith(platform.python_version())
    assert found["streamkit"] == streamkit.__version__
    assert {name: found[name] for name in ("aiohttp", "msgspec", "tiktoken")} == {
        name: version(name) for name in ("aiohttp", "msgspec", "tiktoken")
    }
    assert found["table o200k_base"] == "installed"
    assert found["output"].startswith("no terminal, without live lines, ")


def test_what_is_missing_is_named_and_the_exit_code_is_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_but_rich(name: str) -> str:
        if name == "rich":
            return "99.0"
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", none_but_rich)

    assert main(["doctor"]) == 1
    found = told(capsys)
    assert found["aiohttp"] == f"missing; needed is {AIOHTTP}; python -m pip install '{AIOHTTP}'"
    assert found["rich"] == "99.0"
    assert found["streamkit-prices"] == (
        "not installed; optional: prices of models; "
        "install streamkit-prices, from plugins/streamkit-prices in streamkit's repository"
    )
    assert found["trio"] == "not installed; optional: streams on trio; python -m pip install trio"


def test_an_old_python_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.sys, "version_info", (3, 10, 4))

    assert main(["doctor"]) == 1
    assert "but 3.11 or later is needed; install Python 3.11 or later, " in told(capsys)["Python"]


@pytest.mark.parametrize("encoding", ["o200k_base", "o200k_harmony"])
def test_a_table_is_found_in_a_package_or_in_tiktokens_cache_or_not_at_all(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    assert doctor.where_table(encoding) == "installed"

    monkeypatch.setattr(plugins, "find", lambda group, name: None)
    assert doctor.where_table(encoding) is None

    (tmp_path / hashlib.sha1(TABLE.encode()).hexdigest()).touch()
    assert doctor.where_table(encoding) == "in tiktoken's cache"

    # tiktoken's own rule: an empty name means no cache.
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")
    assert doctor.where_table(encoding) is None


def test_a_package_that_is_not_installed_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "requires", nowhere)

    assert main(["doctor"]) == 1
    assert told(capsys)["packages"].startswith(
        "streamkit-llm is not installed as a package, so that what it needs is not known; "
        "python -m pip install . in streamkit's repository"
    )


def test_the_findings_are_json_with_what_to_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "where_table", lambda name: None)
    monkeypatch.setenv("GROQ_API_KEY", "k-secret")

    assert main(["doctor", "--json"]) == 0
    output = capsys.readouterr().out
    found = {each["name"]: each for each in json.loads(output)}
    assert found["table o200k_base"] == {
        "name": "table o200k_base",
        "found": "would be fetched over the network",
        "well": True,
        "fix": "install streamkit-encodings, from plugins/streamkit-encodings in streamkit's repository",
    }
    assert found["key of groq"]["found"] == "in GROQ_API_KEY"
    assert "k-secret" not in output


def test_a_package_that_is_too_old_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "version", lambda name: "3.9.5" if name == "aiohttp" else version(name))

    assert main(["doctor"]) == 1
    assert told(capsys)["aiohttp"] == f"3.9.5, but needed is {AIOHTTP}; python -m pip install '{AIOHTTP}'"


def test_a_broken_plugin_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    broken = plugins.Plugin(
        "stages", "torn", "kit-torn", "1.2", "kit_torn:Torn", "broken", "it raises ZeroDivisionError"
    )
    monkeypatch.setattr(plugins, "installed", lambda: [broken])

    assert main(["doctor"]) == 1
    assert told(capsys)["plugin torn"] == ("kit-torn: it raises ZeroDivisionError; update or uninstall the package")
