"""The configuration of a checkpoint: told with its origins, and written down beside the arrays."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import last_cli.formats as formats
from last_cli.base.errors import CheckpointError, UsageError, inside
from last_cli.base.version import __version__
from last_cli.checkpoint.checkpoint import Checkpoint, from_index
from last_cli.checkpoint.guess import Guess, guesses, presets_of, refuse_contradictions, sizes_in_words
from last_cli.formats.stamp import STAMP_SCHEMA
from last_cli.results.config import ConfigReport, ConfigValue
from last_cli.tasks.find import find

UNSAID = ("assumed", "tree")


def config(
    path: str | Path,
    *,
    step: int | None = None,
    item: str | None = None,
    task: str | None = None,
    task_settings: Mapping[str, Any] | None = None,
    **said: Any,
) -> ConfigReport:
    """What is known of a checkpoint's model, and where from; what is said here is written down beside the arrays.

    It goes into `last.json` in the checkpoint's directory, beside a file into NAME.last.json. What a stamp there has
    besides, such as its chain of prunings, stays.

    Args:
        path: a checkpoint, a step, or a run's directory.
        step: which step of a run.
        item: which item of a step.
        task: the task that it was trained on.
        task_settings: of that task, such as {"max_length": 64}.
        said: `preset`, `config_from`, and entries of ModelConfig; see checkpoint.load.

    Raises:
        CheckpointError: no checkpoint is there, or the tree does not allow what is said.
        OutputError: it cannot be written; nothing is changed.
        UsageError: an unknown preset, task or value.
    """
    given = {name: value for name, value in said.items() if value is not None}
    checkpoint = from_index(formats.index(path, step, item), **given)  # One that was edited, too.
    if task_settings and task is None and not checkpoint.task:
        raise UsageError("settings of a task are given, but no task", "add ⟦task NAME⟧")
    if task is not None:
        find(task)
    known = checkpoint.task if task in (None, checkpoint.task.get("name")) else {"name": task}
    if task is not None or task_settings:
        checkpoint = replace(checkpoint, stamp={**checkpoint.stamp, "task": {**known, **(task_settings or {})}})
    written = None
    if given or task is not None or task_settings:
        with inside(checkpoint.index.location.path):
            refuse_contradictions(checkpoint)
        written = str(formats.write_stamp(checkpoint.index.location, stamp_of(checkpoint)))
    return _report(checkpoint, written)


def stamp_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """A checkpoint's stamp with all that is said of its configuration."""
    stamp = checkpoint.stamp
    said = {
        name: getattr(checkpoint.config, name) for name, origin in checkpoint.origins.items() if origin not in UNSAID
    }
    model = {**(stamp.get("model") or {}), **said}
    guessed = [name for name in stamp.get("assumed") or [] if name not in said]
    return {**stamp, "schema": STAMP_SCHEMA, "last": __version__, "model": model, "assumed": guessed}


def _report(checkpoint: Checkpoint, written: str | None) -> ConfigReport:
    location = checkpoint.index.location
    found: dict[str, Guess] = {}
    with suppress(CheckpointError):  # No network of ours: nothing runs, so nothing is guessed for it.
        found = {guess.name: guess for guess in guesses(checkpoint, padded=True)}
    values = [
        ConfigValue(name, getattr(checkpoint.config, name), origin, found[name].basis if name in found else "")
        for name, origin in checkpoint.origins.items()
    ]
    presets = presets_of(checkpoint)
    return ConfigReport(
        path=str(location.path),
        step=location.step,
        item=location.item,
        layout=location.layout,
        values=values,
        task=checkpoint.task,
        presets=[preset.name for preset in presets],
        sizes=sizes_in_words(checkpoint) if presets else "",
        written=written,
        warnings=[*location.notes, *checkpoint.index.warnings],
    )
