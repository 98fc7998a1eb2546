"""What `last bench` finds out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from last_cli.base.annotations import Float
from last_cli.base.version import __version__
from last_cli.results.source import Json, Source


@dataclass(frozen=True)
class Timing:
    """One checkpoint.

    Attributes:
        seconds: latency of each batch, from inputs in the host's memory to answers there.
        compile_seconds: from opening the checkpoint to the compiled program.
        program_bytes: what a batch takes on one device: parameters, inputs, outputs and intermediate results.
        peak_bytes: the most that the process took, Python and JAX included, or on an accelerator its memory.
    """

    checkpoint: Source
    parameters: int
    seconds: Float[np.ndarray, " repeat"]
    batch: int
    compile_seconds: float
    program_bytes: int
    peak_bytes: int

    @property
    def median(self) -> float:
        """Median latency."""
        return float(np.median(self.seconds))

    @property
    def throughput(self) -> float:
        """Sequences a second, at the median latency."""
        return self.batch / self.median

    @property
    def spread(self) -> dict[str, float]:
        """Quartiles and range of the latency."""
        points = np.quantile(self.seconds, [0, 0.25, 0.5, 0.75, 1]).tolist()
        return dict(zip(("min", "q1", "median", "q3", "max"), points, strict=True))

    def as_json(self, baseline: Timing) -> Json:
        """One entry of `results` of last.bench/1."""
        return self.checkpoint.as_json() | {
            "parameters": self.parameters,
            "compile_seconds": self.compile_seconds,
            "latency": self.spread,
            "seconds": self.seconds.tolist(),
            "sequences_per_second": self.throughput,
            "program_bytes": self.program_bytes,
            "peak_bytes": self.peak_bytes,
            "ratios": {
                "speed": baseline.median / self.median,
                "program_bytes": self.program_bytes / baseline.program_bytes,
                "peak_bytes": self.peak_bytes / baseline.peak_bytes,
            },
        }


@dataclass(frozen=True)
class BenchReport:
    """What `last bench` shows; the first timing is the baseline.

    Attributes:
        warnings: what was guessed of the networks, and other reasons to doubt the result.
    """

    timings: Sequence[Timing]
    length: int
    batch: int
    repeat: int
    precision: str
    device: str
    warnings: Sequence[str] = ()

    def as_json(self) -> Json:
        """last.bench/1."""
        return {
            "schema": "last.bench/1",
            "last": __version__,
            "checkpoint": self.timings[0].checkpoint.as_json(),
            "device": self.device,
            "length": self.length,
            "batch": self.batch,
            "repeat": self.repeat,
            "precision": self.precision,
            "results": [timing.as_json(self.timings[0]) for timing in self.timings],
            "warnings": list(self.warnings),
        }
