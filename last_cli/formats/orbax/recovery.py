"""Trees that the direct reader does not understand: recovered from what is stored, or read by Orbax itself."""

import contextlib
import io
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.base.errors import CheckpointError, UnknownLayoutError
from last_cli.formats.json_file import read_json_object
from last_cli.formats.orbax.metadata import STRINGS_FILE, TreeMetadata
from last_cli.formats.orbax.store import files_of, open_database, readable
from last_cli.formats.types import INCOMPLETE


def tree_of_names(directory: Path, *, ocdbt: bool) -> TreeMetadata:
    """What a tree without `_METADATA` must have been, from the names of its arrays and strings.

    Orbax joins the keys of a path with dots, so that a dot in a key cannot be told from one between keys.

    Args:
        directory: of the tree.
        ocdbt: whether its arrays lie in one database; else each has a directory of its own.

    Raises:
        CheckpointError: no arrays are stored, or the database cannot be read.
    """
    files = files_of(directory)
    if ocdbt:
        with readable(directory, "the OCDBT database"):
            stored = [key.decode(errors="replace") for key in open_database(directory, ocdbt=True).list().result()]
    else:
        stored = sorted(file for file in files if file.count("/") == 1)
    arrays = [key.removesuffix(file) for key in stored for file in ("/.zarray", "/zarr.json") if key.endswith(file)]
    kinds = dict.fromkeys((tuple(name.split(".")) for name in arrays), "array")
    kinds |= dict.fromkeys((tuple(name.split(".")) for name in read_json_object(directory / STRINGS_FILE)), "string")
    if not arrays:
        raise CheckpointError(f"{directory}: _METADATA is missing, and no arrays are stored", INCOMPLETE)
    zarr3 = any(key.endswith("/zarr.json") for key in stored)
    return TreeMetadata(kinds, ocdbt, zarr3, False, {})


def read_by_orbax(directory: Path, reason: UnknownLayoutError) -> dict[tuple[str, ...], Any]:
    """All leaves of a tree as Orbax reads them: arrays as numpy, without target and shardings.

    Args:
        directory: of the tree.
        reason: why it is not read directly.

    Raises:
        CheckpointError: Orbax cannot read it either.
    """
    import jax
    import orbax.checkpoint as ocp

    files_of(directory)
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        # Reads that go on when one fails report to stderr on their own.
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            handler = ocp.PyTreeCheckpointHandler()
            structure = _structure(handler, directory)
            as_numpy = jax.tree.map(lambda leaf: ocp.RestoreArgs(restore_type=_type_of(leaf)), structure)
            tree = handler.restore(_path(directory), args=ocp.args.PyTreeRestore(restore_args=as_numpy))
    except Exception as error:  # whatever its many layers raise
        said = str(error).strip().partition("\n")[0] or "no message"
        raise CheckpointError(
            f"{reason.args[0]}; Orbax cannot read it either ({type(error).__name__}: {said})", reason.args[1]
        ) from error
    finally:
        logging.disable(disabled)
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=_is_empty)
    return {tuple(_name(part) for part in path): leaf for path, leaf in leaves}


def _structure(handler: Any, directory: Path) -> Any:
    try:
        return handler.metadata(_path(directory)).tree
    except FileNotFoundError:
        from orbax.checkpoint.aggregate_handlers import MsgpackHandler

        return MsgpackHandler().deserialize(_path(directory / "checkpoint"))


def _type_of(leaf: Any) -> type:
    return str if type(leaf).__name__ == "StringMetadata" else np.ndarray


def _is_empty(node: Any) -> bool:
    return node is None or (isinstance(node, (dict, list, tuple)) and not node)


def _path(directory: Path) -> Any:
    from etils import epath

    return epath.Path(directory.absolute())


def _name(part: Any) -> str:
    return str(next(getattr(part, name) for name in ("key", "idx", "name") if hasattr(part, name)))
