"""Removing states: every array that carries them is sliced, and nothing else is touched."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from last_cli import __version__, selection
from last_cli.checkpoint import Key, Leaf
from last_cli.families.family import StateLeaf, take
from last_cli.layers import Layer, companions
from last_cli.loading import Checkpoint
from last_cli.results import LayerPrune, LayerScore, PruneReport
from last_cli.scoring import Choice, Shape, score_layers
from last_cli.sizes import count, size
from last_cli.spec import Tree
from last_cli.system import gain_bound

STAMP_SCHEMA = "last.stamp/1"


def prune(
    checkpoint: Checkpoint,
    ratio: float,
    criterion: str = "last",
    *,
    scope: selection.Scope = "global",
    min_states: int = 1,
    seed: int = 0,
    shape: Shape = "ragged",
    allow_unstable: bool = False,
) -> Checkpoint:
    """The checkpoint with `ratio` of its states removed, in memory; `save` writes it. Kept values are bit-equal.

    Copies of the parameters in the same tree, such as optimizer moments, are sliced with them.

    Raises:
        CheckpointError: numbers that are not finite, or poles at or beyond the unit circle.
        UsageError: an unknown criterion, or a ratio outside [0, 1).
    """
    choice = Choice(criterion, scope, min_states, seed, shape, allow_unstable)
    scored, warnings = score_layers(checkpoint, choice, ratio)
    keep = {layer.name: _kept(s) for layer, s in zip(checkpoint.layers, scored, strict=True)}
    pruned = compact(checkpoint, keep, {"ratio": ratio, **asdict(choice)})
    report = PruneReport(
        checkpoint=checkpoint.source,
        family=checkpoint.family,
        criterion=criterion,
        ratio=ratio,
        scope=scope,
        shape=shape,
        seed=seed,
        assumed=checkpoint.assumed(checkpoint.layer_options),
        layers=[_layer_report(checkpoint, layer, s) for layer, s in zip(checkpoint.layers, scored, strict=True)],
        parameters=(parameters(checkpoint), parameters(pruned)),
        bytes=(stored_bytes(checkpoint), stored_bytes(pruned)),
        sliced_copies=len(companions(checkpoint.layers, checkpoint.leaves)),
        warnings=warnings,
    )
    return replace(pruned, report=report)


def compact(checkpoint: Checkpoint, keep: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> Checkpoint:
    """The checkpoint with the states of `keep`, indices (G, K) by layer name as in `selection.indices`, and no report.

    `settings` say how they were chosen, for the stamp.
    """
    copies = companions(checkpoint.layers, checkpoint.leaves)
    follows = {key: (layer, name) for layer in checkpoint.layers for name, key in layer.leaves.items()} | copies
    follows = {key: (layer, name) for key, (layer, name) in follows.items() if name in layer.family.state_leaves}
    cuts = Cuts(
        checkpoint,
        {
            key: Cut(layer.family.state_leaves[name], keep[layer.name], layer.shape.states)
            for key, (layer, name) in follows.items()
        },
    )
    return replace(
        checkpoint,
        layers=tuple(
            replace(layer, shape=replace(layer.shape, states=keep[layer.name].shape[1])) for layer in checkpoint.layers
        ),
        leaves={**checkpoint.leaves, **cuts.leaves()},
        changed=ChainMap(cuts, checkpoint.changed),  # pyright: ignore[reportArgumentType]
        stamp=_stamp(checkpoint, settings, keep),
    )


@dataclass(frozen=True)
class Cut:
    """Which states of a leaf stay: its axes, the kept indices (G, K), and how many states it had."""

    where: StateLeaf
    index: np.ndarray
    states: int

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The leaf's shape afterwards."""
        cut = list(shape)
        cut[self.where.state_axis] = cut[self.where.state_axis] // self.states * self.index.shape[1]
        return tuple(cut)


class Cuts(Mapping[Key, np.ndarray]):
    """The sliced arrays by key. Each is read and cut when it is asked for, so that none is held for longer."""

    def __init__(self, checkpoint: Checkpoint, cuts: Mapping[Key, Cut]) -> None:
        self._checkpoint, self._cuts = checkpoint, cuts

    def __getitem__(self, key: Key) -> np.ndarray:
        cut = self._cuts[key]
        return take(self._checkpoint.read([key])[key], cut.where, cut.index, cut.states)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._cuts)

    def __len__(self) -> int:
        return len(self._cuts)

    def leaves(self) -> dict[Key, Leaf]:
        """The sliced leaves with their new shapes."""
        old = self._checkpoint.leaves
        return {key: replace(old[key], shape=cut.shape(old[key].shape)) for key, cut in self._cuts.items()}


def _kept(scored: LayerScore) -> np.ndarray:
    assert scored.keep is not None
    return selection.indices(scored.keep)


def _layer_report(checkpoint: Checkpoint, layer: Layer, scored: LayerScore) -> LayerPrune:
    assert scored.keep is not None
    removed = scored.live & ~scored.keep
    return LayerPrune(
        name=layer.name,
        before=scored.states,
        after=int(scored.keep.sum()),
        stored=int(scored.keep.sum(axis=1).max()),
        removed_hinf=float(scored.hinf[removed].sum()),
        gain_bound=gain_bound(checkpoint.system(layer), removed),
        smallest_kept_score=float(scored.score[scored.keep].min()) if scored.keep.any() else None,
    )


def _stamp(checkpoint: Checkpoint, settings: Mapping[str, Any], keep: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The source's stamp with one more pruning at the end of its chain."""
    source = checkpoint.source
    step = {
        "last": __version__,
        **settings,
        "source": {"path": source.path, "digest": source.digest, "step": source.step},
        "layers": [
            {"name": layer.name, "before": layer.shape.states, "kept": _listed(keep[layer.name])}
            for layer in checkpoint.layers
        ],
    }
    return {
        **checkpoint.stamp,
        "schema": STAMP_SCHEMA,
        "last": __version__,
        "model": asdict(checkpoint.config),
        "assumed": sorted(name for name, source in checkpoint.sources.items() if source == "assumed"),
        "pruned": [*checkpoint.stamp.get("pruned", []), step],
    }


def _listed(index: np.ndarray) -> list[Any]:
    rows = [row[row >= 0].tolist() for row in index]
    return rows[0] if len(rows) == 1 else rows


def parameters(checkpoint: Checkpoint) -> int:
    """Numbers in the model's parameters, without optimizer state and running statistics."""
    variables = Tree.of(checkpoint.layers).variables(checkpoint.leaves)
    return count([leaf for key, leaf in variables.items() if key[0] == "params" and leaf.kind == "array"])


def stored_bytes(checkpoint: Checkpoint) -> int:
    """Bytes of all arrays, optimizer state included."""
    return size([leaf for leaf in checkpoint.leaves.values() if leaf.kind == "array"])
