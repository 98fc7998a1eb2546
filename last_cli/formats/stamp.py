"""The stamp that `last` leaves in a checkpoint, and what it must look like for the rest of `last` to rely on it."""

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from last_cli.base.errors import CheckpointError
from last_cli.formats.digests import stamp_digest
from last_cli.formats.json_file import read_aside
from last_cli.formats.types import INCOMPLETE, Written, stamp_file

STAMP_SCHEMA = "last.stamp/1"
_NUMBER = (int, float)

# A dict lists keys, `*` for any; those with a question mark may be absent, or null where they are dicts like this one.
# A list holds what each of its entries must be.
_FORM: dict[str, Any] = {
    "model?": dict,
    "assumed?": [str],
    "task?": {"name": str},
    "training?": {"steps": _NUMBER, "accuracy?": {"*": _NUMBER}},
    "imported?": dict,
    "pruned?": [
        {
            "criterion": str,
            "ratio": _NUMBER,
            "source": {"path": str, "digest": str},
            "layers": [{"name": str, "kept": list, "standin?": int}],
            "target?": str,
            "method?": str,
            "gain_bound?": {"*": _NUMBER},
        }
    ],
    "written?": {"arrays": {"*": {"*": str}}, "files": {"*": str}, "stamp": str, "drawn?": [str]},
}

# What tells the file of a stamp from another `last.json`, where it cannot be read.
_SIGNS = (STAMP_SCHEMA.encode(), b'"written"')


def read_stamp(places: Iterable[Path]) -> tuple[dict[str, Any] | None, Written | None]:
    """The stamp of the first of these directories and files that has one, and the digests in it; see `stamp_file`.

    Raises:
        CheckpointError: it is not as `last` writes it; names the entry.
    """
    for place in places:
        file = stamp_file(place)
        stamp, trouble = read_aside(file)
        if trouble and any(sign in file.read_bytes() for sign in _SIGNS):
            raise CheckpointError(trouble[0].removesuffix("; passed over"), INCOMPLETE)
        if stamp:
            check_stamp(stamp, file)
            return without_digests(stamp), _written(stamp, place, file)
    return None, None


def without_digests(stamp: Mapping[str, Any]) -> dict[str, Any]:
    """A stamp as it goes on into what is made of its checkpoint: without the digests of the checkpoint itself."""
    return {key: value for key, value in stamp.items() if key != "written"}


def edited(written: Written | None) -> tuple[str, ...]:
    """A warning where somebody has edited the stamp, or damaged it."""
    if written is None or written.intact:
        return ()
    return (
        f"{written.file}: is not as `last` wrote it: it was edited or damaged; `last config` writes a "
        "configuration in, with a new digest",
    )


def renewed(stamp: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a stamp's file after an edit: where it holds digests, that of the stamp itself is made anew."""
    written = stamp.get("written")
    return {**stamp, "written": {**written, "stamp": stamp_digest(stamp)}} if written else dict(stamp)


def _written(stamp: Mapping[str, Any], root: Path, file: Path) -> Written | None:
    said = stamp.get("written")
    if not said:
        return None
    for place in (*said["arrays"], *said["files"]):
        if ".." in PurePosixPath(place).parts or place.startswith("/") or "\0" in place:
            raise CheckpointError(f"{file}: names {place!r}, which is no path in the checkpoint", INCOMPLETE)
    return Written(root, file, said["arrays"], said["files"], said["stamp"] == stamp_digest(stamp))


def is_stamp(content: Mapping[str, Any]) -> bool:
    """Whether `last` wrote this, and no trainer that has a `last.json` of its own."""
    return content.get("schema") == STAMP_SCHEMA or isinstance(content.get("written"), dict)


def check_stamp(stamp: dict[str, Any], file: Path) -> None:
    """Looks a stamp through that was read from a file.

    Raises:
        CheckpointError: it is not as `last` writes it; names the entry.
    """
    if misfit := _misfit(stamp, _FORM, ""):
        raise CheckpointError(f"{file}: not as `last` writes it: {misfit}", INCOMPLETE)


def _misfit(value: Any, form: Any, at: str) -> str | None:
    """The first thing that is not as it should be, or None."""
    kind = type(form) if isinstance(form, (dict, list)) else form
    if not isinstance(value, kind) or isinstance(value, bool):
        return f"{at or 'it'} is {type(value).__name__}"
    if isinstance(form, list):
        return next(filter(None, (_misfit(entry, form[0], f"{at}[{i}]") for i, entry in enumerate(value))), None)
    if not isinstance(form, dict):
        return None
    for key, inner in dict.fromkeys(value, form["*"]).items() if "*" in form else form.items():
        name = key.removesuffix("?")
        if name != key and (name not in value or (value[name] is None and isinstance(inner, dict))):
            continue
        where = f"{at}.{name}".lstrip(".")
        if name not in value:
            return f"{where} is missing"
        if misfit := _misfit(value[name], inner, where):
            return misfit
    return None
