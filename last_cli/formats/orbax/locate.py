"""Finds the tree of a checkpoint from whatever path a user names: a run, a step, an item, a bare tree, a file."""

import re
from collections.abc import Iterable
from pathlib import Path

from last_cli.base.errors import CheckpointError
from last_cli.formats.json_file import read_aside
from last_cli.formats.orbax.metadata import STEP_FILE, TREE_FILE
from last_cli.formats.sniff import is_msgpack
from last_cli.formats.types import STAMP_FILE, Location

FORMAT = "orbax"
"""Its name in the table. Msgpack files are of it, because flax's runs are of such files and of Orbax directories."""

UNCOMMITTED = ".orbax-checkpoint-tmp"

# How many steps of a run are listed one by one.
_SHOWN_STEPS = 12

# What stands before the number in the name of a step. Before a hyphen it takes such a word: `2026-11-28` is a day.
_WORD = r"(?:[sS]teps?|[cC]kpt|[cC]heckpoint|[eE]poch|[iI]ter(?:ation)?)[_=-]?"
_SUFFIX = r"(?:\.(?:ckpt|orbax|msgpack))?"

# Where a step holds several trees: the names under which Orbax and its users keep the model.
_PREFERRED_ITEMS = ("default", "state", "pytree", "params", "model", "train_state")


def locate(path: Path, step: int | None, item: str | None) -> Location | None:
    """Finds the tree below a path: of a run, that of its newest committed step or of `step`; see Format.locate."""
    here = path.absolute()
    if here.is_file():
        return Location(path, here, here, FORMAT, "msgpack", _step_alone(here)) if is_msgpack(here) else None
    if layout := tree_layout(here):
        return Location(path, here, here, FORMAT, layout, _step_above(here), _item_name(here))
    if steps := steps_in(here):
        return _in_run(path, here, steps, step, item)
    if items := items_in(here):
        if step is not None and step != _step_alone(here):
            raise CheckpointError(
                f"{path} is one step, not a run of steps", "leave ⟦step⟧ out, or name the directory of the run"
            )
        return _in_step(path, here, here, items, _step_alone(here), item, ())
    return _in_loose_files(path, here)


def is_below(directory: Path) -> bool:
    """Whether a tree, a run or a step lies in a directory."""
    return bool(tree_layout(directory) or steps_in(directory) or (directory / STEP_FILE).exists())


def tree_layout(directory: Path) -> str | None:
    """The format of the tree that `directory` itself holds, or None where it holds none."""
    if not directory.is_dir():
        return None
    entries = {entry.name for entry in directory.iterdir()}
    ocdbt_parts = any(name.startswith("ocdbt.process_") for name in entries)
    if "manifest.ocdbt" in entries or ocdbt_parts:
        return "orbax-ocdbt"
    if not entries & {TREE_FILE, "checkpoint"}:
        return "orbax-zarr" if any(_is_array(directory / name) for name in entries) else None
    if "checkpoint" in entries and not (directory / "checkpoint").is_file():
        return None
    if TREE_FILE not in entries and not is_msgpack(directory / "checkpoint"):
        return None
    arrays = any(_is_array(directory / name) for name in entries)
    return "orbax-zarr" if arrays or "checkpoint" not in entries else "orbax-msgpack"


def _is_array(directory: Path) -> bool:
    return any((directory / file).exists() for file in (".zarray", "zarr.json"))


def steps_in(directory: Path) -> dict[int, Path]:
    """The committed steps of a run: `3`, `step-3`, `epoch=1-step=3`, `3.ckpt`, flax's `checkpoint_3` (also files)."""
    numbered = {entry: step_of(entry.name) for entry in sorted(directory.iterdir())}
    return {
        number: entry
        for entry, number in numbered.items()
        if number is not None and (is_msgpack(entry) or tree_layout(entry) or (entry.is_dir() and items_in(entry)))
    }


def step_of(name: str) -> int | None:
    """The number in the name of a committed step, or None where it is no such name."""
    if UNCOMMITTED in name:
        return None
    match = re.fullmatch(rf"(?:.*_|(?:.*[_-])?{_WORD})?(\d+){_SUFFIX}", name)
    return int(match[1]) if match else None


def items_in(step: Path) -> dict[str, str]:
    """The items of a step that hold a tree, each with its layout."""
    layouts = {entry.name: tree_layout(entry) for entry in sorted(step.iterdir()) if UNCOMMITTED not in entry.name}
    return {name: layout for name, layout in layouts.items() if layout}


def _in_run(given: Path, run: Path, steps: dict[int, Path], step: int | None, item: str | None) -> Location:
    known = _numbers(sorted(steps))
    series = sorted({re.sub(rf"(?<==)\d+|\d+(?={_SUFFIX}$)", "*", path.name) for path in steps.values()})
    if len(series) > 1:
        raise CheckpointError(f"{given}: holds several series of checkpoints: {', '.join(series)}", "name one of them")
    number = max(steps) if step is None else step
    if number not in steps:
        raise CheckpointError(f"{given}: no committed step {number}; the steps are {known}", "name one of these steps")
    notes = [] if step is not None or len(steps) == 1 else [f"using step {number} (latest of {known})"]
    if step is None:
        notes += [
            f"using step {number}; step {n} is uncommitted and was skipped"
            for n in sorted(_uncommitted(run))[-_SHOWN_STEPS:]
            if n > number
        ]
        notes += _best_steps(steps, number)
    found = steps[number]
    if layout := "msgpack" if found.is_file() else tree_layout(found):
        return Location(given, found, run, FORMAT, layout, number, None, tuple(notes))
    return _in_step(given, run, found, items_in(found), number, item, tuple(notes))


def _in_step(
    given: Path,
    root: Path,
    step: Path,
    items: dict[str, str],
    number: int | None,
    item: str | None,
    notes: tuple[str, ...],
) -> Location:
    known = ", ".join(items)
    if item is not None and item not in items:
        raise CheckpointError(f"{step}: no item {item!r} that holds a tree; the items are {known}", "name one of these")
    preferred = [name for name in _PREFERRED_ITEMS if name in items]
    if item is None and len(items) > 1 and not preferred:
        raise CheckpointError(f"{step}: several items hold a tree: {known}", "name one with ⟦item⟧")
    name = item or (preferred or list(items))[0]
    if item is None and len(items) > 1:
        notes = (*notes, f"took item {name} of {known}")
    return Location(given, step / name, root, FORMAT, items[name], number, name, notes, tuple(items))


def _in_loose_files(given: Path, directory: Path) -> Location | None:
    """A directory that is no Orbax checkpoint: one with a msgpack file, or with what an interrupted run left."""
    entries = sorted(entry for entry in directory.iterdir() if entry.name != STAMP_FILE)
    trees = [entry for entry in entries if is_msgpack(entry)]
    if len(trees) == 1:
        return Location(given, trees[0], directory, FORMAT, "msgpack", _step_alone(trees[0]))
    if trees:
        raise CheckpointError(f"{given}: several msgpack files: {_names(trees)}", "name one of these files")
    if pending := [entry for entry in entries if UNCOMMITTED in entry.name]:
        raise CheckpointError(
            f"{given}: no committed step; found only the uncommitted {_names(pending)}",
            "the run was stopped while it was saving: use a checkpoint that was saved before",
        )
    return None


def _uncommitted(run: Path) -> set[int]:
    names = (entry.name.split(UNCOMMITTED)[0] for entry in run.iterdir() if UNCOMMITTED in entry.name)
    return {number for number in map(step_of, names) if number is not None}


def _best_steps(steps: dict[int, Path], taken: int) -> list[str]:
    """Which step has the highest and the lowest value of each metric that a manager recorded."""
    metrics = {number: _metrics(path) for number, path in steps.items() if path.is_dir()}
    notes = []
    for name in sorted({name for values in metrics.values() for name in values}):
        values = {number: metric[name] for number, metric in metrics.items() if name in metric}
        highest, lowest = max(values, key=values.__getitem__), min(values, key=values.__getitem__)
        notes.append(
            f"{name}: {values.get(taken, 'none')} at step {taken}, "
            f"highest {values[highest]} at step {highest}, lowest {values[lowest]} at step {lowest}"
        )
    return notes


def _metrics(step: Path) -> dict[str, float]:
    recorded, _ = read_aside(step / "metrics" / "metrics")
    inside = read_aside(step / STEP_FILE)[0].get("metrics")
    recorded |= inside if isinstance(inside, dict) else {}
    return {name: value for name, value in recorded.items() if isinstance(value, (int, float))}


def _item_name(directory: Path) -> str | None:
    return directory.name if (directory.parent / STEP_FILE).is_file() else None


def _step_above(directory: Path) -> int | None:
    return _step_alone(directory.parent if _item_name(directory) else directory)


def _step_alone(path: Path) -> int | None:
    """The step in the name of `path`, seen without its run: `run_5` may be a name, `epoch_000005` is none."""
    return step_of(path.name) if re.fullmatch(rf"((?:\w+=\d+-)?{_WORD}|.*_(?=0))?\d+", path.name) else None


def _names(entries: Iterable[Path]) -> str:
    return ", ".join(entry.name for entry in entries)


def _numbers(steps: list[int]) -> str:
    """All of a few steps, the first and the last of many."""
    if len(steps) > _SHOWN_STEPS:
        return f"{len(steps)} from {steps[0]} to {steps[-1]}"
    return ", ".join(map(str, steps))
