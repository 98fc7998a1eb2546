"""The network with other numbers in its kept states, driven by Adam towards the answers that another one gives.

The error is the Kullback-Leibler divergence of the classes' probabilities, in nats: squared errors of the logits are
mostly those of classes that neither network would answer.

All but the trained leaves stays: there is no dropout, norms keep their statistics, and no label is read. Steps go in
chunks of one compiled length; what they start from and end in are arrays, so that a run can stop between any two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util

from last_cli.base.annotations import Float, Int
from last_cli.base.arrays import nested
from last_cli.base.progress import Progress
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.checkpoint.network import flat_variables, model_spec, network_of
from last_cli.evaluation.inputs import Inputs
from last_cli.evaluation.measure import refuse_broken
from last_cli.pruning.tune.leaves import Trained

AT_A_TIME, CHUNK = 64, 20
LARGEST = 1.0
"""Norm of a gradient, beyond which it is shortened."""

Numbers = Mapping[str, Mapping[str, Any]]
"""Trained leaves in single precision, by layer and name."""


@dataclass(frozen=True)
class Batches:
    """What a chunk of steps reads: sequences (steps, batch, ...), their lengths and the answers that are wanted."""

    x: Any
    lengths: Any
    wanted: Any
    rates: Float[np.ndarray, "steps 2"]


def answers_of(
    checkpoint: Checkpoint, inputs: Inputs, what: str, progress: Progress | None = None
) -> Float[np.ndarray, "n classes"]:
    """Log-probabilities of the classes for every sequence.

    Raises:
        CheckpointError: the tree is no network that can run, or its logits are not finite.
    """
    module = network_of(checkpoint).module(model_spec(checkpoint))
    variables = nested({path: jnp.asarray(array) for path, array in flat_variables(checkpoint).items()})
    run = jax.jit(lambda variables, x, lengths: _normal(module.apply(variables, x, lengths)))
    found = answers(partial(run, variables), inputs, what, progress)
    refuse_broken(checkpoint, int((~np.isfinite(found).all(axis=1)).sum()), len(found), what)
    return found


def answers(
    run: Any, inputs: Inputs, what: str = "", progress: Progress | None = None
) -> Float[np.ndarray, "n classes"]:
    """What a program gives for batches of sequences, in double precision; the last batch is filled up."""
    found, n = [], len(inputs.x)
    lengths = lengths_of(inputs)
    for first in range(0, n, AT_A_TIME):
        index = np.minimum(np.arange(first, first + AT_A_TIME), n - 1)
        found.append(np.asarray(run(inputs.x[index], lengths[index]), np.float64))
        if progress:
            progress(what, min(first + AT_A_TIME, n), n)
    return np.concatenate(found)[:n]


def lengths_of(inputs: Inputs) -> Int[np.ndarray, "n ..."]:
    """Steps of each sequence that are no padding."""
    return np.full(inputs.samples, inputs.length, np.int32) if inputs.lengths is None else inputs.lengths


@dataclass(frozen=True, eq=False)
class Program:
    """A checkpoint's compiled training.

    Attributes:
        checkpoint: as it starts.
        layers: what is trained of each.
    """

    checkpoint: Checkpoint
    layers: Sequence[Trained]

    @property
    def start(self) -> dict[str, dict[str, np.ndarray]]:
        """The trained leaves as they are."""
        return {t.layer.name: {name: a.astype(np.float32) for name, a in t.stored.items()} for t in self.layers}

    def moments(self, numbers: Numbers) -> Any:
        """Adam's, before the first step."""
        return self._optimizer.init(_writable(numbers))

    def steps(self, numbers: Numbers, moments: Any, batches: Batches) -> tuple[Any, Any, float]:
        """Numbers and moments after the steps of a chunk, and the mean error of their batches."""
        data = (batches.x, batches.lengths, batches.wanted, batches.rates)
        numbers, moments, error = self._run(nested(self._fixed), _writable(numbers), moments, data)
        return numbers, moments, float(error)

    def answers(self, numbers: Numbers, inputs: Inputs) -> Float[np.ndarray, "n classes"]:
        """Log-probabilities of the classes for every sequence, with these numbers."""
        return answers(partial(self._answers, nested(self._fixed), numbers), inputs)

    @cached_property
    def _module(self) -> Any:
        return network_of(self.checkpoint).module(model_spec(self.checkpoint))

    @cached_property
    def _optimizer(self) -> Any:
        return optax.chain(optax.clip_by_global_norm(LARGEST), optax.scale_by_adam())

    @cached_property
    def _fixed(self) -> dict[tuple[str, ...], Any]:
        return flat_variables(self.checkpoint)

    @cached_property
    def _paths(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """Of the trained leaves, in the network's own variables."""
        network, ck = network_of(self.checkpoint), self.checkpoint
        own = {key: path for path, key in network.variables({key: key for key in ck.leaves}, ck.layers).items()}
        return {t.layer.name: {name: own[key] for name, key in t.keys.items()} for t in self.layers}

    @cached_property
    def _answers(self) -> Any:
        return jax.jit(self._answer)

    @cached_property
    def _run(self) -> Any:
        return jax.jit(self._scan)

    def _answer(self, variables: Any, numbers: Any, x: Any, lengths: Any) -> Any:
        own = {path: numbers[layer][name] for layer, paths in self._paths.items() for name, path in paths.items()}
        flat = traverse_util.flatten_dict(variables)
        return _normal(self._module.apply(nested({**flat, **own}), x, lengths))

    def _scan(self, variables: Any, numbers: Any, moments: Any, data: Any) -> Any:
        def loss(numbers: Any, x: Any, lengths: Any, wanted: Any) -> Any:
            found = self._answer(variables, numbers, x, lengths)
            return (jnp.exp(wanted) * (wanted - found)).sum(axis=1).mean()

        def step(state: Any, batch: Any) -> Any:
            numbers, moments = state
            x, lengths, wanted, speed = batch
            error, slopes = jax.value_and_grad(loss)(numbers, x, lengths, wanted)
            slopes = {t.layer.name: _masked(t, slopes[t.layer.name]) for t in self.layers}
            changes, moments = self._optimizer.update(slopes, moments)
            return (self._moved(numbers, changes, speed), moments), error

        (numbers, moments), errors = jax.lax.scan(step, (numbers, moments), data)
        return numbers, moments, errors.mean()

    def _moved(self, numbers: Any, changes: Any, rates: Any) -> Any:
        """The numbers after a step."""
        return {t.layer.name: self._moved_layer(t, numbers, changes, rates) for t in self.layers}

    def _moved_layer(self, t: Trained, numbers: Any, changes: Any, rates: Any) -> Any:
        """B and C move freely; poles and steps leaf by leaf, but where that makes a pole slower than its limit."""
        old, change = numbers[t.layer.name], changes[t.layer.name]
        new = {leaf: old[leaf] - rates[0 if t.slow[leaf] else 1] * change[leaf] for leaf in old}
        found = {leaf: old[leaf] if t.slow[leaf] else new[leaf] for leaf in old}
        before = self._sizes(t, found)
        for leaf in (leaf for leaf in old if t.slow[leaf]):
            stays = ~(self._sizes(t, {**found, leaf: new[leaf]}) <= jnp.maximum(jnp.float32(t.limits), before))
            found[leaf] = jnp.where(jnp.append(stays, False)[t.owners[leaf]], old[leaf], new[leaf])
            before = self._sizes(t, found)
        return found

    def _sizes(self, t: Trained, found: Any) -> Any:
        """|lam| of a layer's poles."""
        assert t.layer.family.system is not None
        others = {leaf: self._fixed_of(t, leaf) for leaf in t.layer.leaves if leaf not in found}
        return jnp.abs(t.layer.family.system({**others, **found}, self.checkpoint.config).lam)

    def _fixed_of(self, t: Trained, leaf: str) -> Any:
        key = t.layer.leaves[leaf]
        return jnp.asarray(self.checkpoint.read([key])[key].astype(np.float32))


def _masked(t: Trained, slopes: Any) -> Any:
    return {name: jnp.where(t.free(name), slope, 0.0) for name, slope in slopes.items()}


def _normal(outputs: Any) -> Any:
    return jax.nn.log_softmax(outputs, axis=-1)


def _writable(numbers: Numbers) -> Any:
    return jax.tree.map(jnp.asarray, numbers)
