"""Scores of heads as FLAP has them (An et al., AAAI 2024), in the variant for state-space models: WIFV and AL-AM.

WIFV weighs how much each channel that out_proj reads fluctuates on text by the squared size of its column. AL-AM sets
the channels of each layer to mean 0 and deviation 1, so that heads of all layers are ranked together, and takes the
mean over a head. A channel that is always the same could be made up for by a bias, whatever it is; the means of those
that go are added as one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from last_cli.base.annotations import Bool, Float
from last_cli.families.mamba2.mixer import Mixer
from last_cli.families.mamba2.targets import OUT, OUT_BIAS, units

Arrays = Mapping[str, np.ndarray]


def scores(sizes: Mixer, arrays: Arrays, seen: Arrays) -> Float[np.ndarray, "G H"]:
    """The score of every head.

    Args:
        sizes: of the mixer.
        arrays: its tensors by their names below its prefix.
        seen: of each sequence in order the "mean" and "square" of every channel (n, H, P), and its "steps" (n,).
    """
    columns = np.square(arrays[OUT][:, sizes.beside :].astype(np.float64)).sum(axis=0)
    weighted = np.square(fluctuation(seen).ravel() * columns)
    deviation = weighted.std(ddof=1) if weighted.size > 1 else 0.0
    standard = (weighted - weighted.mean()) / (deviation or 1.0)
    return standard.reshape(sizes.heads, -1).mean(axis=1).reshape(units(sizes, "heads"))


def bias(sizes: Mixer, arrays: Arrays, seen: Arrays, keep: Bool[np.ndarray, "G H"]) -> Float[np.ndarray, " d"]:
    """The bias of out_proj that makes up for the mean of what the heads that go put out through it.

    Args:
        sizes: of the mixer.
        arrays: its tensors by their names below its prefix.
        seen: see scores.
        keep: which heads stay.
    """
    weight = arrays[OUT]
    mean = seen["mean"].astype(np.float64).mean(axis=0) * ~keep.reshape(-1, 1)
    made = weight[:, sizes.beside :].astype(np.float64) @ mean.ravel()
    old = arrays.get(OUT_BIAS)
    return made.astype(weight.dtype) if old is None else (old.astype(np.float64) + made).astype(old.dtype)


def fluctuation(seen: Arrays) -> Float[np.ndarray, "H P"]:
    """The running variance of the released code, which depends on the order of the sequences.

    The n-th of N adds (n - 1)/n of its distances from the mean of the first n times those from the mean of the others
    before it; the first counts only alone.
    """
    mean, square = (seen[name].astype(np.float64) for name in ("mean", "square"))
    n = np.arange(1, len(mean) + 1).reshape(-1, 1, 1)
    running = np.cumsum(mean, axis=0) / n
    before = np.concatenate([mean[:1], running[:-1]])
    distances = seen["steps"].reshape(-1, 1, 1) * (square - (running + before) * mean + running * before)
    return distances[0] if len(n) == 1 else ((n - 1) / n * distances).sum(axis=0) / (len(n) - 1)
