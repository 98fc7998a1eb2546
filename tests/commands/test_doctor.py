"""`last doctor` and `last cache`: what a bug report needs, and what lies in the cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import Run, data, fails

import last_cli as last
from last_cli.base import cache


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of two entries, beside a file of the user's and what a killed writer left."""
    monkeypatch.setenv("LAST_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("rows", "moments"):
        cache.store(name, {"of": name}, {"x": np.ones(8)})
    folder = tmp_path / "cache" / "arrays"
    np.savez(folder / "mine.npz", x=np.ones(2))
    entry = next(iter(cache.entries()))
    (folder / f"{entry.name}.abc.part").write_bytes(b"half")
    return folder


def test_the_cache_is_listed_and_cleared_and_nothing_else(run: Run, kept: Path) -> None:
    assert run("cache", "dir")[:2] == (0, f"{kept.parent}\n")
    listed = data(run, "cache", "list")
    assert {entry["name"].split("-")[0] for entry in listed["entries"]} == {"rows", "moments"}
    assert listed["bytes"] == sum(path.stat().st_size for path in cache.entries()) and not listed["cleared"]
    code, out, err = run("cache", "clear")
    assert code == 0 and "2 entries" in out and f"removed 2 entries from {kept.parent}" in err
    assert [path.name for path in kept.iterdir()] == ["mine.npz"]
    assert data(run, "cache", "list")["entries"] == []


def test_without_a_home_there_is_no_cache(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(cache, "cache_dir", homeless)
    assert fails(run, "cache", "list") == [
        "error: there is no home directory, so nothing is kept",
        "hint: set LAST_CACHE_DIR",
    ]
    assert data(run, "doctor")["cache"] == {"path": None, "bytes": 0}


def test_the_doctor_says_what_a_bug_report_needs(run: Run, kept: Path) -> None:
    report = data(run, "doctor")
    assert (report["schema"], report["last"]) == ("last.doctor/1", last.__version__)
    assert report["packages"]["numpy"] == np.__version__ and "torch" in report["packages"]
    assert report["devices"].startswith("cpu") and report["cache"]["bytes"] > 0
    assert report["settings"]["LAST_CACHE_DIR"] == str(kept.parent)
    table = run("doctor")[1]
    assert "numpy" in table and last.__version__ in table
