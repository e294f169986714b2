"""A generated package is installed, passes its own tests and type checks, and is found by name."""

import json
import os
import shlex
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

from streamkit import PipelineError
from streamkit.cli.main import main
from streamkit.cli.new_plugin import INSTALL, write

NAMES = {"stage": "streamkit-mask-digits", "emitter": "streamkit-small-events"}


@pytest.fixture(scope="module", params=NAMES)
def package(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(NAMES[request.param], tmp_path_factory.mktemp("new"), emitter=request.param == "emitter")


@pytest.fixture(scope="module")
def python(package: Path) -> Path:
    """Return the interpreter of a new environment in which the package is installed."""
    environment = package.parent / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    (site,) = environment.glob("lib/python*/site-packages")
    # The dependencies are not downloaded again, but taken from the environment of these tests.
    (site / "dependencies.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    interpreter = environment / "bin/python"
    # The command that `new-plugin` prints, with the pip bundled with this Python.
    python, *arguments = shlex.split(INSTALL)
    assert python == "python"
    run(interpreter, package, *arguments, "--quiet", "--no-build-isolation", "--no-index")
    return interpreter


def run(python: Path, folder: Path, *arguments: str) -> str:
    # Its tests need none of the pytest plugins of that environment.
    # The packages share mypy's cache of streamkit.
    cache = python.parents[3] / "mypy_cache"
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "MYPY_CACHE_DIR": str(cache)}
    done = subprocess.run(
        [python, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_own_tests_pass(python: Path, package: Path) -> None:
    assert "3 passed" in run(python, package, "-m", "pytest", "-p", "no:cacheprovider")


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_the_type_checkers_find_nothing(python: Path, package: Path, checker: str) -> None:
    arguments = ["--pythonpath", str(python)] if checker == "pyright" else ["--python-executable", str(python)]

    found = run(python, package, "-m", checker, *arguments)

    assert "Success: no issues found in 2 source files" in found or "0 errors, 0 warnings" in found


def test_it_is_found_by_name(python: Path, package: Path) -> None:
    code = f"""
from streamkit import plugins, Emit
import json
(found,) = [plugin for plugin in plugins.installed() if plugin.package == "{package.name}"]
made = Emit("{package.name}", id="1") if found.group == "emitters" else plugins.find("stages", "{package.name}")()
print(json.dumps([found, repr(made)]))
"""
    emits = package.name == NAMES["emitter"]
    kind, target, made = (
        ("emitters", "streamkit_small_events:SmallEvents", "Emit(dialect='streamkit-small-events', id='1', ")
        if emits
        else ("stages", "streamkit_mask_digits:MaskDigits", "MaskDigits(mark='#')")
    )

    found, shown = json.loads(run(python, package, "-c", code))

    assert found == [kind, package.name, package.name, "0.1.0", target, "ok", ""]
    assert shown.startswith(made)


@pytest.mark.parametrize("name", ["Shop", "my_shop", "1st", "", "a--b", "../up", "class"])
def test_a_name_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="expected a name such as my-plugin"):
        write(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["streamkit", "os", "json"])
def test_a_name_that_would_hide_a_module_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=f"{name} would hide an existing module"):
        write(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()

    with pytest.raises(PipelineError, match="exists already"):
        write("shop", tmp_path)


def test_the_command_writes_it_and_says_what_is_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new-plugin", "my-shop", "--into", str(tmp_path)]) == 0

    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == [
        "my-shop/README.md",
        "my-shop/pyproject.toml",
        "my-shop/src/my_shop/__init__.py",
        "my-shop/src/my_shop/py.typed",
        "my-shop/tests/test_my_shop.py",
    ]
    assert f"  cd {tmp_path / 'my-shop'}\n  {INSTALL}\n" in capsys.readouterr().out


def test_the_command_writes_an_emitter(tmp_path: Path) -> None:
    assert main(["new-plugin", "my-wire", "--emitter", "--into", str(tmp_path)]) == 0
    assert '[project.entry-points."streamkit.emitters"]\nmy-wire = "my_wire:MyWire"\n' in (
        (tmp_path / "my-wire/pyproject.toml").read_text()
    )


def test_the_command_writes_what_it_made_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new-plugin", "my-plugin", "--into", str(tmp_path), "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert found["folder"] == str(tmp_path / "my-plugin")
    assert {"README.md", "pyproject.toml", "src/my_plugin/__init__.py"} <= set(found["files"])
    assert all((tmp_path / "my-plugin" / name).is_file() for name in found["files"])


def test_the_command_refuses_what_the_function_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new-plugin", "My Shop", "--into", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("streamkit: expected a name such as my-plugin")
