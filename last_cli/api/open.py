"""A checkpoint opened, and what is known of its model written down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from last_cli.checkpoint.checkpoint import Checkpoint
    from last_cli.results.config import ConfigReport


def load(
    path: str | Path, *, step: int | None = None, item: str | None = None, preset: str | None = None,
    config_from: str | Path | None = None, discretization: str | None = None, conj_sym: bool | None = None,
    clip_eigs: bool | None = None, step_rescale: float | None = None, activation: str | None = None,
    prenorm: bool | None = None, mode: str | None = None, padded: bool | None = None, dropout: float | None = None,
    bn_momentum: float | None = None,
) -> Checkpoint:  # fmt: skip
    """Open a checkpoint; its arrays are read when they are needed.

    From `discretization` on, the options are what the tree does not say of the model. One that is given wins over the
    preset, that over `config_from`, that over the checkpoint and configurations beside it; else it is assumed.

    Args:
        path: a checkpoint, a step, or a run's directory (its newest committed step is taken).
        step: which step of a run.
        item: which item of a step, where there are several.
        preset: name of a published configuration, such as "s5-lra-listops".
        config_from: another checkpoint of the same model, or a configuration file (JSON or YAML), for the same.
        discretization: "zoh", "bilinear" or "dirac".
        conj_sym: each stored state stands for a conjugate pair.
        clip_eigs: real parts of the poles are clipped at -1e-4.
        step_rescale: factor on all step sizes.
        activation: the gate, "full_glu", "half_glu1", "half_glu2" or "gelu".
        prenorm: the norm stands before the SSM, not after the residual sum.
        mode: "pool" (mean over time) or "last" (the last step).
        padded: the mean runs over each sequence's own length only.
        dropout: rate while training; evaluation has none.
        bn_momentum: of the running statistics while training.

    Raises:
        CheckpointError: no checkpoint is there, it cannot be read, or it has no SSM layer.
        UsageError: an unknown preset, a value that is none of the allowed ones, or `config_from` is of another model.
    """
    from last_cli.checkpoint import checkpoint as opening

    return opening.load(
        path, step=step, item=item, preset=preset, config_from=config_from, discretization=discretization,
        conj_sym=conj_sym, clip_eigs=clip_eigs, step_rescale=step_rescale, activation=activation, prenorm=prenorm,
        mode=mode, padded=padded, dropout=dropout, bn_momentum=bn_momentum,
    )  # fmt: skip


def config(
    path: str | Path, *, step: int | None = None, item: str | None = None, preset: str | None = None,
    config_from: str | Path | None = None, discretization: str | None = None, conj_sym: bool | None = None,
    clip_eigs: bool | None = None, step_rescale: float | None = None, activation: str | None = None,
    prenorm: bool | None = None, mode: str | None = None, padded: bool | None = None, dropout: float | None = None,
    bn_momentum: float | None = None, task: str | None = None, task_settings: Mapping[str, Any] | None = None,
) -> ConfigReport:  # fmt: skip
    """Every value of a checkpoint's configuration and its origin; what is given is written down beside the arrays.

    It goes into `last.json` in the directory, beside a file into NAME.last.json, whole or not at all; all else that is
    there, such as the chain of prunings, stays.

    Args:
        path, step, item: which checkpoint; see `load`.
        preset, config_from, discretization, conj_sym, clip_eigs, step_rescale: what the tree does not say; see `load`.
        activation, prenorm, mode, padded, dropout, bn_momentum: the same; see `load`.
        task, task_settings: what it was trained on, such as "listops", {"max_length": 64}.

    Raises:
        CheckpointError, UsageError: as `load`, or the tree does not allow what is given.
        OutputError: it cannot be written; nothing is changed.
    """
    from last_cli.checkpoint import config as configuring

    return configuring.config(
        path, step=step, item=item, task=task, task_settings=task_settings, preset=preset, config_from=config_from,
        discretization=discretization, conj_sym=conj_sym, clip_eigs=clip_eigs, step_rescale=step_rescale,
        activation=activation, prenorm=prenorm, mode=mode, padded=padded, dropout=dropout, bn_momentum=bn_momentum,
    )  # fmt: skip
