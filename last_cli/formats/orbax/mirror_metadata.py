"""The metadata of a mirrored tree: its arrays are numpy ones, free of the devices that the original was saved from.

A leaf that is recorded as a `jax.Array` has a device beside it, and is restored without a target only where there
is such a device. Typed PRNG keys alone stay what they were: they have no numpy form.
"""

import base64
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from last_cli.formats.json_file import parse_json, read_aside, read_json, read_json_object
from last_cli.formats.orbax.metadata import TREE_FILE, in_form
from last_cli.formats.types import Key

ARRAY_METADATA = "array_metadatas"
SHARDING_FILE = "_sharding"


def as_numpy(directory: Path, target: Path, leaves: Collection[Key]) -> None:
    """Writes the metadata files of a tree, its arrays recorded as numpy arrays.

    Args:
        directory: of the original.
        target: of the copy.
        leaves: of the copy; the others are left out.

    Raises:
        CheckpointError: the metadata is not as Orbax writes it.
    """
    keys = _mirror_keys(directory, target)
    if (directory / TREE_FILE).is_file():
        metadata = read_json(directory / TREE_FILE)
        with in_form(directory / TREE_FILE):
            paths = {n: tuple(str(part["key"]) for part in e["key_metadata"]) for n, e in _entries(metadata)}
            # An empty node that was filled later is still listed, beside its leaves.
            nodes = {key[:n] for key in leaves for n in range(len(key) + 1)}
            left_out = {name for name, path in paths.items() if path not in nodes}
            metadata["tree_metadata"] = {name: e for name, e in _entries(metadata) if name not in left_out}
            for name, entry in _entries(metadata):
                if ".".join(paths[name]) not in keys:
                    _to_numpy(entry["value_metadata"])
            rich = metadata.get("value_metadata_tree")
            if left_out:
                metadata.pop("value_metadata_tree", None)  # Its own form of the same; Orbax goes by the entries then.
            elif not keys and isinstance(rich, str):
                metadata["value_metadata_tree"] = json.dumps(_rich_to_numpy(parse_json(rich)))
        _write_json(target / TREE_FILE, metadata)


def stamp_step(file: Path, stamp: dict[str, Any], left_out: Collection[str] = ()) -> None:
    """Puts a stamp into the file of a step's metadata, where this version of Orbax keeps any for its users.

    Args:
        file: of the copy.
        stamp: what goes in.
        left_out: items that the copy lacks.
    """
    metadata, _ = read_aside(file)
    if left_out and isinstance(handlers := metadata.get("item_handlers"), dict):
        metadata["item_handlers"] = {item: handler for item, handler in handlers.items() if item not in left_out}
        _write_json(file, metadata)
    if isinstance(metadata.get("custom_metadata"), dict):
        metadata["custom_metadata"]["last"] = stamp
        _write_json(file, metadata)


def _entries(metadata: Any) -> list[tuple[str, Any]]:
    """The entries of a tree's metadata, a leaf each."""
    return list(metadata["tree_metadata"].items())


def _mirror_keys(directory: Path, target: Path) -> set[str]:
    """Copies what is recorded about typed PRNG keys, and returns their names."""
    names: set[str] = set()
    for file in sorted((directory / ARRAY_METADATA).glob("process_*")):
        content = read_json(file)
        with in_form(file):
            keys = [entry for entry in content["array_metadatas"] if entry["array_metadata"].get("ext_metadata")]
            names |= {str(entry["array_metadata"]["param_name"]) for entry in keys}
        if keys:
            (target / ARRAY_METADATA).mkdir(exist_ok=True)
            _write_json(target / ARRAY_METADATA / file.name, {"array_metadatas": keys})
    if names:
        encoded = {base64.b64encode(name.encode()).decode() for name in names}
        shardings = read_json_object(directory / SHARDING_FILE)
        _write_json(target / SHARDING_FILE, {key: value for key, value in shardings.items() if key in encoded})
    return names


def _to_numpy(value: dict[str, Any]) -> None:
    if value.get("value_type") == "jax.Array":
        value["value_type"] = "np.ndarray"
        value.pop("write_shape", None)


def _rich_to_numpy(node: Any) -> Any:
    if isinstance(node, list):
        return [_rich_to_numpy(child) for child in node]
    if not isinstance(node, dict):
        return node
    if node.get("clazz") == "ValueMetadataEntry":
        _to_numpy(node["data"])
        return node
    return {key: _rich_to_numpy(child) for key, child in node.items()}


def _write_json(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content))
