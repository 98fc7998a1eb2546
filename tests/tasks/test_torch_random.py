import hashlib

import numpy as np
import pytest

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


@pytest.mark.parametrize("seed", [0, 42, 2**32 - 1, 2**40 + 7])
def test_against_torch(seed: int) -> None:
    torch = pytest.importorskip("torch")
    for n in (0, 1, 2, 3, 623, 624, 625, 5000):
        wanted = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).numpy()
        np.testing.assert_array_equal(randperm(n, seed), wanted)


def test_random_split_against_torch() -> None:
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(42)
    wanted = torch.utils.data.random_split(range(103), [83, 10, 10], generator=generator)
    assert [part.tolist() for part in random_split([83, 10, 10], 42)] == [list(part.indices) for part in wanted]


def test_random_split_cuts_one_permutation() -> None:
    parts = random_split([7, 0, 3], 42)
    assert [part.tolist() for part in parts] == [[2, 6, 1, 8, 4, 5, 0], [], [9, 3, 7]]


@pytest.mark.parametrize("n", [-1, TOO_LONG])
def test_other_lengths_are_refused(n: int) -> None:
    with pytest.raises(ValueError, match="expected 0 to"):
        randperm(n, 0)
