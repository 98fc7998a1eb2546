"""What calibration sequences do in the network: second moments of every layer's states, and how much the logits mind.

Batches stream through the whole model. Of each only sums leave the program, so that no layer's states are ever held
for more than a few sequences.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from last_cli.base.annotations import Float
from last_cli.base.errors import resumable
from last_cli.base.progress import Progress
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.evaluation.inputs import Inputs
from last_cli.evaluation.measure import refuse_broken
from last_cli.families.lti.system import System
from last_cli.families.network import Network, Spec, Watch
from last_cli.pruning.calibration import resume
from last_cli.pruning.calibration.states import over_states
from last_cli.pruning.calibration.watch import centred_logits, chunk, model, on_all_devices, sharded
from last_cli.pruning.moments import readout_matrix

LOGITS = "logits"
"""What is summed of the network's outputs, beside the sums of its layers."""


@dataclass(frozen=True)
class Measurement:
    """Means of one layer over the sequences; where a sample is two documents, those count like steps of one.

    Attributes:
        moments: S = E[f f^T] over all time steps.
        weighted: the same, each step weighted by E sum over outputs and classes of (d logit / d y)^2 there; the
            weights' mean is 1. Padding that the answer never sees weighs nothing.
        sensitivity: E sum over classes of (d logit / d gate)^2, the gate being a factor on one state's share of y.
        metric: E sum over classes of g g^T with g = d logit / d y at a step: the weight of output errors, together.
        reused: sequences that an earlier run measured, see resume.
    """

    moments: Float[np.ndarray, "G d d"]
    weighted: Float[np.ndarray, "G d d"]
    sensitivity: Float[np.ndarray, "G N"]
    metric: Float[np.ndarray, "G K K"]
    reused: int = 0


def measurements(
    checkpoint: Checkpoint, inputs: Inputs, seed: int = 0, progress: Progress | None = None
) -> dict[str, Measurement]:
    """Moments and sensitivities of every layer, by its name, on these sequences.

    Squares over classes are estimated with random signs (Hutchinson's estimator), one draw a sequence. A constant added
    to all logits changes no answer, so only their differences count.

    Raises:
        CheckpointError: the tree is no network that can run, or its logits are not finite.
        DataError: the network does not take such sequences.
    """
    ready = model(checkpoint, inputs)
    watch, systems, classes = ready.watch, ready.systems, ready.spec.d_output
    signs = np.random.default_rng([seed, 1]).choice([-1.0, 1.0], (len(inputs.x), classes)).astype(np.float32)
    signs -= signs.mean(axis=1, keepdims=True)

    def run(variables: Any, x: Any, lengths: Any, signs: Any, counts: Any) -> Any:
        zeros = watch.perturbations(x)
        found, pull, seen = jax.vjp(lambda added: watch.taps(variables, x, lengths, added), zeros, has_aux=True)
        broken = jnp.where(jnp.isfinite(found).all(axis=1), 0.0, counts).sum()
        slopes = pull(signs * counts[:, None])[0]
        sums = {name: _sums(watch, system, seen[name], slopes[name], counts) for name, system in systems.items()}
        sums[LOGITS] = {"broken": broken}
        return jax.tree.map(lambda a: a[None], sums)

    key = resume.key_of(checkpoint, inputs, seed, ready.variables)
    totals, reused = resume.load(key)
    done = reused
    save = resume.saver(key, len(inputs.x))
    with resumable(lambda: resume.how_to_go_on(key)):
        for sums in on_all_devices(sharded(run), ready.variables, inputs, signs, progress, done):
            totals = _added(totals, sums)
            done = min(done + chunk(inputs), len(inputs.x))
            refuse_broken(checkpoint, int(totals[LOGITS]["broken"]), done, "calibration")
            save(totals, done)
    assert totals is not None
    return {layer.name: _mean(totals[layer.name], inputs, reused) for layer in checkpoint.layers}


def logits(checkpoint: Checkpoint, inputs: Inputs) -> Float[np.ndarray, "n classes"]:
    """Centred logits of every sequence; checkpoints of the same shapes share one compiled program.

    Raises:
        CheckpointError: the tree is no network that can run, or its logits are not finite.
        DataError: the network does not take such sequences.
    """
    ready = model(checkpoint, inputs)
    found = centred_logits(_answers(ready.network, ready.spec), ready.variables, inputs)
    refuse_broken(checkpoint, int((~np.isfinite(found).all(axis=1)).sum()), len(found), "calibration")
    return found


@lru_cache(maxsize=4)
def _answers(network: Network, spec: Spec) -> Callable[..., Any]:
    logits = network.watch(spec).logits
    return sharded(lambda variables, x, lengths, _, __: logits(variables, x, lengths))


def _added(totals: Any, sums: Any) -> Any:
    """Sums of every device added to the totals, in double precision, in place: S4D's are large."""
    if totals is None:
        totals = jax.tree.map(lambda a: np.zeros(a.shape[1:]), sums)
    for total, part in zip(jax.tree.leaves(totals), jax.tree.leaves(sums), strict=True):
        for one in np.asarray(part):
            np.add(total, one, out=total)
    return totals


def _sums(watch: Watch, system: System, u: Any, slope: Any, counts: Any) -> dict[str, Any]:
    """Sums over one batch; `counts` is 0 for samples that only fill it up."""
    samples, N, K = len(counts), system.lam.shape[1], system.C.shape[2]
    weight = jnp.square(slope).sum(axis=-1).reshape(-1, 1)
    filled = jnp.repeat(counts, len(weight) // samples)[:, None]

    def one(f: Any, slopes: Any, W: Any) -> dict[str, Any]:
        apart = [array.reshape(samples, len(f) // samples, -1) for array in (slopes[0], f)]
        shares = (jnp.einsum("nlk,nld->nkd", *apart) * W).reshape(samples, K, N, -1).sum(axis=(1, 3))
        return {
            "moments": f.T @ (f * filled),
            "weighted": f.T @ (f * weight),
            "sensitivity": jnp.square(shares).sum(axis=0),
            "metric": slopes[0].T @ slopes[0],
        }

    W = jnp.asarray(readout_matrix(system), jnp.float32)
    return over_states(watch, system, u, slope[None], one, W) | {"weight": weight.sum()}


def _mean(total: dict[str, Any], inputs: Inputs, reused: int) -> Measurement:
    steps = math.prod(inputs.samples) * inputs.length
    moments = total["moments"] / steps
    weighted = total["weighted"] / total["weight"] if total["weight"] > 0 else moments
    return Measurement(moments, weighted, total["sensitivity"] / len(inputs.x), total["metric"] / steps, reused)
