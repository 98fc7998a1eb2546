"""A checkpoint as the other rooms see it: its layers, its configuration, and its arrays when they are asked for."""

from __future__ import annotations

import hashlib
from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import last_cli.formats as formats
from last_cli.base import registry
from last_cli.base.annotations import Bool, Shaped
from last_cli.base.arrays import digest, nested
from last_cli.base.errors import CheckpointError, UsageError, inside
from last_cli.base.version import __version__
from last_cli.checkpoint.configuration import Said, said_in_file, said_of
from last_cli.checkpoint.sizes import count, size
from last_cli.checkpoint.trained import cleared, cleared_beside, link, new_arrays
from last_cli.families.family import Loader
from last_cli.families.find import Layer, build_system, check_numbers, find_layers
from last_cli.families.followers import Follower, followers
from last_cli.families.lti.config import ModelConfig, resolve
from last_cli.families.lti.presets import preset as published
from last_cli.families.lti.system import System
from last_cli.families.network import shared_network
from last_cli.families.target import live_units
from last_cli.families.variables import Collections
from last_cli.formats import Index, Key, Leaf
from last_cli.formats.format import Settings
from last_cli.formats.stamp import STAMP_SCHEMA
from last_cli.results.source import Source

if TYPE_CHECKING:
    from last_cli.results.prune import PruneReport
    from last_cli.results.tune import TuneReport

LAYERS_THAT_HINT = 2  # enough for what their numbers tell


@dataclass(frozen=True, repr=False)
class Checkpoint:
    """A checkpoint on disk, or one that `prune` made of it and that `save` has yet to write.

    Attributes:
        index: leaves, layout and what lies beside them on disk.
        layers: the SSM layers in natural order.
        config: what the tree does not say of the model.
        origins: where each value of `config` that counts for it came from: flag, preset, checkpoint, tree, assumed,
            or the path of the file or of the other checkpoint that says it.
        stamp: what `last` knows of its making: model, task, training, and the chain of prunings.
        leaves: every leaf, known without its data.
        changed: arrays that differ from those on disk; they may be computed when they are asked for.
        also: arrays that differ in other items of the step, by item.
        drops: paths below which its leaves are left out, and items of the step.
        renamed: keys that leaves on disk get, where these are others; None where one is left out.
        settings: what changes with the arrays in JSON files beside them, by file and by path of keys.
        report: what pruning did, where this is its result.
        tuned: what tuning did, where this is its result.
        contradictions: what is said of the network around the layers and cannot be, given the tree.
    """

    index: Index
    layers: tuple[Layer, ...]
    config: ModelConfig
    origins: Mapping[str, str]
    stamp: Mapping[str, Any]
    leaves: Mapping[Key, Leaf]
    changed: Mapping[Key, np.ndarray] = field(default_factory=dict)
    also: Mapping[str, Mapping[Key, np.ndarray]] = field(default_factory=dict)
    drops: tuple[str, ...] = ()
    renamed: Mapping[Key, Key | None] = field(default_factory=dict)
    settings: Settings = field(default_factory=dict)
    report: PruneReport | None = None
    tuned: TuneReport | None = None
    contradictions: tuple[str, ...] = ()

    def __repr__(self) -> str:
        path, layers = str(self.index.location.path), len(self.layers)
        return f"Checkpoint({path!r}, {self.family}, {layers} layers, {self.parameters:,} parameters)"

    @property
    def said(self) -> dict[str, Any]:
        """The entries of `config` that count for this model, by name."""
        return {name: getattr(self.config, name) for name in self.origins}

    @property
    def family(self) -> str:
        """The kind of its SSM layers; several are joined by "+"."""
        return "+".join(dict.fromkeys(layer.family.kind for layer in self.layers))

    @cached_property
    def following(self) -> Mapping[Key, Follower]:
        """The arrays among its leaves that follow the layers' parameters, by key."""
        return followers(self.layers, self.leaves)

    @property
    def layout(self) -> str:
        """The format that it has on disk."""
        return self.index.location.layout

    @cached_property
    def tree(self) -> dict[str, Any]:
        """All arrays as nested dictionaries; read from disk when first asked for."""
        return nested(self.read(k for k, leaf in self.leaves.items() if leaf.kind in ("array", "scalar")))

    @property
    def parameters(self) -> int:
        """Numbers in the model's parameters, without optimizer state and running statistics."""
        places = Collections.all_of(self.layers)
        variables = [leaf for place in places for leaf in place.variables(self.leaves).items()]
        return count([leaf for key, leaf in variables if key[0] == "params" and leaf.kind == "array"])

    @property
    def bytes(self) -> int:
        """Bytes of all arrays."""
        return size([leaf for leaf in self.leaves.values() if leaf.kind == "array"])

    @property
    def memory(self) -> int | None:
        """Bytes that a sequence needs from step to step, in the type of the arrays; None where a layer does not say."""
        total = 0
        for layer in self.layers:
            if layer.family.memory is None:
                return None
            leaves = {name: self.leaves[key] for name, key in layer.leaves.items()}
            numbers = layer.family.memory({name: leaf.shape for name, leaf in leaves.items()})
            total += numbers * formats.dtype_of(next(iter(leaves.values())).dtype).itemsize
        return total

    @property
    def loader(self) -> Loader | None:
        """What loads it besides `last`, by the files beside its arrays; None where its layers do not know."""
        return self.layers[0].family.loader(self.index.config)

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
            self._digests[layer.name] = digest((f"{layer.name}/{name}", array) for name, array in arrays.items())
        return arrays

    def system(self, layer: Layer, dtype: type[np.floating] = np.float64) -> System:
        """A layer's System in numpy; raises CheckpointError where its numbers are not finite."""
        arrays = self.arrays(layer)
        with inside(self.index.location.path):
            return build_system(layer, arrays, self.config, dtype)

    def live(self, layer: Layer, target: str | None = None) -> Bool[np.ndarray, "G N"]:
        """Which units of a layer may add something to its output, and are no padding; by default the usual ones.

        Raises:
            CheckpointError: its numbers are not finite.
        """
        units, arrays = layer.units[target or layer.family.targets[0].name], self.arrays(layer)
        with inside(self.index.location.path):
            check_numbers(layer, arrays)
        live = live_units(units, arrays)
        return np.ones((units.groups, units.count), bool) if live is None else live

    def with_variables(self, variables: Mapping[str, Any]) -> Checkpoint:
        """The checkpoint with weights that were trained elsewhere, in memory; configuration, task and history stay.

        An optimizer's moments of the leaves that changed become zero, its counters and other sets of weights, such as
        averages, stay as they are. `last.save` writes it.

        Args:
            variables: those of `build_model`, trained: {"params": ..., "batch_stats": ...}, of the same shapes.

        Raises:
            CheckpointError: the layers are in no network that is known.
            UsageError: they are not the model's variables, or numbers that are not finite.
        """
        with inside(self.index.location.path):
            changed = new_arrays(variables, self.layers, self.leaves, self.read)
        if not changed:
            return self
        source = {"path": self.source.path, "digest": self.digest, "step": self.source.step}
        step = {"last": __version__, "source": source, **link(self.layers, changed)}
        return replace(
            self,
            changed=ChainMap({**changed, **cleared(changed, self.leaves)}, self.changed),  # pyright: ignore[reportArgumentType]
            also=cleared_beside(changed, self.index, self.also),
            stamp=self.chained(step),
        )

    def chained(self, step: Mapping[str, Any]) -> dict[str, Any]:
        """The stamp with one more pruning, or training, at the end of its chain."""
        return {
            **self.stamp,
            "schema": STAMP_SCHEMA,
            "last": __version__,
            "model": self.said,
            "assumed": sorted(name for name, origin in self.origins.items() if origin == "assumed"),
            "pruned": [*self.stamp.get("pruned", []), step],
        }

    @property
    def task(self) -> dict[str, Any]:
        """What the stamp says of the task that it was trained on: `name` and settings; empty where it says nothing."""
        return dict(self.stamp.get("task") or {})

    @property
    def task_name(self) -> str | None:
        """The name of that task, where it is one of the registry."""
        name = self.task.get("name")
        return name if name in registry.names("tasks") else None

    def task_settings(self, task: str) -> dict[str, Any]:
        """The same where it was trained on this task, else nothing."""
        return self.task if self.task.get("name") == task else {}

    def assumed(self, names: Iterable[str]) -> dict[str, Any]:
        """Those of the named options that nothing but our assumption decides."""
        return {name: getattr(self.config, name) for name in names if self.origins[name] == "assumed"}

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
    config_from: str | Path | None = None,
    checked: bool = True,
    **options: Any,
) -> Checkpoint:
    """Open a checkpoint; its arrays are read when they are needed.

    Args:
        path: a checkpoint, a step, or a run's directory (its newest committed step is taken).
        step: which step, where there are several.
        item: which item of the step, where there are several.
        preset: name of a published configuration, for what the tree does not say.
        config_from: another checkpoint of the same model, or a configuration file, for the same.
        checked: refuse, now and when arrays are read, what has another digest than the stamp of `last` says.
        options: entries of ModelConfig, such as `discretization="bilinear"`; they win over everything else.

    Raises:
        CheckpointError: no checkpoint is there, it cannot be read, is not what `last` wrote, or has no SSM layer.
        UsageError: an unknown preset or option value, or `config_from` is of another model.
    """
    index = formats.index(path, step, item, checked=checked)
    if checked and index.written is not None and not index.written.intact:
        raise CheckpointError(
            f"{index.written.file}: is not as `last` wrote it: it was edited or damaged",
            "`last inspect` shows what it says; `last config` with settings, such as ⟦activation gelu⟧, writes it anew",
        )
    return from_index(index, preset=preset, config_from=config_from, **options)


def opened(checkpoint: Checkpoint | str | Path) -> Checkpoint:
    """The checkpoint itself, or the one at a path."""
    return checkpoint if isinstance(checkpoint, Checkpoint) else load(checkpoint)


def from_index(
    index: Index, *, preset: str | None = None, config_from: str | Path | None = None, **options: Any
) -> Checkpoint:
    """The checkpoint of an index that was read; see `load`."""
    with inside(index.location.path):
        layers = tuple(find_layers(index.leaves, index.config))
    if not _configured(layers):
        return _plain(index, layers, {**options, "preset": preset, "config_from": config_from})
    said = said_of(index, layers)
    if config_from is not None:
        said = _with_other(said, Path(config_from), index, layers)
    inferred = _inferred(index, layers)
    config, sources = resolve(said.values, options, preset, inferred, said.guessed)
    if hinted := _hinted(index, layers, sources):
        config, sources = resolve(said.values, options, preset, {**inferred, **hinted}, said.guessed)
    origins = {name: said.origins[name] if source == "checkpoint" else source for name, source in sources.items()}
    task = said.task or ({"name": published(preset).task} if preset else {})
    stamp = {**(index.stamp or {}), **({"task": dict(task)} if task else {})}
    known = replace(index, warnings=(*index.warnings, *said.warnings, *said.contradictions))
    return Checkpoint(known, layers, config, origins, stamp, index.leaves, contradictions=said.contradictions)


def _configured(layers: Sequence[Layer]) -> bool:
    """Whether anything of the layers, or of the network around them, is an entry of ModelConfig."""
    if any(layer.family.options or layer.family.system for layer in layers):
        return True
    try:
        return bool(shared_network(layers).options)
    except CheckpointError:
        return False


def _plain(index: Index, layers: tuple[Layer, ...], options: Mapping[str, Any]) -> Checkpoint:
    """The checkpoint of a model whose own files say all that its tree does not."""
    if given := [name for name, value in options.items() if value is not None]:
        raise UsageError(
            f"⟦{given[0]}⟧ is given, but nothing of {index.location.path} depends on it",
            "the files beside its arrays say all of it",
        )
    return Checkpoint(index, layers, ModelConfig(), {}, index.stamp or {}, index.leaves)


def _with_other(said: Said, path: Path, index: Index, layers: Sequence[Layer]) -> Said:
    """What is said, and above it what another checkpoint or a file of configuration says."""
    if path.suffix in (".json", ".yaml", ".yml") and path.is_file():
        other = said_in_file(path, index, layers)
        values, task, warnings = other.values, other.task, other.warnings
        contradictions = other.contradictions
    else:
        opened = load(path)
        ours, theirs = (
            [(layer.family.kind, layer.sizes.features) for layer in each] for each in (layers, opened.layers)
        )
        if ours != theirs:
            raise UsageError(
                f"{path}: its layers are others than those of {index.location.path}: {len(theirs)} of width "
                f"{theirs[0][1]}, expected {len(ours)} of width {ours[0][1]}",
                "⟦config_from⟧ takes a checkpoint of the same model",
            )
        values = {n: getattr(opened.config, n) for n, o in opened.origins.items() if o not in ("assumed", "tree")}
        task, warnings, contradictions = opened.task, (), ()
    guessed = {name: value for name, value in said.guessed.items() if name not in values}
    return Said(
        {**said.values, **values},
        {**said.origins, **dict.fromkeys(values, str(path))},
        guessed,
        task or said.task,
        (*said.warnings, *warnings),
        (*said.contradictions, *contradictions),
    )


def _inferred(index: Index, layers: Sequence[Layer]) -> dict[str, Any]:
    """What the tree shows of the network around the layers; nothing where they share none."""
    try:
        return shared_network(layers).infer(index.leaves, layers)
    except CheckpointError:
        return {}


def _hinted(index: Index, layers: Iterable[Layer], sources: Mapping[str, str]) -> dict[str, Any]:
    """What the leaves' own numbers tell of options that would be assumed otherwise."""
    found: dict[str, Any] = {}
    for family in {layer.family.name: layer.family for layer in layers}.values():
        for hint in family.hints:
            own = [layer.leaves[hint.leaf] for layer in layers if layer.family is family and hint.leaf in layer.leaves]
            if sources[hint.option] == "assumed" and own:
                arrays = formats.read(index, own[:LAYERS_THAT_HINT]).values()
                value = hint.value(np.concatenate([array.astype(np.float64).ravel() for array in arrays]))
                found |= {} if value is None else {hint.option: value}
    return found
