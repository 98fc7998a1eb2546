"""From the path that a user names to a tree, in whichever format lies there; or what is said where there is none."""

from itertools import islice
from pathlib import Path
from typing import NoReturn

from last_cli.base.errors import CheckpointError
from last_cli.base.words import suggestion
from last_cli.formats.format import all_formats
from last_cli.formats.remote import copy_command, remote_url
from last_cli.formats.sniff import FOREIGN, refuse_file
from last_cli.formats.types import STAMP_FILE, Location

# How many entries of each depth are looked at for a checkpoint to point to.
_LOOK_BELOW = 500


def locate(path: Path | str, step: int | None = None, item: str | None = None) -> Location:
    """Finds the tree below a path; for a run of steps, of its newest committed step.

    Args:
        path: a run, a step, an item, a bare tree or a file.
        step: another step of a run.
        item: one of several trees of a step.

    Raises:
        CheckpointError: there is no such checkpoint, or several that the arguments do not tell apart.
    """
    given = Path(path)
    if url := remote_url(path):
        raise CheckpointError(f"{url}: remote paths are not read", f"copy it here and name that: {copy_command(url)}")
    try:
        if not given.absolute().exists():
            raise CheckpointError(f"{given}: no such file or directory", f"{_like(given.absolute())}check the path")
        for format in all_formats():
            if found := format.locate(given, step, item):
                return _as_asked(found, step, item)
        _refuse(given, given.absolute())
    except OSError as error:
        raise CheckpointError(
            f"{error.filename}: cannot be read ({error.strerror})", "check its permissions"
        ) from error


def _like(missing: Path) -> str:
    """The neighbour that a misspelt name may mean, as the start of a hint."""
    folder = missing.parent
    beside = islice(folder.iterdir(), _LOOK_BELOW) if folder.is_dir() else ()
    return suggestion(missing.name, [entry.name for entry in beside])


def _as_asked(found: Location, step: int | None, item: str | None) -> Location:
    """One tree, which neither `step` nor `item` must tell apart from others."""
    if step is not None and step != found.step:
        raise CheckpointError(
            f"{found.path} is one checkpoint, not a run of steps", "leave ⟦step⟧ out, or name the directory of the run"
        )
    if item is not None and item != found.item:
        raise CheckpointError(f"{found.path}: has no items, so no item {item!r}", "leave ⟦item⟧ out")
    return found


def _refuse(given: Path, here: Path) -> NoReturn:
    if here.is_file():
        refuse_file(here)
    entries = sorted(entry for entry in here.iterdir() if entry.name != STAMP_FILE)
    if not entries:
        raise CheckpointError(f"{given}: empty directory", "name the directory that holds the checkpoint")
    for entry in entries:
        if entry.is_file() and entry.suffix in FOREIGN:
            refuse_file(entry)
    known = "; nor ".join(f"{format.title}: no {format.signs}" for format in all_formats())
    raise CheckpointError(f"{given}: not {known}", _hint_below(here))


def _hint_below(directory: Path) -> str:
    for pattern in ("*", "*/*", "*/*/*"):
        for below in sorted(islice(directory.glob(pattern), _LOOK_BELOW)):
            if below.is_dir() and any(format.is_below(below) for format in all_formats()):
                return f"there is a checkpoint below it: {below}"
    return "name the directory that Orbax or Flax wrote"
