"""What every family, target, criterion and task keeps to; methods are in test_methods. New ones inherit these tests.

All go by the registry. A new family needs a line in random_layers.KINDS besides, so that there are layers to check.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from data_files import WRITERS
from hypothesis import given
from hypothesis import strategies as st
from random_layers import ALONE, KINDS, Arrays, as_layer, fixed, leaves_with, only, simulate, taken

from last_cli.base import registry
from last_cli.base.errors import DataError
from last_cli.families.find import Layer, build_system, layer_of
from last_cli.families.lti.system import System, impulse_energy
from last_cli.families.target import cut_shape, live_units, take, zero
from last_cli.pruning.criteria.criterion import scores
from last_cli.pruning.select import indices, select
from last_cli.tasks.find import find

LAYERS = KINDS | ALONE
FOUND = {kind: LAYERS[kind].layer()[0] for kind in LAYERS}
# What is merged is no smaller layer by its tensors alone, see tests/pruning/test_merge.py.
TARGETS = [(kind, name) for kind, layer in FOUND.items() for name in layer.units if not layer.target(name).merged]
# What a family may leave out, it is not asked for.
LINEAR = [kind for kind, layer in FOUND.items() if layer.family.system is not None and "states" in layer.units]
RAGGED = [kind for kind in LINEAR if FOUND[kind].sizes.groups > 1]
CRITERIA = registry.names("criteria")
NEEDS = {"system", "live", "rng", "horizon", "sensitivity", "measured"}
SHORT = {"min_length": 5, "max_length": 30, "length": 31, "train_size": 100}

every_kind = pytest.mark.parametrize("kind", LAYERS)
every_linear_kind = pytest.mark.parametrize("kind", LINEAR)
every_target = pytest.mark.parametrize(("kind", "target"), TARGETS)
every_ragged_kind = pytest.mark.parametrize("kind", RAGGED)
# Others score no System: tests/pruning/test_quantities.py.
LINEAR_CRITERIA = [name for name in CRITERIA if "measured" not in registry.get("criteria", name).needs]
every_criterion = pytest.mark.parametrize("criterion", LINEAR_CRITERIA)
every_informed_criterion = pytest.mark.parametrize(
    "criterion", [name for name in LINEAR_CRITERIA if "rng" not in registry.get("criteria", name).needs]
)
every_task = pytest.mark.parametrize("task", registry.names("tasks"))


def score(criterion: str, system: System, seed: int = 0) -> np.ndarray:
    """Scores; where a network would have to run, energies of the states stand in for how the logits mind them."""
    given = {"system": system, "live": system.live_mask, "rng": np.random.default_rng(seed)}
    given |= {"horizon": 100, "sensitivity": impulse_energy(system)}
    return scores(registry.get("criteria", criterion), system.live_mask, given)


def keep_some(groups: int, units: int, seed: int = 0) -> np.ndarray:
    """A random keep mask: at least one unit, groups with none, with all, and with any number between."""
    keep = np.random.default_rng(seed).random((groups, units)) < 0.5
    keep[0] = True
    if len(keep) > 1:
        keep[-1] = False
    else:
        keep[0, ::2] = False
    return keep


def carried(kind: str, target: str) -> tuple[Layer, Arrays]:
    """A random layer, and those of its leaves that carry units."""
    layer, arrays = LAYERS[kind].layer()
    return layer, {name: arrays[name] for name in layer.units[target].segments}


def test_every_family_has_random_layers_to_check() -> None:
    assert {kind.family for kind in LAYERS.values()} == set(registry.names("families"))


@pytest.mark.parametrize("kind", ["families", "criteria", "methods", "tasks"])
def test_everything_is_registered_under_its_own_name_with_a_summary(kind: registry.Kind) -> None:
    for name in registry.names(kind):
        found = registry.get(kind, name)
        assert found.name == name
        assert found.summary and not found.summary.endswith(".")


@every_kind
def test_a_layer_is_recognised_by_its_own_family_alone(kind: str) -> None:
    arrays = LAYERS[kind].layer()[1]
    families = [registry.get("families", name) for name in registry.names("families")]
    assert [f.name for f in families if f.matches(arrays)] == [LAYERS[kind].family]


@every_linear_kind
def test_shape_and_system_agree(kind: str) -> None:
    layer, arrays = LAYERS[kind].layer(states=5, features=3)
    system = build_system(layer, arrays, LAYERS[kind].config)
    shape = layer.sizes
    inputs, outputs = shape.features // shape.groups, (shape.outputs or shape.features) // shape.groups
    assert (shape.states, shape.features) == (5, 3)
    assert (layer.units["states"].groups, layer.units["states"].count) == system.lam.shape
    assert system.lam.shape == (shape.groups, shape.states)
    assert system.B.shape == (shape.groups, shape.states, inputs)
    assert system.C.shape == (shape.directions, shape.groups, outputs, shape.states)
    assert system.D.shape == (shape.groups * outputs,)
    assert {a.dtype for a in (system.lam, system.B, system.C)} == {np.dtype(np.complex128)}


@every_linear_kind
def test_the_same_function_gives_the_same_system_in_jax(kind: str) -> None:
    layer, arrays = LAYERS[kind].layer()
    double = LAYERS[kind].system()
    assert layer.family.system is not None
    traced = layer.family.system({name: jnp.asarray(a) for name, a in arrays.items()}, LAYERS[kind].config)
    for name in ("lam", "B", "C", "D"):
        found, wanted = getattr(traced, name), getattr(double, name)
        assert isinstance(found, jnp.ndarray) and found.dtype in (jnp.complex64, jnp.float32)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6, err_msg=name)
    assert (traced.gain, traced.backward_lag) == (double.gain, double.backward_lag)


@pytest.mark.parametrize("kind", [kind for kind in LINEAR if FOUND[kind].family.with_readouts])
def test_with_readouts_is_the_inverse_of_how_C_enters(kind: str) -> None:
    layer, arrays = LAYERS[kind].layer()
    assert layer.family.with_readouts is not None
    system = build_system(layer, arrays, LAYERS[kind].config)
    same = layer.family.with_readouts(arrays, system.C)
    assert same.keys() == leaves_with(layer, "readout")
    for name, array in same.items():
        assert array.astype(arrays[name].dtype).tobytes() == arrays[name].tobytes()
    other = layer.family.with_readouts(arrays, 2j * system.C)
    np.testing.assert_allclose(build_system(layer, {**arrays, **other}, LAYERS[kind].config).C, 2j * system.C)


@pytest.mark.parametrize("kind", [kind for kind in LINEAR if FOUND[kind].family.with_system])
def test_with_system_is_the_inverse_of_system(kind: str) -> None:
    layer, arrays = LAYERS[kind].layer(seed=1)
    config = LAYERS[kind].config
    assert layer.family.with_system is not None
    doubled = {name: array.astype(np.float64) for name, array in arrays.items()}
    other = build_system(*LAYERS[kind].layer(seed=2), config)
    # Other poles at the clip would be beyond it with these step sizes.
    for wanted in (build_system(layer, arrays, config), *([] if config.clip_eigs else [other])):
        new = layer.family.with_system(doubled, wanted, config)
        assert {name: array.shape for name, array in new.items()} == {name: arrays[name].shape for name in new}
        found = build_system(layer, doubled | new, config)
        np.testing.assert_allclose(found.lam, wanted.lam, rtol=1e-9)
        np.testing.assert_allclose(
            np.einsum("rgkn,gnm->rgknm", found.C, found.B), np.einsum("rgkn,gnm->rgknm", wanted.C, wanted.B), rtol=1e-6
        )


@every_target
def test_taking_all_units_changes_no_bit(kind: str, target: str) -> None:
    layer, arrays = carried(kind, target)
    units = layer.units[target]
    index = np.tile(np.arange(units.count), (units.groups, 1))
    for name, where in units.segments.items():
        same = take(arrays[name], where, index, units.count)
        assert (same.dtype, same.shape) == (arrays[name].dtype, arrays[name].shape)
        assert same.tobytes() == arrays[name].tobytes()


@every_target
@pytest.mark.parametrize("seed", range(3))
def test_what_is_left_of_a_layer_is_a_layer_of_so_many_units(kind: str, target: str, seed: int) -> None:
    layer, arrays = LAYERS[kind].layer()
    units, index = layer.units[target], indices(keep_some(layer.units[target].groups, layer.units[target].count, seed))
    cut = taken(layer, arrays, index, target)
    small = layer_of(layer.name, layer.family, layer.leaves, {name: a.shape for name, a in cut.items()})
    assert (small.units[target].groups, small.units[target].count) == index.shape
    for name, where in units.segments.items():
        assert cut[name].dtype == arrays[name].dtype
        kept = cut_shape(arrays[name].shape, where, (units.groups, units.count), index.shape[1])
        assert cut[name].shape == kept
    # To take some of what was taken is to take those at once.
    some = np.arange(index.shape[1])[None, ::-2].repeat(units.groups, axis=0)
    for name, array in taken(small, cut, some, target).items():
        assert array.tobytes() == taken(layer, arrays, index[:, ::-2], target)[name].tobytes()


@every_target
def test_silenced_units_are_recognised_exactly(kind: str, target: str) -> None:
    layer, arrays = LAYERS[kind].layer()
    units = layer.units[target]
    keep = keep_some(units.groups, units.count)
    segments = units.segments
    silent = {n: zero(a, segments[n], ~keep) if n in segments else a for n, a in arrays.items()}
    np.testing.assert_array_equal(live_units(units, silent), keep)
    assert live_units(units, arrays) is None
    for name in arrays.keys() - leaves_with(layer, "input", target) - leaves_with(layer, "readout", target):
        assert silent[name].tobytes() == arrays[name].tobytes()


@every_linear_kind
@pytest.mark.parametrize("seed", range(3))
def test_compacted_equals_masked(kind: str, seed: int) -> None:
    layer, arrays = LAYERS[kind].layer(seed)
    config, units = LAYERS[kind].config, layer.units["states"]
    system = build_system(layer, arrays, config)
    keep = keep_some(units.groups, units.count, seed)
    cut = taken(layer, arrays, indices(keep))
    small = as_layer(cut)
    assert small.sizes == replace(layer.sizes, states=int(keep.sum(axis=1).max()))
    u = np.random.default_rng(seed).normal(size=(40, layer.sizes.features))
    wanted = simulate(only(system, keep), u)
    np.testing.assert_allclose(simulate(build_system(small, cut, config), u), wanted, rtol=1e-10, atol=1e-10)
    silent = {n: zero(a, units.segments[n], ~keep) if n in units.segments else a for n, a in arrays.items()}
    masked = build_system(layer, silent, config)
    np.testing.assert_array_equal(masked.live_mask, keep)
    np.testing.assert_allclose(simulate(masked, u), wanted, rtol=1e-10, atol=1e-10)


@every_ragged_kind
def test_padding_is_recognised_exactly_and_adds_nothing(kind: str) -> None:
    layer, arrays = LAYERS[kind].layer()
    index = indices(keep_some(*LAYERS[kind].system().lam.shape))
    cut = taken(layer, arrays, index)
    small = as_layer(cut)
    np.testing.assert_array_equal(live_units(small.units["states"], cut), index >= 0)
    system = build_system(small, cut, LAYERS[kind].config)
    assert not system.C[:, index[:, None] < 0].any()
    np.testing.assert_array_equal(system.live_mask, index >= 0)


@every_linear_kind
def test_layers_without_padding_are_live_throughout(kind: str) -> None:
    assert LAYERS[kind].system().live_mask.all()


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_criterion_needs_and_scores_what_there_is(criterion: str) -> None:
    found = registry.get("criteria", criterion)
    assert set(found.needs) <= NEEDS
    assert set(found.targets) <= {target for _, target in TARGETS}  # none: it scores any


@every_linear_kind
@every_criterion
def test_scores_are_finite_and_not_negative(kind: str, criterion: str) -> None:
    for seed in range(5):
        system = LAYERS[kind].system(seed)
        found = score(criterion, system)
        assert found.shape == system.lam.shape
        assert np.isfinite(found).all() and (found >= 0).all()


@every_linear_kind
@every_informed_criterion
def test_scores_follow_their_states_through_a_permutation(kind: str, criterion: str) -> None:
    layer, arrays = LAYERS[kind].layer()
    rng, (groups, states) = np.random.default_rng(1), (layer.sizes.groups, layer.sizes.states)
    order = np.stack([rng.permutation(states) for _ in range(groups)])
    before = score(criterion, build_system(layer, arrays, LAYERS[kind].config))
    after = score(criterion, build_system(layer, taken(layer, arrays, order), LAYERS[kind].config))
    tolerance = 1e-12 if registry.get("criteria", criterion).dtype is np.float64 else 1e-5
    np.testing.assert_allclose(after, np.take_along_axis(before, order, axis=1), rtol=tolerance)


@every_ragged_kind
@every_criterion
def test_padding_scores_zero_and_changes_no_score(kind: str, criterion: str) -> None:
    layer, arrays = LAYERS[kind].layer(states=5)
    config, groups = LAYERS[kind].config, layer.sizes.groups
    index = np.concatenate([np.tile(np.arange(5), (groups, 1)), np.full((groups, 2), -1)], axis=1)
    wide = taken(layer, arrays, index)
    padded = score(criterion, build_system(as_layer(wide), wide, config))
    assert not padded[:, 5:].any()
    if "rng" not in registry.get("criteria", criterion).needs:
        plain = score(criterion, build_system(layer, arrays, config))
        np.testing.assert_allclose(padded[:, :5], plain, rtol=1e-6)


@every_informed_criterion
@fixed
@given(kind=st.sampled_from(LINEAR), seed=st.integers(0, 1000))
def test_a_silent_state_scores_lowest(criterion: str, kind: str, seed: int) -> None:
    layer, arrays = LAYERS[kind].layer(seed)
    units = layer.units["states"]
    removed = np.arange(units.count) == np.random.default_rng(seed).integers(units.count)
    silent = np.tile(removed, (units.groups, 1))
    for name in leaves_with(layer, "readout"):
        arrays[name] = zero(arrays[name], units.segments[name], silent)
    found = score(criterion, build_system(layer, arrays, LAYERS[kind].config))
    assert found.shape == silent.shape
    assert (found[silent] == 0).all() and (found[~silent] > 0).all()


@every_linear_kind
@every_criterion
def test_a_larger_ratio_keeps_a_subset_and_none_keeps_everything(kind: str, criterion: str) -> None:
    chosen = registry.get("criteria", criterion)
    systems = [LAYERS[kind].system(seed) for seed in range(3)]
    found = [score(criterion, s, seed) for seed, s in enumerate(systems)]
    live = before = [s.live_mask for s in systems]
    assert all(mask.all() for mask in select(found, live, 0.0, ties=chosen.ties))
    for ratio in np.linspace(0, 0.99, 34):
        after = select(found, live, float(ratio), ties=chosen.ties)
        for smaller, larger in zip(after, before, strict=True):
            assert not (smaller & ~larger).any()
            assert smaller.any()
        before = after


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
            assert "http" in caught.value.hint and "data_dir" in caught.value.hint


def write_files(task: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files in the true format, for a task that makes no data of its own."""
    if task in WRITERS:
        monkeypatch.setenv("LAST_DATA_DIR", str(WRITERS[task](folder / "data")))
