"""The lock `requirements/dev.txt` is complete: pip installs it with --no-deps, and nothing is missing on any supported Python.

Offline: what each locked distribution requires is read from the metadata of its installed copy. Distributions that are locked
for other platforms only have none here, and are the one thing that is not checked.
"""

import json
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import streamkit
from streamkit.cli.new_plugin import write

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements/dev.txt"
CLIENTS = ROOT / "requirements/clients.txt"
CLUSTER = ROOT / "requirements/cluster.txt"
OF_A_CLUSTER = [ROOT / f"plugins/streamkit-{name}/pyproject.toml" for name in ("dask", "ray")]
"""Plugins that `make cluster` installs, in an environment of their own."""
NPM = [ROOT / f"tests/{folder}/javascript/package-lock.json" for folder in ("clients", "docs/site")]
PLATFORMS = {
    "linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"},
    "macos": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix", "platform_machine": "arm64"},
    "windows": {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt", "platform_machine": "AMD64"},
}
ENVIRONMENTS = [
    pytest.param(
        {
            **{name: str(value) for name, value in default_environment().items()},
            "python_version": python,
            "python_full_version": f"{python}.0",
            "platform_python_implementation": "CPython",
            "implementation_name": "cpython",
            **PLATFORMS[platform],
        },
        id=f"{python}-{platform}",
    )
    for python, platform in product(("3.11", "3.12", "3.13"), PLATFORMS)
]


class Locked(NamedTuple):
    version: str
    marker: Marker | None

    def applies(self, environment: dict[str, str]) -> bool:
        return self.marker is None or self.marker.evaluate(environment)


def locked(lock: Path = LOCK) -> dict[str, Locked]:
    lines = re.findall(r"^([A-Za-z0-9][\w.-]*)==([^ ;\\]+)(?: ; ([^\\\n]+))?", lock.read_text(), re.MULTILINE)
    return {
        canonicalize_name(name): Locked(version, Marker(marker) if marker else None) for name, version, marker in lines
    }


def own_requirements() -> Iterator[Requirement]:
    """The requirements of streamkit, its plugins and the development group."""
    return required_by(ROOT / "pyproject.toml", *(set(ROOT.glob("plugins/*/pyproject.toml")) - set(OF_A_CLUSTER)))


def required_by(*files: Path) -> Iterator[Requirement]:
    for file in files:
        data = tomllib.loads(file.read_text())
        project = data["project"]
        listed = [*project.get("dependencies", ()), *data.get("dependency-groups", {}).get("dev", ())]
        listed += [line for group in project.get("optional-dependencies", {}).values() for line in group]
        yield from map(Requirement, [*listed, *data["build-system"]["requires"]])


def required(requirement: Requirement, environment: dict[str, str]) -> Iterator[Requirement]:
    """The requirements of an installed distribution in an environment, with its requested extras."""
    try:
        lines = requires(requirement.name) or ()
    except PackageNotFoundError:
        return
    for line in map(Requirement, lines):
        if line.marker is None or any(
            line.marker.evaluate({**environment, "extra": extra}) for extra in (requirement.extras or {""}) | {""}
        ):
            yield line


def closure(environment: dict[str, str]) -> Iterator[tuple[str, Requirement]]:
    waiting = [("this project", requirement) for requirement in own_requirements()]
    seen: set[tuple[str, str]] = set()
    while waiting:
        by, requirement = waiting.pop()
        if (
            requirement.marker
            and not requirement.marker.evaluate({**environment, "extra": ""})
            and by == "this project"
        ):
            continue
        yield by, requirement
        if (key := (canonicalize_name(requirement.name), ",".join(sorted(requirement.extras)))) not in seen:
            seen.add(key)
            waiting += [(requirement.name, line) for line in required(requirement, environment)]


def test_what_a_cluster_s_plugins_require_is_in_the_lock_of_the_cluster() -> None:
    known = locked(CLUSTER)
    own = {"streamkit-llm"}
    wanted = {canonicalize_name(one.name): one for one in required_by(*OF_A_CLUSTER) if one.marker is None}

    assert {name for name in wanted if name not in own} <= set(known)
    assert all(one.specifier.contains(known[name].version) for name, one in wanted.items() if name in known)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_all_that_is_required_is_locked(environment: dict[str, str]) -> None:
    lock = locked()
    missing: list[str] = []
    count = 0
    for by, requirement in closure(environment):
        name = canonicalize_name(requirement.name)
        if name == "streamkit-llm":
            continue
        count += 1
        found = lock.get(name)
        if found is None or not found.applies(environment):
            missing.append(f"{by} requires {requirement}, which is not in the lock")
        elif not requirement.specifier.contains(found.version, prereleases=True):
            missing.append(f"{by} requires {requirement}, the lock has {found.version}")

    assert missing == []
    assert count > 100


def test_the_lock_is_what_is_installed_here() -> None:
    environment = {name: str(value) for name, value in default_environment().items()}
    here = {name: line for name, line in locked().items() if line.applies(environment)}

    assert {name: metadata(name)["Version"] for name in here} == {name: line.version for name, line in here.items()}


@pytest.mark.parametrize("lock", [LOCK, CLIENTS], ids=lambda path: path.name)
def test_every_line_has_hashes_and_no_address(lock: Path) -> None:
    text = lock.read_text()
    blocks = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]

    assert len(blocks) == len(locked(lock)) > 50
    assert [block.split("==")[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert "://" not in text


@pytest.mark.parametrize("lock", NPM, ids=lambda path: path.parts[-3])
def test_every_package_of_npm_has_its_hash_and_no_address(lock: Path) -> None:
    packages = json.loads(lock.read_text())["packages"]
    wanted = json.loads(lock.with_name("package.json").read_text())["dependencies"]

    assert packages.pop("")["dependencies"] == wanted
    assert all(re.fullmatch(r"\d[\w.]*", version) for version in wanted.values())
    assert [name for name, package in packages.items() if not package["integrity"].startswith("sha512-")] == []
    assert [name for name, package in packages.items() if "resolved" in package] == []
    assert len(packages) > 10


def test_nothing_requires_the_distribution_of_a_stranger(tmp_path: Path) -> None:
    """`streamkit` on the package index belongs to another project; ours is `streamkit-llm`, imported as `streamkit`."""
    generated = tomllib.loads((write("my-plugin", tmp_path) / "pyproject.toml").read_text())["project"]
    lines = [
        *map(Requirement, generated["dependencies"] + generated["optional-dependencies"]["dev"]),
        *own_requirements(),
    ]
    names = [canonicalize_name(requirement.name) for requirement in lines]

    assert "streamkit" not in names
    assert names.count("streamkit-llm") >= 4
    assert metadata("streamkit-llm")["Version"] == streamkit.__version__
