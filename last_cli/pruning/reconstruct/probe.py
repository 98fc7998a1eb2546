"""The network with other readouts: its logits on the calibration sequences, and their derivatives by the readouts.

All shapes stay those of the whole network, readouts of removed states are zero: one compiled program serves every
choice of states.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from last_cli.base.annotations import Complex, Float, Int
from last_cli.base.progress import Progress
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.evaluation.inputs import Inputs
from last_cli.families.network import Systems, Watch
from last_cli.pruning.calibration.states import over_states
from last_cli.pruning.calibration.watch import Model, centred_logits, chunk, model, on_all_devices, sharded

Readouts = Sequence[Complex[np.ndarray, "R G K N"]]

STEPS = 2**15


@dataclass(frozen=True, eq=False)
class Whitening:
    """Coordinates in which the cost of changing one layer's W is the square of the change: left^T dW right.

    Attributes:
        columns: those entries of a (G, K, d) change that may be other than zero.
    """

    left: Float[np.ndarray, "G K K"]
    right: Float[np.ndarray, "G d d"]
    columns: np.ndarray


@dataclass(frozen=True, eq=False)
class Probe:
    """A checkpoint and the sequences that it is run on: as many as have STEPS steps, or one a device."""

    checkpoint: Checkpoint
    inputs: Inputs

    @cached_property
    def classes(self) -> int:
        """Logits of a sequence."""
        return self._model.spec.d_output

    def logits(self, C: Readouts, chosen: Int[np.ndarray, " n"] | None = None) -> Float[np.ndarray, "n classes"]:
        """Centred logits with these readouts, of all sequences or of those in these places."""
        inputs = self.inputs if chosen is None else _some(self.inputs, chosen)
        return centred_logits(self._answers, self._variables(C), inputs)

    def derivatives(
        self,
        C: Readouts,
        whitenings: Sequence[Whitening],
        roots: Float[np.ndarray, "sequences rows classes"],
        progress: Progress | None = None,
    ) -> list[Float[np.ndarray, "equations columns"]]:
        """Each layer's derivatives of the first sequences' logits, which `roots` combine to rows, whitened."""
        names, sequences = [layer.name for layer in self.checkpoint.layers], len(roots)
        some = _some(self.inputs, np.arange(sequences))
        sides = {
            name: {"left": jnp.float32(w.left), "right": jnp.float32(w.right)}
            for name, w in zip(names, whitenings, strict=True)
        }
        variables = {"model": self._variables(C), "sides": sides}
        places = [np.flatnonzero(w.columns) for w in whitenings]
        rows = [np.empty((*roots.shape[:2], len(kept)), np.float32) for kept in places]
        done = 0
        for found in on_all_devices(self._slopes, variables, some, roots.astype(np.float32), progress, what="step"):
            batch = slice(done, done + chunk(some))
            for own, name, kept in zip(rows, names, places, strict=True):
                np.take(np.asarray(found[name])[: sequences - done], kept, axis=2, out=own[batch], mode="clip")
            done = batch.stop
        return [own.reshape(-1, own.shape[-1]) for own in rows]

    @cached_property
    def _model(self) -> Model:
        return model(self.checkpoint, self.inputs)

    @cached_property
    def _answers(self) -> Callable[..., Any]:
        logits = self._model.watch.logits
        return sharded(lambda variables, x, lengths, _, __: logits(variables, x, lengths))

    @cached_property
    def _slopes(self) -> Callable[..., Any]:
        watch, systems = self._model.watch, self._model.systems
        return sharded(lambda variables, x, lengths, roots, _: _rows(watch, systems, variables, (x, lengths), roots))

    def _variables(self, C: Readouts) -> Mapping[str, Any]:
        own = self._model
        changed = {name: replace(system, C=c) for (name, system), c in zip(own.systems.items(), C, strict=True)}
        return own.watch.variables(own.variables, changed, self.inputs.length)


def probe(checkpoint: Checkpoint, inputs: Inputs) -> Probe:
    """The first sequences of these inputs, in their own order, which is no order where they were drawn by a seed."""
    count = min(len(inputs.x), max(len(jax.devices()), STEPS // (inputs.documents * inputs.length)))
    chosen = np.sort(np.random.default_rng(0).permutation(len(inputs.x))[:count])
    return Probe(checkpoint, _some(inputs, chosen))


def _rows(watch: Watch, systems: Systems, variables: Any, inputs: tuple[Any, Any], roots: Any) -> dict[str, Any]:
    x, lengths = inputs
    answers, pull, seen = jax.vjp(
        lambda added: watch.taps(variables["model"], x, lengths, added), watch.perturbations(x), has_aux=True
    )
    slopes = jax.vmap(lambda one: pull(one)[0])(jnp.moveaxis(roots, 1, 0))
    found = {}
    for name, system in systems.items():
        sides = variables["sides"][name]
        products = partial(_products, len(answers))
        parts = over_states(watch, system, seen[name], slopes[name], products, sides["left"], sides["right"])
        found[name] = jnp.moveaxis(parts, 0, 2).reshape(*roots.shape[:2], -1)
    return found


def _products(samples: int, f: Any, g: Any, left: Any, right: Any) -> Float[jax.Array, "n rows K d"]:
    """Of states f (steps, d) and slopes g (rows, steps, K), each on its side of the whitening.

    The documents of a sample follow each other like steps of one: their shares of an answer add up. A side is
    multiplied to the steps or to their sum, whichever are fewer: a channel of its own has a sum of one row.
    """
    (rows, _, K), length = g.shape, len(f) // samples
    early = rows * K > length
    f = (f @ right if early else f).reshape(samples, length, -1)
    products = jnp.einsum("cnlj,nle->ncje", (g @ left).reshape(rows, samples, length, K), f)
    return products if early else products @ right


def _some(inputs: Inputs, chosen: np.ndarray) -> Inputs:
    lengths = None if inputs.lengths is None else inputs.lengths[chosen]
    return replace(inputs, x=inputs.x[chosen], lengths=lengths)
