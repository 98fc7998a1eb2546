"""The sequences that the states are measured on: of a task, of a file, or random. Never their labels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from last_cli.base.annotations import Float, Int
from last_cli.base.arrays import digest
from last_cli.base.errors import DataError, UsageError
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.checkpoint.guess import Guess
from last_cli.checkpoint.network import model_spec, network_of
from last_cli.families.network import Spec

SEQUENCES = 256
TEXTS = ("listops", "text", "retrieval")
"""Tasks of tokens: a preset or a configuration names the task, and not its vocabulary."""
HINT = (
    "np.savez(path, x=x) with tokens (n, length), tokens (n, 2, length) where a sample is two documents, or features "
    "(n, length, d); lengths=(n,) or (n, 2) where padded"
)


@dataclass(frozen=True, eq=False)
class Inputs:
    """Input sequences without labels.

    Attributes:
        x: tokens or features, or the tokens of two documents a sample.
        lengths: steps of each sequence, or document, that are no padding; None where nothing is padded.
        source: for reports and the stamp: where they come from, and how they were chosen.
        skips: steps at the beginning of each that are there for those behind them, and do not count; None where all do.
        guesses: what was guessed to make them, such as a length that nothing says.
    """

    x: Int[np.ndarray, "n L"] | Int[np.ndarray, "n 2 L"] | Float[np.ndarray, "n L d"]
    lengths: Int[np.ndarray, " n"] | Int[np.ndarray, "n 2"] | None
    source: Mapping[str, Any]
    skips: Int[np.ndarray, " n"] | None = None
    guesses: tuple[Guess, ...] = ()

    @property
    def samples(self) -> tuple[int, ...]:
        """(n,), or (n, 2) where a sample is two documents: the axes of x before its steps."""
        return self.x.shape[:-1] if np.issubdtype(self.x.dtype, np.integer) else self.x.shape[:1]

    @property
    def documents(self) -> int:
        """How many sequences a sample has."""
        return math.prod(self.samples[1:])

    @property
    def length(self) -> int:
        """Steps of a sequence, with its padding."""
        return self.x.shape[len(self.samples)]

    @property
    def are_data(self) -> bool:
        """Whether they come from a task or a file, and were not made."""
        return "random" not in self.source

    @property
    def digest(self) -> str:
        """SHA-256 over the sequences and their lengths."""
        return f"sha256:{digest(('', a) for a in (self.x, self.lengths, self.skips) if a is not None).hex()}"


def random(checkpoint: Checkpoint, count: int, *, length: int | None = None, seed: int = 0) -> Inputs:
    """Sequences that say nothing of the data but its type: uniform tokens, or features of N(0, 1).

    They are tokens where the checkpoint's stamp names a vocabulary, or a sample is two documents. The length is the
    trained one, where the stamp or its task tells it.

    Raises:
        UsageError: no length is given, and nothing tells the trained one.
    """
    spec = model_spec(checkpoint)
    length = length or trained_length(checkpoint)
    rng = np.random.default_rng(seed)
    pairs = spec.documents > 1
    tokens = pairs or takes_tokens(checkpoint)
    shape = (positive(count), spec.documents, length) if pairs else (positive(count), length)
    if tokens:
        x = rng.integers(spec.d_input, size=shape, dtype=np.int32)
    else:
        x = rng.normal(size=(*shape, spec.d_input)).astype(np.float32)
    source = {"random": "tokens" if tokens else "features", "length": length, "seed": seed, "sequences": count}
    return Inputs(x, None, source)


def takes_tokens(checkpoint: Checkpoint) -> bool:
    """Whether its stamp names a vocabulary, or a task of texts, or it answers with tokens itself."""
    said = bool(checkpoint.task.get("vocabulary")) or checkpoint.task_name in TEXTS
    return said or answers_tokens(checkpoint)


def answers_tokens(checkpoint: Checkpoint) -> bool:
    """Whether it is a language model: its network answers with the next token."""
    families = [layer.family for layer in checkpoint.layers]
    return all(family.network for family in families) and network_of(checkpoint).answers == "tokens"


def check_fit(inputs: Inputs, spec: Spec) -> None:
    """Raises DataError where the model does not take such sequences."""
    x, source = inputs.x, inputs.source
    where = source.get("file") or source.get("task") or "the calibration sequences"
    if inputs.documents != spec.documents:
        wanted = ("one sequence per sample", "two documents per sample: x of whole numbers (n, 2, length)")
        raise DataError(
            f"{where}: x is {x.dtype} of shape {x.shape}, but the model takes {wanted[spec.documents - 1]}", HINT
        )
    tokens = np.issubdtype(x.dtype, np.integer)
    found = f"the tokens {x.min()} to {x.max()}" if tokens else f"{x.shape[-1]} features per step"
    if (x.min() < 0 or x.max() >= spec.d_input) if tokens else x.shape[-1] != spec.d_input:
        raise DataError(
            f"{where}: {found}, but the encoder takes {spec.d_input} {'tokens, from 0' if tokens else 'features'}",
            "calibrate on sequences like those that the checkpoint was trained on",
        )


def trained_length(checkpoint: Checkpoint) -> int:
    """Steps of the sequences that it was trained on, as the stamp or its task tells; of a language model, its window.

    Raises:
        UsageError: nothing does.
    """
    from last_cli.tasks.find import find

    said = checkpoint.task
    if isinstance(said.get("length"), int):
        return said["length"]
    if answers_tokens(checkpoint):
        from last_cli.tasks.language import WINDOW

        return WINDOW
    try:
        return find(said.get("name", "")).load("val", settings=said, limit=1).length
    except (DataError, UsageError) as error:
        raise UsageError(
            "the checkpoint does not say on sequences of which length it was trained",
            "`last config CKPT` with ⟦task NAME⟧ writes it down once; or give ⟦length⟧ (bench), ⟦horizon⟧ (energy), or "
            "sequences: ⟦calibration_file FILE.npz⟧, ⟦task NAME⟧",
        ) from error


def positive(count: int) -> int:
    """The count itself; raises UsageError where it is none."""
    if count < 1:
        raise UsageError(f"⟨calibration⟩ is {count}, expected a positive number of sequences", "256 are enough")
    return count
