import os
from pathlib import Path

import numpy as np
import pytest

from last_cli.base.cache import Arrays, cache_dir, cached, cached_rows
from last_cli.base.locks import hold
from last_cli.base.rows import Stored


class Counter:
    calls = 0

    def __call__(self) -> Arrays:
        self.calls += 1
        return {"a": np.arange(5), "b": np.array(["x", "yz"])}


def fetch(compute: Counter, key: object = 1, large: bool = False) -> None:
    asked = {"key": key}
    arrays = cached_rows("numbers", asked, "a", compute) if large else cached("numbers", asked, compute)
    assert isinstance(arrays["a"], Stored) or not large or compute.calls > 1
    arrays = {name: array[:] for name, array in arrays.items()}
    assert arrays["a"].tolist() == [0, 1, 2, 3, 4]
    assert arrays["b"].tolist() == ["x", "yz"]


def test_an_equal_key_is_computed_once(cache: Path) -> None:
    compute = Counter()
    fetch(compute)
    fetch(compute)
    assert compute.calls == 1
    fetch(compute, key=[2, "b"])
    assert compute.calls == 2
    assert [path.suffix for path in (cache / "arrays").iterdir()] == [".npz", ".npz"]


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "text", "pickle"])
def test_a_damaged_entry_is_computed_anew(cache: Path, damage: str, large: bool) -> None:
    compute = Counter()
    fetch(compute, large=large)
    (path,) = (cache / "arrays").iterdir()
    whole = path.read_bytes()
    if damage == "pickle":
        np.savez(path, a=np.array([{}, None], dtype=object))
    else:
        damaged = {
            "truncate": whole[: len(whole) // 2],
            "flip": whole.replace(np.arange(5).tobytes(), np.arange(1, 6).tobytes()),
            "empty": b"",
            "text": b"not an archive",
        }
        path.write_bytes(damaged[damage])
    fetch(compute, large=large)
    assert compute.calls == 2
    fetch(compute, large=large)
    assert compute.calls == 2


def test_an_unwritable_folder_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LAST_CACHE_DIR", str(tmp_path / "file" / "cache"))
    compute = Counter()
    fetch(compute)
    fetch(compute)
    assert compute.calls == 2


def test_a_failed_write_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", full)
    fetch(Counter())
    assert list((cache / "arrays").iterdir()) == []


def test_no_home_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("could not determine home directory")

    monkeypatch.delenv("LAST_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    fetch(Counter())


def test_where_it_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_dir() == Path(os.environ["LAST_CACHE_DIR"])
    monkeypatch.delenv("LAST_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "last"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "last"


def test_what_was_used_least_recently_makes_room(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compute = Counter()
    for key in range(3):
        fetch(compute, key=key)
    ages = dict(
        zip(sorted((cache / "arrays").iterdir(), key=lambda path: path.stat().st_mtime_ns), (3, 2, 1), strict=True)
    )
    for path, age in ages.items():
        os.utime(path, (10**9 - age, 10**9 - age))
    fetch(compute, key=0)  # the oldest, and from now on the newest
    assert compute.calls == 3
    monkeypatch.setenv("LAST_CACHE_GB", str(2.5e-9 * next(iter(ages)).stat().st_size))
    fetch(compute, key=3)
    assert len(list((cache / "arrays").iterdir())) == 2 and compute.calls == 4
    fetch(compute, key=0)
    fetch(compute, key=3)
    assert compute.calls == 4


def test_files_of_others_stay(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others = [cache / "mine.npz", cache / "arrays" / "mine.npz", cache / "arrays" / "mine.part"]
    (cache / "arrays").mkdir(parents=True)
    for path in others:
        path.write_bytes(bytes(1000))
        os.utime(path, (0, 0))
    monkeypatch.setenv("LAST_CACHE_GB", "0")
    compute = Counter()
    for key in range(2):
        fetch(compute, key=key)
    assert all(path.exists() for path in others)
    assert len(list((cache / "arrays").iterdir())) == 3


def test_what_a_killed_writer_left_is_cleared_and_no_living_ones(cache: Path) -> None:
    fetch(Counter())
    (path,) = (cache / "arrays").iterdir()
    dead, living = (path.with_name(f"{path.name}.{name}.part") for name in ("dead", "living"))
    dead.write_text("half")
    with living.open("w") as file:
        hold(file.fileno())
        fetch(Counter(), key=2)
        assert not dead.exists()
        assert living.exists()
    fetch(Counter(), key=3)
    assert not living.exists()
