"""What every family, criterion and task keeps to. New ones inherit these tests by being in the registry."""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from data_files import WRITERS
from hypothesis import given
from hypothesis import strategies as st
from random_layers import KINDS, as_layer, fixed, only, simulate, taken

from last_cli.base import registry
from last_cli.base.errors import DataError
from last_cli.families.family import live_states, take
from last_cli.families.find import build_system
from last_cli.families.lti.system import System, impulse_energy
from last_cli.pruning import select as selection
from last_cli.pruning.criteria.criterion import scores
from last_cli.tasks.find import find

RAGGED = [name for name in KINDS if KINDS[name].system().lam.shape[0] > 1]
CRITERIA = registry.names("criteria")
SHORT = {"min_length": 5, "max_length": 30, "length": 31, "train_size": 100}

every_kind = pytest.mark.parametrize("kind", KINDS)
every_ragged_kind = pytest.mark.parametrize("kind", RAGGED)
every_criterion = pytest.mark.parametrize("criterion", CRITERIA)
every_informed_criterion = pytest.mark.parametrize("criterion", [c for c in CRITERIA if c != "random"])
every_task = pytest.mark.parametrize("task", registry.names("tasks"))


def score(criterion: str, system: System, seed: int = 0) -> np.ndarray:
    """Scores; where a network would have to run, energies of the states stand in for its gates."""
    found = registry.get("criteria", criterion)
    needed = {"horizon": 100, "gates": impulse_energy(system)}
    return scores(found, system, np.random.default_rng(seed), **{n: v for n, v in needed.items() if n == found.needs})


def keep_some(system: System, seed: int = 0) -> np.ndarray:
    """A random keep mask: at least one state, channels with none, with all, and with any number between."""
    keep = np.random.default_rng(seed).random(system.lam.shape) < 0.5
    keep[0] = True
    if len(keep) > 1:
        keep[-1] = False
    else:
        keep[0, ::2] = False
    return keep


def test_every_family_has_random_layers_to_check() -> None:
    assert {kind.family for kind in KINDS.values()} == set(registry.names("families"))


@pytest.mark.parametrize("kind", registry.BUILT_IN)
def test_everything_is_registered_under_its_own_name_with_a_summary(kind: registry.Kind) -> None:
    for name in registry.names(kind):
        found = registry.get(kind, name)
        assert found.name == name
        assert found.summary and not found.summary.endswith(".")


@every_kind
def test_a_layer_is_recognised_by_its_own_family_alone(kind: str) -> None:
    arrays = KINDS[kind].layer()[1]
    families = [registry.get("families", name) for name in registry.names("families")]
    assert [f.name for f in families if f.matches(arrays)] == [KINDS[kind].family]


@every_kind
def test_shape_and_system_agree(kind: str) -> None:
    layer, arrays = KINDS[kind].layer(states=5, features=3)
    system = build_system(layer, arrays, KINDS[kind].config)
    shape = layer.shape
    inputs = shape.features // shape.groups
    assert (shape.states, shape.features) == (5, 3)
    assert system.lam.shape == (shape.groups, shape.states)
    assert system.B.shape == (shape.groups, shape.states, inputs)
    assert system.C.shape == (shape.directions, shape.groups, inputs, shape.states)
    assert system.D.shape == (shape.features,)
    assert {a.dtype for a in (system.lam, system.B, system.C)} == {np.dtype(np.complex128)}


@every_kind
@every_criterion
def test_scores_are_finite_and_not_negative(kind: str, criterion: str) -> None:
    for seed in range(5):
        system = KINDS[kind].system(seed)
        found = score(criterion, system)
        assert found.shape == system.lam.shape
        assert np.isfinite(found).all() and (found >= 0).all()


@every_kind
@every_informed_criterion
def test_scores_follow_their_states_through_a_permutation(kind: str, criterion: str) -> None:
    layer, arrays = KINDS[kind].layer()
    rng, (groups, states) = np.random.default_rng(1), (layer.shape.groups, layer.shape.states)
    order = np.stack([rng.permutation(states) for _ in range(groups)])
    before = score(criterion, build_system(layer, arrays, KINDS[kind].config))
    moved = taken(layer.family, arrays, order, states)
    after = score(criterion, build_system(layer, moved, KINDS[kind].config))
    tolerance = 1e-12 if registry.get("criteria", criterion).dtype is np.float64 else 1e-5
    np.testing.assert_allclose(after, np.take_along_axis(before, order, axis=1), rtol=tolerance)


@every_kind
def test_taking_all_states_changes_no_bit(kind: str) -> None:
    layer, arrays = KINDS[kind].layer()
    index = np.tile(np.arange(layer.shape.states), (layer.shape.groups, 1))
    for name, where in layer.family.state_leaves.items():
        if name in arrays:
            same = take(arrays[name], where, index, layer.shape.states)
            assert (same.dtype, same.shape) == (arrays[name].dtype, arrays[name].shape)
            assert same.tobytes() == arrays[name].tobytes()


@every_kind
@pytest.mark.parametrize("seed", range(3))
def test_compacted_equals_masked(kind: str, seed: int) -> None:
    layer, arrays = KINDS[kind].layer(seed)
    config, rng = KINDS[kind].config, np.random.default_rng(seed)
    system = build_system(layer, arrays, config)
    keep = keep_some(system, seed)
    cut = taken(layer.family, arrays, selection.indices(keep), layer.shape.states)
    small = as_layer(cut)
    assert small.shape.states == keep.sum(axis=1).max()
    assert (small.shape.features, small.shape.directions) == (layer.shape.features, layer.shape.directions)
    u = rng.normal(size=(40, layer.shape.features))
    compact = simulate(build_system(small, cut, config), u)
    np.testing.assert_allclose(compact, simulate(only(system, keep), u), rtol=1e-10, atol=1e-10)


@every_ragged_kind
def test_padding_is_recognised_exactly_and_adds_nothing(kind: str) -> None:
    layer, arrays = KINDS[kind].layer()
    keep = keep_some(KINDS[kind].system())
    index = selection.indices(keep)
    cut = taken(layer.family, arrays, index, layer.shape.states)
    np.testing.assert_array_equal(live_states(layer.family, cut), index >= 0)
    system = build_system(as_layer(cut), cut, KINDS[kind].config)
    assert not system.C[:, index[:, None] < 0].any()
    np.testing.assert_array_equal(system.live_mask, index >= 0)


@every_ragged_kind
@every_criterion
def test_padding_scores_zero_and_changes_no_score(kind: str, criterion: str) -> None:
    layer, arrays = KINDS[kind].layer(states=5)
    config, groups = KINDS[kind].config, layer.shape.groups
    index = np.concatenate([np.tile(np.arange(5), (groups, 1)), np.full((groups, 2), -1)], axis=1)
    wide = taken(layer.family, arrays, index, 5)
    padded = score(criterion, build_system(as_layer(wide), wide, config))
    assert not padded[:, 5:].any()
    if criterion != "random":
        plain = score(criterion, build_system(layer, arrays, config))
        np.testing.assert_allclose(padded[:, :5], plain, rtol=1e-6)


@every_kind
def test_layers_without_padding_are_live_throughout(kind: str) -> None:
    assert KINDS[kind].system().live_mask.all()


@every_kind
def test_the_same_function_gives_the_same_system_in_jax(kind: str) -> None:
    layer, arrays = KINDS[kind].layer()
    double = KINDS[kind].system()
    traced = layer.family.system({name: jnp.asarray(a) for name, a in arrays.items()}, KINDS[kind].config)
    for name in ("lam", "B", "C", "D"):
        found, wanted = getattr(traced, name), getattr(double, name)
        assert isinstance(found, jnp.ndarray) and found.dtype in (jnp.complex64, jnp.float32)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6, err_msg=name)
    assert (traced.gain, traced.backward_lag) == (double.gain, double.backward_lag)


@every_kind
@every_criterion
def test_a_larger_ratio_keeps_a_subset(kind: str, criterion: str) -> None:
    chosen = registry.get("criteria", criterion)
    systems = [KINDS[kind].system(seed) for seed in range(3)]
    found = [score(criterion, s, seed) for seed, s in enumerate(systems)]
    live = [s.live_mask for s in systems]
    before = live
    for ratio in np.linspace(0, 0.99, 34):
        after = selection.select(found, live, float(ratio), ties=chosen.threshold)
        for smaller, larger in zip(after, before, strict=True):
            assert not (smaller & ~larger).any()
            assert smaller.any()
        before = after


@every_kind
@every_criterion
def test_ratio_zero_keeps_everything(kind: str, criterion: str) -> None:
    system = KINDS[kind].system()
    assert selection.select([score(criterion, system)], [system.live_mask], 0.0)[0].all()


@every_informed_criterion
@fixed
@given(kind=st.sampled_from(sorted(KINDS)), seed=st.integers(0, 1000))
def test_a_silent_state_scores_lowest(criterion: str, kind: str, seed: int) -> None:
    layer, arrays = KINDS[kind].layer(seed)
    states, groups = layer.shape.states, layer.shape.groups
    removed = np.random.default_rng(seed).integers(states)
    for name in (n for n in arrays if n.startswith("C")):
        silent = np.moveaxis(arrays[name], layer.family.state_leaves[name].state_axis, 0)
        silent[removed::states] = 0
    found = score(criterion, build_system(layer, arrays, KINDS[kind].config))
    assert (found[:, removed] == 0).all()
    assert (np.delete(found, removed, axis=1) > 0).all() and found.shape == (groups, states)


@every_task
@pytest.mark.parametrize("split", ["test", "val", "train"])
def test_a_split_is_the_same_whenever_it_is_made(
    task: str, split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    write_files(task, tmp_path, monkeypatch)
    for directory in ("first", "second"):
        monkeypatch.setenv("LAST_CACHE_DIR", str(tmp_path / directory))
        made.append(find(task).load(split, settings=SHORT, limit=50))
    one, other = made
    np.testing.assert_array_equal(one.x, other.x)
    np.testing.assert_array_equal(one.y, other.y)
    np.testing.assert_array_equal(one.lengths, other.lengths)
    assert (one.source, one.note, one.vocabulary) == (other.source, other.note, other.vocabulary)


@every_task
def test_labels_tokens_and_lengths_are_in_range(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(task, tmp_path, monkeypatch)
    split = find(task).load(settings=SHORT, limit=2)
    assert len(split.x) == len(split.y) == 2
    assert split.x.shape[-1 if split.tokens else 1] == split.length
    assert split.y.min() >= 0 and split.y.max() < split.classes
    if split.tokens:
        assert split.x[:].min() >= 0 and split.x[:].max() < len(split.vocabulary or ())
    if split.lengths is not None:
        assert split.lengths.shape == (split.x.shape[:-1] if split.tokens else split.y.shape)
        assert split.lengths.min() >= 1 and split.lengths.max() <= split.length
    assert split.note and split.source in ("generated", "files", "bundled")


@every_task
def test_missing_files_are_a_data_error_that_says_where_they_come_from(task: str, tmp_path: Path) -> None:
    if task in WRITERS:
        for data_dir in (tmp_path, None):
            with pytest.raises(DataError) as caught:
                find(task).load(data_dir=data_dir)
            assert caught.value.message.startswith(f"task {task}")
            assert "http" in caught.value.hint and "--data-dir" in caught.value.hint


def write_files(task: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files in the true format, for a task that makes no data of its own."""
    if task in WRITERS:
        monkeypatch.setenv("LAST_DATA_DIR", str(WRITERS[task](folder / "data")))
