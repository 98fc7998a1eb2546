"""What `last doctor` finds out of a machine, for a bug report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from last_cli.base.version import __version__
from last_cli.results.source import Json


@dataclass(frozen=True)
class Doctor:
    """Versions, devices, cache and data.

    Attributes:
        python, platform: the interpreter's version, and the system.
        packages: versions by name; None for those that are not installed.
        devices: what JAX runs on, for example "cpu (2 devices)"; the error where it does not start.
        cache, cache_bytes: its directory, None where there is none, and what it holds.
        data: where tasks look for their files, $LAST_DATA_DIR; None where that is not set.
        settings: environment variables of `last` and JAX that are set.
    """

    python: str
    platform: str
    packages: Mapping[str, str | None]
    devices: str
    cache: str | None
    cache_bytes: int
    data: str | None
    settings: Mapping[str, str]

    def as_json(self) -> Json:
        """last.doctor/1."""
        return {
            "schema": "last.doctor/1",
            "last": __version__,
            "python": self.python,
            "platform": self.platform,
            "packages": dict(self.packages),
            "devices": self.devices,
            "cache": {"path": self.cache, "bytes": self.cache_bytes},
            "data": self.data,
            "settings": dict(self.settings),
        }


@dataclass(frozen=True)
class CacheReport:
    """What `last cache` shows.

    Attributes:
        path: the directory.
        entries: names of files, the one used last first, and their bytes.
        cleared: whether they are gone now.
    """

    path: str
    entries: Sequence[tuple[str, int]]
    cleared: bool

    @property
    def bytes(self) -> int:
        """Of all entries."""
        return sum(size for _, size in self.entries)

    def as_json(self) -> Json:
        """last.cache/1."""
        entries = [{"name": name, "bytes": size} for name, size in self.entries]
        return {
            "schema": "last.cache/1",
            "last": __version__,
            "path": self.path,
            "bytes": self.bytes,
            "cleared": self.cleared,
            "entries": entries,
        }
