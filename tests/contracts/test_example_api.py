"""The example of a user's own code, which pyright reads strictly, also runs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from commands import S5

SOURCE = Path(__file__).with_name("example_api.py")


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("example_api", SOURCE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pyright_reads_it_strictly() -> None:
    assert SOURCE.read_text().startswith("# pyright: strict\n")


def test_what_compiles_nothing_of_it_runs(example: ModuleType, tmp_path: Path) -> None:
    sample, out = Path(S5), tmp_path / "pruned"
    assert list(example.norms(sample)) == [f"encoder/layers_{i}/seq" for i in range(4)]
    assert example.smaller(sample, out) == sum(example.sizes(out)) == 85
    example.weights(sample, tmp_path / "tuned")
    assert example.sizes(tmp_path / "tuned") == example.sizes(out)
    assert "nothing" in example.problem(tmp_path / "nothing")
