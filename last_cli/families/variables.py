"""Where a model's variables are in a checkpoint, as Flax keeps them: in collections, `params` and `batch_stats`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from last_cli.families.find import Layer
from last_cli.formats import Key


@dataclass(frozen=True)
class Collections:
    """The keys above a model's parameters and above its running statistics."""

    params: Key
    batch_stats: Key

    @classmethod
    def of(cls, layers: Sequence[Layer]) -> Collections:
        """From the place of the first layer."""
        key = next(iter(layers[0].leaves.values()))
        at = max((i for i, part in enumerate(key) if part == "params"), default=-1)
        return cls(key[: at + 1], (*key[: max(at, 0)], "batch_stats"))

    def variables(self, leaves: Mapping[Key, Any]) -> dict[Key, Any]:
        """The model's own leaves, under ("params", ...) and ("batch_stats", ...)."""
        parts = {"params": self.params, "batch_stats": self.batch_stats}
        found = {}
        for key, leaf in leaves.items():
            for name, prefix in parts.items():
                if key[: len(prefix)] == prefix and (prefix or key[0] not in parts):
                    found[(name, *key[len(prefix) :])] = leaf
        return found
