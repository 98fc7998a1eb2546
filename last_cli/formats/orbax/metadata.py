"""The JSON files of Orbax: the tree of one item (`_METADATA`), and the config that lies beside it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from last_cli.base.errors import CheckpointError, UnknownLayoutError
from last_cli.formats.json_file import read_json
from last_cli.formats.types import INCOMPLETE

TREE_FILE = "_METADATA"
STEP_FILE = "_CHECKPOINT_METADATA"
ROOT_FILE = "_ROOT_METADATA"
STRINGS_FILE = "_strings.json"
COMMIT_FILE = "commit_success.txt"

_EMPTY = ("Dict", "List", "Tuple", "NamedTuple")
_KINDS = {"scalar": "scalar", "string": "string", "None": "none"} | dict.fromkeys(_EMPTY, "empty")


@dataclass(frozen=True)
class TreeMetadata:
    """What `_METADATA` says. `kinds` maps the path of each leaf to its kind, in the order of the file."""

    kinds: dict[tuple[str, ...], str]
    ocdbt: bool | None
    zarr3: bool
    stores_zeros: bool
    custom: dict[str, Any]


def read_tree_metadata(path: Path) -> TreeMetadata:
    """Parses a `_METADATA`.

    Raises:
        CheckpointError: it is no JSON.
        UnknownLayoutError: it is not of the form that is known.
    """
    content = read_json(path)
    with in_form(path, UnknownLayoutError):
        kinds = {
            tuple(str(part["key"]) for part in entry["key_metadata"]): _kind(entry["value_metadata"])
            for entry in content["tree_metadata"].values()
        }
        ocdbt = content.get("use_ocdbt")
        zarr3 = bool(content.get("use_zarr3", False))
        stores_zeros = bool(content.get("store_array_data_equal_to_fill_value", False))
        custom = content.get("custom_metadata")
    # An empty node that was filled by a later partial save is still listed, beside its children.
    parents = {key[:depth] for key in kinds for depth in range(len(key))}
    leaves = {key: kind for key, kind in kinds.items() if key not in parents}
    ocdbt = ocdbt if isinstance(ocdbt, bool) else None
    return TreeMetadata(leaves, ocdbt, zarr3, stores_zeros, custom if isinstance(custom, dict) else {})


@contextlib.contextmanager
def in_form(path: Path, kind: type[CheckpointError] = CheckpointError) -> Iterator[None]:
    """Turns what is raised while the content of a file is taken apart into words.

    Args:
        path: the file.
        kind: of the error that is raised.

    Raises:
        CheckpointError: the content is not of the form that the block expects.
    """
    try:
        yield
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise kind(f"{path}: not as Orbax writes it ({error!r})", INCOMPLETE) from error


def _kind(value: dict[str, Any]) -> str:
    return _KINDS.get(str(value["value_type"]), "array")
