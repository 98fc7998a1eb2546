"""Whatever of the current Orbax and Flax loads an original loads its changed copy, with the same values."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import serialization
from flax.training import checkpoints as flax_checkpoints
from orbax.checkpoint import v1

from last_cli import formats


def standard(path: Path) -> Any:
    return ocp.StandardCheckpointer().restore(path)


def standard_onto_target(path: Path) -> Any:
    checkpointer = ocp.StandardCheckpointer()
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    metadata = tree_metadata(checkpointer, path)
    target = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here), metadata)
    return checkpointer.restore(path, target)


def pytree(path: Path) -> Any:
    return ocp.PyTreeCheckpointer().restore(path)


def pytree_as_numpy(path: Path) -> Any:
    checkpointer = ocp.PyTreeCheckpointer()
    metadata = tree_metadata(checkpointer, path)
    arguments = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), metadata)
    return checkpointer.restore(path, restore_args=arguments)


def manager(path: Path) -> Any:
    with ocp.CheckpointManager(path) as run:
        return run.restore(run.latest_step(), args=ocp.args.StandardRestore())


def manager_with_prefix(path: Path) -> Any:
    options = ocp.CheckpointManagerOptions(step_prefix="epoch", step_format_fixed_length=6)
    with ocp.CheckpointManager(path, options=options) as run:
        return run.restore(run.latest_step(), args=ocp.args.StandardRestore())


def manager_with_items(path: Path) -> Any:
    with ocp.CheckpointManager(path, item_names=("state", "metadata")) as run:
        items = ocp.args.Composite(state=ocp.args.PyTreeRestore(), metadata=ocp.args.JsonRestore())
        return dict(run.restore(run.latest_step(), args=items).items())


def manager_of_old(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = ocp.CheckpointManager(path, ocp.PyTreeCheckpointer())
        return run.restore(run.latest_step())


def v1_tree(path: Path) -> Any:
    return v1.load(str(path))


def v1_items(path: Path) -> Any:
    return v1.load_checkpointables(str(path))


def v1_training(path: Path) -> Any:
    with v1.training.Checkpointer(str(path)) as run:
        return run.load_checkpointables(20)


def flax(path: Path) -> Any:
    return flax_checkpoints.restore_checkpoint(path, target=None)


def msgpack(path: Path) -> Any:
    return serialization.msgpack_restore((path / "best_state.msgpack").read_bytes())


BARE = [standard, standard_onto_target, pytree, pytree_as_numpy, v1_tree, flax]
LOADERS: dict[str, list[Callable[[Path], Any]]] = {
    "cur_bf16": BARE,
    "cur_dotted_names": BARE,
    "cur_flax_legacy_msgpack": [flax],
    "cur_flax_orbax_eventssm": [flax],
    "cur_flax_orbax_lobs5pred": [flax],
    "cur_manager_best_metrics_prefix": [manager_with_prefix],
    "cur_manager_composite_qs5": [manager_with_items],
    "cur_manager_default_item": [manager],
    "cur_msgpack_to_bytes_aire": [msgpack],
    "cur_pytree_noocdbt": BARE,
    "cur_pytree_zarr3": BARE,
    "cur_trainstate_adam_chain": [standard, pytree, pytree_as_numpy, v1_tree, flax],
    "cur_v1_save_checkpointables": [v1_items],
    "cur_v1_trainstate_object": [v1_tree, v1_items],
    "o01125_rich_types": [standard, pytree, v1_tree],
    "o01125_v1_training_checkpointer": [v1_training],
    "o027_pytree_default": [pytree, flax],
    "o048_flax_orbax_ckptr_aggregate": [pytree, pytree_as_numpy, flax],
    "o048_manager_legacy": [manager_of_old],
    "o048_standard": BARE,
    "o064_manager_composite_qs5": [manager_with_items],
    "shard8_zarr3_chunked": [standard_onto_target, pytree_as_numpy],
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "load"), [(name, load) for name, loads in LOADERS.items() for load in loads])
def test_loads_the_copy_as_the_original(fixtures: Path, tmp_path: Path, name: str, load: Callable) -> None:
    # A copy, because a CheckpointManager may write into the run that it opens.
    original = shutil.copytree(fixtures / name / "ckpt", tmp_path / "original")
    source = formats.index(original)
    cut = {key: array[:-1] for key, array in formats.read(source).items() if key[-1] == "Lambda_re"}
    formats.save(tmp_path / "copy", source=source, changed=cut, stamp={"kept": []})
    before, after = flat(load(original)), flat(load(tmp_path / "copy"))
    assert before.keys() == after.keys()
    for key, leaf in before.items():
        if "Lambda_re" in key and np.ndim(leaf):
            leaf = leaf[:-1] if np.shape(after[key]) != np.shape(leaf) else leaf
        if isinstance(leaf, str) or leaf is None:
            assert after[key] == leaf
        else:
            assert np.asarray(after[key]).dtype == np.asarray(leaf).dtype
            assert np.asarray(after[key]).tobytes() == np.asarray(leaf).tobytes()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["dev_cuda_standard", "shard8_standard"])
def test_the_copy_needs_no_device_of_the_original(fixtures: Path, tmp_path: Path, name: str) -> None:
    source = formats.index(fixtures / name / "ckpt")
    formats.save(tmp_path / "copy", source=source, changed={}, stamp={})
    assert len(flat(standard(tmp_path / "copy"))) == len(source.leaves)


@pytest.mark.filterwarnings("ignore")
def test_typed_keys_stay_typed(tmp_path: Path) -> None:
    tree = {"key": jax.random.key(7), "w": jax.numpy.arange(4.0), "step": 3}
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "original", tree)
    source = formats.index(tmp_path / "original")
    formats.save(tmp_path / "copy", source=source, changed={("w",): np.ones(2, np.float32)}, stamp={})
    for loaded in (standard(tmp_path / "copy"), pytree(tmp_path / "copy")):
        assert jax.numpy.issubdtype(loaded["key"].dtype, jax.dtypes.prng_key)
        assert np.array_equal(jax.random.key_data(loaded["key"]), jax.random.key_data(tree["key"]))
        assert np.array_equal(loaded["w"], np.ones(2))


def tree_metadata(checkpointer: ocp.Checkpointer, path: Path) -> Any:
    metadata = checkpointer.metadata(path).item_metadata
    assert metadata is not None
    return metadata.tree


def flat(tree: Any) -> dict[str, Any]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda node: node is None)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}
