"""Pruned checkpoints in somebody's own training code: the shapes that the public S5 code declares, and the README."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cases import SAMPLES

import last_cli as last

ROOT = Path(__file__).parents[2]
FEATURES, STATES, LAYERS = 64, 32, 4

Shapes = dict[str, tuple[int, ...]]


def public_s5(ssm_size_base: int, features: int = FEATURES) -> Shapes:
    """The parameters of `S5SSM` in the public code, two directions, conjugate symmetry, C_init other than complex."""
    P, H = ssm_size_base // 2, features
    found: Shapes = {"Lambda_re": (P,), "Lambda_im": (P,), "B": (P, H, 2), "D": (H,), "log_step": (P, 1)}
    return found | {"C1": (H, P, 2), "C2": (H, P, 2)}


def shapes(checkpoint: last.Checkpoint) -> list[Shapes]:
    """Those of each layer in a checkpoint."""
    return [{name: checkpoint.leaves[key].shape for name, key in layer.leaves.items()} for layer in checkpoint.layers]


@pytest.fixture(scope="module")
def whole() -> last.Checkpoint:
    return last.load(SAMPLES / "s5-listops")


def test_the_sample_is_of_these_shapes(whole: last.Checkpoint) -> None:
    assert shapes(whole) == [public_s5(2 * STATES)] * LAYERS


def test_masked_has_the_shapes_of_the_original(whole: last.Checkpoint) -> None:
    assert shapes(last.prune(whole, 0.33, masked=True)) == shapes(whole)


def test_by_layer_one_number_of_the_configuration_changes(whole: last.Checkpoint) -> None:
    small = last.prune(whole, 0.33, scope="layer")
    sizes = {layer.sizes.states for layer in small.layers}
    assert len(sizes) == 1 and sizes < {*range(STATES)}
    assert shapes(small) == [public_s5(2 * sizes.pop())] * LAYERS


def test_over_all_layers_each_has_a_size_of_its_own(whole: last.Checkpoint, tmp_path: Path) -> None:
    last.save(last.prune(whole, 0.33), tmp_path / "pruned")
    sizes = [layer.states for layer in last.inspect(tmp_path / "pruned").layers]
    assert len(set(sizes)) > 1
    assert shapes(last.load(tmp_path / "pruned")) == [public_s5(2 * size) for size in sizes]


def test_the_recipe_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, section = (ROOT / "README.md").read_text("utf-8").partition("## In your own training code\n")
    recipe = re.search(r"```python\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    assert recipe
    (tmp_path / "ckpt").symlink_to(SAMPLES / "s5-listops")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(recipe[1], names)
    found = names["params"]["encoder"]
    assert [found[f"layers_{i}"]["seq"]["Lambda_re"].shape for i in range(LAYERS)] == [(n,) for n in names["sizes"]]
    assert last.load("tuned").task_name == "listops"
