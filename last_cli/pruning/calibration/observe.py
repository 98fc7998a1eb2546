"""What the states of a checkpoint do on input sequences: measured when first asked for, then kept for every recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from last_cli.base.errors import CheckpointError, UsageError
from last_cli.base.progress import Progress
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.checkpoint.guess import Guess, guesses, told
from last_cli.evaluation import synthetic
from last_cli.evaluation.inputs import SEQUENCES, Inputs
from last_cli.pruning.calibration.request import Calibration, Draw
from last_cli.pruning.recipe import Recipe

if TYPE_CHECKING:
    from last_cli.pruning.calibration.measurements import Measurement

WHITE_HORIZON = 1024
WHITE = (
    "nothing says on sequences of which length it was trained: its states are measured on white inputs in closed form, "
    "and no network is run; ⟦length 64⟧ makes sequences of 64 steps"
)


@dataclass(frozen=True, eq=False)
class Observation:
    """A checkpoint's units on input sequences; reuse it for several recipes and ratios.

    Attributes:
        inputs: the sequences; None for white inputs, whose moments are known in closed form.
        seed: of what is drawn while measuring.
        horizon: steps of the white inputs.
        found: the means that were measured, see `means`.
    """

    checkpoint: Checkpoint
    inputs: Inputs | None
    seed: int = 0
    horizon: int = WHITE_HORIZON
    progress: Progress | None = None
    found: dict[tuple[str, str], Mapping[str, Mapping[str, np.ndarray]]] = field(default_factory=dict, repr=False)

    @property
    def source(self) -> Mapping[str, Any]:
        """Where the inputs come from, for report and stamp."""
        if self.inputs is None:
            return {"white": self.horizon}
        return {**self.inputs.source, "digest": self.inputs.digest}

    @cached_property
    def guesses(self) -> list[Guess]:
        """What nothing says of the network or of the sequences; none for white inputs, for which no network runs."""
        if self.inputs is None:
            return []
        return [*guesses(self.checkpoint, padded=self.inputs.lengths is not None), *self.inputs.guesses]

    @property
    def warnings(self) -> list[str]:
        """A line for each of them, and one where no length is known, and so no sequences are made."""
        return told(self.checkpoint, self.guesses) if self.inputs else [WHITE]

    @cached_property
    def measurements(self) -> Mapping[str, Measurement]:
        """Moments and sensitivities of each layer by name; empty for white inputs, for which no network runs.

        Raises:
            CheckpointError: the tree is no network that can run, or its logits are not finite.
            DataError: the network does not take such sequences.
        """
        if self.inputs is None:
            return {}
        from last_cli.pruning.calibration.measurements import measurements

        return measurements(self.checkpoint, self.inputs, self.seed, self.progress)

    @cached_property
    def sensitivity(self) -> Mapping[str, np.ndarray]:
        """How much the logits change without each unit, (G, N) for each layer by name; see calibration.measurements.

        Raises:
            CheckpointError: as `measurements`, or it overflows.
        """
        found = {name: one.sensitivity for name, one in self.measurements.items()}
        for name, values in found.items():
            if not np.isfinite(values).all():
                raise CheckpointError(
                    f"{name}: the states' effect on the logits overflows on the input sequences",
                    "take shorter sequences",
                )
        return found

    def means(self, name: tuple[str, str]) -> Mapping[str, Mapping[str, np.ndarray]]:
        """Means of each layer's quantities for the energies of this name; see calibration.quantities.

        Raises:
            CheckpointError: the tree is no network that can run, or what it computes is not finite.
            DataError: the network does not take such sequences.
        """
        if name not in self.found:
            from last_cli.pruning.calibration.quantities import quantity_means

            assert self.inputs is not None
            self.found[name] = quantity_means(self.checkpoint, self.inputs, name, self.progress)
        return self.found[name]

    @property
    def reused(self) -> int:
        """Sequences whose measurement an earlier run has left in the cache."""
        return max((one.reused for one in self.measurements.values()), default=0)


def observe(
    checkpoint: Checkpoint,
    recipe: Recipe,
    calibration: Calibration = Calibration(),
    progress: Progress | None = None,
) -> Observation:
    """An observation on the sequences that are asked for, else on some made without data, else on white inputs.

    No text is made without data.

    Raises:
        DataError: the sequences cannot be read.
        UsageError: what is asked for makes no sense, or a network must run and nothing tells the trained length.
    """
    if progress:  # before sequences are made and JAX starts, which take seconds
        progress("calibrate", 0, calibration.calibration or SEQUENCES)
    inputs = calibration.inputs(checkpoint, Draw(recipe.seed), progress)
    refuse_without_text(calibration, recipe)
    if inputs is None and recipe.needs_network:
        inputs = synthetic.sequences(checkpoint, SEQUENCES, seed=recipe.seed)  # says why there are none
    return Observation(checkpoint, inputs, recipe.seed, progress=progress)


def refuse_without_text(calibration: Calibration, recipe: Recipe) -> None:
    """Raises UsageError where no sequences are named to what measures on text alone."""
    if recipe.text == "always" and not calibration.options:
        raise _without_text(f"the criterion {recipe.criterion} measures {recipe.target}")


def on_text(observation: Observation | None, measures: str) -> Observation:
    """The observation, which has text.

    Args:
        observation: None where nothing is observed.
        measures: what measures what, for the error: "wanda measures the inputs of the weights".

    Raises:
        UsageError: there is no text.
    """
    if observation is None or observation.inputs is None:
        raise _without_text(measures)
    return observation


def _without_text(measures: str) -> UsageError:
    return UsageError(
        f"{measures} on text, and none is given",
        "add ⟦calibration_file corpus.txt⟧, or ⟦calibration_file FILE.npz⟧ of tokens x (n, length)",
    )


def refuse_sequences(calibration: Calibration, recipe: Recipe) -> None:
    """Raises UsageError where any sequences are named to what takes none."""
    if given := calibration.options:
        taker = f"criterion {recipe.criterion}" if recipe.label == recipe.criterion else f"method {recipe.method}"
        raise UsageError(
            f"{' and '.join(given)} name{'s' * (len(given) == 1)} sequences to measure on, but the {taker} takes none",
            "add ⟦method reconstruct⟧ or ⟦refit⟧, or take the criterion gn; of language models last, hinf, energy, "
            "fisher or taylor",
        )
