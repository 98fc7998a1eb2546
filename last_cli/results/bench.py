"""What `last bench` finds out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from last_cli.base.annotations import Float
from last_cli.base.record import Record, Result
from last_cli.results.source import Source


@dataclass(frozen=True, repr=False)
class Ratios(Record):
    """A checkpoint against the first one.

    Attributes:
        speed: how many times as fast, by the median latency.
        program_bytes: its share of the program's bytes.
        peak_bytes: its share of the peak memory.
    """

    speed: float
    program_bytes: float
    peak_bytes: float


@dataclass(frozen=True, repr=False)
class Latency(Record):
    """Quartiles and range of the seconds per batch."""

    min: float
    q1: float
    median: float
    q3: float
    max: float


@dataclass(frozen=True, repr=False)
class Timing(Record):
    """One checkpoint.

    Attributes:
        checkpoint: which one.
        parameters: numbers in the model's parameters.
        latencies: seconds of each batch, from inputs in the host's memory to answers there.
        batch: sequences in a batch.
        compile_seconds: from opening the checkpoint to the compiled program.
        program_bytes: what a batch takes on one device: parameters, inputs, outputs and intermediate results.
        peak_bytes: the most that the process took, Python and JAX included, or on an accelerator its memory.
        ratios: to the first checkpoint; None before there is one.
    """

    json_keys = (
        "path", "digest", "step", "layout", "parameters", "compile_seconds", "latency", "seconds",
        "sequences_per_second", "program_bytes", "peak_bytes", "ratios",
    )  # fmt: skip

    checkpoint: Source
    parameters: int
    latencies: Float[np.ndarray, " repeat"]
    batch: int
    compile_seconds: float
    program_bytes: int
    peak_bytes: int
    ratios: Ratios | None = None

    @property
    def path(self) -> str:
        """Where the checkpoint lies."""
        return self.checkpoint.path

    @property
    def digest(self) -> str:
        """SHA-256 of its SSM parameters."""
        return self.checkpoint.digest

    @property
    def step(self) -> int | None:
        """Which step of a run."""
        return self.checkpoint.step

    @property
    def layout(self) -> str:
        """Its format."""
        return self.checkpoint.layout

    @property
    def seconds(self) -> list[float]:
        """Latency of each batch, from inputs in the host's memory to answers there."""
        return self.latencies.tolist()

    @property
    def median(self) -> float:
        """Median latency."""
        return float(np.median(self.latencies))

    @property
    def sequences_per_second(self) -> float:
        """At the median latency."""
        return self.batch / self.median

    def against(self, baseline: Timing) -> Ratios:
        """The ratios to another one."""
        return Ratios(
            speed=baseline.median / self.median,
            program_bytes=self.program_bytes / baseline.program_bytes,
            peak_bytes=self.peak_bytes / baseline.peak_bytes,
        )

    @property
    def latency(self) -> Latency:
        """Quartiles and range of the latency."""
        return Latency(*np.quantile(self.latencies, [0, 0.25, 0.5, 0.75, 1]).tolist())


@dataclass(frozen=True, repr=False)
class BenchReport(Result):
    """What `last bench` shows.

    Attributes:
        timings: one per checkpoint; the first is the baseline.
        length: steps of the random sequences.
        batch: sequences in a batch.
        repeat: how many batches were timed.
        precision: of the numbers in the network.
        device: what it ran on.
        warnings: what was guessed of the networks, and other reasons to doubt the result.
    """

    command = "bench"
    headline = ("checkpoint", "device", "length", "batch")
    json_keys = ("checkpoint", "device", "length", "batch", "repeat", "precision", "results", "warnings")

    timings: Sequence[Timing]
    length: int
    batch: int
    repeat: int
    precision: str
    device: str
    warnings: Sequence[str] = ()

    @property
    def checkpoint(self) -> Source:
        """The first, to which the ratios are."""
        return self.timings[0].checkpoint

    @property
    def results(self) -> list[Timing]:
        """One per checkpoint, with the ratios to the first."""
        return [replace(timing, ratios=timing.against(self.timings[0])) for timing in self.timings]
