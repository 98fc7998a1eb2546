"""What the commands find out, as data: the dataclasses behind every table and `--format json`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from last_cli import __version__
from last_cli.results_search import Search
from last_cli.shapes import Bool, Float

Json = dict[str, Any]

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class Source:
    """Which checkpoint a result is about.

    `digest` is the SHA-256 of its SSM parameters (names, shapes, types and bytes): what scores and pruning depend on.
    """

    path: str
    digest: str
    step: int | None
    layout: str
    notes: tuple[str, ...] = ()

    def as_json(self) -> Json:
        """The `checkpoint` object of every schema."""
        return {"path": self.path, "digest": self.digest, "step": self.step, "layout": self.layout}


@dataclass(frozen=True)
class LayerScore:
    """Norms and scores of one layer; arrays are (G, N), with the padding left out by `live`.

    Attributes:
        hinf: H-infinity norm of each state (not squared).
        score: by the chosen criterion.
        gains: upper bound of each state's gain; see system.state_gains.
        abs_lambda: |lam| of each state.
        keep: which states stay at the asked ratio; None where none was asked.
        poles: discretised poles, complex.
    """

    name: str
    features: int
    directions: int
    live: Bool[np.ndarray, "G N"]
    hinf: Float[np.ndarray, "G N"]
    score: Float[np.ndarray, "G N"]
    gains: Float[np.ndarray, "G N"]
    abs_lambda: Float[np.ndarray, "G N"]
    poles: np.ndarray
    keep: Bool[np.ndarray, "G N"] | None = None

    @property
    def states(self) -> int:
        """Live states."""
        return int(self.live.sum())

    @property
    def kept(self) -> int | None:
        """States that stay at the asked ratio."""
        return None if self.keep is None else int(self.keep.sum())

    def spread(self, values: np.ndarray) -> Json:
        """Minimum, median and maximum over the live states."""
        live = values[self.live]
        if not live.size:
            return {"min": 0.0, "median": 0.0, "max": 0.0}
        return {"min": float(live.min()), "median": float(np.median(live)), "max": float(live.max())}

    def as_json(self, per_state: bool) -> Json:
        """One entry of `layers` of last.score/1."""
        layer: Json = {
            "name": self.name,
            "states": self.states,
            "stored": self.live.shape[1],
            "features": self.features,
            "directions": self.directions,
            "hinf": self.spread(self.hinf),
            "score": self.spread(self.score),
            "max_abs_lambda": float(self.abs_lambda[self.live].max(initial=0.0)),
        }
        if self.keep is not None:
            layer["kept"] = self.kept
        if per_state:
            columns = {"hinf": self.hinf, "score": self.score, "abs_lambda": self.abs_lambda, "keep": self.keep}
            layer["per_state"] = {n: self._by_state(c) for n, c in columns.items() if c is not None}
        return layer

    def _by_state(self, values: np.ndarray) -> list[Any]:
        rows = [row[live].tolist() for row, live in zip(values, self.live, strict=True)]
        return rows[0] if len(rows) == 1 else rows


@dataclass(frozen=True)
class ScoreReport:
    """What `last score` shows. `needed` is what the criterion was given: `horizon`, or `calibration`."""

    checkpoint: Source
    family: str
    criterion: str
    assumed: Mapping[str, Any]
    layers: Sequence[LayerScore]
    ratio: float | None = None
    warnings: Sequence[str] = ()
    needed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def states(self) -> int:
        """Live states of all layers."""
        return sum(layer.states for layer in self.layers)

    def as_json(self, per_state: bool = False) -> Json:
        """last.score/1."""
        report = _head("last.score/1", self.checkpoint) | {
            "family": self.family,
            "criterion": self.criterion,
            "assumed": dict(self.assumed),
            "layers": [layer.as_json(per_state) for layer in self.layers],
            "states": self.states,
        }
        if self.ratio is not None:
            report |= {"ratio": self.ratio, "kept": sum(layer.kept or 0 for layer in self.layers)}
        return report | dict(self.needed) | {"warnings": list(self.warnings)}


@dataclass(frozen=True)
class LayerPrune:
    """One layer before and after.

    Attributes:
        before, after: live states.
        stored: states per system in the arrays, padding included.
        removed_hinf: sum of the removed states' H-infinity norms, as `last score` reports them; None where new states
            took the place of the old ones.
        gain_bound: upper bound of the H-infinity norm of what was removed: the same sum with the factor of conjugate
            pairs and all readouts in it. A worst case over all inputs, no prediction.
        smallest_kept_score: by the criterion; None under criteria that could keep nothing.
    """

    name: str
    before: int
    after: int
    stored: int
    removed_hinf: float | None
    gain_bound: float
    smallest_kept_score: float | None

    def as_json(self) -> Json:
        """One entry of `layers` of last.prune/1."""
        return {
            "name": self.name,
            "before": self.before,
            "after": self.after,
            "stored": self.stored,
            "removed_hinf": self.removed_hinf,
            "gain_bound": self.gain_bound,
            "smallest_kept_score": self.smallest_kept_score,
        }


@dataclass(frozen=True)
class PruneReport:
    """What `last prune` shows. Sizes are (before, after); bytes are those of all arrays in the checkpoint.

    `needed` is what the criterion was given: `horizon`, or `calibration`.
    """

    checkpoint: Source
    family: str
    criterion: str
    ratio: float
    scope: str
    shape: str
    seed: int
    assumed: Mapping[str, Any]
    layers: Sequence[LayerPrune]
    parameters: tuple[int, int]
    bytes: tuple[int, int]
    sliced_copies: int = 0
    masked: bool = False
    warnings: Sequence[str] = ()
    needed: Mapping[str, Any] = field(default_factory=dict)
    search: Search | None = None

    @property
    def measured_columns(self) -> list[str]:
        """Headings of what was measured of each layer beyond cutting; none here."""
        return []

    @property
    def measured_rows(self) -> list[list[float | None]]:
        """What was measured of each layer, under these headings."""
        return []

    @property
    def measured_notes(self) -> list[str]:
        """What the headings mean, in lines."""
        return []

    @property
    def states(self) -> tuple[int, int]:
        """Live states of all layers, before and after."""
        return sum(layer.before for layer in self.layers), sum(layer.after for layer in self.layers)

    def as_json(self, output: str | None) -> Json:
        """last.prune/1; `output` is null on a dry run."""
        return _head("last.prune/1", self.checkpoint) | {
            "output": output,
            "family": self.family,
            "ratio": self.ratio,
            "criterion": self.criterion,
            "scope": self.scope,
            "shape": self.shape,
            "masked": self.masked,
            "seed": self.seed,
            "assumed": dict(self.assumed),
            "states": _before_after(self.states),
            "parameters": _before_after(self.parameters),
            "bytes": _before_after(self.bytes),
            "layers": [layer.as_json() for layer in self.layers],
            **self.needed,
            "warnings": list(self.warnings),
            **({"search": self.search.as_json()} if self.search else {}),
        }


@dataclass(frozen=True)
class Gate:
    """A limit that a script set, and whether it holds: `max_drop` in percentage points, `min_accuracy` a fraction."""

    name: str
    limit: float
    value: float
    passed: bool

    def as_json(self) -> Json:
        """One entry of `gates` of last.eval/1."""
        return {"name": self.name, "limit": self.limit, "value": self.value, "passed": self.passed}


@dataclass(frozen=True)
class Measured:
    """One model on one split: what it predicted (n,), whether that was right (n,), and its losses (n,) in nats.

    `seconds` is without compilation, and without the `resumed` sequences, which an interrupted run had done.
    """

    predicted: np.ndarray
    correct: np.ndarray
    losses: np.ndarray
    seconds: float
    device: str
    resumed: int = 0

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return float(self.correct.mean())

    @property
    def speed(self) -> float:
        """Sequences a second."""
        return (len(self.correct) - self.resumed) / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Comparison:
    """The paired difference to a baseline on the same sequences; `drop` is baseline minus this, as fractions."""

    path: str
    accuracy: float
    drop: float
    drop_stderr: float
    agreement: float

    @classmethod
    def of(cls, path: str, this: Measured, baseline: Measured) -> Comparison:
        """From both models' answers to the same sequences."""
        difference = baseline.correct.astype(float) - this.correct.astype(float)
        return cls(
            path,
            baseline.accuracy,
            float(difference.mean()),
            float(difference.std(ddof=1) / np.sqrt(len(difference))) if len(difference) > 1 else 0.0,
            float((baseline.predicted == this.predicted).mean()),
        )

    def as_json(self) -> Json:
        """The `baseline` object of last.eval/1."""
        return {
            "path": self.path,
            "accuracy": self.accuracy,
            "drop": self.drop,
            "drop_stderr": self.drop_stderr,
            "agreement": self.agreement,
        }


@dataclass(frozen=True)
class PrecisionLoss:
    """What a precision costs against float32, paired on the same sequences; `drop` is float32's accuracy minus its."""

    name: str
    drop: float
    drop_stderr: float
    agreement: float

    @classmethod
    def of(cls, name: str, this: Measured, exact: Measured) -> PrecisionLoss:
        """From the same model's answers in this precision and in float32."""
        pair = Comparison.of("", this, exact)
        return cls(name, pair.drop, pair.drop_stderr, pair.agreement)

    def as_json(self) -> Json:
        """The `precision` object of last.eval/1."""
        return asdict(self)


@dataclass(frozen=True)
class EvalReport:
    """What `last eval` shows. `task` has name, version, split, source, length and, where cut short, `of`."""

    checkpoint: Source
    task: Mapping[str, Any]
    measured: Measured
    assumed: Mapping[str, Any]
    baseline: Comparison | None = None
    gates: Sequence[Gate] = ()
    notes: Sequence[str] = ()
    precision: PrecisionLoss | None = None

    @property
    def passed(self) -> bool:
        """Whether every gate holds."""
        return all(gate.passed for gate in self.gates)

    @property
    def stderr(self) -> float:
        """Standard error of the accuracy, sqrt(p (1 - p) / n)."""
        p = self.measured.accuracy
        return float(np.sqrt(p * (1 - p) / len(self.measured.correct)))

    def as_json(self) -> Json:
        """last.eval/1."""
        report = _head("last.eval/1", self.checkpoint) | {
            "task": dict(self.task),
            "accuracy": self.measured.accuracy,
            "stderr": self.stderr,
            "loss": float(self.measured.losses.mean()),
            "n": len(self.measured.correct),
            "seconds": self.measured.seconds,
            "sequences_per_second": self.measured.speed,
            "resumed": self.measured.resumed,
            "device": self.measured.device,
            "precision": self.precision.as_json() if self.precision else {"name": "float32"},
            "assumed": dict(self.assumed),
        }
        if self.baseline is not None:
            report["baseline"] = self.baseline.as_json()
        return report | {"gates": [gate.as_json() for gate in self.gates], "warnings": list(self.notes)}


def _head(schema: str, checkpoint: Source) -> Json:
    return {"schema": schema, "last": __version__, "checkpoint": checkpoint.as_json()}


def _before_after(sizes: tuple[int, int]) -> Json:
    return {"before": sizes[0], "after": sizes[1]}
