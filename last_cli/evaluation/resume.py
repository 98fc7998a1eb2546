"""What an evaluation has found so far, kept on disk while it runs, for a later run to resume.

The results of finished batches lie in shards, plain .npz files in the cache directory. A shard says for each batch what
it was computed from (a digest of inputs, lengths and labels), and its file's name what by (a digest of parameters and
options). So nothing is taken up that would come out differently, and how many processes or devices there were does not
matter.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.base import cache
from last_cli.base.annotations import Float, Int, Shaped
from last_cli.base.progress import Tell

SECONDS = 5.0  # between one shard and the next
NOTHING_LEFT = "no interrupted run found; starting from the beginning"


@dataclass(frozen=True)
class Batch:
    """Answers of one batch, what the task's metric says of each, and their losses."""

    predicted: Int[np.ndarray, " n"]
    results: Shaped[np.ndarray, " n"]
    losses: Float[np.ndarray, " n"]


PARTS = tuple(part.name for part in fields(Batch))


@dataclass
class Kept:
    """One model's results on one split.

    Attributes:
        own: the same session has begun them: baseline and model are the same.
        begin: counts the seconds to the first shard.
    """

    stem: Path
    own: bool = False
    waiting: dict[int, tuple[bytes, Batch]] = field(default_factory=dict)
    begin: float = field(default_factory=time.monotonic)

    def find(self) -> dict[int, tuple[bytes, Batch]]:
        """By batch, the digest of what it was computed from, and the results. Shards that cannot be read are none."""
        found = {}
        for path in self.shards():
            arrays = cache.read_arrays(path)
            if arrays is not None and {"batch", "inputs", "rows", *PARTS} <= set(arrays):
                ends = np.cumsum(arrays["rows"])[:-1]
                parts = zip(*(np.split(arrays[name], ends) for name in PARTS), strict=True)
                for number, inputs, part in zip(arrays["batch"].tolist(), arrays["inputs"], parts, strict=True):
                    found[number] = (inputs.tobytes(), Batch(*part))
        return found

    def add(self, number: int, inputs: bytes, batch: Batch) -> None:
        """Keep a batch's results, on disk some seconds later."""
        self.waiting[number] = (inputs, batch)
        if time.monotonic() - self.begin >= SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what was not yet written, as a shard that appears whole or not at all."""
        if self.waiting:
            inputs, batches = zip(*self.waiting.values(), strict=True)
            arrays = {
                "batch": np.array(list(self.waiting), np.int64),
                "inputs": np.stack([np.frombuffer(digest, np.uint8) for digest in inputs]),
                "rows": np.array([len(batch.losses) for batch in batches], np.int64),
                **{name: np.concatenate([getattr(batch, name) for batch in batches]) for name in PARTS},
            }
            cache.write_arrays(self.stem.with_name(f"{self.stem.name}-{min(self.waiting):08d}.npz"), arrays)
            self.waiting = {}
        self.begin = time.monotonic()

    def shards(self) -> list[Path]:
        """The files, in the order of their batches."""
        return sorted(self.stem.parent.glob(f"{self.stem.name}-*.npz"))

    def clear(self) -> None:
        """Remove all shards."""
        for path in self.shards():
            path.unlink(missing_ok=True)


@dataclass
class Session:
    """An evaluation, of one model or several: what is kept until all of it is done.

    Attributes:
        resume: take up what was found before.
        tell: hears what was taken up, or could be.
    """

    resume: bool
    tell: Tell
    opened: list[Kept] = field(default_factory=list)

    def open(self, key: Mapping[str, Any]) -> Kept | None:
        """The results of the model, data and options that `key` (of JSON values) names; None where nothing is kept."""
        stem = cache.entry("partial", key)
        if stem is None:
            return None
        stem = stem.with_suffix("")
        self.opened.append(Kept(stem, own=any(kept.stem == stem for kept in self.opened)))
        return self.opened[-1]

    def how_to_go_on(self) -> str | None:
        """What to do after an interrupt; None where no batch was finished."""
        saved = any(kept.shards() for kept in self.opened)
        return "progress saved; rerun with ⟦resume⟧ to continue" if saved else None

    def clear(self) -> None:
        """All is done: nothing is left to take up."""
        for kept in self.opened:
            kept.clear()
