"""JSON files in and beside checkpoints, and what is said where they are none."""

import json
from pathlib import Path
from typing import Any

from last_cli.base.errors import CheckpointError
from last_cli.base.files import regular
from last_cli.formats.types import INCOMPLETE

NESTING = 100
"""So many levels has no tree of a model, and no configuration; whatever walks through one may recur so often."""


_INNER = (dict, list)


def parse_json(content: bytes | str) -> Any:
    """What a JSON text says.

    Raises:
        ValueError: it is not valid, or nested deeper than NESTING.
    """
    try:
        return shallow(json.loads(content))
    except RecursionError as error:
        raise ValueError(f"nested deeper than {NESTING} levels") from error


def shallow(tree: Any) -> Any:
    """A tree of dicts and lists as it is; raises ValueError where it is nested deeper than NESTING."""
    level = [[tree]]
    for _ in range(NESTING + 1):
        nodes = [node.values() if isinstance(node, dict) else node for node in level]
        if not (level := [child for node in nodes for child in node if isinstance(child, _INNER)]):
            return tree
    raise ValueError(f"nested deeper than {NESTING} levels")


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        CheckpointError: it cannot be read, or is not valid; names it.
    """
    try:
        return parse_json(regular(path).read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})", INCOMPLETE) from error
    except ValueError as error:
        raise CheckpointError(f"{path}: not valid JSON ({error})", INCOMPLETE) from error


def read_json_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file, or {} where there is no such file.

    Raises:
        CheckpointError: it cannot be read, or holds something else; names it.
    """
    content = read_json(path) if path.is_file() else {}
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: a JSON object expected, found {type(content).__name__}", INCOMPLETE)
    return content


def read_aside(path: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The JSON object in a file that reading can do without, and a warning where it is none."""
    try:
        return read_json_object(path), ()
    except CheckpointError as error:
        return {}, (f"{error.args[0]}; passed over",)
