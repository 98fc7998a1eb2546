"""What two checkpoints have in common, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from last_cli.base.arrays import digest
from last_cli.checkpoint.checkpoint import Checkpoint, opened
from last_cli.families.find import Layer
from last_cli.families.lti.system import hinf_norm
from last_cli.formats import Key
from last_cli.results.diff import DiffReport, LayerDiff


def diff(one: Checkpoint | str | Path, other: Checkpoint | str | Path) -> DiffReport:
    """Compare states, norms, parameters, configuration and all other arrays of two checkpoints, open ones or paths.

    Raises:
        CheckpointError: a layer's numbers are not finite.
    """
    one, other = opened(one), opened(other)
    found = [{layer.name: _Layer.of(ck, layer) for layer in ck.layers} for ck in (one, other)]
    layers = []
    for name in dict.fromkeys([*found[0], *found[1]]):
        a, b = (of.get(name) for of in found)
        states, hinf = (a and a.states, b and b.states), (a and a.hinf, b and b.hinf)
        layers.append(LayerDiff(name, states, hinf, a is not None and b is not None and a.digest == b.digest))
    configs = one.said, other.said
    return DiffReport(
        one.source,
        other.source,
        (one.parameters, other.parameters),
        layers,
        {n: pair for n in configs[0] | configs[1] if (pair := (configs[0].get(n), configs[1].get(n)))[0] != pair[1]},
        _other_leaves(one, other),
    )


@dataclass(frozen=True)
class _Layer:
    """A layer's live units of the usual kind, the median norm where they are states of a System, and a digest."""

    states: int
    hinf: float | None
    digest: bytes

    @classmethod
    def of(cls, checkpoint: Checkpoint, layer: Layer) -> _Layer:
        arrays = digest(sorted(checkpoint.arrays(layer).items()))
        if layer.family.system is None or layer.family.targets[0].name != "states":
            return cls(int(checkpoint.live(layer).sum()), None, arrays)
        system = checkpoint.system(layer)
        live = hinf_norm(system)[system.live_mask]
        return cls(live.size, float(np.median(live)) if live.size else 0.0, arrays)


def _other_leaves(one: Checkpoint, other: Checkpoint) -> list[str]:
    own = {key for ck in (one, other) for layer in ck.layers for key in layer.leaves.values()}
    keys = [k for k in dict.fromkeys([*one.leaves, *other.leaves]) if k not in own]
    return ["/".join(key) for key in keys if not _same_leaf(one, other, key)]


def _same_leaf(one: Checkpoint, other: Checkpoint, key: Key) -> bool:
    if key not in one.leaves or key not in other.leaves:
        return False
    a, b = one.leaves[key], other.leaves[key]
    if (a.shape, a.dtype, a.kind) != (b.shape, b.dtype, b.kind):
        return False
    return a.kind not in ("array", "scalar") or one.read([key])[key].tobytes() == other.read([key])[key].tobytes()
