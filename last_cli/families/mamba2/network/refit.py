"""out_proj and D of every mixer refitted after a pruning, in closed form, on text without labels.

Layer by layer both models read the same text. What out_proj of the pruned one reads is y, and it is chosen to minimise

    sum over steps of |t - W y|^2 + ridge * sum over columns j of (sum of y_j^2) |w_j - w'_j|^2,

w' the old column. The target t is what out_proj of the whole model puts out, and what the pruned stream lacks in front
of it: errors of earlier layers are made up for, where this mixer can. y grows with D along s, the gate's norm held, so
D is the same problem for a given W, and W another one for a new D; D stays as it was where that fits no better. The
next layer reads the refitted stream. Tensors are read block by block, and one mixer's sums are there at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from last_cli.base.annotations import Float, Int
from last_cli.base.progress import Progress
from last_cli.families.mamba2.network.forward import after, before, below, readout_and_skip
from last_cli.families.mamba2.network.spec import LanguageSpec
from last_cli.families.mamba2.targets import OUT

RIDGE = 1e-3
BATCH = 4
BIAS, SKIP = "out_proj.bias", "D"

Tensors = Mapping[str, np.ndarray]


def refit(
    spec: LanguageSpec,
    models: tuple[Tensors, Tensors],
    tokens: Int[np.ndarray, "n T"],
    counted: Float[np.ndarray, "n T"],
    progress: Progress | None = None,
) -> dict[str, np.ndarray]:
    """New tensors by name: out_proj of each mixer that lost anything, its bias where it has one, and D.

    Args:
        spec: of both models.
        models: the tensors of the whole one, and of the same with zeros for what is removed; each is read twice.
        tokens: calibration sequences; both models' streams of all of them are held.
        counted: 1.0 or 0.0, for each token.
        progress: called with what is being done, and how many of how many are done.
    """
    found: dict[str, np.ndarray] = {}
    embedding = np.asarray(models[0][f"{spec.embedding}.weight"], np.float32)
    streams = [embedding[tokens] * np.float32(spec.factors["embedding"])] * 2
    with jax.default_matmul_precision("highest"):
        for done, block in enumerate(spec.blocks, 1):
            whole, small = (_own(model, f"{block.prefix}.") for model in models)
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


def _own(model: Tensors, prefix: str) -> dict[str, np.ndarray]:
    """The tensors of one block, the only ones that are read."""
    return {n.removeprefix(prefix): np.asarray(model[n], np.float32) for n in model if n.startswith(prefix)}


def _differs(whole: Tensors, small: Tensors) -> bool:
    return any(not np.array_equal(array, small[name]) for name, array in whole.items())


@dataclass(frozen=True, eq=False)
class Sums:
    """Over the steps that count, of y, of s (how y grows with D), and of the target t.

    Attributes:
        yy, ys, ss: of products of their columns; where there is a bias, the last column of y is 1 and of s 0.
        ty, ts: of t with these.
        tt: of |t|^2.
    """

    yy: Float[np.ndarray, "m m"]
    ys: Float[np.ndarray, "m m"]
    ss: Float[np.ndarray, "m m"]
    ty: Float[np.ndarray, "d m"]
    ts: Float[np.ndarray, "d m"]
    tt: float

    def error(self, weight: Float[np.ndarray, "d m"]) -> float:
        """sum |t - W y|^2."""
        return float(self.tt - 2 * (weight * self.ty).sum() + ((weight @ self.yy) * weight).sum())


def _refitted(
    spec: LanguageSpec,
    models: tuple[Tensors, Tensors],
    streams: list[np.ndarray],
    counted: Float[np.ndarray, "n T"],
) -> dict[str, np.ndarray]:
    """out_proj of the mixer of the one block that a spec has, its bias, and D where a new one fits better."""
    (block,), found = spec.blocks, {}
    own = below(models[1], f"{block.mixer}.")
    old, bias = own[OUT].astype(np.float64), own.get(BIAS)
    if bias is not None:
        old = np.concatenate([old, bias[:, None].astype(np.float64)], axis=1)
    sums = _summed(spec, models, streams, counted)
    new = solve(sums.yy, sums.ty, old)
    skip = own[SKIP] + skipped(sums, new, block.sizes.beside if block.sizes else 0, own[SKIP].size)
    small = {**models[1], f"{block.mixer}.{SKIP}": skip.astype(np.float32)}
    again = _summed(spec, (models[0], small), streams, counted)
    better = solve(again.yy, again.ty, old)
    if again.error(better) < sums.error(new):
        found, new = {SKIP: skip.astype(np.float32)}, better
    if bias is not None:
        found[BIAS], new = new[:, -1].astype(np.float32), new[:, :-1]
    return {OUT: new.astype(np.float32), **found}


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


def skipped(sums: Sums, weight: Float[np.ndarray, "d m"], beside: int, count: int) -> Float[np.ndarray, " count"]:
    """By how much D changes for this W: |t - W (y + s d)|^2 is least, with the ridge on d; each owns as many columns.

    Args:
        sums: of the mixer.
        weight: W.
        beside: columns in front that no D owns.
        count: numbers that D has.
    """
    width = (len(sums.ss) - beside) // count  # A bias's column is behind them.
    columns = slice(beside, beside + width * count)
    moments = (weight.T @ weight * sums.ss)[columns, columns].reshape(count, width, count, width).sum((1, 3))
    cross = (weight * (sums.ts - weight @ sums.ys)).sum(0)[columns].reshape(count, width).sum(1)
    return solve(moments, cross[None], np.zeros((1, count)))[0]


def _summed(
    spec: LanguageSpec, models: tuple[Tensors, Tensors], streams: list[np.ndarray], counted: Float[np.ndarray, "n T"]
) -> Sums:
    run, total = _sums(spec), None
    for rows in _batches(len(counted)):
        parts = [np.asarray(a, np.float64) for a in run(*models, *(x[rows] for x in streams), counted[rows])]
        total = parts if total is None else [np.add(one, part, out=one) for one, part in zip(total, parts, strict=True)]
    assert total is not None
    yy, ys, ss, ty, ts, tt = total
    return Sums(yy, ys, ss, ty, ts, float(tt))


@lru_cache(maxsize=8)
def _sums(spec: LanguageSpec) -> Any:
    """The sums of the one block that a spec has, see Sums."""
    (block,) = spec.blocks
    assert block.sizes is not None
    sizes = block.sizes
    residual = 1.0 if block.feed_forward and block.second_norm is None else spec.factors["residual"]
    lacking = 1 / (residual * sizes.settings.factor_out)

    @jax.jit
    def run(whole: Any, small: Any, x: Any, other: Any, counted: Any) -> Any:
        read = []
        for model, stream in ((whole, x), (small, other)):
            read.append(readout_and_skip(sizes, below(model, f"{block.mixer}."), before(block, model, stream)))
        own = below(whole, f"{block.mixer}.")
        target = read[0][0] @ own[OUT].T + own.get(BIAS, 0.0) + (x - other) * lacking
        y, s = read[1]
        if BIAS in own:
            y, s = jnp.concatenate([y, jnp.ones_like(y[..., :1])], -1), jnp.pad(s, ((0, 0), (0, 0), (0, 1)))
        ys, ss, ts = (array * counted[..., None] for array in (y, s, target))
        products = [jnp.einsum("btm,btk->mk", *pair) for pair in ((ys, y), (ys, s), (ss, s), (ts, y), (ts, s))]
        return *products, jnp.square(ts).sum()

    return run


@lru_cache(maxsize=8)
def _next(spec: LanguageSpec) -> Any:
    return jax.jit(lambda model, x: after(spec, spec.blocks[0], model, x))


def _over(run: Any, model: Tensors, x: Float[np.ndarray, "n T d"]) -> Float[np.ndarray, "n T d"]:
    return np.concatenate([np.asarray(run(model, x[rows])) for rows in _batches(len(x))])


def _batches(count: int) -> Iterator[slice]:
    return (slice(first, first + BATCH) for first in range(0, count, BATCH))
