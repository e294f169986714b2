"""Rules from a file, and rules that follow a file while streams run."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from os import PathLike
from pathlib import Path
from typing import Any, cast

from streamkit.core.wrong_input import kind_of, shown
from streamkit.errors import PipelineError, PluginError
from streamkit.moderation.match.scanner import plans
from streamkit.moderation.rule import Action, Rule
from streamkit.plugins.config_files import as_path, read_text
from streamkit.plugins.documents import Document

__all__ = ["Action", "Live", "Rule", "as_rules", "from_file"]

_log = logging.getLogger("streamkit.moderation")
_KEYS = tuple(
    key for field in fields(Rule) for key in (field.name, *(["phrases_file"] if field.name == "phrases" else []))
)
_EXAMPLE: dict[str, Any] = {"category": "", "phrases": ("x",)}
"""A rule that each key of another is tried in, to find its mistakes."""


def from_file(path: str | PathLike[str]) -> tuple[Rule, ...]:
    """Rules from a TOML file with a `[[rule]]` table for each; `docs/reference/rules.md` has the keys.

    Mistakes in it raise one `PipelineError` that lists each with its line.
    """
    return _File(as_path(path)).rules()


class Live:
    """Rules that follow the file `path`: a run has those that the file has when it begins, and keeps them to its end.

    A file with a mistake leaves the rules as they are: the mistake is logged (`streamkit.moderation`), passed to `on_error`,
    and kept in `error` until the file is right. When the first file has one, it is raised.
    """

    def __init__(self, path: str | PathLike[str], *, on_error: Callable[[Exception], object] | None = None) -> None:
        self._path = as_path(path)
        self._on_error = on_error
        self.error: Exception | None = None
        """Why the file as it is does not count."""
        file = _File(self._path)
        self._rules = file.rules()
        self._stamps = file.stamps

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.rules)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The current rules; the file is read again if it has changed."""
        if any(_stamp(path) != stamp for path, stamp in self._stamps.items()):
            self.reload()
        return self._rules

    def reload(self) -> bool:
        """Read the file, whether it has changed or not. False if there is a mistake in it."""
        file = _File(self._path)
        try:
            self._rules = file.rules()
            self.error = None
        except (PipelineError, PluginError) as error:
            self.error = error
            _log.error("the rules stay as they are: %s", error)
            if self._on_error:
                self._on_error(error)
        self._stamps = file.stamps
        return self.error is None


def as_rules(rules: "Rule | Iterable[Rule] | str | PathLike[str]") -> tuple[Rule, ...]:
    """One rule or many as a tuple; those of a file by its path; of `Live` the current ones. Anything else raises
    `PipelineError`."""
    if isinstance(rules, str | PathLike):
        return from_file(rules)
    if not isinstance(rules, Rule | Iterable):
        raise PipelineError(f"expected rules (streamkit.Rule(…)), found {kind_of(rules)}")
    found: tuple[Any, ...] = (rules,) if isinstance(rules, Rule) else tuple(rules)
    for rule in found:
        if not isinstance(rule, Rule):
            raise PipelineError(f"expected rules (streamkit.Rule(…)), found {kind_of(rule)}")
    return found


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    # A name with a NUL in it is no file's.
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


class _File:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.stamps: dict[Path, tuple[int, int, int] | None] = {}

    def rules(self) -> tuple[Rule, ...]:
        # Stamped before it is read: what is written in between is read the next time.
        self.stamps[self._path] = _stamp(self._path)
        self._document = Document(self._path, "rules")
        self._wrong = self._document.wrong
        rules = self._tables(self._document.data)
        self._document.check()
        return rules

    def _tables(self, content: dict[str, Any]) -> tuple[Rule, ...]:
        for key in content:
            if key != "rule":
                self._wrong(f"expected [[rule]] tables, found {shown(key)}", key)
        tables = content.get("rule")
        if not isinstance(tables, list):
            self._wrong("expected [[rule]] tables, found " + ("none" if tables is None else "one thing"), "rule")
            return ()
        found = (self._table(number, table) for number, table in enumerate(cast("list[Any]", tables)))
        return tuple(rule for rule in found if rule)

    def _table(self, number: int, table: Any) -> Rule | None:
        at = ("rule", number)
        if not isinstance(table, dict):
            self._wrong(f"expected a [[rule]] table, found {shown(table)}", *at)
            return None
        before = self._document.mistakes
        given = cast("dict[str, Any]", table)
        for key, value in given.items():
            self._check(key, value, at)
        if "category" not in given:
            self._wrong("expected a category, found a rule without one", *at)
        if self._document.mistakes > before:
            return None
        values = dict(given)
        if name := values.pop("phrases_file", None):
            values["phrases"] = (*values.get("phrases", ()), *self._phrases(name, at))
        return None if self._document.mistakes > before else self._rule(values, at)

    def _check(self, key: str, value: Any, at: tuple[str | int, ...]) -> None:
        if key not in _KEYS:
            self._wrong(f"expected a key of {', '.join(_KEYS)}; found {shown(key)}", *at, key)
        elif key == "phrases_file":
            if not isinstance(value, str) or not value:
                found = "an empty string" if value == "" else kind_of(value)
                self._wrong(f"expected phrases_file as the name of a file, found {found}", *at, key)
        elif (said := _mistake(key, value)) and isinstance(value, list):
            # Which of them?
            items = [_mistake(key, [item]) for item in cast("list[Any]", value)]
            for place, mistake in enumerate(items):
                if mistake:
                    self._wrong(mistake, *at, key, place)
        elif said:
            self._wrong(said, *at, key)

    def _phrases(self, name: str, at: tuple[str | int, ...]) -> tuple[str, ...]:
        path = self._path.parent / name
        self.stamps[path] = _stamp(path)
        try:
            text = read_text(path, shown(name)).removeprefix("\ufeff")
        except PipelineError as error:
            self._wrong(f"phrases_file: {error}", *at, "phrases_file")
            return ()
        return tuple(phrase for line in text.split("\n") if (phrase := line.strip()))

    def _rule(self, values: dict[str, Any], at: tuple[str | int, ...]) -> Rule | None:
        try:
            rule = Rule(**values)
            if rule.normalize:
                plans((rule,))
            return rule
        except (PipelineError, PluginError) as error:
            self._wrong(str(error), *at)
            return None


def _mistake(key: str, value: Any) -> str | None:
    try:
        rule = Rule(**{**_EXAMPLE, key: value})
        if rule.check:
            plans((rule,))
    except (PipelineError, PluginError) as error:
        return str(error).removeprefix("rule '': ").removeprefix("rule '', ")
    return None
