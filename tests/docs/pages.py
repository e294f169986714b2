"""Extract the Python blocks of the README and the docs for the type checkers: `python -m tests.docs.pages FOLDER`.

A page becomes the body of one coroutine function, since its blocks may `await`.
"""

import json
import re
import shutil
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("README*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("plugins/*/README.md")])
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# For pyright, which has its project where this file is. mypy checks what is switched off here: operators and arguments, with
# fields that can be `None` taken as present, since a page shows values that are.
PYRIGHT = {
    "pythonVersion": "3.11",
    "typeCheckingMode": "standard",
    "reportArgumentType": False,
    "reportAttributeAccessIssue": False,
    "reportCallIssue": False,
    "reportMissingImports": False,
    "reportOperatorIssue": False,
    "reportOptionalMemberAccess": False,
    "reportPossiblyUnboundVariable": False,
    "reportUnusedExpression": False,
}
# Each page is run with these names (test_docs.py).
NAMES = """from typing import Any

url: str = ""
body: dict[str, Any] = {}
headers: dict[str, str] = {}


async def page() -> None:
"""


def main(folder: Path) -> None:
    """Write a module for each page that has Python blocks. Its lines are where they are on the page, after those of `NAMES`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "pyrightconfig.json").write_text(json.dumps(PYRIGHT), encoding="utf-8")
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        lines: list[str] = []
        for found in BLOCK.finditer(text):
            lines += [""] * (text[: found.start(1)].count("\n") - len(lines))
            lines += textwrap.indent(found.group(1), "    ").splitlines()
        if lines:
            name = re.sub(r"\W+", "_", str(page.relative_to(ROOT).with_suffix("")))
            (folder / f"{name}.py").write_text(NAMES + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
