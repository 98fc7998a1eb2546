"""The config and the stamp that lie beside a tree."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from last_cli.formats.config_files import configurations
from last_cli.formats.json_file import read_aside
from last_cli.formats.orbax.metadata import ROOT_FILE, STEP_FILE, STRINGS_FILE, TREE_FILE
from last_cli.formats.stamp import check_stamp, read_stamp
from last_cli.formats.types import Beside, Location, Written, stamp_file

# The metadata of a whole run, in the names of Orbax up to 0.9 and since.
_ROOT_FILES = ("metadata/metadata", f"metadata/{ROOT_FILE}", ROOT_FILE)
_CUSTOM_KEYS = ("custom_metadata", "custom")


def read_beside(location: Location) -> Beside:
    """The config in and beside the tree, the stamp, and a warning for each file of config that cannot be read.

    Raises:
        CheckpointError: the stamp was damaged.
    """
    config: dict[str, Any] = {}
    warnings: list[str] = []
    for name, file, custom in _files(location):
        content, trouble = read_aside(file)
        warnings += trouble
        found = _unwrap(content) if custom else content
        if found := {key: value for key, value in found.items() if not (custom and key == "last")}:
            config[name] = found
    beside, trouble = configurations(_folders(location), (STRINGS_FILE,))
    config |= {f"file:{name}": content for name, content in beside.items()}
    warnings += trouble
    stamp, written, lost = _stamp(location)
    if lost:
        what = "holds no stamp" if lost.exists() else "is not there, though `last` wrote it"
        warnings.append(f"{lost}: {what}, so that nothing is compared with its digests, nor what the copy of it says")
    return Beside(config, stamp, tuple(warnings), written, lost)


def step_directory(location: Location) -> Path:
    """The directory that holds the items of the step, or the tree itself where it stands alone."""
    return location.directory if location.item is None else location.directory.parent


def _stamp(location: Location) -> tuple[dict[str, Any] | None, Written | None, Path | None]:
    """The stamp: in a file of its own, or in the metadata of the step that Orbax keeps for its users.

    These hold a copy without digests; where it is all that is left, the file that is lost, or cannot be read, is named.
    """
    step = step_directory(location)
    run = [step.parent] if step.is_file() or location.step is not None else []
    places = dict.fromkeys((location.root, location.directory, step, *run))
    stamp, written = read_stamp(places)
    if stamp:
        return stamp, written, None
    custom = read_aside(step / STEP_FILE)[0].get("custom_metadata")
    stamp = custom.get("last") if isinstance(custom, dict) else None
    if not isinstance(stamp, dict) or not stamp:
        return None, None, None
    check_stamp(stamp, step / STEP_FILE)
    files = [stamp_file(place) for place in places]
    return stamp, None, next((file for file in files if file.exists()), files[0])


def _files(location: Location) -> Iterator[tuple[str, Path, bool]]:
    """Orbax's own files with config: what each is called, where it is, and whether to find the user's part of it."""
    step = step_directory(location)
    if not step.is_dir():
        step = step.parent
    if (step / STEP_FILE).is_file():
        yield "custom_metadata", step / STEP_FILE, True
    if location.step is not None:
        found = (step.parent / name for name in _ROOT_FILES)
        yield from (("root_metadata", file, True) for file in found if file.is_file())
    if location.item is not None:
        yield from ((f"item:{item.name}", file, False) for item in sorted(step.iterdir()) for file in _json_of(item))


def _folders(location: Location) -> list[Path]:
    """The folder of the step and that of its run; of a file, the one that it lies in."""
    step = step_directory(location)
    if step.is_file():
        return [step.parent]
    return [step] if location.step is None else [step, step.parent]


def _json_of(item: Path) -> list[Path]:
    """The file of an item that is JSON, under either of the names that Orbax has had for it; else nothing."""
    if (item / TREE_FILE).exists():
        return []
    return [file for file in (item / "metadata", item / item.name) if file.is_file()][:1]


def _unwrap(content: dict[str, Any]) -> dict[str, Any]:
    """The user's part of a metadata file of Orbax; the oldest files of a run hold nothing else."""
    for key in _CUSTOM_KEYS:
        if isinstance(content.get(key), dict):
            return content[key]
    return {} if "init_timestamp_nsecs" in content or "internal_metadata" in content else content
