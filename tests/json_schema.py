"""A validator of the part of JSON Schema that `docs/check-schema.json` uses."""

from __future__ import annotations

from typing import Any

_TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
_KNOWN = {
    "$schema", "$defs", "$ref", "title", "description", "type", "properties", "required", "items", "enum", "const",
    "anyOf", "additionalProperties",
}  # fmt: skip


def errors(value: Any, schema: dict[str, Any], root: dict[str, Any] | None = None, at: str = "$") -> list[str]:
    """Return every place where a value breaks the schema; a property that the schema does not describe is one, too."""
    root = root or schema
    assert set(schema) <= _KNOWN, set(schema) - _KNOWN
    if "$ref" in schema:
        return errors(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, at)
    if "anyOf" in schema:
        found = [errors(value, option, root, at) for option in schema["anyOf"]]
        return [] if [] in found else found[0]
    if "const" in schema and value != schema["const"]:
        return [f"{at} is {value!r}, not {schema['const']!r}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{at} is {value!r}, not one of {schema['enum']}"]
    types = schema.get("type", [])
    if types and not any(_is(value, name) for name in ([types] if isinstance(types, str) else types)):
        return [f"{at} is {value!r}, not {types}"]
    if isinstance(value, list):
        return [
            e
            for place, entry in enumerate(value)
            for e in errors(entry, schema.get("items", {}), root, f"{at}[{place}]")
        ]
    if not isinstance(value, dict) or not {"properties", "additionalProperties"} & set(schema):
        return []
    known = schema.get("properties", {})
    bad = [f"{at} lacks {name!r}" for name in schema.get("required", ()) if name not in value]
    for name, entry in value.items():
        if name in known:
            bad += errors(entry, known[name], root, f"{at}.{name}")
        elif "additionalProperties" in schema:
            bad += errors(entry, schema["additionalProperties"], root, f"{at}.{name}")
        else:
            bad.append(f"{at}.{name} is not in the schema")
    return bad


def _is(value: Any, name: str) -> bool:
    if name in ("integer", "number"):
        return isinstance(value, int if name == "integer" else (int, float)) and not isinstance(value, bool)
    return isinstance(value, _TYPES[name])
