"""The examples of CONTRIBUTING.md: each becomes a module, is registered by one line, and is used by its name."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from cases import SAMPLES

import last_cli as last
from last_cli import formats
from last_cli.base import registry

PAGE = Path(__file__).parents[2] / "CONTRIBUTING.md"
EXAMPLE = re.compile(r"```python\n# last_cli/\S+/(\w+)\.py\n(.*?)```", re.DOTALL)


@pytest.fixture
def add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Registers an example of the page, in its table of built-ins."""
    sources = {m[1]: m[2] for m in EXAMPLE.finditer(PAGE.read_text())}
    monkeypatch.syspath_prepend(tmp_path)

    def entry(kind: registry.Kind, name: str) -> None:
        (tmp_path / f"example_{name}.py").write_text(sources[name])
        monkeypatch.setitem(registry.BUILT_IN[kind], name, f"example_{name}:{name.upper()}")
        assert registry.get(kind, name).name == name

    return entry


def test_a_criterion(add) -> None:
    add("criteria", "memory")
    report = last.score(last.load(SAMPLES / "s5-listops"), "memory", ratio=0.25)
    assert sum(int(layer.keep.sum()) for layer in report.layers if layer.keep is not None) == 96
    assert all(layer.score.max() == 1 and np.isfinite(layer.score).all() for layer in report.layers)


def test_a_task(add) -> None:
    add("tasks", "parity")
    test, again, val = (registry.get("tasks", "parity").load(split) for split in ("test", "test", "val"))
    assert test.x.shape == (256, 32) and set(test.y) == {0, 1}
    np.testing.assert_array_equal(test.x, again.x)
    assert (test.x[:] != val.x[:]).any()


def test_a_family(add, tmp_path: Path) -> None:
    add("families", "leaky")
    rng = np.random.default_rng(0)
    sizes = {"decay": (8,), "W_in": (8, 4), "W_out": (4, 8), "D": (4,)}
    leaves = {("params", "layers_0", name): rng.normal(size=shape) for name, shape in sizes.items()}
    formats.save(tmp_path / "ckpt", source=None, changed=leaves, stamp={})
    checkpoint = last.load(tmp_path / "ckpt")
    small = last.prune(checkpoint, 0.5)
    last.save(small, tmp_path / "pruned")
    assert last.load(tmp_path / "pruned").leaves["params", "layers_0", "W_out"].shape == (4, 4)
    assert last.verify(last.load(tmp_path / "pruned"), checkpoint).passed


def test_a_method(add) -> None:
    add("methods", "cheapest")
    checkpoint = last.load(SAMPLES / "s5-listops")
    removed = {}
    for name in ("cheapest", "last", "aire", "hinf"):
        report = last.prune(checkpoint, 0.3, name).report
        assert report is not None
        removed[name] = sum(layer.removed_hinf or 0 for layer in report.layers)
    assert removed["cheapest"] == min(removed.values())


def test_each_example_is_used_here() -> None:
    assert [m[1] for m in EXAMPLE.finditer(PAGE.read_text())] == ["memory", "parity", "leaky", "cheapest"]
