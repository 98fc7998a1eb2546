"""JSON objects held against JSON Schemas: the few words of the standard that ours use."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from last_cli.base import registry
from last_cli.base.json_schema import json_schema

TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}
WORDS = {
    *("$schema", "$defs", "$ref", "title", "description", "type", "enum", "const", "anyOf", "properties", "required"),
    *("additionalProperties", "items", "prefixItems", "minItems"),
}


@cache
def schema_of(name: str) -> dict[str, Any]:
    """That of a name such as "last.eval/1"."""
    return json_schema(registry.result_of(name.removeprefix("last.").partition("/")[0]))


def violations(data: dict[str, Any]) -> list[str]:
    """What an output's schema does not allow, keys that it does not name among it; open objects may have more."""
    root = schema_of(data["schema"])
    return list(_wrong(data, root, root["$defs"], data["schema"]))


def _wrong(value: Any, schema: dict[str, Any], known: dict[str, Any], at: str) -> Iterator[str]:
    assert schema.keys() <= WORDS, schema.keys()
    if "$ref" in schema:
        schema = known[schema["$ref"].removeprefix("#/$defs/")]
    if "anyOf" in schema:
        tries = [list(_wrong(value, one, known, at)) for one in schema["anyOf"]]
        yield from () if [] in tries else min(tries, key=len)
        return
    kinds = schema.get("type", list(TYPES))
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not any(isinstance(value, TYPES[k]) and (isinstance(value, bool) <= (k == "boolean")) for k in kinds):
        yield f"{at} is {value!r}, expected {' or '.join(kinds)}"
    elif "const" in schema and value != schema["const"]:
        yield f"{at} is {value!r}, expected {schema['const']!r}"
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{at} is {value!r}, expected one of {schema['enum']}"
    elif isinstance(value, dict):
        yield from _wrong_keys(value, schema, known, at)
    elif isinstance(value, list):
        first = schema.get("prefixItems", [])
        if len(value) < schema.get("minItems", 0):
            yield f"{at} has {len(value)} entries"
        for i, item in enumerate(value):
            yield from _wrong(item, first[i] if i < len(first) else schema.get("items", {}), known, f"{at}[{i}]")


def _wrong_keys(value: dict[str, Any], schema: dict[str, Any], known: dict[str, Any], at: str) -> Iterator[str]:
    properties, rest = schema.get("properties"), schema.get("additionalProperties", {})
    rest = {} if rest is True else rest
    yield from (f"{at}.{key} is missing" for key in schema.get("required", ()) if key not in value)
    if properties is not None and "additionalProperties" not in schema:
        yield from (f"{at}.{key} is not in the schema" for key in value if key not in properties)
    for key, item in value.items():
        yield from _wrong(item, (properties or {}).get(key, rest), known, f"{at}.{key}")
