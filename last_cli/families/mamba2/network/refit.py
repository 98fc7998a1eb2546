"""out_proj of every mixer refitted after a pruning, in closed form, on text without labels.

Layer by layer both models read the same text. What out_proj of the pruned one reads is y, and it is chosen to minimise

    sum over steps of |t - W y|^2 + ridge * sum over columns j of (sum of y_j^2) |w_j - w'_j|^2,

w' the old column. The target t is what out_proj of the whole model puts out, and what the pruned stream lacks in front
of it: errors of earlier layers are made up for, where this mixer can. The next layer reads the refitted stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from last_cli.base.annotations import Float, Int
from last_cli.base.progress import Progress
from last_cli.families.mamba2.network.forward import after, before, below, readout
from last_cli.families.mamba2.network.spec import LanguageSpec
from last_cli.families.mamba2.targets import OUT

RIDGE = 1e-3
BATCH = 4
BIAS = "out_proj.bias"

Tensors = Mapping[str, np.ndarray]


def refit(
    spec: LanguageSpec,
    models: tuple[Tensors, Tensors],
    tokens: Int[np.ndarray, "n T"],
    counted: Float[np.ndarray, "n T"],
    progress: Progress | None = None,
) -> dict[str, np.ndarray]:
    """New tensors by name: out_proj of each mixer that lost anything, and its bias where it has one.

    Args:
        spec: of both models.
        models: the tensors of the whole one, and of the same with zeros for what is removed.
        tokens: calibration sequences; both models' streams of all of them are held.
        counted: 1.0 or 0.0, for each token.
        progress: called with what is being done, and how many of how many are done.
    """
    found: dict[str, np.ndarray] = {}
    embedding = np.asarray(models[0][f"{spec.embedding}.weight"], np.float32)
    streams = [embedding[tokens] * np.float32(spec.factors["embedding"])] * 2
    with jax.default_matmul_precision("highest"):
        for done, block in enumerate(spec.blocks, 1):
            whole, small = (below(model, f"{block.prefix}.") for model in models)
            alone = replace(spec, blocks=(replace(block, prefix=""),))
            if block.mixer and (found or _differs(whole, small)):
                new = _refitted(alone, (whole, small), streams, counted)
                found |= {f"{block.prefix}.{block.mixer}.{name}": array for name, array in new.items()}
                small = {**small, **{f"{block.mixer}.{name}": array for name, array in new.items()}}
            run = _next(alone)
            streams = [_over(run, model, x) for model, x in zip((whole, small), streams, strict=True)]
            if progress:
                progress("refit", done, len(spec.blocks))
    return found


def _differs(whole: Tensors, small: Tensors) -> bool:
    return any(not np.array_equal(array, small[name]) for name, array in whole.items())


def _refitted(
    spec: LanguageSpec,
    models: tuple[Tensors, Tensors],
    streams: list[np.ndarray],
    counted: Float[np.ndarray, "n T"],
) -> dict[str, np.ndarray]:
    """out_proj of the mixer of the one block that a spec has, and its bias."""
    own = below(models[1], f"{spec.blocks[0].mixer}.")
    old, bias = own[OUT].astype(np.float64), own.get(BIAS)
    if bias is not None:
        old = np.concatenate([old, bias[:, None].astype(np.float64)], axis=1)
    moments, cross = np.zeros((old.shape[1],) * 2), np.zeros(old.shape)
    run = _sums(spec)
    for rows in _batches(len(counted)):
        parts = run(*models, *(x[rows] for x in streams), counted[rows])
        moments += np.asarray(parts[0], np.float64)
        cross += np.asarray(parts[1], np.float64)
    new = solve(moments, cross, old)
    if bias is None:
        return {OUT: new.astype(np.float32)}
    return {OUT: new[:, :-1].astype(np.float32), BIAS: new[:, -1].astype(np.float32)}


def solve(
    moments: Float[np.ndarray, "m m"], cross: Float[np.ndarray, "d m"], old: Float[np.ndarray, "d m"]
) -> Float[np.ndarray, "d m"]:
    """The refitted columns; those that read nothing stay as they are."""
    live = np.diag(moments) > 0
    scale = np.sqrt(np.diag(moments)[live])
    scaled = moments[np.ix_(live, live)] / (scale[:, None] * scale)
    scaled[np.diag_indices_from(scaled)] += RIDGE
    wanted = cross[:, live] / scale + RIDGE * old[:, live] * scale
    new = old.copy()
    new[:, live] = np.linalg.solve(scaled, wanted.T).T / scale
    return new


@lru_cache(maxsize=8)
def _sums(spec: LanguageSpec) -> Any:
    """Sums of y y^T and of t y^T over the steps that count, in the one block that a spec has."""
    (block,) = spec.blocks
    assert block.sizes is not None
    sizes = block.sizes
    residual = 1.0 if block.feed_forward and block.second_norm is None else spec.factors["residual"]
    lacking = 1 / (residual * sizes.settings.factor_out)

    @jax.jit
    def run(whole: Any, small: Any, x: Any, other: Any, counted: Any) -> Any:
        read = []
        for model, stream in ((whole, x), (small, other)):
            read.append(readout(sizes, below(model, f"{block.mixer}."), before(block, model, stream)))
        own = below(whole, f"{block.mixer}.")
        target = read[0] @ own[OUT].T + own.get(BIAS, 0.0) + (x - other) * lacking
        y = read[1]
        if BIAS in own:
            y = jnp.concatenate([y, jnp.ones_like(y[..., :1])], -1)
        weighted = y * counted[..., None]
        return jnp.einsum("btm,btk->mk", weighted, y), jnp.einsum("btd,btm->dm", target, weighted)

    return run


@lru_cache(maxsize=8)
def _next(spec: LanguageSpec) -> Any:
    return jax.jit(lambda model, x: after(spec, spec.blocks[0], model, x))


def _over(run: Any, model: Tensors, x: Float[np.ndarray, "n T d"]) -> Float[np.ndarray, "n T d"]:
    return np.concatenate([np.asarray(run(model, x[rows])) for rows in _batches(len(x))])


def _batches(count: int) -> Iterator[slice]:
    return (slice(first, first + BATCH) for first in range(0, count, BATCH))
