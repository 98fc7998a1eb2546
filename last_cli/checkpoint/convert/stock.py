"""From a model directory of another library to one of Hugging Face that a stock class loads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from last_cli.base.errors import CheckpointError, UsageError, inside
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.checkpoint.config import stamp_of
from last_cli.families.stock import Stock
from last_cli.formats import Key, dtype_of
from last_cli.formats.huggingface.new import Model, save_model
from last_cli.results.convert import ExportReport, KeyRow


def export_stock(found: Checkpoint, dst: Path, *, force: bool) -> ExportReport:
    """Write the model as a directory of config.json and model.safetensors, its numbers bit by bit as they are.

    Args:
        found: a model directory.
        dst: the directory that appears.
        force: replace a checkpoint that is there.

    Raises:
        UsageError: no class of transformers computes what the model does; says what differs.
        OutputError: the output exists (unless `force`) or cannot be written; nothing is left behind.
        CheckpointError: the checkpoint cannot be read, or lacks a tensor.
    """
    stock = _stock(found)
    if stock.equal:
        _check_equal(found, *stock.equal)
    leaves = {name: found.leaves[key] for name, key in stock.tensors.items()}
    sizes = {name: (dtype_of(leaf.dtype), leaf.shape) for name, leaf in leaves.items()}
    kinds = {leaf.dtype for leaf in leaves.values()}
    model = Model(
        {**stock.config, **({"torch_dtype": kinds.pop()} if len(kinds) == 1 else {})},
        sizes,
        lambda name: _read(found, stock.tensors[name]),
    )
    save_model(dst, model, beside=found.index.location, stamp=stamp_of(found), force=force)
    used = set(stock.tensors.values())
    return ExportReport(
        checkpoint=found.source,
        format="huggingface",
        output=str(dst),
        mapped=False,
        keys=[KeyRow("/".join(stock.tensors[n]), n, leaf.shape, leaf.dtype) for n, leaf in leaves.items()],
        left_out=["/".join(key) for key in found.leaves if key not in used],
        warnings=[*stock.warnings],
    )


def _stock(found: Checkpoint) -> Stock:
    families = {layer.family.name: layer.family for layer in found.layers}
    for family in families.values():
        if family.stock is None or len(families) > 1:
            raise UsageError(
                f"⟦to hf⟧: no class of transformers is known for layers of the kind {found.family}",
                "leave out ⟦to⟧, and name a file of weights",
            )
        with inside(found.index.location.path):
            return family.stock(found.index.config, found.layers, {key: x.shape for key, x in found.leaves.items()})
    raise AssertionError("a checkpoint has layers")


def _check_equal(found: Checkpoint, one: Key, other: Key) -> None:
    """Raises CheckpointError where two leaves that are to be one differ."""
    first, second = _read(found, one), _read(found, other)
    if first.shape != second.shape or first.dtype != second.dtype or first.tobytes() != second.tobytes():
        raise CheckpointError(
            f"{found.index.location.path}: {'.'.join(other)} differs from {'.'.join(one)}, and its configuration says "
            "that they are one",
            "say that they are two (mamba_ssm: tie_embeddings false) if that is meant",
        )


def _read(found: Checkpoint, key: Key) -> np.ndarray:
    return found.read([key])[key]
