"""Method `balanced`: balanced truncation of each layer, with new poles, B and C; the control engineers' yardstick.

The states of a layer, one for each conjugate pair, are a complex system with all readouts stacked: the real outputs are
gain * Re(C x). Replacing a state by its conjugate does not change them, so all poles are first brought to one side of
the real axis, where they have most in common.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from last_cli.base.errors import CheckpointError, UsageError
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.families.family import put
from last_cli.families.find import Layer
from last_cli.families.lti.system import System, difference
from last_cli.formats import Key
from last_cli.pruning import select as selection
from last_cli.pruning.balanced.truncate import Balanced, Diagonal, balance, rounding, truncate
from last_cli.pruning.by_criterion import compact, emptied, sliced_copies
from last_cli.pruning.error import Difference, hinf_interval
from last_cli.pruning.moments import energy, readout_matrix, white_moments
from last_cli.pruning.needs import Choice, Shape
from last_cli.pruning.score import score_layers
from last_cli.results.prune import LayerPrune
from last_cli.results.reduction import BalancedReport
from last_cli.results.source import Progress


@dataclass(frozen=True, eq=False)
class LayerPlan:
    """One layer before anything is removed: its systems balanced, and scores (G, N) of their balanced states.

    A score is the Hankel singular value as it is: ranking all layers by it minimises the sum of the layers' bounds.
    """

    layer: Layer
    system: System
    balanced: Sequence[Balanced]
    live: np.ndarray
    score: np.ndarray


def reduce(
    checkpoint: Checkpoint,
    ratio: float,
    *,
    shape: Shape = "ragged",
    scope: selection.Scope = "global",
    min_states: int = 1,
    masked: bool = False,
    compare: bool = True,
    progress: Progress | None = None,
) -> Checkpoint:
    """The checkpoint with `ratio` of its states truncated, in memory; `save` writes it.

    Systems that lose nothing stay as they are, bit by bit. More than `ratio` goes where states are lost in rounding,
    and less where new poles would come so close to each other that single precision could not hold them.

    Args:
        masked: keep every array's shape: the new states in the places of the first old ones, B and C of the other
            places zero, and their poles as they were.
        compare: compute the norm of each layer's change and its error for white inputs; it takes some seconds.

    Raises:
        CheckpointError: numbers that are not finite, or poles at or beyond the unit circle.
        UsageError: a ratio outside [0, 1), or a family that does not say how poles enter its system.
    """
    choice = Choice("balanced", scope, min_states, shape=shape)
    scored, warnings = score_layers(checkpoint, replace(choice, criterion="last"), ratio)
    plans = [_plan(checkpoint, layer) for layer in checkpoint.layers]
    reduced = [_truncated(plan, mask) for plan, mask in zip(plans, _masks(plans, choice, ratio), strict=True)]
    keep = {
        plan.layer.name: _slots(plan.system.live_mask, [r if r is None else len(r.lam) for r in systems])
        for plan, systems in zip(plans, reduced, strict=True)
    }
    settings = {"ratio": ratio, **choice.settings, "masked": masked, "method": "balanced"}
    pruned = compact(checkpoint, keep, settings, masked=masked)
    changed: dict[Key, np.ndarray] = {}
    layers, differences, bounds = [], [], {}
    for plan, systems, cut, before in zip(plans, reduced, pruned.layers, scored, strict=True):
        slots = keep[cut.name] if masked else selection.indices(keep[cut.name]) >= 0
        changed |= (leaves := _leaves(pruned, cut, systems, slots))
        stored = replace(pruned, changed=ChainMap(leaves, pruned.changed)).system(cut)  # pyright: ignore[reportArgumentType]
        bounds[cut.name] = _bound(plan, systems, stored, slots)
        layers.append(_layer_report(plan, before.states, keep[cut.name], cut.shape.states, bounds[cut.name]))
        if compare:
            differences.append(_difference(plan.system, stored, _touched(systems), bounds[cut.name]))
            if progress:
                progress("compare", len(differences), len(plans))
    pruned = replace(
        pruned,
        changed=ChainMap(changed, pruned.changed),  # pyright: ignore[reportArgumentType]
        stamp=_with_bounds(pruned.stamp, bounds),
    )
    report = BalancedReport(
        checkpoint=checkpoint.source,
        family=checkpoint.family,
        criterion=choice.criterion,
        ratio=ratio,
        scope=scope,
        shape=shape,
        seed=choice.seed,
        assumed=checkpoint.assumed(checkpoint.layer_options),
        layers=layers,
        parameters=(checkpoint.parameters, pruned.parameters),
        bytes=(checkpoint.bytes, pruned.bytes),
        sliced_copies=sliced_copies(pruned),
        masked=masked,
        differences=differences,
    )
    return replace(pruned, report=replace(report, warnings=[*warnings, *emptied(report)]))


def _plan(checkpoint: Checkpoint, layer: Layer) -> LayerPlan:
    if layer.family.with_system is None:
        raise UsageError(
            f"{layer.name}: the family '{layer.family.name}' does not say how new poles go into its leaves",
            "prune it by a criterion",
        )
    system = checkpoint.system(layer)
    balanced = [balance(part) for part in _one_sided(system)]
    score, live = np.zeros(system.lam.shape), np.zeros(system.lam.shape, bool)
    for g, found in enumerate(balanced):
        score[g, : len(found.hankel)], live[g, : len(found.hankel)] = found.hankel, True
    return LayerPlan(layer, system, balanced, live, score)


def _one_sided(system: System) -> list[Diagonal]:
    """Each system's live states, readouts stacked, with all poles on that side of the real axis where most are."""
    side = 1.0 if (system.lam.imag[system.live_mask] > 0).mean() > 0.5 else -1.0
    other = system.lam.imag * side < 0
    lam, B = (np.where(other, system.lam.conj(), system.lam), np.where(other[..., None], system.B.conj(), system.B))
    C = np.where(other[:, None, :], system.C.conj(), system.C)
    return [Diagonal(lam[g, m], B[g, m], np.concatenate(C[:, g])[:, m]) for g, m in enumerate(system.live_mask)]


def _masks(plans: Sequence[LayerPlan], choice: Choice, ratio: float) -> list[np.ndarray]:
    values, live = [p.score for p in plans], [p.live for p in plans]
    masks = selection.select(values, live, ratio, scope=choice.scope, min_states=choice.min_states)
    if choice.shape == "ragged":
        return masks
    even = selection.rectangular(values, live, masks)
    return [e if len(e) > 1 else m for e, m in zip(even, masks, strict=True)]


def _truncated(plan: LayerPlan, mask: np.ndarray) -> list[Diagonal | None]:
    """The reduced systems; None for those that stay as they are."""
    return [_at_least(balanced, int(row.sum())) for balanced, row in zip(plan.balanced, mask, strict=True)]


def _at_least(balanced: Balanced, order: int) -> Diagonal | None:
    """Truncated to `order` states, or to as few more as can be diagonalised well."""
    candidates = (truncate(balanced, k) for k in range(order, min(len(balanced.hankel), balanced.order + 1)))
    return next((found for found in candidates if found is not None), None) if order < len(balanced.hankel) else None


def _touched(systems: Sequence[Diagonal | None]) -> np.ndarray:
    return np.array([r is not None for r in systems])


def _slots(live: np.ndarray, counts: Sequence[int | None]) -> np.ndarray:
    """The states whose places, and step sizes, the new ones take: the first live ones."""
    wanted = np.array([n if n is not None else m.sum() for n, m in zip(counts, live, strict=True)])
    return live & (np.cumsum(live, axis=1) <= wanted[:, None])


def _leaves(
    pruned: Checkpoint, layer: Layer, systems: Sequence[Diagonal | None], slots: np.ndarray
) -> dict[Key, np.ndarray]:
    """The layer's leaves with the reduced systems in their slots (G, N); all other entries stay bit-equal."""
    touched = _touched(systems)
    if not touched.any():
        return {}
    assert layer.family.with_system is not None
    arrays, cut = pruned.arrays(layer), pruned.system(layer)
    lam, B, C = cut.lam.copy(), cut.B.copy(), cut.C.copy()
    for g, r in enumerate(systems):
        if r is not None:
            lam[g, slots[g]], B[g, slots[g]] = r.lam, r.B
            C[:, g][..., slots[g]] = r.C.reshape(len(C), C.shape[2], len(r.lam))
    wanted = replace(cut, lam=lam, B=B, C=C)
    doubled = {name: array.astype(np.float64) for name, array in arrays.items()}
    with np.errstate(all="ignore"):
        found = layer.family.with_system(doubled, wanted, pruned.config)
    new = {}
    for name, array in found.items():
        where, old = layer.family.state_leaves[name], arrays[name]
        array = put(old, where, slots & touched[:, None], array.astype(old.dtype))
        if not np.isfinite(array).all():
            raise CheckpointError(
                f"{layer.name}: a new pole has no finite {name} in this parameterisation", "take another ratio"
            )
        new[layer.leaves[name]] = array
    return new


def _bound(plan: LayerPlan, systems: Sequence[Diagonal | None], stored: System, slots: np.ndarray) -> float:
    """Guaranteed bound of the H-infinity norm of the layer's change, with what storing has rounded or clipped.

    Each of the readouts may reach the bound of all of them stacked.
    """
    worst, readouts = 0.0, len(stored.C)
    for g, (balanced, r) in enumerate(zip(plan.balanced, systems, strict=True)):
        if r is not None:
            m = slots[g]
            kept = Diagonal(stored.lam[g, m], stored.B[g, m], np.concatenate(stored.C[:, g])[:, m])
            # Where a family has a B of its own, what is stored differs from these by a factor between B and C.
            same = Diagonal(r.lam, *_like(r, kept))
            worst = max(worst, balanced.error(len(r.lam)) + rounding(same, kept))
    return float(plan.system.gain * readouts * worst)


def _like(exact: Diagonal, stored: Diagonal) -> tuple[np.ndarray, np.ndarray]:
    """B and C of the same system with B as near to the stored one as a factor on each state allows."""
    inner = (stored.B * exact.B.conj()).sum(axis=1)
    square = (np.abs(exact.B) ** 2).sum(axis=1)
    factor = np.where((square > 0) & (inner != 0), inner / np.where(square > 0, square, 1.0), 1.0)
    return exact.B * factor[:, None], exact.C / factor


def _difference(system: System, stored: System, touched: np.ndarray, bound: float) -> Difference:
    """Between a layer and what is stored of it; its norm is also below the bound of the truncation."""
    hinf = (0.0, 0.0)
    if touched.any():
        lower, upper = hinf_interval(difference(_part(system, touched), _part(stored, touched)))
        hinf = (lower, max(lower, min(upper, bound)))
    change, whole = 0.0, 0.0
    for g, new in enumerate(touched):
        one, other = _part(system, slice(g, g + 1)), _part(stored, slice(g, g + 1))
        whole += _energy(one)
        change += _energy(difference(one, other)) if new else 0.0
    return Difference(hinf, h2=float(np.sqrt(change / whole)) if whole > 0 else 0.0)


def _energy(system: System) -> float:
    return float(energy(readout_matrix(system), white_moments(system, np.inf)).sum())


def _part(system: System, which: slice | np.ndarray) -> System:
    live = system.live_mask[which]
    C = np.where(live[None, :, None], system.C[:, which], 0)
    return replace(system, lam=system.lam[which], B=system.B[which], C=C, live=live)


def _layer_report(plan: LayerPlan, before: int, keep: np.ndarray, stored: int, bound: float) -> LayerPrune:
    kept = np.arange(keep.shape[1]) < keep.sum(axis=1)[:, None]
    return LayerPrune(
        name=plan.layer.name,
        before=before,
        after=int(keep.sum()),
        stored=stored,
        removed_hinf=None,
        gain_bound=bound,
        smallest_kept_score=float(plan.score[kept].min()) if kept.any() else None,
    )


def _with_bounds(stamp: Any, bounds: dict[str, float]) -> dict[str, Any]:
    """The stamp, with the guarantee in its last step: nothing else in it says how good the new poles are."""
    *earlier, last = stamp["pruned"]
    return {**stamp, "pruned": [*earlier, {**last, "gain_bound": bounds}]}
