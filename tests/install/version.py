"""Check that a tag is the version of the package, which is stated once, in streamkit/__init__.py.

python -m tests.install.version v0.1.0
"""

import re
import sys
from pathlib import Path

PLACE = Path(__file__).parents[2] / "streamkit/__init__.py"


def stated() -> str:
    """The version, read without importing anything that is not in the standard library."""
    (found,) = re.findall(r'^__version__ = "([^"]+)"$', PLACE.read_text(encoding="utf-8"), re.MULTILINE)
    return str(found)


def main(tag: str) -> int:
    """Compare, and return the exit code."""
    if tag == f"v{stated()}":
        return 0
    print(f"the tag is {tag}, the version of the package {stated()}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
