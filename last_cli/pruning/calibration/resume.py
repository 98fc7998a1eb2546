"""Sums of an unfinished measurement on disk, so that a run that was cut off goes on where it stopped.

A finished measurement stays there too: another ratio, or another method, of the same checkpoint starts from it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from last_cli.base import cache
from last_cli.base.arrays import digest
from last_cli.base.version import __version__
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.evaluation.inputs import Inputs

SECONDS = 5.0
NAME, DONE = "measurement", "done"
FORM = 2  # of the sums: raise it when they change

Sums = dict[str, dict[str, np.ndarray]]
Key = Mapping[str, Any]


def key_of(checkpoint: Checkpoint, inputs: Inputs, seed: int, variables: Any) -> Key:
    """What the sums depend on: every parameter, the configuration, the inputs and the seed."""
    return {
        "last": __version__,
        "form": FORM,
        "variables": digest(_leaves(variables)).hex(),
        "config": checkpoint.said,
        "inputs": inputs.digest,
        "seed": seed,
    }


def load(key: Key) -> tuple[Sums | None, int]:
    """The sums by layer and name, and how many sequences they are of."""
    found = cache.stored(NAME, key)
    if found is None or DONE not in found:
        return None, 0
    sums: Sums = {}
    for name, array in found.items():
        if name != DONE:
            layer, quantity = name.rsplit("/", 1)
            sums.setdefault(layer, {})[quantity] = array
    return sums, int(found[DONE])


def how_to_go_on(key: Key) -> str | None:
    """What to do after an interrupt; None where no sums were kept yet."""
    path = cache.entry(NAME, key)
    return "measurements saved; rerun the same command to continue" if path and path.exists() else None


def saver(key: Key, total: int) -> Callable[[Sums, int], None]:
    """A function that keeps the sums of so many sequences: every few seconds, and at the end if that took long."""
    began = last = time.monotonic()

    def save(sums: Sums, done: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < SECONDS and not (done == total and now - began >= SECONDS):
            return
        arrays = {f"{layer}/{name}": array for layer, parts in sums.items() for name, array in parts.items()}
        cache.store(NAME, key, arrays | {DONE: np.array(done)})
        last = time.monotonic()

    return save


def _leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The arrays of nested variables, by their paths, in the order of their names."""
    if isinstance(node, Mapping):
        for name in sorted(node):
            yield from _leaves(node[name], f"{path}/{name}")
    else:
        yield path, np.asarray(node)
