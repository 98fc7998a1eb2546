"""What is in a checkpoint, from its metadata alone: no array is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import last_cli.formats as formats
from last_cli.base.errors import CheckpointError
from last_cli.checkpoint.checkpoint import Checkpoint, from_index
from last_cli.checkpoint.sizes import count, size
from last_cli.families.layer import Layer
from last_cli.families.stacks import without_ssm
from last_cli.families.variables import Collections
from last_cli.results.inspect import Inspection, LayerFound, LeafFound, Untouched


def inspect(path: str | Path, *, step: int | None = None, item: str | None = None) -> Inspection:
    """Look into a checkpoint without reading its arrays.

    Args:
        path: a checkpoint, a step, or a run's directory, with or without SSM layers.
        step: which step of a run; by default the newest committed one.
        item: which item of a step, where there are several.

    Raises:
        CheckpointError: no checkpoint is there, or its metadata cannot be read.
    """
    index = formats.index(path, step, item)
    notes = list(index.location.notes)
    opened: Checkpoint | None = None
    try:
        opened = from_index(index)
        notes += opened.index.warnings
    except CheckpointError as error:
        notes += [*index.warnings, error.args[0]]
    notes += _emptied(index.stamp or {})
    arrays = [leaf for leaf in index.leaves.values() if leaf.kind == "array"]
    model = Collections.of(opened.layers).variables(index.leaves) if opened else {}
    parameters = [leaf for key, leaf in model.items() if key[0] == "params" and leaf.kind == "array"]
    location = index.location
    return Inspection(
        path=str(location.path),
        step=location.step,
        item=location.item,
        layout=location.layout,
        layers=[_layer(layer) for layer in opened.layers] if opened else [],
        leaves=[LeafFound("/".join(k), leaf.shape, leaf.dtype, leaf.kind) for k, leaf in index.leaves.items()],
        parameters=count(parameters),
        numbers=count(arrays),
        bytes=size(arrays),
        config=opened.said if opened else {},
        sources=opened.origins if opened else {},
        stamp=index.stamp or {},
        warnings=notes,
        untouched=_untouched(opened) if opened else (),
    )


def _untouched(opened: Checkpoint) -> list[Untouched]:
    found = without_ssm(opened.layers, opened.leaves)
    return [Untouched(places, list(parts)) for parts, places in found.items()]


def _emptied(stamp: Mapping[str, Any]) -> list[str]:
    """A note for each layer that the last pruning left without a live state."""
    layers = stamp["pruned"][-1]["layers"] if stamp.get("pruned") else []
    return [f"{layer['name']}: no state of it is live, B and C are zero" for layer in layers if not _any(layer["kept"])]


def _any(kept: Sequence[Any]) -> bool:
    return any(not isinstance(entry, list) or entry for entry in kept)


def _layer(layer: Layer) -> LayerFound:
    return LayerFound(layer.name, layer.family.kind, layer.family.name, **asdict(layer.sizes))
