"""Copies, factored moments and caches of a pruned checkpoint: cut with the layers, refused, or left out when asked."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from random_layers import s5_arrays

import last_cli as last
from last_cli import formats
from last_cli.base.arrays import nested
from last_cli.base.errors import CheckpointError, UsageError
from last_cli.formats import Key
from last_cli.formats.msgpack import pack_msgpack
from last_cli.pruning.cut import Cut, Cuts

Arrays = dict[Key, np.ndarray]
STATES = 6


def tree(*root: str, states: int = STATES, features: int = 4, layers: int = 2, seed: int = 0) -> Arrays:
    """S5 layers of one direction and a head, at a root."""
    rng = np.random.default_rng(seed)
    arrays: Arrays = {(*root, "head", "kernel"): rng.normal(size=(features, 3)).astype(np.float32)}
    for i in range(layers):
        own = s5_arrays(rng, states, features, "C").items()
        arrays |= {(*root, f"layers_{i}", "seq", name): array for name, array in own}
    return arrays


def stored(path: Path, arrays: Arrays) -> last.Checkpoint:
    """A checkpoint of these arrays."""
    path.write_bytes(pack_msgpack(nested(arrays)))
    return last.load(path)


def test_asking_which_arrays_change_reads_none() -> None:
    def read(keys: Iterable[Key]) -> Arrays:
        raise AssertionError(f"{list(keys)} were read")

    cuts = Cuts({("C",): Cut((), np.ones((1, STATES), bool))}, read)
    assert ("C",) in cuts and ("D",) not in cuts


@pytest.mark.parametrize("root", ["target_params", "opt_state/0/trace", "best/params"])
def test_copies_lose_the_states_that_the_parameters_lose(tmp_path: Path, root: str) -> None:
    above = tuple(root.split("/"))
    small = last.prune(stored(tmp_path / "ckpt.msgpack", tree("params") | tree(*above, seed=1)), 0.5)
    assert small.report is not None
    assert [layer.name for layer in small.layers] == ["layers_0/seq", "layers_1/seq"]
    own, copy = (
        {k[len(at) :]: f.shape for k, f in small.leaves.items() if k[: len(at)] == at} for at in (("params",), above)
    )
    assert own == copy and small.report.sliced_copies == 10
    assert any(root.removesuffix("/params") in line for line in small.report.warnings) == ("opt_state" not in root)


@pytest.mark.parametrize(("states", "features"), [(8, 4), (4, 6), (200, 150)])
def test_factored_moments_lose_the_states_too(tmp_path: Path, states: int, features: int) -> None:
    arrays, row, column = tree("params", states=states, features=features, layers=1), "v_row", "v_col"
    B = arrays["params", "layers_0", "seq", "B"]
    second, largest = np.argsort(B.shape)[-2:]
    place = ("layers_0", "seq", "B")
    arrays |= {
        ("opt_state", "0", row, *place): B.mean(axis=largest),
        ("opt_state", "0", column, *place): B.mean(axis=second),
        ("opt_state", "0", "v", *place): np.zeros(1, np.float32),
    }
    small = last.prune(stored(tmp_path / "ckpt.msgpack", arrays), 0.2)
    new = small.leaves["params", *place].shape
    assert new[0] < states
    assert small.leaves["opt_state", "0", row, *place].shape == tuple(np.delete(new, largest))
    assert small.leaves["opt_state", "0", column, *place].shape == tuple(np.delete(new, second))
    last.save(small, tmp_path / "small")
    keys = [("opt_state", "0", name, *place) for name in (row, column)]
    written = last.load(tmp_path / "small").read(keys)
    assert [written[key].shape for key in keys] == [small.leaves[key].shape for key in keys]


def test_moments_that_would_be_factored_otherwise_are_refused(tmp_path: Path) -> None:
    arrays = tree("params", states=200, features=150, layers=1)
    B = arrays["params", "layers_0", "seq", "B"]
    arrays["opt_state", "v_row", "layers_0", "seq", "B"] = B.mean(axis=0)
    arrays["opt_state", "v_col", "layers_0", "seq", "B"] = B.mean(axis=1)
    with pytest.raises(CheckpointError, match=r"opt_state/v_row/layers_0/seq/B .*and 1 more") as caught:
        last.prune(stored(tmp_path / "ckpt.msgpack", arrays), 0.5)
    assert "drop" in caught.value.args[1] and "opt_state" in caught.value.args[1]


CACHE: Arrays = {
    ("prime", "layers_0", "seq", "ssm", "0"): np.zeros(STATES, np.complex64),
    ("prime", "layers_0", "seq", "ssm", "1"): np.zeros((STATES, 4), np.complex64),
}


@pytest.mark.parametrize("masked", [False, True])
def test_a_cache_of_decoding_is_refused_by_name(tmp_path: Path, masked: bool) -> None:
    checkpoint = stored(tmp_path / "ckpt.msgpack", tree("params") | CACHE)
    with pytest.raises(CheckpointError, match=r"prime/layers_0/seq/ssm/0 \(6,\) and 1 more array: along the 6 states"):
        last.prune(checkpoint, 0.5, masked=masked)


def test_hidden_states_of_complex_numbers_are_refused(tmp_path: Path) -> None:
    arrays = tree("params") | {("carry", "0"): np.zeros((8, STATES), np.complex64)}
    with pytest.raises(CheckpointError, match="carry/0"):
        last.prune(stored(tmp_path / "ckpt.msgpack", arrays), 0.5)


def outside(shape: tuple[int, ...], *key: str) -> Arrays:
    return {key: np.zeros(shape, np.float32)}


@pytest.mark.parametrize(
    "extra",
    [
        outside((STATES, 4, 2), "opt_state", "0", "mu", "layers_1/seq/B"),
        outside((STATES,), "opt_state", "0", "nu", "params.layers_0.seq.log_step"),
        outside((sum(array.size for array in tree("params").values()),), "opt_state", "0", "mu"),
        outside((2, STATES), "carry", "layers_0", "re"),
        outside((1, STATES, 2), "rnn_state", "0"),
        outside((STATES, 2), "params", "layers_0", "x0"),
    ],
    ids=lambda extra: "/".join(next(iter(extra))),
)
def test_joined_names_rows_of_all_parameters_and_real_states_are_refused(tmp_path: Path, extra: Arrays) -> None:
    with pytest.raises(CheckpointError, match="nothing says for certain how to cut it"):
        last.prune(stored(tmp_path / "ckpt.msgpack", tree("params") | extra), 0.5)


@pytest.mark.parametrize("shape", [(STATES,), (5, 4), (STATES, 5)])
def test_histories_and_statistics_stay_as_they_are(tmp_path: Path, shape: tuple[int, ...]) -> None:
    arrays = tree("params") | outside(shape, "metrics", "loss")
    assert last.prune(stored(tmp_path / "ckpt.msgpack", arrays), 0.5).leaves["metrics", "loss"].shape == shape


@pytest.mark.parametrize("glob", ["prime", "pri*", "prime/layers_*"])
def test_what_is_dropped_is_not_in_the_output_and_stands_in_its_stamp(tmp_path: Path, glob: str) -> None:
    checkpoint = stored(tmp_path / "ckpt.msgpack", tree("params") | tree("opt_state", "mu") | CACHE)
    small = last.prune(checkpoint, 0.5, drop=[glob])
    last.save(small, tmp_path / "small")
    found = last.load(tmp_path / "small")
    assert {key[0] for key in found.leaves} == {"params", "opt_state"}
    assert found.stamp["pruned"][0]["dropped"] == ["prime"]
    assert last.verify(found, checkpoint).passed


def test_what_is_dropped_is_no_leaf_that_orbax_restores(tmp_path: Path) -> None:
    import orbax.checkpoint as ocp

    formats.save(tmp_path / "ckpt", source=None, changed=tree("params") | tree("opt_state", "mu") | CACHE, stamp={})
    last.save(last.prune(tmp_path / "ckpt", 0.5, drop=["opt_state", "prime"]), tmp_path / "small")
    assert last.load(tmp_path / "small").stamp["pruned"][0]["dropped"] == ["opt_state", "prime"]
    restored = ocp.StandardCheckpointer().restore((tmp_path / "small").absolute())
    assert set(restored) == {"params"}


@pytest.mark.parametrize(
    ("glob", "said"), [("nothing", "names nothing"), ("params", "parameter"), ("head", "parameter")]
)
def test_parameters_are_not_dropped_and_typos_are_named(tmp_path: Path, glob: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        last.prune(stored(tmp_path / "ckpt.msgpack", tree("params") | CACHE), 0.5, drop=[glob])


def test_parameters_of_two_models_are_counted_together(tmp_path: Path) -> None:
    checkpoint = stored(tmp_path / "ckpt.msgpack", tree("actor", "params") | tree("critic", "params", seed=1))
    assert checkpoint.parameters == sum(int(np.prod(leaf.shape)) for leaf in checkpoint.leaves.values())


def test_verify_does_not_pass_an_array_that_was_left_at_the_old_size(tmp_path: Path) -> None:
    small = last.prune(stored(tmp_path / "ckpt.msgpack", tree("params")), 0.5)
    last.save(small, tmp_path / "small")
    arrays = last.load(tmp_path / "small").read(small.leaves) | CACHE
    (tmp_path / "small" / "ckpt.msgpack").write_bytes(pack_msgpack(nested(arrays)))
    report = last.verify(tmp_path / "small", stored(tmp_path / "with.msgpack", tree("params") | CACHE))
    assert not report.passed
    assert any("hold states still; first: prime" in check.seen for check in report.checks)
