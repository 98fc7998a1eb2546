"""Trees from flat keys, and digests that must never change: stamps and caches hold them."""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from last_cli.base.arrays import digest, nested
from last_cli.base.rows import Rows, stored_in

ARRAY = np.random.default_rng(0).normal(size=(7, 5, 3))


def test_flat_keys_become_a_tree() -> None:
    flat = {("a", "b", "c"): 1, ("a", "d"): 2, ("e",): 3}
    assert nested(flat) == {"a": {"b": {"c": 1}, "d": 2}, "e": 3}
    assert nested({}) == {}


def test_a_digest_is_that_of_a_line_and_the_bytes() -> None:
    said = hashlib.sha256(b"one float64 (7, 5, 3)\n" + ARRAY.tobytes() + b"bool (2,)\n\x01\x00").digest()
    assert digest([("one", ARRAY), ("", np.array([True, False]))]) == said


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12).reshape(3, 4).T,
        ARRAY[::2, 1:],
        np.float32(3),
        np.array(3.5),
        np.zeros((0, 4)),
        np.arange(9, dtype=">i2"),
        np.arange(4).astype(ml_dtypes.bfloat16),
        np.array(["x", "yz"]),
        jnp.arange(5.0),
    ],
    ids=str,
)
def test_every_kind_of_array_has_one(array: np.ndarray) -> None:
    found = np.asarray(array)
    said = f"a {found.dtype} {found.shape}\n".encode() + found.tobytes()
    assert digest([("a", array)]) == hashlib.sha256(said).digest()


def test_rows_on_disk_have_that_of_the_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("last_cli.base.rows.BLOCK", 2 * ARRAY[0].nbytes)
    np.savez(tmp_path / "a.npz", x=ARRAY)
    stored = stored_in(tmp_path / "a.npz", "x")
    assert stored is not None
    rows = Rows.of(stored, lambda part: part)
    assert digest([("", stored)]) == digest([("", rows)]) == digest([("", ARRAY)])


def test_a_large_array_is_not_copied() -> None:
    array = np.zeros((1000, 1000))
    tracemalloc.start()
    digest([("a", array)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < array.nbytes / 10
