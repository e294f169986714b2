"""Configuration files in TOML or JSON, whose mistakes are reported all at once, each with its line."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamkit.core.wrong_input import bounded
from streamkit.errors import PipelineError
from streamkit.plugins import json_lines, toml_lines
from streamkit.plugins.config_files import read_text

_MISTAKES = 20
"""How many mistakes of a file are listed; the rest are counted."""


class Document:
    """The data of a file, and the mistakes found in it.

    A file whose name ends with `.json` is read as JSON if `or_json` is set, and any other file as TOML. `parse_float` converts
    the text of a decimal number. A file that can't be read or parsed raises `PipelineError`; `expected` names its content.
    """

    def __init__(
        self, path: Path, expected: str, *, or_json: bool = False, parse_float: Callable[[str], Any] = float
    ) -> None:
        self.name = path.name
        # With a line feed, so that a mistake in the last line has a place.
        text = read_text(path).replace("\r\n", "\n") + "\n"
        is_json = or_json and path.suffix == ".json"
        try:
            self.data: Any = (
                json.loads(text, parse_float=parse_float, parse_constant=parse_float)
                if is_json
                else tomllib.loads(text, parse_float=parse_float)
            )
        except RecursionError:
            raise PipelineError(f"{self.name}: expected {expected}, found data that is nested too deep") from None
        # Also a number of more than 4,300 digits, which is no mistake in the language.
        except ValueError as error:
            raise PipelineError(bounded(f"{self.name}: {error}")) from error
        self._lines = (json_lines if is_json else toml_lines).lines(text)
        self._mistakes: list[tuple[int, str]] = []

    def wrong(self, message: str, *path: str | int) -> None:
        """Record a mistake at `path`, for example `("rule", 0, "window")`."""
        self._mistakes.append((toml_lines.line_of(self._lines, path), bounded(message)))

    @property
    def mistakes(self) -> int:
        """The number of mistakes recorded so far."""
        return len(self._mistakes)

    def check(self) -> None:
        """Raise one `PipelineError` that lists the recorded mistakes, if there are any."""
        if self._mistakes:
            listed = [f"{self.name}, line {line}: {message}" for line, message in sorted(self._mistakes)[:_MISTAKES]]
            more = len(self._mistakes) - len(listed)
            raise PipelineError("\n".join([*listed, *([f"and {more} more"] if more else [])]))
