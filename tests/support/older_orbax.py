"""Do older versions of Orbax and Flax load the changed copies as they load the originals? Run by hand, in two steps:

python tests/support/older_orbax.py make DIRECTORY        where last is installed: originals and copies
OLD/bin/python tests/support/older_orbax.py load DIRECTORY   in an environment of an older Orbax and Flax
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np


def make(directory: Path) -> None:
    """Unpacks the fixtures into `directory`/NAME/original and writes `copy` beside each, its states cut by one."""
    from archives import unpacked
    from checkpoint_fixtures import DATA, READABLE

    from last_cli import formats

    unpacked(DATA / "fixtures.tar.xz", directory / "unpacked")
    for name in READABLE:
        original = directory / name / "original"
        shutil.copytree(directory / "unpacked" / name / "ckpt", original)
        if name == "cur_flax_orbax_s4d":
            original = original / "mnist" / "s4d-d_model=8-lr=0.001-bsz=32"
        source = formats.index(original)
        arrays = formats.read(source)
        cut = {key: array[:-1] for key, array in arrays.items() if key[-1] == "Lambda_re" and len(array) > 1}
        formats.save(directory / name / "copy", source=source, changed=cut, stamp={})
    shutil.rmtree(directory / "unpacked")


def load(directory: Path) -> int:
    """Loads each original in each way that works for it, and its copy in the same way. Returns how many failed."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    os.environ["JAX_PLATFORMS"] = "cpu"
    failures = loads = 0
    for pair in sorted(path.resolve() for path in directory.iterdir()):
        for way, loader in ways().items():
            try:
                before = flat(loader(pair / "original"))
            except Exception:  # This version does not load the original in this way.
                continue
            loads += 1
            try:
                differs = difference(before, flat(loader(pair / "copy")))
            except Exception as error:
                differs = repr(error)[:300]
            if differs:
                failures += 1
                print(f"{pair.name}: {way}: {differs}")
    print(f"{loads} loads, {failures} failures")
    return failures


def ways() -> dict[str, Any]:
    """The ways of loading that versions since 0.2 have had, by name."""
    import jax
    import orbax.checkpoint as ocp
    from flax.training import checkpoints

    def as_numpy(path: Path) -> Any:
        checkpointer = ocp.PyTreeCheckpointer()
        tree = checkpointer.restore(path)
        arguments = jax.tree_util.tree_map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        return checkpointer.restore(path, restore_args=arguments)

    def onto_target(path: Path) -> Any:
        tree = ocp.PyTreeCheckpointer().restore(path)
        target = jax.tree_util.tree_map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype), tree)
        return ocp.StandardCheckpointer().restore(path, target)

    def managed(path: Path) -> Any:
        run = ocp.CheckpointManager(path, ocp.PyTreeCheckpointer())
        return run.restore(run.latest_step())

    def managed_standard(path: Path) -> Any:
        run = ocp.CheckpointManager(path)
        return run.restore(run.latest_step(), args=ocp.args.StandardRestore())

    def managed_items(path: Path) -> Any:
        run = ocp.CheckpointManager(path, item_names=("state", "metadata"))
        return run.restore(run.latest_step(), args=ocp.args.Composite(state=ocp.args.StandardRestore()))["state"]

    return {
        "PyTreeCheckpointer": lambda path: ocp.PyTreeCheckpointer().restore(path),
        "PyTreeCheckpointer, numpy": as_numpy,
        "StandardCheckpointer": lambda path: ocp.StandardCheckpointer().restore(path),
        "StandardCheckpointer, target": onto_target,
        "CheckpointManager, old": managed,
        "CheckpointManager": managed_standard,
        "CheckpointManager, items": managed_items,
        "flax": lambda path: checkpoints.restore_checkpoint(str(path), target=None) or {}["nothing"],
    }


def flat(tree: Any) -> dict[str, Any]:
    import jax

    leaves, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda node: node is None)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def difference(before: dict[str, Any], after: dict[str, Any]) -> str:
    """What differs, or "" where nothing does but the states that were cut."""
    if before.keys() != after.keys():
        return f"other leaves: {sorted(before.keys() ^ after.keys())[:3]}"
    for key, leaf in before.items():
        one, other = np.asarray(leaf), np.asarray(after[key])
        if "Lambda_re" in key and one.ndim:
            one, other = one[:-1], other[: len(one) - 1]
        if one.dtype != other.dtype or one.shape != other.shape or one.tobytes() != other.tobytes():
            return f"{key}: {one.dtype}{one.shape} became {other.dtype}{other.shape}"
    return ""


if __name__ == "__main__":
    mode, where = sys.argv[1], Path(sys.argv[2])
    sys.exit(make(where) if mode == "make" else min(1, load(where)))
