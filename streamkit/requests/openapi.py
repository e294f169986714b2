"""Convert schemas of Gemini's `parameters` and `responseSchema`, a subset of OpenAPI 3.0, to JSON schemas."""

from collections.abc import Mapping
from typing import Any, cast

from streamkit.requests.losses import Losses, below

_COUNTS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
"""Keywords with 64-bit integers, which the JSON form of protocol buffers writes as strings."""
_SCHEMAS = ("properties", "defs")


def json_schema(schema: Mapping[str, Any], path: str, losses: Losses) -> dict[str, Any]:
    """Return the JSON schema: types in lower case, `nullable` as a type, counts as numbers. `propertyOrdering` is a loss."""
    found: dict[str, Any] = {}
    for name, value in schema.items():
        match name, value:
            case "type", str():
                found["type"] = value.lower()
            case ("nullable", bool()) | ("type", None):
                pass
            case "propertyOrdering", list():
                losses.add(below(path, name), "JSON schemas have no order of properties")
            case _, str() if name in _COUNTS and value.isdecimal():
                found[name] = int(value)
            case "items" | "additionalProperties", {}:
                found[name] = json_schema(cast("dict[str, Any]", value), below(path, name), losses)
            case "anyOf", list():
                found[name] = [
                    json_schema(cast("dict[str, Any]", item), f"{below(path, name)}[{number}]", losses)
                    if isinstance(item, dict)
                    else item
                    for number, item in enumerate(cast("list[object]", value))
                ]
            case _, {} if name in _SCHEMAS:
                found["$defs" if name == "defs" else name] = _each(
                    cast("dict[str, Any]", value), below(path, name), losses
                )
            case "ref", str():
                found["$ref"] = value
            case _:
                found[name] = value
    return _nullable(found) if schema.get("nullable") is True else found


def _each(schemas: Mapping[str, Any], path: str, losses: Losses) -> dict[str, Any]:
    return {
        name: json_schema(cast("dict[str, Any]", schema), below(path, name), losses)
        if isinstance(schema, dict)
        else schema
        for name, schema in schemas.items()
    }


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    if "type" not in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    more = {"enum": [*schema["enum"], None]} if isinstance(schema.get("enum"), list) else {}
    return {**schema, "type": [schema["type"], "null"], **more}
