"""Pruning to exactly these units: as a file lists them, or as the stamp of another checkpoint has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.base.annotations import Bool
from last_cli.base.errors import CheckpointError, UsageError
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.checkpoint.trained import TRAINED
from last_cli.families.layer import Layer
from last_cli.formats.digests import stamp_digest
from last_cli.formats.json_file import read_json_object
from last_cli.formats.types import STAMP_FILE
from last_cli.pruning.calibration.observe import refuse_sequences
from last_cli.pruning.calibration.request import Calibration
from last_cli.pruning.needs import Needs
from last_cli.pruning.recipe import BLOCKS, BY_CRITERION, WEIGHTS, Recipe
from last_cli.pruning.removal import pruned
from last_cli.pruning.score import able_criterion, score_layers
from last_cli.pruning.select import shape_of
from last_cli.pruning.tune.plan import TUNE
from last_cli.pruning.unpaired import READOUTS
from last_cli.results.prune import PruneReport

KEEP = "keep"
FORM = (
    '{"target": "states", "layers": [{"kept": [...]}, ...]}, an entry for each SSM layer in order, with the numbers of '
    "the units that stay, from 0; or the last.json of a pruned checkpoint"
)


def prune_kept(
    checkpoint: Checkpoint,
    keep: str | Path | Mapping[str, Any],
    recipe: Recipe = Recipe(),
    calibration: Calibration = Calibration(),
) -> Checkpoint:
    """The checkpoint with exactly the units that `keep` lists, and its report, in memory.

    Args:
        checkpoint: what is cut.
        keep: a file, a checkpoint of `last`, or what such a file holds.
        recipe: masked, stock and target; how units are chosen is said by `keep` alone.
        calibration: sequences, of which there may be none.

    Raises:
        CheckpointError: the file is none, or numbers are not finite.
        UsageError: it does not fit the layers, or the recipe chooses units or changes some.
    """
    if recipe.changes or recipe.method != BY_CRITERION:
        raise UsageError("⟦keep⟧ cuts and changes nothing else", "leave out ⟦method⟧ and ⟦refit⟧")
    if recipe.multiple_of is not None:
        raise UsageError("⟦multiple_of⟧ rounds what a ratio keeps, and ⟦keep⟧ lists what stays", "leave one out")
    refuse_sequences(calibration, recipe)
    said, where = _said(keep)
    target = said.get("target", "states")
    if not isinstance(target, str):
        raise UsageError(f"{where}: target is {target!r}, expected a name such as states or heads", FORM)
    if recipe.target not in (None, target):
        raise UsageError(f"⟦target {recipe.target}⟧, but {where} lists {target}", "leave ⟦target⟧ out")
    kinds = [kind for layer in checkpoint.layers for kind in layer.family.targets if kind.name == target]
    if target in (WEIGHTS, BLOCKS) or any(kind.merged for kind in kinds):
        raise UsageError(f"{where}: target is {target}, and a list keeps units that are left out as a whole", FORM)
    recipe = replace(recipe, criterion="random", target=target).on(checkpoint.layers)
    recipe = replace(recipe, criterion=able_criterion(checkpoint, recipe))
    masks = _masks(checkpoint, said, target, where)
    scored, warnings = score_layers(checkpoint, Needs(recipe))
    live = sum(layer.states for layer in scored)
    scored = [replace(layer, keep=mask & layer.live) for layer, mask in zip(scored, masks, strict=True)]
    if recipe.shape == "rectangular":
        recipe = replace(recipe, shape=shape_of([layer.keep for layer in scored if layer.keep is not None]))
    ratio = 1 - sum(layer.kept or 0 for layer in scored) / max(live, 1)
    settings = {**recipe.settings, "criterion": KEEP}
    found = pruned(checkpoint, scored, replace(recipe, scope="layer"), ratio, settings)
    layers = [replace(layer, smallest_kept_score=None) for layer in found.report.each]
    report: PruneReport = replace(found.report, criterion=KEEP, each=layers)
    return replace(found.checkpoint, report=replace(report, warnings=[*warnings, *report.warnings]))


def _said(keep: str | Path | Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """The entry that lists the units, and what it is called."""
    if isinstance(keep, Mapping):
        content, where = keep, "⟨keep⟩"
    else:
        path = Path(keep)
        path = path / STAMP_FILE if path.is_dir() else path
        if not path.is_file():
            raise UsageError(f"⟦keep {keep}⟧: no such file", FORM)
        try:
            content, where = read_json_object(path), str(path)
        except CheckpointError as error:  # That a checkpoint is damaged, which this need not be part of.
            raise UsageError(error.args[0], FORM) from error
    written = content.get("written")
    if isinstance(written, Mapping) and written.get("stamp") != stamp_digest(content):
        raise UsageError(
            f"{where}: is not as `last` wrote it: it was edited or damaged",
            f"to keep other units, list them in a file of their own: {FORM}",
        )
    if isinstance(steps := content.get("pruned"), list) and steps:
        steps = [s for s in steps if not (isinstance(s, Mapping) and s.get("method") in (TRAINED, TUNE))] or steps
        if len(steps) > 1:
            raise UsageError(f"{where}: {len(steps)} prunings one after the other, expected one", "repeat them in turn")
        content = steps[0]
    if isinstance(content, Mapping) and READOUTS in content:
        raise UsageError(f"{where}: B and C were chosen apart there, and ⟦keep⟧ keeps units as a whole", FORM)
    if not isinstance(content, Mapping) or not isinstance(content.get("layers"), list):
        raise UsageError(f"{where}: lists no `layers`", FORM)
    return content, where


def _masks(checkpoint: Checkpoint, said: Mapping[str, Any], target: str, where: str) -> list[Bool[np.ndarray, "_ _"]]:
    entries = said["layers"]
    if len(entries) != len(checkpoint.layers):
        raise UsageError(
            f"{where}: lists {len(entries)} layers, and {checkpoint.index.location.path} has {len(checkpoint.layers)}",
            FORM,
        )
    found = []
    for number, (layer, entry) in enumerate(zip(checkpoint.layers, entries, strict=True)):
        place = f"{where}: layer {number} ({layer.name})"
        if not isinstance(entry, Mapping) or "kept" not in entry:
            raise UsageError(f"{place}: no `kept`", FORM)
        found.append(_mask(layer, entry["kept"], target, place))
    return found


def _mask(layer: Layer, kept: Any, target: str, place: str) -> Bool[np.ndarray, "_ _"]:
    """The units of one layer's entry: a list for each group, or one through all groups where they are named so."""
    units, kind = layer.units[target], layer.target(target)
    through = isinstance(kept, list) and not any(isinstance(entry, list) for entry in kept)
    if through and (kind.flat or units.groups == 1):
        rows, width = [kept], units.count * units.groups
    else:
        rows, width = _once(kept, layer, units.groups), units.count
        if not isinstance(rows, list) or len(rows) != units.groups or not all(isinstance(row, list) for row in rows):
            raise UsageError(f"{place}: expected a list of {target} for each of {units.groups} groups", FORM)
    mask = np.zeros((len(rows), width), bool)
    for row, numbers in zip(mask, rows, strict=True):
        _check(numbers, width, target, place)
        row[numbers] = True
    mask = mask.reshape(units.groups, units.count)
    counts = mask.sum(axis=1)
    if kind.even and len(set(counts.tolist())) > 1:
        raise UsageError(
            f"{place}: groups keep {min(counts)} to {max(counts)} {target}",
            "in such a layer every group keeps as many",
        )
    return mask


def _once(kept: Any, layer: Layer, groups: int) -> Any:
    """One list for each group, where a file has it for every head of a group that shares its units."""
    heads = layer.units.get("heads")
    copies = heads.groups * heads.count // groups if heads else 1
    if (
        isinstance(kept, list)
        and copies > 1
        and len(kept) == copies * groups
        and all(row == kept[i - i % copies] for i, row in enumerate(kept))
    ):
        return kept[::copies]
    return kept


def _check(numbers: Sequence[Any], width: int, target: str, place: str) -> None:
    for number in numbers:
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < width:
            raise UsageError(f"{place}: {number!r} is none of its {width} {target}, which count from 0", FORM)
    if len(set(numbers)) < len(numbers):
        raise UsageError(f"{place}: a number stands there twice", FORM)
