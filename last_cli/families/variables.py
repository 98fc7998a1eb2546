"""Where a model's variables are in a checkpoint, as Flax keeps them: in collections, `params` and `batch_stats`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from last_cli.families.copies import PARAMS, collection
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
        return cls.all_of(layers)[0]

    @classmethod
    def all_of(cls, layers: Sequence[Layer]) -> list[Collections]:
        """Those of every model that the layers stand in, such as actor and critic side by side."""
        places = dict.fromkeys(collection(next(iter(layer.leaves.values()))) for layer in layers)
        return [cls(params, (*params[:-1], "batch_stats")) for params in places]

    def holds(self, key: Key) -> bool:
        """Whether a leaf is one of the model's own."""
        return any(
            key[: len(prefix)] == prefix and (prefix or key[0] not in (PARAMS, "batch_stats"))
            for prefix in (self.params, self.batch_stats)
        )

    def variables(self, leaves: Mapping[Key, Any]) -> dict[Key, Any]:
        """The model's own leaves, under ("params", ...) and ("batch_stats", ...)."""
        parts = {PARAMS: self.params, "batch_stats": self.batch_stats}
        found = {}
        for key, leaf in leaves.items():
            for name, prefix in parts.items():
                if key[: len(prefix)] == prefix and (prefix or key[0] not in parts):
                    found[(name, *key[len(prefix) :])] = leaf
        return found
