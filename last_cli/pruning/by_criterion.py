"""Removing states: every array that carries them is sliced, and nothing else is touched."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np

from last_cli.base.version import __version__
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.evaluation.inputs import Inputs
from last_cli.families.find import Layer
from last_cli.families.lti.system import bound_of
from last_cli.formats import Key, index, read
from last_cli.pruning import select as selection
from last_cli.pruning.cut import Cuts, Standins, copied_cuts, cut_leaves, own_cuts
from last_cli.pruning.needs import Choice, Needed, Shape, needed
from last_cli.pruning.score import score_layers
from last_cli.results.prune import LayerPrune, PruneReport
from last_cli.results.score import LayerScore
from last_cli.results.source import Progress

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
    masked: bool = False,
    allow_unstable: bool = False,
    horizon: int | None = None,
    inputs: Inputs | None = None,
    known: Needed | None = None,
    progress: Progress | None = None,
) -> Checkpoint:
    """The checkpoint with `ratio` of its states removed, in memory; `save` writes it. Kept values are bit-equal.

    Copies of the parameters, such as optimizer moments, in the same item or another of the step, are sliced with them.

    Args:
        masked: keep every array's shape and set B and C of removed states to zero, for code that fixes the sizes.
        horizon, inputs: what some criteria need, see choice.needed.
        known: that, where it was measured before.

    Raises:
        CheckpointError: numbers that are not finite, poles at or beyond the unit circle, or, where the network must run
            for the criterion, a tree that is no classifier.
        UsageError: an unknown criterion, or a ratio outside [0, 1).
    """
    choice = Choice(criterion, scope, min_states, seed, shape, allow_unstable, horizon)
    known = known or needed(checkpoint, choice, inputs, progress=progress)
    scored, warnings = score_layers(checkpoint, choice, ratio, known)
    keep = {s.name: s.keep for s in scored if s.keep is not None}
    settings = {"ratio": ratio, **known.choice.settings, **known.said, "masked": masked}
    pruned = compact(checkpoint, keep, settings, masked=masked)
    report = PruneReport(
        checkpoint=checkpoint.source,
        family=checkpoint.family,
        criterion=criterion,
        ratio=ratio,
        scope=scope,
        shape=shape,
        seed=seed,
        assumed=checkpoint.assumed(checkpoint.layer_options) | dict(known.assumed),
        layers=[_layer_report(layer, s, masked) for layer, s in zip(checkpoint.layers, scored, strict=True)],
        parameters=(checkpoint.parameters, pruned.parameters),
        bytes=(checkpoint.bytes, pruned.bytes),
        sliced_copies=sliced_copies(pruned),
        masked=masked,
        warnings=warnings,
        needed=known.said,
    )
    return replace(pruned, report=replace(report, warnings=[*warnings, *emptied(report)]))


def compact(
    checkpoint: Checkpoint, keep: Mapping[str, np.ndarray], settings: Mapping[str, Any], *, masked: bool = False
) -> Checkpoint:
    """The checkpoint with the states of `keep`, masks (G, N) by layer name, and no report.

    `settings` say how they were chosen, for the stamp. With `masked`, B and C of the others are zero, and stay. A layer
    that keeps no state is stored with one whose B and C are zero.
    """
    standins = {} if masked else _standins(checkpoint, keep)
    cuts = own_cuts(checkpoint.layers, keep, masked, standins)
    cuts |= copied_cuts(checkpoint.layers, keep, masked, checkpoint.leaves, checkpoint.leaves, standins)
    return replace(
        checkpoint,
        layers=checkpoint.layers if masked else tuple(_with_states(layer, keep) for layer in checkpoint.layers),
        leaves=cut_leaves(checkpoint.leaves, cuts),
        changed=ChainMap(Cuts(cuts, checkpoint.read), checkpoint.changed),  # pyright: ignore[reportArgumentType]
        also=_other_items(checkpoint, keep, masked, standins),
        stamp=_stamp(checkpoint, settings, keep, standins),
    )


def sliced_copies(pruned: Checkpoint) -> int:
    """How many arrays follow the parameters and were cut with them."""
    own = {key for layer in pruned.layers for key in layer.leaves.values()}
    return sum(key not in own for key in pruned.changed) + sum(map(len, pruned.also.values()))


def emptied(report: PruneReport) -> list[str]:
    """A warning for each layer that lost all its states."""
    return [
        f"{layer.name}: no state is left; {layer.stored} with B = C = 0 {'is' if layer.stored == 1 else 'are'} stored"
        for layer in report.layers
        if not layer.after
    ]


def _standins(checkpoint: Checkpoint, keep: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """For each layer that keeps no state, the one that is stored in their place: the one that decays fastest."""
    found = {}
    for layer in checkpoint.layers:
        if not keep[layer.name].any():
            fastest = int(np.abs(checkpoint.system(layer).lam).max(axis=0).argmin())
            found[layer.name] = np.full((layer.shape.groups, 1), fastest)
    return found


def _with_states(layer: Layer, keep: Mapping[str, np.ndarray]) -> Layer:
    return replace(layer, shape=replace(layer.shape, states=selection.stored(keep[layer.name])))


def _other_items(
    checkpoint: Checkpoint, keep: Mapping[str, np.ndarray], masked: bool, standins: Standins
) -> dict[str, Mapping[Key, np.ndarray]]:
    """New arrays in the other items of the step, such as an optimizer state saved beside the parameters."""
    location, found = checkpoint.index.location, {}
    for name in location.items:
        if name == location.item:
            continue
        other = index(location.path, location.step, name)
        if cuts := copied_cuts(checkpoint.layers, keep, masked, other.leaves, checkpoint.leaves, standins):
            found[name] = Cuts(cuts, partial(read, other))
    return found


def _layer_report(layer: Layer, scored: LayerScore, masked: bool) -> LayerPrune:
    assert scored.keep is not None
    removed = scored.live & ~scored.keep
    return LayerPrune(
        name=layer.name,
        before=scored.states,
        after=int(scored.keep.sum()),
        stored=layer.shape.states if masked else selection.stored(scored.keep),
        removed_hinf=float(scored.hinf[removed].sum()),
        gain_bound=bound_of(scored.gains, removed),
        smallest_kept_score=float(scored.score[scored.keep].min()) if scored.keep.any() else None,
    )


def _stamp(
    checkpoint: Checkpoint, settings: Mapping[str, Any], keep: Mapping[str, np.ndarray], standins: Standins
) -> dict[str, Any]:
    """The source's stamp with one more pruning at the end of its chain."""
    source = checkpoint.source
    step = {
        "last": __version__,
        **settings,
        "source": {"path": source.path, "digest": source.digest, "step": source.step},
        "layers": [
            {"name": layer.name, "before": layer.shape.states, "kept": _listed(keep[layer.name])}
            | ({"standin": int(standins[layer.name][0, 0])} if layer.name in standins else {})
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


def _listed(keep: np.ndarray) -> list[Any]:
    rows = [np.flatnonzero(row).tolist() for row in keep]
    return rows[0] if len(rows) == 1 else rows
