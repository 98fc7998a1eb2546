"""The state of a machine and of the cache, as tables."""

from __future__ import annotations

from last_cli.base.version import __version__
from last_cli.display.sheet import Sheet
from last_cli.display.view import View, flat
from last_cli.display.words import byte_size
from last_cli.results.doctor import CacheReport, Doctor


def doctor_view(found: Doctor) -> View:
    """One row per fact."""
    rows = [["last", __version__], ["python", f"{found.python}, {found.platform}"], ["devices", found.devices]]
    rows += [[name, version or "not installed"] for name, version in found.packages.items()]
    rows += [["cache", f"{found.cache.path or 'none'}, {byte_size(found.cache.bytes)}"]]
    rows += [["data", found.data or "LAST_DATA_DIR is not set"]]
    rows += [[name, value] for name, value in found.settings.items() if name != "LAST_DATA_DIR"]
    data = found.as_json()
    records = [{"key": key, "value": value} for key, value in flat(data)]
    return View("last doctor", data, [Sheet(["item", "value"], rows, left=2)], lambda: records)


def cache_view(report: CacheReport) -> View:
    """One row per entry, and their sum."""
    data = report.as_json()
    rows = [[entry.name, byte_size(entry.bytes)] for entry in report.entries]
    total = [f"{len(rows):,} {'entry' if len(rows) == 1 else 'entries'}", byte_size(report.bytes)]
    return View("last cache", data, [Sheet(["entry", "size"], rows, total, left=1)], lambda: data["entries"])
