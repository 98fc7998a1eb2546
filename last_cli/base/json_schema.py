"""JSON Schema of what a command prints, made from the class of its result: types, and its docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from last_cli.base.record import Record, Result

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SIMPLE = {str: "string", bool: "boolean", int: "integer", NoneType: "null"}

Schema = dict[str, Any]


def json_schema(result: type[Result]) -> Schema:
    """The schema of a result's JSON object."""
    made = _Definitions()
    schema = made.of_record(result)
    schema["properties"]["schema"] = {"const": f"last.{result.command}/1", **schema["properties"]["schema"]}
    return {"$schema": DIALECT, "title": f"last.{result.command}/1", **schema, "$defs": made.found}


@dataclass
class _Definitions:
    """The classes that were met on the way, by name."""

    found: dict[str, Schema] = field(default_factory=dict)

    def of_record(self, record: type[Record]) -> Schema:
        """An object; keys that may be left out are not required, and what has open mappings may have more."""
        keys, said = record.keys_of(), _described(record)
        hints = get_type_hints(record)
        properties = {key: self._of_key(record, key, hints.get(key), said.get(key, "")) for key in keys}
        return {
            "type": "object",
            "description": _summary(record),
            "properties": properties,
            "required": [key for key in keys if key not in record.json_optional],
            **({"additionalProperties": True} if record.json_open else {}),
        }

    def of(self, hint: Any) -> Schema:
        """The schema of a type."""
        origin, args = get_origin(hint), get_args(hint)
        if origin in (Union, UnionType):
            return _union([self.of(arg) for arg in args])
        if origin is Literal:
            return {"enum": list(args)}
        if hint in SIMPLE:
            return {"type": SIMPLE[hint]}
        if hint is float:  # infinities are null
            return {"type": ["number", "null"]}
        if inspect.isclass(hint) and (issubclass(hint, Record) or hasattr(hint, "_fields")):
            return self._reference(hint)
        if origin is tuple and args[-1] is not Ellipsis:
            return {"type": "array", "prefixItems": [self.of(a) for a in args], "minItems": len(args), "items": False}
        if inspect.isclass(origin) and issubclass(origin, Mapping):
            return {"type": "object", **({"additionalProperties": of} if (of := self.of(args[1])) else {})}
        if inspect.isclass(origin) and issubclass(origin, Sequence):
            return {"type": "array", **({"items": of} if (of := self.of(args[0])) else {})}
        return {}

    def _reference(self, kind: type) -> Schema:
        name = kind.__name__
        if name not in self.found:
            self.found[name] = {}
            self.found[name] = self.of_record(kind) if issubclass(kind, Record) else self._of_tuple(kind)
        return {"$ref": f"#/$defs/{name}"}

    def _of_tuple(self, kind: type) -> Schema:
        """A named tuple is an object."""
        hints = get_type_hints(kind)
        properties = {name: self.of(hint) for name, hint in hints.items()}
        return {"type": "object", "description": _summary(kind), "properties": properties, "required": list(hints)}

    def _of_key(self, record: type[Record], key: str, hint: Any, description: str) -> Schema:
        """The schema of a key: a field, or a property, whose docstring describes it."""
        if isinstance(found := getattr(record, key, None), property):
            hint, description = get_type_hints(found.fget)["return"], inspect.getdoc(found) or ""
        said = " ".join(description.split())
        return {**self.of(hint), **({"description": said[:1].upper() + said[1:]} if said else {})}


def _union(schemas: Sequence[Schema]) -> Schema:
    """Several simple types are one list of names."""
    if any(schema.keys() != {"type"} for schema in schemas):
        return {"anyOf": list(schemas)}
    names = [name for schema in schemas for name in _listed(schema["type"])]
    return {"type": list(dict.fromkeys(names))}


def _listed(names: str | list[str]) -> list[str]:
    return [names] if isinstance(names, str) else names


def _summary(kind: type) -> str:
    """The first paragraph of a docstring."""
    return " ".join((inspect.getdoc(kind) or "").partition("\n\n")[0].split())


def _described(kind: type) -> dict[str, str]:
    """What a docstring says of each attribute; several may share a line."""
    _, _, attributes = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    entries = re.findall(r"^    (\w[\w, ]*): ((?:.*\n?)(?:^ {5,}.*\n?)*)", attributes, re.MULTILINE)
    return {name: said for names, said in entries for name in names.split(", ")}
