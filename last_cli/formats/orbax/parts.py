"""What belongs to a checkpoint, and what merely lies in its directory."""

import re
from pathlib import Path

from last_cli.formats.json_file import read_aside
from last_cli.formats.orbax.locate import items_in, tree_layout
from last_cli.formats.orbax.metadata import ROOT_FILE, STEP_FILE, STRINGS_FILE, TREE_FILE

_FILES = re.compile(
    "|".join(map(re.escape, (TREE_FILE, STEP_FILE, ROOT_FILE, STRINGS_FILE, "_sharding", "manifest.ocdbt")))
    + r"|checkpoint|commit_success\.txt|orbax\.checkpoint|checkpoint_\d+|.*\.json|.*\.msgpack"
)
_DATABASES = re.compile(r"d|ocdbt\.process_.*|ocdbt_data|ocdbt_meta")
_DIRECTORIES = re.compile(r"d|ocdbt\.process_.*|ocdbt_data|ocdbt_meta|array_metadatas|descriptor")
_ITEM_FILES = ("metadata", "metrics", ROOT_FILE, STEP_FILE)


def is_part(entry: Path) -> bool:
    """Whether `entry` is a file or directory as checkpoints have them: metadata, data, a step, an item, a zarr array.

    JSON files count, because a checkpoint keeps its config in them.
    """
    if not entry.is_dir():
        return bool(_FILES.fullmatch(entry.name))
    if _DIRECTORIES.fullmatch(entry.name) or tree_layout(entry) or items_in(entry) or _is_item(entry):
        return True
    return any(entry.rglob(".zarray")) or any(entry.rglob("zarr.json"))


def is_data(tree: Path, file: Path) -> bool:
    """Whether a file below a tree holds its arrays: of a database, or of an array with a directory."""
    first, *below = file.relative_to(tree).parts
    if not below:
        return first == "manifest.ocdbt"
    if _DATABASES.fullmatch(first):
        return True
    holders = [parent for parent in file.parents if parent != tree and parent.is_relative_to(tree)]
    return any((holder / name).is_file() for holder in holders for name in (".zarray", "zarr.json"))


def _is_item(directory: Path) -> bool:
    handlers = read_aside(directory.parent / STEP_FILE)[0].get("item_handlers")
    named = isinstance(handlers, dict) and directory.name in handlers
    return named or any((directory / name).is_file() for name in _ITEM_FILES)
