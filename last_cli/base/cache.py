"""A cache of computed arrays on disk, which may speed things up and never breaks them.

It grows to 20 GB (`LAST_CACHE_GB`); what was used least recently then makes room. It has a folder of its own below the
cache directory, and in that touches only what has a name as it gives them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import IO, Any

import numpy as np

from last_cli.base.files import regular
from last_cli.base.locks import hold, left
from last_cli.base.rows import Stored, stored_in
from last_cli.base.unbroken import unbroken

Arrays = dict[str, np.ndarray]
Entry = dict[str, np.ndarray | Stored]
LIMIT = 20.0

_FOLDER = "arrays"
_ENTRY = re.compile(r"[\w.-]+-[0-9a-f]{24}(-\d{8})?\.npz")
_PART = re.compile(rf"{_ENTRY.pattern}\.\w+\.part")


def cached(name: str, key: Mapping[str, Any], compute: Callable[[], Arrays]) -> Arrays:
    """The arrays of `compute()`, from disk if they were computed before for an equal `key` (of JSON values).

    An entry that cannot be read is computed anew, one that cannot be written is not kept.
    """
    arrays = stored(name, key)
    if arrays is None:
        arrays = compute()
        store(name, key, arrays)
    return arrays


def stored(name: str, key: Mapping[str, Any]) -> Arrays | None:
    """What `store` has kept for an equal `key`; None where nothing can be read."""
    path = entry(name, key)
    return read_arrays(path) if path else None


def store(name: str, key: Mapping[str, Any], arrays: Arrays) -> None:
    """Keep arrays by one rename, in the place of others of an equal `key`; where they cannot be written, nothing."""
    if path := entry(name, key):
        write_arrays(path, arrays)


def cached_rows(name: str, key: Mapping[str, Any], large: str, compute: Callable[[], Arrays]) -> Entry:
    """The same, with the array called `large` left on disk where it can be."""
    path = entry(name, key)
    if path is None:
        return {**compute()}
    found = _open(path, large)
    if found is None:
        arrays = compute()
        write_arrays(path, arrays)
        found = _open(path, large) or {**arrays}
    return found


def entry(name: str, key: Mapping[str, Any]) -> Path | None:
    """The file of a key; None where there is no home directory."""
    try:
        return cache_dir() / _FOLDER / f"{name}-{_digest(key)}.npz"
    except RuntimeError:
        return None


def cache_dir() -> Path:
    """$LAST_CACHE_DIR, else $XDG_CACHE_HOME/last, else ~/.cache/last."""
    if chosen := os.environ.get("LAST_CACHE_DIR"):
        return Path(chosen)
    if xdg := os.environ.get("XDG_CACHE_HOME"):
        return Path(xdg) / "last"
    return Path.home() / ".cache" / "last"


def entries() -> dict[Path, int]:
    """The files of the cache, the one used last first, and their bytes; nothing else in its folder is one."""
    try:
        found = [path for path in (cache_dir() / _FOLDER).iterdir() if _ENTRY.fullmatch(path.name)]
        stats = {path: path.stat() for path in found}
    except (OSError, RuntimeError):
        return {}
    return {path: stats[path].st_size for path in sorted(found, key=lambda path: -stats[path].st_mtime_ns)}


def clear() -> dict[Path, int]:
    """Remove all entries, and what killed writers left; returns those that are gone, and their bytes."""
    found = entries()
    for path in found:
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError, RuntimeError):
        _clear_parts(cache_dir() / _FOLDER)
    return found


def read_arrays(path: Path) -> Arrays | None:
    """All arrays of a file; None where it cannot be read."""
    # A damaged archive fails in many ways (zip, header, checksum), and all mean "compute it again".
    try:
        with np.load(regular(path), allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
    except Exception:
        return None
    _touch(path)
    return found


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write a file that appears whole or not at all."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear_parts(path.parent)
        with _part(path) as file:
            np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
            file.flush()
            Path(file.name).replace(path)
        _make_room(path)


@contextlib.contextmanager
def _part(path: Path) -> Iterator[IO[bytes]]:
    """A new file beside another, held by this process; it is removed at the end, unless it has another name then."""
    named = {"dir": path.parent, "prefix": f"{path.name}.", "suffix": ".part"}
    with unbroken() as heard, tempfile.NamedTemporaryFile(**named, delete=False) as file:
        hold(file.fileno())
        try:
            with heard():
                yield file
        finally:
            Path(file.name).unlink(missing_ok=True)


def _open(path: Path, large: str) -> Entry | None:
    try:
        with np.load(regular(path), allow_pickle=False) as archive:
            found: Entry = {name: archive[name] for name in archive.files if name != large}
            stored = stored_in(path, large)
            found[large] = archive[large] if stored is None else stored
    except Exception:
        return None
    _touch(path)
    return found


def _touch(path: Path) -> None:
    """Note that it was used."""
    with contextlib.suppress(OSError):
        os.utime(path)


def _make_room(new: Path) -> None:
    """Remove the entries that were used least recently, as many as are too much."""
    try:
        room = 1e9 * float(os.environ.get("LAST_CACHE_GB", LIMIT))
    except ValueError:
        room = 1e9 * LIMIT
    entries = [(path.stat(), path) for path in new.parent.iterdir() if _ENTRY.fullmatch(path.name)]
    for stat, path in sorted(entries, key=lambda entry: -entry[0].st_mtime_ns):
        room -= stat.st_size
        if room < 0 and path != new:
            path.unlink(missing_ok=True)


def _clear_parts(folder: Path) -> None:
    """Remove what killed writers left."""
    for path in folder.iterdir():
        if _PART.fullmatch(path.name):
            with left(path) as free, contextlib.suppress(OSError):
                if free:
                    path.unlink()


def fingerprint(path: Path) -> list[str | int]:
    """What tells one state of a source file from another: its path, bytes and time of change (ns)."""
    stat = path.stat()
    return [str(path.resolve()), stat.st_size, stat.st_mtime_ns]


def folder_fingerprint(folder: Path, pattern: str) -> list[str | int]:
    """The same for all files of a folder that match `pattern`, of which there may be many: path, number, digest."""
    found = sorted((entry.name, entry.stat()) for entry in os.scandir(folder) if fnmatch(entry.name, pattern))
    said = "\n".join(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in found)
    return [str(folder.resolve()), len(found), hashlib.sha256(said.encode()).hexdigest()]


def _digest(key: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]
