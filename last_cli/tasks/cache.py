"""A cache of computed arrays on disk, which may speed things up and never breaks them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


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
    path = _path(name, key)
    return _read(path) if path else None


def store(name: str, key: Mapping[str, Any], arrays: Arrays) -> None:
    """Keep arrays by one rename, in the place of others of an equal `key`; where they cannot be written, nothing."""
    if path := _path(name, key):
        _write(path, arrays)


def cache_dir() -> Path:
    """$LAST_CACHE_DIR, else $XDG_CACHE_HOME/last, else ~/.cache/last."""
    if chosen := os.environ.get("LAST_CACHE_DIR"):
        return Path(chosen)
    if xdg := os.environ.get("XDG_CACHE_HOME"):
        return Path(xdg) / "last"
    return Path.home() / ".cache" / "last"


def fingerprint(path: Path) -> list[str | int]:
    """What tells one state of a source file from another: its path, bytes and time of change (ns)."""
    stat = path.stat()
    return [str(path.resolve()), stat.st_size, stat.st_mtime_ns]


def folder_fingerprint(folder: Path, pattern: str) -> list[str | int]:
    """The same for all files of a folder that match `pattern`, of which there may be many: path, number, digest."""
    found = sorted((entry.name, entry.stat()) for entry in os.scandir(folder) if fnmatch(entry.name, pattern))
    said = "\n".join(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in found)
    return [str(folder.resolve()), len(found), hashlib.sha256(said.encode()).hexdigest()]


def _path(name: str, key: Mapping[str, Any]) -> Path | None:
    try:
        return cache_dir() / f"{name}-{_digest(key)}.npz"
    except RuntimeError:  # there is no home directory
        return None


def _digest(key: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]


def _read(path: Path) -> Arrays | None:
    # A damaged archive fails in many ways (zip, header, checksum), and all mean "compute it again".
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception:
        return None


def _write(path: Path, arrays: Arrays) -> None:
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            temporary = Path(file.name)
            np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
        temporary.replace(path)
    except OSError:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()
