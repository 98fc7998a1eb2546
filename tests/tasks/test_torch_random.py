import hashlib
from typing import Any

import pytest
from recorded import random_orders

from last_cli.tasks.torch_random import TOO_LONG, random_split, randperm

# From torch 2.15 on a CPU; the last seed has more than 32 bits.
RECORDED = {
    (10, 42): [2, 6, 1, 8, 4, 5, 0, 9, 3, 7],
    (10, 0): [4, 1, 7, 5, 3, 9, 0, 8, 6, 2],
    (7, 2**32 + 5): [1, 0, 4, 2, 6, 5, 3],
    (1, 3): [0],
    (0, 3): [],
}
# The first six indices, and the digest of all as 64-bit integers: CIFAR-10, MNIST and Pathfinder are as long.
RECORDED_LONG = {
    50_000: ([37542, 44491, 216, 43688, 41558, 32245], "55ecb6cd4e1eb482"),
    60_000: ([37542, 43087, 2992, 25810, 39634, 6425], "7cd1a1e010482b25"),
    200_000: ([37542, 143173, 127710, 58234, 152906, 31060], "ee4e53fa9a9cb431"),
}


@pytest.mark.parametrize(("n", "seed"), RECORDED)
def test_recorded(n: int, seed: int) -> None:
    assert randperm(n, seed).tolist() == RECORDED[n, seed]


@pytest.mark.parametrize("n", RECORDED_LONG)
def test_recorded_at_the_lengths_of_data_sets(n: int) -> None:
    start, digest = RECORDED_LONG[n]
    order = randperm(n, 42)
    assert order[:6].tolist() == start
    assert hashlib.sha256(order.astype("<i8").tobytes()).hexdigest()[:16] == digest


@pytest.mark.parametrize("wanted", random_orders()["randperm"], ids=lambda row: f"{row['n']}-{row['seed']}")
def test_torchs_orders(wanted: dict[str, Any]) -> None:
    order = randperm(wanted["n"], wanted["seed"])
    assert order[:6].tolist() == wanted["first"]
    assert hashlib.sha256(order.astype("<i8").tobytes()).hexdigest()[:16] == wanted["digest"]


def test_torchs_random_split() -> None:
    wanted = random_orders()["random_split"]
    assert [part.tolist() for part in random_split([83, 10, 10], wanted["seed"])] == wanted["parts"]


def test_random_split_cuts_one_permutation() -> None:
    parts = random_split([7, 0, 3], 42)
    assert [part.tolist() for part in parts] == [[2, 6, 1, 8, 4, 5, 0], [], [9, 3, 7]]


@pytest.mark.parametrize("n", [-1, TOO_LONG])
def test_other_lengths_are_refused(n: int) -> None:
    with pytest.raises(ValueError, match="expected 0 to"):
        randperm(n, 0)
