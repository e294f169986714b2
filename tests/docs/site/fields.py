"""An extension of griffe: a table of its fields for every dataclass and every `msgspec.Struct`, and a signature for the latter.

Options of a stage are its fields; state (`field(init=False)`), class variables and private fields are left out.
"""

from collections.abc import Iterator
from typing import Any

import griffe

HIDDEN = "payload"
OF_EVERY_EVENT = {"index": "The number of the choice, from 0."}
"""Fields that the module's docstring explains for all events."""
LONG = 40


class Fields(griffe.Extension):
    """Append the table to the docstring, where the field's own docstring is its last column."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        for found in list(_classes(pkg)):
            if not (_is_struct(found) or "dataclass" in found.labels):
                continue
            fields = list(_fields(found))
            if _is_struct(found) and "__init__" not in found.members:
                found.set_member("__init__", _constructor(fields, found))
            if fields and found.docstring:
                found.docstring.value += "\n\n" + "\n".join(_table(fields))
            for field in fields:
                field.extra["streamkit"]["in_table"] = True
        for found in _classes(pkg):
            for member in found.members.values():
                # What the table says isn't said again below it.
                if not member.is_alias and member.extra["streamkit"].get("in_table"):
                    member.docstring = None


def _classes(found: griffe.Module | griffe.Class) -> Iterator[griffe.Class]:
    for member in found.members.values():
        if isinstance(member, griffe.Class):
            yield member
        if isinstance(member, griffe.Module | griffe.Class):
            yield from _classes(member)


def _bases(found: griffe.Class) -> list[griffe.Class]:
    return [base for base in found.mro() if base.path.startswith("streamkit")]


def _is_struct(found: griffe.Class) -> bool:
    return any("Struct" in str(base) for kind in (found, *_bases(found)) for base in kind.bases)


def _fields(found: griffe.Class) -> Iterator[griffe.Attribute]:
    # A private base is no place to look things up in, so its fields are listed here.
    own = [base for base in reversed(_bases(found)) if base.name.startswith("_")]
    members = {name: member for kind in (*own, found) for name, member in kind.members.items()}
    for name, member in members.items():
        if (
            isinstance(member, griffe.Attribute)
            and member.annotation is not None
            and not name.startswith("_")
            and name != HIDDEN
            and "property" not in member.labels
            and "init=False" not in str(member.value).replace(" ", "")
            and not str(member.annotation).startswith(("ClassVar", "KW_ONLY"))
        ):
            yield member


def _default(field: griffe.Attribute) -> str | None:
    if not isinstance(value := field.value, griffe.ExprCall):
        return None if value is None else _value(str(value), field)
    for argument in value.arguments:
        if isinstance(argument, griffe.ExprKeyword) and argument.name in ("default", "default_factory"):
            return _value(str(argument.value), field) + ("()" if argument.name == "default_factory" else "")
    return None if str(value.function) == "field" else str(value)


def _value(text: str, field: griffe.Attribute) -> str:
    """The value of a constant of the module; "…" for one that is neither public nor short."""
    if not text.isidentifier() or (constant := field.module.members.get(text)) is None:
        return text
    constant = constant.final_target if isinstance(constant, griffe.Alias) else constant
    value = str(constant.value) if isinstance(constant, griffe.Attribute) else text
    return value if len(value) < LONG and "*" not in value else "…" if text.startswith("_") else text


def _constructor(fields: list[griffe.Attribute], found: griffe.Class) -> griffe.Function:
    parameters = [griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)]
    parameters += [
        griffe.Parameter(
            field.name,
            annotation=field.annotation,
            kind=griffe.ParameterKind.positional_or_keyword,
            default=_default(field),
        )
        for field in fields
    ]
    return griffe.Function("__init__", parameters=griffe.Parameters(*parameters), parent=found)


def _table(fields: list[griffe.Attribute]) -> Iterator[str]:
    described = any(_meaning(field) for field in fields)
    yield "| field | type | default |" + (" meaning |" if described else "")
    yield "|---|---|---|" + ("---|" if described else "")
    for field in fields:
        default = _default(field)
        cells = [f"`{field.name}`", _code(str(field.annotation)), "" if default is None else _code(default)]
        if described:
            cells.append(_meaning(field))
        yield "| " + " | ".join(cells) + " |"


def _meaning(field: griffe.Attribute) -> str:
    if field.docstring:
        return " ".join(field.docstring.value.split())
    return OF_EVERY_EVENT.get(field.name, "") if field.module.path == "streamkit.events" else ""


def _code(text: str) -> str:
    # Python-Markdown takes a bar in code as it is. An annotation in quotes is shown without them.
    return "`" + (text[1:-1] if text[:1] in ("'", '"') and "|" in text else text) + "`"
