"""The line numbers of keys and array elements in a JSON document, which `json` doesn't return.

Only for documents that `json` has already parsed: they are well-formed, so a few kinds of tokens are sufficient. (RFC 8259)
"""

import json
import re

from streamkit.plugins.toml_lines import Path

_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|[\[\]{},:]|[^\s\[\]{},:"]+', re.DOTALL)


def lines(text: str) -> dict[Path, int]:
    """Return the line, from 1, of each key and array element, by path: `("stage", 0, "use")`."""
    found: dict[Path, int] = {}
    path: list[str | int] = []  # of the value or the key that comes next
    objects: list[bool] = []  # whether each open bracket is that of an object
    line, at, key_next = 1, 0, False
    for match in _TOKEN.finditer(text):
        token = match[0]
        line, at = line + text.count("\n", at, match.start()), match.start()
        if token in ("]", "}"):
            objects.pop()
            path.pop()
            key_next = False
        elif token == ",":
            key_next = objects[-1]
            if not key_next:
                path[-1] = int(path[-1]) + 1
        elif key_next:
            path[-1] = json.loads(token, strict=False)
            found[tuple(path)] = line
            key_next = False
        elif token != ":":
            if path:
                found.setdefault(tuple(path), line)
            if token in ("[", "{"):
                key_next = token == "{"
                objects.append(key_next)
                path.append(0)
    return found
