"""Scores of heads and channels as FLAP has them (An et al., AAAI 2024), for state-space models: WIFV and AL-AM.

WIFV weighs how much each channel that out_proj reads fluctuates on text by the squared size of its column. AL-AM sets
the channels of each layer to mean 0 and deviation 1, so that units of all layers are ranked together, and takes the
mean over a head, or over the channels that go together. A channel that is always the same could be made up for by a
bias, whatever it is; the means of those that go are added as one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from last_cli.base.annotations import Bool, Float
from last_cli.base.errors import UsageError
from last_cli.families.mamba2.dialect import MAMBA_SSM
from last_cli.families.mamba2.mixer import Mixer
from last_cli.families.mamba2.norms import by_unit
from last_cli.families.mamba2.targets import OUT, OUT_BIAS, units

Arrays = Mapping[str, np.ndarray]


def scores(sizes: Mixer, target: str, arrays: Arrays, seen: Arrays) -> Float[np.ndarray, "G N"]:
    """The score of every unit.

    Args:
        sizes: of the mixer.
        target: "heads" or "channels".
        arrays: its tensors by their names below its prefix.
        seen: of each sequence in order the "mean" and "square" of every channel (n, H, P), and its "steps" (n,).
    """
    columns = np.square(arrays[OUT][:, sizes.beside :].astype(np.float64)).sum(axis=0)
    weighted = np.square(fluctuation(seen).ravel() * columns)
    deviation = weighted.std(ddof=1) if weighted.size > 1 else 0.0
    standard = (weighted - weighted.mean()) / (deviation or 1.0)
    together = sizes.head_dim if target == "heads" else sizes.heads // units(sizes, target)[0]
    return by_unit(sizes, target, standard.reshape(sizes.heads, -1)) / together


def bias(
    sizes: Mixer, target: str, arrays: Arrays, seen: Arrays, keep: Bool[np.ndarray, "G N"]
) -> Float[np.ndarray, " d"]:
    """The bias of out_proj that makes up for the mean of what the units that go put out through it.

    Args:
        sizes: of the mixer.
        target: "heads" or "channels".
        arrays: its tensors by their names below its prefix.
        seen: see scores.
        keep: which units stay.
    """
    weight = arrays[OUT]
    gone = ~keep.reshape(-1, 1) if target == "heads" else ~np.repeat(keep, sizes.heads // len(keep), axis=0)
    mean = seen["mean"].astype(np.float64).mean(axis=0) * gone
    made = weight[:, sizes.beside :].astype(np.float64) @ mean.ravel()
    old = arrays.get(OUT_BIAS)
    return made.astype(weight.dtype) if old is None else (old.astype(np.float64) + made).astype(old.dtype)


def reference_scores(sizes: Mixer, arrays: Arrays, seen: Arrays) -> Float[np.ndarray, "G H"]:
    """The score of every head as the paper's code has it.

    With mamba_ssm the fused kernel takes the weight of out_proj itself, and the hook that should see what it reads is
    never called: all statistics are 0 and no head passes the threshold.

    Raises:
        UsageError: heads share B and C in several groups: it chooses without regard to them, and its model cannot run.
    """
    if (groups := units(sizes, "heads")[0]) > 1:
        raise UsageError(
            f"the paper's code chooses heads without regard to the {groups} groups that share B and C, and its model "
            "then does not run",
            "⟦criterion flap⟧ keeps as many heads in each group",
        )
    found = scores(sizes, "heads", arrays, seen)
    return np.zeros_like(found) if sizes.settings.name == MAMBA_SSM else found


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
