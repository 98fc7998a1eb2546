"""The files of which a checkpoint of Orbax or flax consists, by the names that these give them."""

import re
from collections.abc import Iterator
from pathlib import Path

from last_cli.base.errors import CheckpointError
from last_cli.formats.json_file import read_aside
from last_cli.formats.orbax.beside import step_directory
from last_cli.formats.orbax.metadata import COMMIT_FILE, ROOT_FILE, STEP_FILE, STRINGS_FILE, TREE_FILE
from last_cli.formats.orbax.mirror_metadata import SHARDING_FILE
from last_cli.formats.orbax.store import ArrayInfo, ZarrStore
from last_cli.formats.orbax.tree import STRUCTURE_FILE, read_tree
from last_cli.formats.stamp import is_stamp
from last_cli.formats.types import STAMP_FILE, Location

# Of any directory that Orbax commits.
_COMMITTED = (COMMIT_FILE, STEP_FILE, "orbax.checkpoint", "descriptor/descriptor.pbtxt")
_DATABASE = re.compile(
    r"(?:ocdbt\.process_[\w-]+/)?(?:manifest\.ocdbt|(?:d|ocdbt_data|ocdbt_meta)/(?:d/)?[0-9a-f]{32})"
)
_DATABASES = re.compile(r"d|ocdbt\.process_.*|ocdbt_data|ocdbt_meta")
_TREE = re.compile("|".join(map(re.escape, (TREE_FILE, SHARDING_FILE, STRINGS_FILE))) + r"|array_metadatas/process_\d+")
# Beside the model, in steps of an Orbax that kept no list of items.
_OLD_ITEMS = ("metadata", "metrics")
_RUN_FILES = (ROOT_FILE, *(f"metadata/{name}" for name in ("metadata", ROOT_FILE, STEP_FILE, COMMIT_FILE)))


def parts(location: Location) -> set[str]:
    """The files of one step, or of what stands alone, that names or the tree's metadata explain; see Format.parts.

    A database or arrays without the metadata of a tree are no checkpoint, and neither is a msgpack file without arrays.
    """
    root, directory, step = location.root, location.directory, step_directory(location)
    found = set(_of_file(directory) if directory.is_file() else _of_tree(directory))
    if location.item is not None:
        found |= set(_of_step(step, directory, stamped=is_stamp(read_aside(root / STAMP_FILE)[0])))
    if root not in (step, directory):
        found |= {root / name for name in _RUN_FILES}
    return {file.relative_to(root).as_posix() for file in found if file.is_relative_to(root) and _is_plain(file)}


def _of_file(file: Path) -> Iterator[Path]:
    try:
        if any(leaf.kind == "array" for leaf in read_tree(file).leaves.values()):
            yield file
    except CheckpointError:
        return


def _of_step(step: Path, chosen: Path, *, stamped: bool) -> Iterator[Path]:
    yield from (step / name for name in _COMMITTED)
    for item in step.iterdir():
        if item == chosen or item.is_symlink() or not item.is_dir() or not _is_item(item, stamped=stamped):
            continue
        yield from _of_tree(item)
        if not (item / TREE_FILE).exists():
            yield from _of_json(item)


def _is_item(directory: Path, *, stamped: bool) -> bool:
    """Whether it was saved with its step, and is no checkpoint of its own beside others."""
    if (directory / STEP_FILE).exists():
        return False
    handlers = read_aside(directory.parent / STEP_FILE)[0].get("item_handlers")
    if isinstance(handlers, dict):
        return directory.name in handlers
    return stamped or (directory.parent / STEP_FILE).exists() or directory.name in _OLD_ITEMS


def _of_json(item: Path) -> Iterator[Path]:
    """An item that is one JSON object, under the names that Orbax has had for its file."""
    for name in ("metadata", item.name):
        if read_aside(item / name)[0]:
            yield from (item / name, item / COMMIT_FILE)


def _of_tree(directory: Path) -> Iterator[Path]:
    structure = directory / STRUCTURE_FILE
    if not (directory / TREE_FILE).is_file() and not structure.is_file():
        return
    try:
        tree = read_tree(directory)
    except CheckpointError:
        return
    yield from (directory / name for name in _COMMITTED)
    if structure.is_file():
        yield structure
    files = (file for file in directory.rglob("*") if file.is_file())
    names = {file.relative_to(directory).as_posix(): file for file in files}
    yield from (file for name, file in names.items() if _TREE.fullmatch(name))
    if not isinstance(tree.store, ZarrStore):
        return
    if tree.store.database is not None:
        yield from (file for name, file in names.items() if _DATABASE.fullmatch(name))
    else:
        yield from (directory / key for key in _of_arrays(tree.store))


def _of_arrays(store: ZarrStore) -> Iterator[str]:
    """The files of the arrays that the tree has, among those that are stored."""
    for name, info in store.arrays.items():
        below = (key.removeprefix(f"{name}/") for key in store.keys.get(name, ()))
        yield from (f"{name}/{key}" for key in below if _is_of_array(key, info, zarr3=store.zarr3))


def _is_of_array(key: str, info: ArrayInfo, *, zarr3: bool) -> bool:
    """Whether it is the metadata of an array, or a chunk that its shape has."""
    if key == ("zarr.json" if zarr3 else ".zarray"):
        return True
    parts = re.split(r"[./]", key)
    if parts[0] == "c" and zarr3:
        parts = parts[1:]
    elif not info.shape:
        return key == "0"
    sizes = zip(info.shape, info.chunks, strict=True)
    return len(parts) == len(info.shape) and all(
        _is_index(part, -(-size // chunk)) for part, (size, chunk) in zip(parts, sizes, strict=True)
    )


def is_data(tree: Path, file: Path) -> bool:
    """Whether a file below a tree holds its arrays: of a database, or of an array with a directory."""
    first, *below = file.relative_to(tree).parts
    if not below:
        return first == "manifest.ocdbt"
    if _DATABASES.fullmatch(first):
        return True
    holders = [parent for parent in file.parents if parent != tree and parent.is_relative_to(tree)]
    return any((holder / name).is_file() for holder in holders for name in (".zarray", "zarr.json"))


def _is_index(text: str, count: int) -> bool:
    return text.isascii() and text.isdigit() and int(text) < count


def _is_plain(file: Path) -> bool:
    return file.is_file() and not file.is_symlink()
