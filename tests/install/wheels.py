"""Build the wheels and sdists of streamkit and its plugins, and try the wheels in bare environments: `make wheels`.

    python -m tests.install.wheels [--python 3.11 …] [--lowest | --newest]

For each supported Python, once with the lowest versions that the packages allow and once with the newest: a new environment, the
dependencies from wheels, ours from the build and never from an index, `pip check`, and tests/install/smoke.py.
A Python that is not on this machine is skipped, visibly.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from email.parser import HeaderParser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PYTHONS = ("3.11", "3.12", "3.13")
"""Those of the classifiers. Others are not claimed."""
PROJECTS = [ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]
CLUSTER = {"streamkit-dask", "streamkit-ray"}
"""Built and looked at, but not installed: their dependencies are hundreds of megabytes, and `make cluster` runs them."""


def build(project: Path, folder: Path) -> Path:
    """Build the sdist, and from the sdist the wheel, as an index's users do; return the wheel."""
    hatchling("build", "-t", "sdist", "-d", str(folder), cwd=project)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (source,) = (path for path in folder.iterdir() if path.is_dir())
    hatchling("build", "-t", "wheel", "-d", str(folder), cwd=source)
    shutil.rmtree(source)
    (wheel,) = folder.glob("*.whl")
    look(project, wheel)
    return wheel


def look(project: Path, wheel: Path) -> None:
    """The wheel has the package, its license and its marker for type checkers, and nothing beside."""
    name = metadata(wheel)["Name"] or ""
    module = "streamkit" if project == ROOT else name.replace("-", "_")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {path.partition("/")[0] for path in names}
    info = next(top for top in tops if top.endswith(".dist-info"))
    assert tops == {module, info}, tops
    assert f"{module}/py.typed" in names
    assert any(path.startswith(f"{info}/licenses/LICENSE") for path in names), "the license is missing"
    missing = {str(path.relative_to(project)) for path in sources(project, module)} - {
        path if project == ROOT else f"src/{path}" for path in names
    }
    assert not missing, f"{wheel.name} lacks {sorted(missing)}"


def sources(project: Path, module: str) -> Iterator[Path]:
    folder = project / module if project == ROOT else project / "src" / module
    return (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def metadata(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return dict(HeaderParser().parsestr(archive.read(path).decode()).items())


def requirements(wheels: Sequence[Path], python: str, *, lowest: bool) -> list[str]:
    """Return the requirements of the wheels on that Python: as they state them, or at the lowest versions that they allow."""
    ours = {canonicalize_name(metadata(wheel)["Name"]) for wheel in wheels}
    found: dict[str, list[Requirement]] = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            (path,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            lines = HeaderParser().parsestr(archive.read(path).decode()).get_all("Requires-Dist") or []
        for requirement in map(Requirement, lines):
            environment = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
            if requirement.marker is None or requirement.marker.evaluate(environment):
                found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return [line(name, same, lowest=lowest) for name, same in found.items() if name not in ours]


def line(name: str, same: Sequence[Requirement], *, lowest: bool) -> str:
    """One requirement for pip, of all those of a distribution."""
    extras = sorted(set[str]().union(*(each.extras for each in same)))
    wanted = f"[{','.join(extras)}]" if extras else ""
    specifiers = [str(each.specifier) for each in same]
    return f"{name}{wanted}{pinned(specifiers) if lowest else ','.join(specifiers)}"


def pinned(specifiers: Sequence[str]) -> str:
    """The lowest version that all of `>=…` allow."""
    floors = [part.removeprefix(">=") for specifier in specifiers for part in specifier.split(",") if part[:2] == ">="]
    assert floors, f"expected a lowest version, found {specifiers}"
    return f"=={max(floors, key=lambda floor: [int(number) for number in floor.split('.')])}"


def interpreter(python: str) -> str | None:
    """A Python of that version: on the path, or one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    candidates = [shutil.which(f"python{python}"), *map(str, sorted(pyenv.glob(f"{python}.*/bin/python")))]
    for candidate in filter(None, candidates):
        # A shim of pyenv's may be there for a version that is not selected.
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        done = subprocess.run([candidate, "-c", code], capture_output=True, text=True, check=False)
        if done.stdout.strip() == python:
            return candidate
    return None


def attempt(wheels: Sequence[Path], python: str, executable: str, *, lowest: bool) -> str:
    """Install into a new environment, run the smoke set there, and say how long it took. Raises `Failed` if anything fails."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        run([executable, "-m", "venv", f"{folder}/venv"], folder)
        here = Path(folder, "venv", "Scripts" if sys.platform == "win32" else "bin", "python")
        pip = [str(here), "-m", "pip", "--disable-pip-version-check", "--quiet"]
        theirs = requirements(wheels, python, lowest=lowest)
        run([*pip, "install", "--only-binary=:all:", *theirs], folder)
        # Without an index: what is called as ours there may be a stranger's.
        run([*pip, "install", "--no-index", "--no-deps", *map(str, wheels)], folder)
        run([*pip, "check"], folder)
        smoke = shutil.copy(Path(__file__).with_name("smoke.py"), folder)
        run([str(here), "-I", smoke, metadata(wheels[0])["Version"]], folder)
    kind = "lowest" if lowest else "newest"
    return f"Python {python}, {kind} dependencies: ok, {time.monotonic() - began:.0f} s"


class Failed(Exception):
    """A command failed; the message has its output."""


def run(command: Sequence[str], folder: str | Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise Failed(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}")


def hatchling(*arguments: str, cwd: Path) -> None:
    """Run the build backend, which `hatch build` runs too."""
    run([sys.executable, "-m", "hatchling", *arguments], cwd)


def built(folder: Path) -> list[Path]:
    """The wheels of all projects, each beside its sdist in a folder of its own."""
    wheels: list[Path] = []
    for project in PROJECTS:
        place = folder / tomllib.loads((project / "pyproject.toml").read_text())["project"]["name"]
        place.mkdir()
        wheels.append(build(project, place))
    return wheels


def keep(wheels: Sequence[Path], folder: Path) -> None:
    """Put wheels and sdists into a folder, in place of what is there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for wheel in wheels:
        for file in wheel.parent.iterdir():
            shutil.copy(file, folder)
            print(folder / file.name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", nargs="+", default=PYTHONS, metavar="3.X", help="only these (%(default)s)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--lowest", action="store_const", const=(True,), dest="which", default=(True, False))
    which.add_argument("--newest", action="store_const", const=(False,), dest="which")
    parser.add_argument("--into", type=Path, metavar="DIR", help="only build, into this folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheels = built(Path(folder))
        if options.into:
            keep(wheels, options.into)
            return 0
        print(f"built: {', '.join(wheel.name for wheel in wheels)}", flush=True)
        installed = [wheel for wheel in wheels if metadata(wheel)["Name"] not in CLUSTER]
        # Two at a time: while one waits for the network or the disk, the other computes.
        with ThreadPoolExecutor(2) as pool:
            attempts = [
                pool.submit(attempt, installed, python, executable, lowest=lowest)
                for python, executable in found(options.python)
                for lowest in options.which
            ]
            failures = [str(failure) for done in as_completed(attempts) if (failure := told(done))]
    for failure in failures:
        print(failure, file=sys.stderr)
    if not attempts:
        print("no interpreter was found: nothing was tried", file=sys.stderr)
    return 0 if attempts and not failures else 1


def found(pythons: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The interpreters that are here; of the others it is said that they are skipped."""
    for python in pythons:
        if executable := interpreter(python):
            yield python, executable
        else:
            print(f"Python {python}: SKIPPED, there is no interpreter on this machine", flush=True)


def told(done: "Future[str]") -> BaseException | None:
    """Print the line of an attempt that succeeded; return the failure of any other."""
    failure = done.exception()
    if failure is None:
        print(done.result(), flush=True)
    return failure


if __name__ == "__main__":
    sys.exit(main())
