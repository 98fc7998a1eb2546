"""Values in JSON files beside a tree: put in the place of others, everything else as it was."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from last_cli.base.errors import CheckpointError
from last_cli.formats.format import Settings


def put(file: str, content: dict[str, Any], values: Mapping[tuple[str, ...], Any]) -> None:
    """Changes a file's content in place, by paths of keys; those that are not there come last, and None takes one out.

    Raises:
        CheckpointError: a path leads through what is no object.
    """
    for path, value in values.items():
        inner = content
        for part in path[:-1]:
            if inner.get(part) is None:
                inner[part] = {}
            if not isinstance(inner[part], dict):
                raise CheckpointError(f"{file}: {part} is no object, expected one with {path[-1]}")
            inner = inner[part]
        if value is None:
            inner.pop(path[-1], None)
        else:
            inner[path[-1]] = value


def merged(one: Settings, other: Settings) -> Settings:
    """Both; the second wins."""
    return {file: {**one.get(file, {}), **other.get(file, {})} for file in {**one, **other}}


def with_settings(config: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Configuration files, named as in Index.config, with changed values."""
    found = dict(config)
    for file, values in settings.items():
        found[f"file:{file}"] = deepcopy(dict(found.get(f"file:{file}") or {}))
        put(file, found[f"file:{file}"], values)
    return found
