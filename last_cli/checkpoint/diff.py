"""What two checkpoints have in common, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from last_cli.base.version import __version__
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.families.find import Layer
from last_cli.families.lti.system import hinf_norm
from last_cli.results.source import Json, Source


@dataclass(frozen=True)
class LayerDiff:
    """One layer in both; None where one of them lacks it.

    `hinf` are the median norms. `equal` says that the layer's arrays are the same, bit by bit.
    """

    name: str
    states: tuple[int | None, int | None]
    hinf: tuple[float | None, float | None]
    equal: bool


@dataclass(frozen=True)
class DiffReport:
    """What `last diff` shows; `config` holds the options that differ, `leaves` other arrays that do."""

    one: Source
    other: Source
    parameters: tuple[int, int]
    layers: Sequence[LayerDiff]
    config: dict[str, tuple[Any, Any]]
    leaves: Sequence[str]

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.config and not self.leaves and all(layer.equal for layer in self.layers)

    def as_json(self) -> Json:
        """last.diff/1; pairs are (first, second)."""
        return {
            "schema": "last.diff/1",
            "last": __version__,
            "checkpoint": self.one.as_json(),
            "other": self.other.as_json(),
            "same": self.same,
            "parameters": list(self.parameters),
            "layers": [asdict(layer) for layer in self.layers],
            "config": {name: list(pair) for name, pair in self.config.items()},
            "leaves": list(self.leaves),
        }


def diff(one: Checkpoint, other: Checkpoint) -> DiffReport:
    """Compare states, norms, parameters, configuration and all other arrays.

    Raises:
        CheckpointError: a layer's numbers are not finite.
    """
    reports = [{layer.name: _states(ck, layer) for layer in ck.layers} for ck in (one, other)]
    names = list(dict.fromkeys([*reports[0], *reports[1]]))
    hashes = [{layer.name: _bytes(ck, layer) for layer in ck.layers} for ck in (one, other)]
    layers = [
        LayerDiff(
            name,
            _pair(reports, name, lambda found: found[0]),
            _pair(reports, name, lambda found: found[1]),
            hashes[0].get(name) == hashes[1].get(name),
        )
        for name in names
    ]
    configs = asdict(one.config), asdict(other.config)
    return DiffReport(
        one.source,
        other.source,
        (one.parameters, other.parameters),
        layers,
        {n: (configs[0][n], configs[1][n]) for n in configs[0] if configs[0][n] != configs[1][n]},
        _other_leaves(one, other),
    )


def _states(checkpoint: Checkpoint, layer: Layer) -> tuple[int, float]:
    """A layer's live states, and the median of their H-infinity norms."""
    system = checkpoint.system(layer)
    live = system.live_mask
    return int(live.sum()), float(np.median(hinf_norm(system)[live])) if live.any() else 0.0


def _pair(reports: list[dict[str, Any]], name: str, value: Any) -> tuple[Any, Any]:
    first, second = (value(report[name]) if name in report else None for report in reports)
    return first, second


def _bytes(checkpoint: Checkpoint, layer: Any) -> list[tuple[str, Any]]:
    return [(name, (a.dtype.str, a.shape, a.tobytes())) for name, a in sorted(checkpoint.arrays(layer).items())]


def _other_leaves(one: Checkpoint, other: Checkpoint) -> list[str]:
    own = {key for ck in (one, other) for layer in ck.layers for key in layer.leaves.values()}
    keys = [k for k in dict.fromkeys([*one.leaves, *other.leaves]) if k not in own]
    return ["/".join(key) for key in keys if not _same_leaf(one, other, key)]


def _same_leaf(one: Checkpoint, other: Checkpoint, key: Any) -> bool:
    if key not in one.leaves or key not in other.leaves:
        return False
    a, b = one.leaves[key], other.leaves[key]
    if (a.shape, a.dtype, a.kind) != (b.shape, b.dtype, b.kind):
        return False
    return a.kind not in ("array", "scalar") or one.read([key])[key].tobytes() == other.read([key])[key].tobytes()
