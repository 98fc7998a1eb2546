"""Method `balanced`: balanced truncation of each layer, with new poles, B and C; the control engineers' yardstick.

The states of a layer, one for each conjugate pair, are a complex system with all readouts stacked: the real outputs are
gain * Re(C x). Replacing a state by its conjugate does not change them, so all poles are first brought to one side of
the real axis, where they have most in common.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from last_cli.base.errors import CheckpointError, UsageError
from last_cli.base.progress import Progress
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.display.meaning import TRUNCATION_MEANING
from last_cli.families.find import Layer
from last_cli.families.lti.system import System, subtract
from last_cli.families.target import ROLES, put
from last_cli.formats import Key
from last_cli.pruning.balanced.truncate import Balanced, Diagonal, balance, rounding, truncate
from last_cli.pruning.calibration.observe import Observation
from last_cli.pruning.compact import compact
from last_cli.pruning.error import hinf_interval
from last_cli.pruning.method import Plan, Pruned
from last_cli.pruning.moments import energy, readout_matrix, white_moments
from last_cli.pruning.needs import Needs
from last_cli.pruning.numerics import solvable
from last_cli.pruning.recipe import Recipe
from last_cli.pruning.report import report_of
from last_cli.pruning.score import score_layers
from last_cli.pruning.select import choose, indices
from last_cli.pruning.shapes import other_shape
from last_cli.results.prune import Difference, LayerPrune

Systems = Sequence[Diagonal | None]
"""The reduced systems of a layer; None for those that stay as they are."""


@dataclass(frozen=True)
class BalancedTruncation:
    """See the module; a method.Method."""

    name: str = "balanced"
    summary: str = "method of pruning: balanced truncation, with new poles, B and C"
    changes: str | None = "new poles"
    needs_inputs: bool = False

    def prepare(
        self, checkpoint: Checkpoint, recipe: Recipe, observation: Observation | None, progress: Progress | None = None
    ) -> Plan:
        """Balance all layers.

        Raises:
            CheckpointError: numbers that are not finite, or poles at or beyond the unit circle.
            UsageError: a family that does not say how poles enter its system.
        """
        recipe = replace(recipe, seed=0).on(checkpoint.layers)  # nothing here is drawn
        _check_families(checkpoint.layers)
        scored, warnings = score_layers(checkpoint, Needs(Recipe(target=recipe.target)))
        layers = [_balanced_layer(checkpoint, layer) for layer in checkpoint.layers]
        return BalancedPlan(checkpoint, recipe, layers, [s.states for s in scored], warnings, progress)


BALANCED = BalancedTruncation()


@dataclass(frozen=True, eq=False)
class BalancedLayer:
    """One layer before anything is removed: its systems balanced, and scores (G, N) of their balanced states.

    A score is the Hankel singular value as it is: ranking all layers by it minimises the sum of the layers' bounds.
    """

    layer: Layer
    system: System
    balanced: Sequence[Balanced]
    live: np.ndarray
    score: np.ndarray


@dataclass(frozen=True, eq=False)
class BalancedPlan:
    """All layers balanced; `before` are their live states."""

    checkpoint: Checkpoint
    recipe: Recipe
    layers: Sequence[BalancedLayer]
    before: Sequence[int]
    warnings: Sequence[str]
    progress: Progress | None = None

    @solvable("the truncated layers")
    def at(self, ratio: float, *, draft: bool = False) -> Pruned:
        """See method.Plan.

        Systems that lose nothing stay as they are, bit by bit. More than `ratio` goes where states are lost in
        rounding, and less where new poles would come so close to each other that single precision could not hold them.
        Masked, the new states are in the places of the first old ones, and the poles of the other places stay.
        """
        recipe = replace(self.recipe, masked=self.recipe.masked or draft)
        reduced = [_truncated(p, mask) for p, mask in zip(self.layers, self._choice(ratio, recipe), strict=True)]
        keep = {
            p.layer.name: _slots(p.system.live_mask, [r if r is None else len(r.lam) for r in systems])
            for p, systems in zip(self.layers, reduced, strict=True)
        }
        settings = {"ratio": ratio, **recipe.settings, "masked": recipe.masked, "method": "balanced"}
        settings |= {"changes": list(ROLES)}
        small = compact(self.checkpoint, keep, settings, masked=recipe.masked)
        changes = self._changes(small, reduced, keep, recipe.masked)
        bounds = {p.layer.name: change.bound for p, change in zip(self.layers, changes, strict=True)}
        leaves = {key: array for change in changes for key, array in change.leaves.items()}
        small = replace(
            small,
            changed=ChainMap(leaves, small.changed),  # pyright: ignore[reportArgumentType]
            stamp=_with_bounds(small.stamp, bounds),
        )
        layers = [
            _layer_report(p, before, keep[p.layer.name], cut.units["states"].count, bounds[p.layer.name])
            for p, before, cut in zip(self.layers, self.before, small.layers, strict=True)
        ]
        report = report_of(self.checkpoint, small, recipe, ratio, layers)
        other = other_shape(self.checkpoint, recipe, partial(self._choice, ratio))
        report = replace(report, method="balanced", changes=ROLES, meaning=TRUNCATION_MEANING, other_shape=other)
        differences = () if draft else self._differences(reduced, changes)
        return Pruned(small, replace(report, differences=differences, warnings=[*self.warnings, *report.warnings]))

    def _choice(self, ratio: float, recipe: Recipe) -> list[np.ndarray]:
        return choose([p.score for p in self.layers], [p.live for p in self.layers], ratio, recipe.rule)

    def _changes(
        self, small: Checkpoint, reduced: Sequence[Systems], keep: Mapping[str, np.ndarray], masked: bool
    ) -> list[Change]:
        found = []
        for p, systems, cut in zip(self.layers, reduced, small.layers, strict=True):
            slots = keep[cut.name] if masked else indices(keep[cut.name]) >= 0
            leaves = _leaves(small, cut, systems, slots)
            stored = replace(small, changed=ChainMap(leaves, small.changed)).system(cut)  # pyright: ignore[reportArgumentType]
            found.append(Change(leaves, stored, _bound(p, systems, stored, slots)))
        return found

    def _differences(self, reduced: Sequence[Systems], changes: Sequence[Change]) -> list[Difference]:
        found = []
        for p, systems, change in zip(self.layers, reduced, changes, strict=True):
            found.append(_difference(p.system, change.stored, _touched(systems), change.bound))
            if self.progress:
                self.progress("compare", len(found), len(changes))
        return found


@dataclass(frozen=True, eq=False)
class Change:
    """What becomes of one layer: its new leaves, the System that they hold, and the bound of its error."""

    leaves: Mapping[Key, np.ndarray]
    stored: System
    bound: float


def _check_families(layers: Sequence[Layer]) -> None:
    for layer in layers:
        if layer.family.with_system is None:
            raise UsageError(
                f"{layer.name}: the family '{layer.family.name}' does not say how new poles go into its leaves",
                "prune it by a criterion",
            )


def _balanced_layer(checkpoint: Checkpoint, layer: Layer) -> BalancedLayer:
    system = checkpoint.system(layer)
    with solvable(f"{layer.name}: its balanced form"):
        balanced = [balance(part) for part in _one_sided(system)]
    score, live = np.zeros(system.lam.shape), np.zeros(system.lam.shape, bool)
    for g, found in enumerate(balanced):
        score[g, : len(found.hankel)], live[g, : len(found.hankel)] = found.hankel, True
    return BalancedLayer(layer, system, balanced, live, score)


def _one_sided(system: System) -> list[Diagonal]:
    """Each system's live states, readouts stacked, with all poles on that side of the real axis where most are."""
    side = 1.0 if (system.lam.imag[system.live_mask] > 0).mean() > 0.5 else -1.0
    other = system.lam.imag * side < 0
    lam, B = (np.where(other, system.lam.conj(), system.lam), np.where(other[..., None], system.B.conj(), system.B))
    C = np.where(other[:, None, :], system.C.conj(), system.C)
    return [Diagonal(lam[g, m], B[g, m], np.concatenate(C[:, g])[:, m]) for g, m in enumerate(system.live_mask)]


def _truncated(plan: BalancedLayer, mask: np.ndarray) -> Systems:
    return [_at_least(balanced, int(row.sum())) for balanced, row in zip(plan.balanced, mask, strict=True)]


def _at_least(balanced: Balanced, order: int) -> Diagonal | None:
    """Truncated to `order` states, or to as few more as can be diagonalised well."""
    candidates = (truncate(balanced, k) for k in range(order, min(len(balanced.hankel), balanced.order + 1)))
    return next((found for found in candidates if found is not None), None) if order < len(balanced.hankel) else None


def _touched(systems: Systems) -> np.ndarray:
    return np.array([r is not None for r in systems])


def _slots(live: np.ndarray, counts: Sequence[int | None]) -> np.ndarray:
    """The states whose places, and step sizes, the new ones take: the first live ones."""
    wanted = np.array([n if n is not None else m.sum() for n, m in zip(counts, live, strict=True)])
    return live & (np.cumsum(live, axis=1) <= wanted[:, None])


def _leaves(pruned: Checkpoint, layer: Layer, systems: Systems, slots: np.ndarray) -> dict[Key, np.ndarray]:
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
        old = arrays[name]
        array = put(old, layer.units["states"].segments[name], slots & touched[:, None], array.astype(old.dtype))
        if not np.isfinite(array).all():
            raise CheckpointError(
                f"{layer.name}: a new pole has no finite {name} in this parameterisation", "take another ratio"
            )
        new[layer.leaves[name]] = array
    return new


def _bound(plan: BalancedLayer, systems: Systems, stored: System, slots: np.ndarray) -> float:
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
        lower, upper = hinf_interval(subtract(_part(system, touched), _part(stored, touched)))
        hinf = (lower, max(lower, min(upper, bound)))
    change, whole = 0.0, 0.0
    for g, new in enumerate(touched):
        one, other = _part(system, slice(g, g + 1)), _part(stored, slice(g, g + 1))
        whole += _energy(one)
        change += _energy(subtract(one, other)) if new else 0.0
    return Difference(hinf, h2=float(np.sqrt(change / whole)) if whole > 0 else 0.0)


def _energy(system: System) -> float:
    return float(energy(readout_matrix(system), white_moments(system, np.inf)).sum())


def _part(system: System, which: slice | np.ndarray) -> System:
    live = system.live_mask[which]
    C = np.where(live[None, :, None], system.C[:, which], 0)
    return replace(system, lam=system.lam[which], B=system.B[which], C=C, live=live)


def _layer_report(plan: BalancedLayer, before: int, keep: np.ndarray, stored: int, bound: float) -> LayerPrune:
    kept = np.arange(keep.shape[1]) < keep.sum(axis=1)[:, None]
    return LayerPrune(
        name=plan.layer.name,
        before=before,
        after=int(keep.sum()),
        stored=stored,
        groups=len(keep),
        removed_hinf=None,
        gain_bound=bound,
        smallest_kept_score=float(plan.score[kept].min()) if kept.any() else None,
    )


def _with_bounds(stamp: Any, bounds: dict[str, float]) -> dict[str, Any]:
    """The stamp, with the guarantee in its last step: nothing else in it says how good the new poles are."""
    *earlier, last = stamp["pruned"]
    return {**stamp, "pruned": [*earlier, {**last, "gain_bound": bounds}]}
