"""Pruned checkpoints: what is cut, what stays bit for bit, what is reported and stamped."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from random_layers import classifier, write
from random_networks import shared
from schemas import violations

import last_cli as last
from last_cli import formats
from last_cli.base.errors import UsageError
from last_cli.display.prune import prune_view
from last_cli.formats import Key

Arrays = dict[Key, np.ndarray]
SEQ = ("encoder", "layers_0", "seq")
every_family = pytest.mark.parametrize("kind", ["s5-two-directions", "s5-one-C-of-two-directions", "s4d", "s4d-pairs"])


def stored(path: Path) -> Arrays:
    return formats.read(formats.index(path))


def pruned(ck: last.Checkpoint, path: Path, ratio: float = 0.5, **options) -> last.Checkpoint:
    """Pruned, saved and opened again."""
    last.save(last.prune(ck, ratio, **options), path)
    return last.load(path)


@every_family
def test_everything_but_the_states_stays_bit_equal(kind: str, tmp_path: Path) -> None:
    extra: Arrays = {("step",): np.array([7], np.int32), ("params", "other", "table"): np.arange(6.0).reshape(2, 3)}
    arrays = classifier(kind) | extra
    small = pruned(last.load(write(tmp_path / "ckpt", arrays)), tmp_path / "pruned")
    found = stored(tmp_path / "pruned")
    assert found.keys() == arrays.keys()
    cut = {layer.leaves[n] for layer in small.layers for n in layer.units["states"].segments}
    for key, array in arrays.items():
        assert found[key].dtype == array.dtype, key
        assert key in cut or found[key].tobytes() == array.tobytes(), key


@every_family
def test_the_input_is_never_touched(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path / "ckpt", classifier(kind))
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    pruned(last.load(path), tmp_path / "pruned")
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


@every_family
def test_what_is_in_memory_is_what_is_written(kind: str, tmp_path: Path) -> None:
    small = last.prune(shared(kind), 0.4)
    last.save(small, tmp_path / "pruned")
    loaded = last.load(tmp_path / "pruned")
    assert loaded.digest == small.digest
    assert [layer.sizes for layer in loaded.layers] == [layer.sizes for layer in small.layers]
    for one, other in zip(loaded.layers, small.layers, strict=True):
        np.testing.assert_array_equal(loaded.system(one).lam, small.system(other).lam)


def test_the_output_is_a_plain_orbax_checkpoint(tmp_path: Path) -> None:
    import orbax.checkpoint

    small = last.prune(shared(), 0.5)
    last.save(small, tmp_path / "pruned")
    restored = orbax.checkpoint.PyTreeCheckpointer().restore((tmp_path / "pruned").absolute())
    for layer in small.layers:
        node = restored["params"]
        for part in layer.name.split("/"):
            node = node[part]
        for name, array in small.arrays(layer).items():
            np.testing.assert_array_equal(node[name], array)


def test_the_stamp_says_how_it_was_made(tmp_path: Path) -> None:
    ck = shared()
    small = pruned(ck, tmp_path / "pruned", 0.5, criterion="random", scope="layer", min_states=2, seed=7)
    written = json.loads((tmp_path / "pruned" / "last.json").read_text())
    assert small.stamp == {name: entry for name, entry in written.items() if name != "written"}
    (step,) = small.stamp["pruned"]
    chosen = {name: step[name] for name in ("ratio", "criterion", "scope", "min_states", "seed", "shape")}
    assert chosen == {
        "ratio": 0.5,
        "criterion": "random",
        "scope": "layer",
        "min_states": 2,
        "seed": 7,
        "shape": "ragged",
    }
    assert step["source"] == {"path": ck.source.path, "digest": ck.digest, "step": None}
    report = last.score(ck, "random", ratio=0.5, scope="layer", min_states=2, seed=7)
    for entry, layer in zip(step["layers"], report.layers, strict=True):
        assert layer.keep is not None
        assert entry == {"name": layer.name, "before": 6, "kept": np.flatnonzero(layer.keep[0]).tolist()}
    assert small.stamp["schema"] == "last.stamp/1" and small.stamp["last"] == last.__version__


def test_the_stamp_of_a_family_with_channels_lists_the_kept_states_of_each(tmp_path: Path) -> None:
    ck = shared("s4d", blocks=1)
    (entry,) = pruned(ck, tmp_path / "pruned").stamp["pruned"][0]["layers"]
    keep = last.score(ck, ratio=0.5).layers[0].keep
    assert keep is not None
    assert entry["kept"] == [np.flatnonzero(row).tolist() for row in keep]


def test_the_pruned_checkpoint_knows_its_configuration(tmp_path: Path) -> None:
    path = write(tmp_path / "ckpt", classifier())
    small = pruned(last.load(path, discretization="bilinear", activation="half_glu2"), tmp_path / "pruned")
    assert (small.config.discretization, small.origins["discretization"]) == ("bilinear", "checkpoint")
    assert (small.config.activation, small.origins["activation"]) == ("half_glu2", "checkpoint")
    assert small.origins["clip_eigs"] == "assumed"


@every_family
def test_pruning_twice_chains_the_stamps_and_counts_live_states_alone(kind: str, tmp_path: Path) -> None:
    ck = shared(kind, blocks=1)
    states = last.score(ck).states
    once = pruned(ck, tmp_path / "once", 0.5)
    assert last.score(once).states == states // 2
    twice = pruned(once, tmp_path / "twice", 0.5)
    quarter = states // 4 // ck.layers[0].sizes.groups * ck.layers[0].sizes.groups
    assert last.score(twice).states == quarter
    first, second = twice.stamp["pruned"]
    assert first == once.stamp["pruned"][0]
    assert second["source"] == {"path": str(tmp_path / "once"), "digest": once.digest, "step": None}
    assert first["source"]["digest"] == ck.digest
    report = last.prune(once, 0.5).report
    assert report is not None and report.states == (states // 2, quarter)


@every_family
def test_pruning_in_memory_twice_is_pruning_on_disk_twice(kind: str, tmp_path: Path) -> None:
    ck = shared(kind, blocks=1)
    once = pruned(ck, tmp_path / "once", 0.3)
    in_memory = last.prune(last.prune(ck, 0.3), 0.5)
    assert in_memory.digest == last.prune(once, 0.5).digest
    assert len(in_memory.stamp["pruned"]) == 2


def test_a_hundred_s4d_states_lose_exactly_the_ratio_over_ragged_channels(tmp_path: Path) -> None:
    ck = shared("s4d", blocks=1, states=25, features=4)
    small = pruned(ck, tmp_path / "pruned", 0.33, shape="ragged")
    (layer,) = last.score(small).layers
    counts = layer.live.sum(axis=1)
    assert counts.sum() == 67 and len(set(counts)) > 1
    assert layer.live.shape == (4, counts.max())


@pytest.mark.parametrize("kind", ["s4d", "s4d-pairs-two-directions"])
def test_s4d_keeps_as_many_in_every_channel_and_the_arrays_shrink(kind: str, tmp_path: Path) -> None:
    ck = shared(kind, states=10, features=4)
    report = last.prune(ck, 0.53).report
    assert report is not None and report.shape == "rectangular"
    assert report.states == (80, 36)  # the largest multiple of 4 channels not above the exact 37
    assert [layer.stored * 4 for layer in report.layers] == [layer.after for layer in report.layers]
    small = pruned(ck, tmp_path / "pruned", 0.53)
    for layer in last.score(small).layers:
        assert layer.live.all()
    assert small.stamp["pruned"][0]["shape"] == "rectangular"
    sizes = {key: math.prod(leaf.shape) for key, leaf in ck.leaves.items()}
    along = sum(sizes[y.leaves[leaf]] for y in ck.layers for leaf in y.units["states"].segments if leaf in y.leaves)
    gone = ck.parameters - small.parameters
    assert gone == along * (80 - 36) // 80
    assert last.verify(small, ck).passed


def test_the_score_keeps_what_pruning_keeps_in_either_shape() -> None:
    ck = shared("s4d", states=10, features=4)
    for shape in (None, "ragged"):
        stamp = last.prune(ck, 0.53, shape=shape).stamp["pruned"][0]
        for entry, layer in zip(stamp["layers"], last.score(ck, ratio=0.53, shape=shape).layers, strict=True):
            assert layer.keep is not None
            assert entry["kept"] == [np.flatnonzero(row).tolist() for row in layer.keep]


def test_masked_keeps_the_same_states_in_either_shape() -> None:
    ck = shared("s4d", states=10, features=4)
    for shape in (None, "ragged"):
        small, masked = (last.prune(ck, 0.53, shape=shape, masked=masked) for masked in (False, True))
        kept = [[entry["kept"] for entry in one.stamp["pruned"][0]["layers"]] for one in (small, masked)]
        assert kept[0] == kept[1]
        assert masked.report is not None and masked.report.other_shape is None


@pytest.mark.parametrize("how", [{}, {"criterion": "aire"}, {"method": "balanced"}])
def test_the_report_has_the_sizes_of_the_other_shape(how: dict[str, Any]) -> None:
    ck = shared("s4d", states=10, features=4)
    one, other = (last.prune(ck, 0.5, shape=shape, **how).report for shape in ("rectangular", "ragged"))
    assert one is not None and other is not None and one.other_shape is not None and other.other_shape is not None
    assert (one.other_shape.shape, other.other_shape.shape) == ("ragged", "rectangular")
    assert (one.other_shape.states, one.other_shape.bytes) == (other.states.after, other.bytes.after)
    assert (other.other_shape.states, other.other_shape.bytes) == (one.states.after, one.bytes.after)
    assert violations(one.as_json()) == []
    text = "\n".join(prune_view(one).lines)
    assert "shape rectangular" in text and "ragged would keep" in text


def test_the_reference_keeps_the_published_shape_unasked() -> None:
    ck = shared("s4d", states=10, features=4)
    chosen = [last.prune(ck, 0.5, "last-reference", shape=shape) for shape in (None, "ragged", "rectangular")]
    assert [one.report.shape for one in chosen if one.report] == ["ragged", "ragged", "rectangular"]
    assert chosen[0].digest == chosen[1].digest != chosen[2].digest


def test_kept_states_have_the_shape_of_their_list() -> None:
    ck = shared("s4d", states=10, features=4)
    for shape in ("rectangular", "ragged"):
        small = last.prune(ck, 0.53, shape=shape)
        report = last.prune(ck, keep=small.stamp).report
        assert report is not None and report.shape == shape


def test_shape_rectangular_changes_nothing_in_s5() -> None:
    ck = shared()
    assert last.prune(ck, 0.4, shape="rectangular").digest == last.prune(ck, 0.4).digest


def test_scope_layer_removes_the_ratio_in_each_layer() -> None:
    report = last.prune(shared(blocks=3), 0.5, scope="layer").report
    assert report is not None and [layer.after for layer in report.layers] == [3, 3, 3]


def test_min_states_keeps_that_many_in_every_layer() -> None:
    report = last.prune(shared(blocks=3), 0.95, min_states=4).report
    assert report is not None and [layer.after for layer in report.layers] == [4, 4, 4]


def test_random_pruning_is_that_of_its_seed() -> None:
    ck = shared(states=12)
    one, same, other = (last.prune(ck, 0.5, "random", seed=seed).digest for seed in (3, 3, 4))
    assert one == same != other


def test_optimizer_moments_are_cut_along(tmp_path: Path) -> None:
    arrays = classifier(blocks=1)
    for moment, sign in (("mu", 1), ("nu", -1)):
        copies = {("opt_state", "0", moment, *k[1:]): sign * a for k, a in arrays.items() if k[0] == "params"}
        arrays |= copies
    ck = last.load(write(tmp_path / "ckpt", arrays))
    small = last.prune(ck, 0.5)
    assert small.report is not None and small.report.sliced_copies == 12
    last.save(small, tmp_path / "pruned")
    found = stored(tmp_path / "pruned")
    for name in ("Lambda_re", "Lambda_im", "B", "C1", "C2", "log_step", "D"):
        own = found[("params", *SEQ, name)]
        np.testing.assert_array_equal(found[("opt_state", "0", "mu", *SEQ, name)], own)
        np.testing.assert_array_equal(found[("opt_state", "0", "nu", *SEQ, name)], -own)


def test_sizes_before_and_after_are_those_of_the_arrays(tmp_path: Path) -> None:
    arrays = classifier() | {("opt_state", "count"): np.zeros(5, np.float64)}
    ck = last.load(write(tmp_path / "ckpt", arrays))
    small = last.prune(ck, 0.5)
    last.save(small, tmp_path / "pruned")
    report, found = small.report, stored(tmp_path / "pruned")
    assert report is not None
    assert report.bytes == (sum(a.nbytes for a in arrays.values()), sum(a.nbytes for a in found.values()))
    parameters = [sum(a.size for k, a in tree.items() if k[0] == "params") for tree in (arrays, found)]
    assert report.parameters == tuple(parameters)
    assert report.states == (12, 6)
    # A state of two directions: its pole, its step, a row of B and two columns of C.
    assert parameters[0] - parameters[1] == 6 * (3 + 2 * 4 * 3)


def test_the_report_names_the_smallest_kept_score_and_bounds_what_was_removed() -> None:
    ck = shared()
    report, scored = last.prune(ck, 0.5).report, last.score(ck, ratio=0.5)
    assert report is not None
    for layer, before in zip(report.layers, scored.layers, strict=True):
        assert before.keep is not None and (norms := before.norms) is not None
        assert (layer.before, layer.after, layer.stored) == (6, before.kept, before.kept)
        assert layer.smallest_kept_score == before.scores[before.keep].min()
        assert layer.removed_hinf == pytest.approx(norms.hinf[~before.keep].sum())
        # Pairs count twice, and so do the two readouts whose norms are averaged in a state's own.
        assert layer.gain_bound == pytest.approx(4 * norms.hinf[~before.keep].sum())


def test_removing_nothing_gives_the_same_arrays() -> None:
    ck = shared()
    small = last.prune(ck, 0.0)
    assert small.digest == ck.digest and small.report is not None
    assert {layer.gain_bound for layer in small.report.layers} == {0.0}


def test_a_checkpoint_that_was_not_pruned_has_nothing_to_save(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to save"):
        last.save(shared(blocks=1), tmp_path / "out")


@pytest.mark.parametrize("kind", ["s5-two-directions", "s4d"])
def test_pruned_models_are_built_and_run(kind: str, tmp_path: Path) -> None:
    small = pruned(shared(kind, blocks=1), tmp_path / "pruned", 0.4)
    model, variables = last.build_model(small)
    assert jax.jit(model.apply)(variables, np.zeros((2, 9), np.int32)).shape == (2, 5)
