"""The model without some of its blocks: the others in their order, numbered anew, and its configuration."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from last_cli.base.errors import inside
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.checkpoint.network import model_spec, network_of
from last_cli.families.find import find_layers
from last_cli.families.network import Part
from last_cli.formats import Key
from last_cli.formats.settings import merged, with_settings


class Moved(Mapping[Key, np.ndarray]):
    """Arrays under other keys, or with zeros; each is read when it is asked for."""

    def __init__(
        self, keys: Mapping[Key, Key], read: Callable[[Iterable[Key]], Mapping[Key, np.ndarray]], *, zero: bool = False
    ) -> None:
        self._keys, self._read, self._zero = keys, read, zero

    def __getitem__(self, key: Key) -> np.ndarray:
        old = self._keys[key]
        array = self._read([old])[old]
        return np.zeros_like(array) if self._zero else array

    def __contains__(self, key: object) -> bool:
        """Without reading, as a Mapping's own would."""
        return key in self._keys

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def parts_of(checkpoint: Checkpoint) -> Sequence[Part]:
    """The blocks of a checkpoint's network."""
    blockwise = network_of(checkpoint).blockwise
    assert blockwise is not None
    return blockwise.parts(model_spec(checkpoint))


def new_names(checkpoint: Checkpoint, kept: Sequence[int]) -> dict[Key, Key | None]:
    """The keys that leaves get when only so many blocks stay; None of those that go."""
    prefixes = [tuple(part.prefix.split(".")) for part in parts_of(checkpoint)]
    places = {prefix: prefixes[kept.index(i)] if i in kept else None for i, prefix in enumerate(prefixes)}
    found: dict[Key, Key | None] = {}
    for key in checkpoint.leaves:
        prefix = next((key[:n] for n in range(1, len(key)) if key[:n] in places), None)
        new = None if prefix is None else places[prefix]
        found[key] = key if prefix is None else None if new is None else (*new, *key[len(prefix) :])
    return found


def shortened(checkpoint: Checkpoint, kept: Sequence[int]) -> Checkpoint:
    """The checkpoint with these blocks alone, without a stamp of it.

    Raises:
        CheckpointError, UsageError: its configuration does not fit its blocks, or cannot say how many are left.
    """
    blockwise, files = network_of(checkpoint).blockwise, checkpoint.index.config
    assert blockwise is not None
    with inside(checkpoint.index.location.path):
        changes = blockwise.shortened(model_spec(checkpoint), files, kept)
    names = new_names(checkpoint, kept)
    moved = {new: old for old, new in names.items() if new is not None}
    leaves = {new: replace(checkpoint.leaves[old], key=new) for new, old in moved.items()}
    files = with_settings(files, changes)
    first = {key: checkpoint.renamed.get(key, key) for key in checkpoint.index.leaves}
    return replace(
        checkpoint,
        index=replace(checkpoint.index, config=files),
        settings=merged(checkpoint.settings, changes),
        layers=tuple(find_layers(leaves, files)),
        leaves=leaves,
        changed=Moved(moved, checkpoint.read),
        renamed={key: None if now is None else names[now] for key, now in first.items()},
    )


def silenced(checkpoint: Checkpoint, kept: Sequence[int]) -> Checkpoint:
    """The checkpoint with zeros in all that the other blocks write to the stream, so that it goes through them."""
    gone = [part for i, part in enumerate(parts_of(checkpoint)) if i not in kept]
    names = {tuple(f"{part.prefix}.{name}".split(".")) for part in gone for name in part.writers}
    zeros = Moved({key: key for key in checkpoint.leaves if key in names}, checkpoint.read, zero=True)
    return replace(checkpoint, changed=ChainMap(zeros, checkpoint.changed))  # pyright: ignore[reportArgumentType]
