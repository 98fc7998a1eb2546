"""Which tensor of a file is which leaf of a checkpoint: what an import stores, and an export reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from last_cli.base.errors import CheckpointError
from last_cli.formats import Key

COPIES: Key = ("imported",)
"""Below this key an import keeps originals that cannot be computed back; they are pruned with what they follow."""


def copy_key(name: str, node: Key, leaf: str) -> Key:
    """Where the original `name` of a layer lies: its key ends like that of the leaf that it follows."""
    return (*COPIES, name, *(node[1:] if node[0] == "params" else node), leaf)


@dataclass(frozen=True)
class Entry:
    """One tensor of the file: its name, shape and dtype there, and the leaves that hold it here.

    `kind` is "array", or in msgpack trees "python" or "numpy" (scalars), "none", "string" or "empty"; `value` has key
    and value of an entry that no leaf holds, and the key of one that lies elsewhere.
    """

    source: str
    targets: tuple[Key, ...]
    shape: tuple[int, ...]
    dtype: str
    note: str = ""
    kind: str = "array"
    value: Any = None


@dataclass(frozen=True)
class LayerMap:
    """One SSM layer: its layout in the file, its node in the tree, and the file's name for each role in it."""

    layout: str
    node: Key
    names: Mapping[str, str]
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class KeyMap:
    """All of it.

    Attributes:
        format: "safetensors", "torch" or "msgpack".
        wrapper: the key around a state dict.
        said: what the import itself found out of the model, as in a stamp: an export that knows no more adds nothing.
    """

    format: str
    entries: tuple[Entry, ...]
    layers: tuple[LayerMap, ...] = ()
    wrapper: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    said: Mapping[str, Any] = field(default_factory=dict)

    def as_stamp(self) -> dict[str, Any]:
        """As JSON, for `stamp["imported"]`."""
        return {
            "format": self.format,
            "wrapper": self.wrapper,
            "metadata": dict(self.metadata),
            **({"said": dict(self.said)} if self.said else {}),
            "layers": [
                {"layout": m.layout, "node": list(m.node), "names": dict(m.names), "options": dict(m.options)}
                for m in self.layers
            ],
            "keys": [_entry_as_json(entry) for entry in self.entries],
        }

    @classmethod
    def from_stamp(cls, stamp: Mapping[str, Any]) -> KeyMap | None:
        """The key map of a checkpoint's stamp; None where it was not imported.

        Raises:
            CheckpointError: the stamp was edited, so that it is no key map.
        """
        if "imported" not in stamp:
            return None
        found = stamp["imported"]
        try:
            return cls(
                format=found["format"],
                entries=tuple(_entry_from_json(entry) for entry in found["keys"]),
                layers=tuple(
                    LayerMap(m["layout"], tuple(m["node"]), dict(m["names"]), dict(m["options"]))
                    for m in found["layers"]
                ),
                wrapper=found["wrapper"],
                metadata=dict(found["metadata"]),
                said=dict(found.get("said", {})),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"last.json: the key map of the import is damaged ({type(error).__name__}: {error})",
                "import the file again",
            ) from error


def _entry_as_json(entry: Entry) -> dict[str, Any]:
    found: dict[str, Any] = {
        "source": entry.source,
        "targets": [list(key) for key in entry.targets],
        "shape": list(entry.shape),
        "dtype": entry.dtype,
    }
    optional = {"note": entry.note, "kind": entry.kind, "value": entry.value}
    return found | {name: value for name, value in optional.items() if value not in ("", "array", None)}


def _entry_from_json(entry: Mapping[str, Any]) -> Entry:
    return Entry(
        source=entry["source"],
        targets=tuple(tuple(key) for key in entry["targets"]),
        shape=tuple(entry["shape"]),
        dtype=entry["dtype"],
        note=entry.get("note", ""),
        kind=entry.get("kind", "array"),
        value=entry.get("value"),
    )
