"""What `last doctor` and `last cache` find out of a machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from last_cli.base.record import Record, Result


@dataclass(frozen=True, repr=False)
class CacheSize(Record):
    """The cache's directory, null where there is none, and what it holds."""

    path: str | None
    bytes: int


@dataclass(frozen=True, repr=False)
class Doctor(Result):
    """Versions, devices, cache and data, for a bug report.

    Attributes:
        python: the interpreter's version.
        platform: the system.
        packages: versions by name; null for those that are not installed.
        devices: what JAX runs on, for example "cpu (2 devices)"; the error where it does not start.
        cache: where measurements and data sets are kept, and how much that is.
        data: where tasks look for their files, $LAST_DATA_DIR; null where that is not set.
        settings: environment variables of `last` and JAX that are set.
    """

    command = "doctor"
    headline = ("python", "platform", "devices")

    python: str
    platform: str
    packages: Mapping[str, str | None]
    devices: str
    cache: CacheSize
    data: str | None
    settings: Mapping[str, str]


@dataclass(frozen=True, repr=False)
class CacheEntry(Record):
    """A file of the cache."""

    name: str
    bytes: int


@dataclass(frozen=True, repr=False)
class CacheReport(Result):
    """What `last cache` shows.

    Attributes:
        path: the directory.
        entries: its files, the one used last first.
        cleared: whether they are gone now.
    """

    command = "cache"
    headline = ("path", "bytes", "cleared")
    json_keys = ("path", "bytes", "cleared", "entries")

    path: str
    entries: Sequence[CacheEntry]
    cleared: bool

    @property
    def bytes(self) -> int:
        """Of all entries."""
        return sum(entry.bytes for entry in self.entries)
