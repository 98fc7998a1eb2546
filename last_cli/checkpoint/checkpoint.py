"""A checkpoint as the other rooms see it: its layers, its configuration, and its arrays when they are asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import last_cli.formats as formats
from last_cli.base.annotations import Shaped
from last_cli.base.errors import inside
from last_cli.checkpoint.sizes import count, size
from last_cli.families.find import Layer, build_system, find_layers
from last_cli.families.lti.config import ModelConfig, known, resolve
from last_cli.families.lti.network import spec
from last_cli.families.lti.system import System
from last_cli.formats import Index, Key, Leaf
from last_cli.results.prune import PruneReport
from last_cli.results.source import Source

POLES_OF_LAYERS = 2  # enough to see whether poles of both halves are stored


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk, or one that `prune` made of it and that `save` has yet to write.

    Attributes:
        index: leaves, layout and what lies beside them on disk.
        layers: the SSM layers in natural order.
        config: what the tree does not say of the model.
        sources: where each value of `config` came from: flag, preset, checkpoint, tree or assumed.
        stamp: what `last` knows of its making: model, task, training, and the chain of prunings.
        leaves: every leaf, known without its data.
        changed: arrays that differ from those on disk; they may be computed when they are asked for.
        also: arrays that differ in other items of the step, by item.
        report: what pruning did, where this is its result.
    """

    index: Index
    layers: tuple[Layer, ...]
    config: ModelConfig
    sources: Mapping[str, str]
    stamp: Mapping[str, Any]
    leaves: Mapping[Key, Leaf]
    changed: Mapping[Key, np.ndarray] = field(default_factory=dict)
    also: Mapping[str, Mapping[Key, np.ndarray]] = field(default_factory=dict)
    report: PruneReport | None = None

    @property
    def family(self) -> str:
        """The kind of its SSM layers; several are joined by "+"."""
        return "+".join(dict.fromkeys(layer.family.kind for layer in self.layers))

    @property
    def layout(self) -> str:
        """The format that it has on disk."""
        return self.index.location.layout

    @cached_property
    def tree(self) -> dict[str, Any]:
        """All arrays as nested dictionaries; read from disk when first asked for."""
        nested: dict[str, Any] = {}
        for key, array in self.read(k for k, leaf in self.leaves.items() if leaf.kind in ("array", "scalar")).items():
            node = nested
            for part in key[:-1]:
                node = node.setdefault(part, {})
            node[key[-1]] = array
        return nested

    @property
    def parameters(self) -> int:
        """Numbers in the model's parameters, without optimizer state and running statistics."""
        variables = spec.Tree.of(self.layers).variables(self.leaves)
        return count([leaf for key, leaf in variables.items() if key[0] == "params" and leaf.kind == "array"])

    @property
    def bytes(self) -> int:
        """Bytes of all arrays."""
        return size([leaf for leaf in self.leaves.values() if leaf.kind == "array"])

    @cached_property
    def source(self) -> Source:
        """Path, digest, step and layout."""
        location = self.index.location
        return Source(str(location.path), self.digest, location.step, location.layout, tuple(location.notes))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the SSM parameters: names, shapes, types and bytes. What was read is not read again."""
        total = hashlib.sha256()
        for layer in self.layers:
            if layer.name not in self._digests:
                self.arrays(layer)
            total.update(self._digests[layer.name])
        return f"sha256:{total.hexdigest()}"

    @cached_property
    def _digests(self) -> dict[str, bytes]:
        return {}

    def read(self, keys: Iterable[Key]) -> dict[Key, np.ndarray]:
        """Arrays by key, changed ones as they are now."""
        keys = list(keys)
        stored = formats.read(self.index, [key for key in keys if key not in self.changed])
        return {key: self.changed[key] if key in self.changed else stored[key] for key in keys}

    def arrays(self, layer: Layer) -> dict[str, Shaped[np.ndarray, ...]]:
        """A layer's own leaves by name."""
        found = self.read(layer.leaves.values())
        arrays = {name: found[key] for name, key in layer.leaves.items()}
        if layer.name not in self._digests:
            self._digests[layer.name] = _digest(layer.name, arrays)
        return arrays

    def system(self, layer: Layer, dtype: type[np.floating] = np.float64) -> System:
        """A layer's System in numpy; raises CheckpointError where its numbers are not finite."""
        arrays = self.arrays(layer)
        with inside(self.index.location.path):
            return build_system(layer, arrays, self.config, dtype)

    @property
    def task(self) -> dict[str, Any]:
        """What the stamp says of the task that it was trained on: `name` and settings; empty where it says nothing."""
        return dict(self.stamp.get("task") or {})

    def task_settings(self, task: str) -> dict[str, Any]:
        """The same where it was trained on this task, else nothing."""
        return self.task if self.task.get("name") == task else {}

    def assumed(self, names: Iterable[str]) -> dict[str, Any]:
        """Those of the named options that nothing but our assumption decides."""
        return {name: getattr(self.config, name) for name in names if self.sources[name] == "assumed"}

    @property
    def layer_options(self) -> tuple[str, ...]:
        """Names of the options that the SSM layers depend on."""
        return tuple(dict.fromkeys(name for layer in self.layers for name in layer.family.options))


def load(
    path: str | Path,
    *,
    step: int | None = None,
    item: str | None = None,
    preset: str | None = None,
    **options: Any,
) -> Checkpoint:
    """Open a checkpoint; its arrays are read when they are needed.

    Args:
        path: a checkpoint, a step, or a run's directory (its newest committed step is taken).
        step, item: which step, and which item of it, where there are several.
        preset: name of a published configuration, for what the tree does not say.
        options: entries of ModelConfig, such as `discretization="bilinear"`; they win over everything else.

    Raises:
        CheckpointError: no checkpoint is there, it cannot be read, or it has no SSM layer.
        UsageError: an unknown preset or option value.
    """
    return from_index(formats.index(path, step, item), preset=preset, **options)


def from_index(index: Index, *, preset: str | None = None, **options: Any) -> Checkpoint:
    """The checkpoint of an index that was read; see `load`."""
    with inside(index.location.path):
        layers = tuple(find_layers(index.leaves))
    inferred, said = spec.infer(index.leaves, layers), _said(index)
    guessed = (index.stamp or {}).get("assumed", [])
    assumed = {name: said.pop(name) for name in guessed if name in said}
    config, sources = resolve(said, options, preset, inferred, assumed)
    if sources["conj_sym"] == "assumed" and _both_halves(index, layers):
        config, sources = resolve(said, options, preset, {**inferred, "conj_sym": False}, assumed)
    return Checkpoint(index, layers, config, sources, index.stamp or {}, index.leaves)


def _digest(layer: str, arrays: Mapping[str, np.ndarray]) -> bytes:
    total = hashlib.sha256()
    for name, array in arrays.items():
        total.update(f"{layer}/{name} {array.dtype} {array.shape}\n".encode())
        total.update(np.ascontiguousarray(array).view(np.uint8).data)
    return total.digest()


def _said(index: Index) -> dict[str, Any]:
    """What the checkpoint's own stamp, or any configuration beside it, says of the model."""
    said: dict[str, Any] = {}
    for found in index.config.values():
        for part in (found, found.get("model"), found.get("config"), found.get("args")):
            if isinstance(part, dict):
                said |= known(part)
    return said | known((index.stamp or {}).get("model", {}))


def _both_halves(index: Index, layers: Iterable[Layer]) -> bool:
    """Whether poles of both signs of the imaginary part are stored, so that they cannot each stand for a pair.

    The S5 code stores the half of the pairs with negative imaginary parts; training moves few of them across zero.
    """
    keys = [layer.leaves["Lambda_im"] for layer in layers if "Lambda_im" in layer.leaves][:POLES_OF_LAYERS]
    if not keys:
        return False
    signs = np.concatenate([np.sign(a.astype(np.float64)).ravel() for a in formats.read(index, keys).values()])
    return bool(min((signs > 0).mean(), (signs < 0).mean()) > 0.25)
