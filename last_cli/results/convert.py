"""What `last import` and `last export` show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from last_cli.base.version import __version__
from last_cli.results.source import Json, Source


@dataclass(frozen=True)
class KeyRow:
    """One row of the key map: a key on either side, shape and dtype as read (import) or written (export)."""

    source: str
    target: str
    shape: tuple[int, ...]
    dtype: str
    note: str = ""

    def as_json(self) -> Json:
        """One entry of `keys`."""
        return asdict(self) | {"shape": list(self.shape)}


@dataclass(frozen=True)
class ImportReport:
    """What an import did.

    Attributes:
        source, output: paths. `format` is "safetensors", "torch" or "msgpack".
        family: the kind of the SSM layers; `layers` their names.
        keys: a row for every tensor of the file.
        assumed: what the file does not say.
        left_out: what lay beside the state dict and is no weight.
    """

    source: str
    format: str
    output: str
    family: str
    layers: Sequence[str]
    keys: Sequence[KeyRow]
    assumed: Mapping[str, Any]
    left_out: Sequence[str] = ()
    warnings: Sequence[str] = ()

    def as_json(self) -> Json:
        """last.import/1."""
        return {
            "schema": "last.import/1",
            "last": __version__,
            "source": {"path": self.source, "format": self.format},
            "output": self.output,
            "family": self.family,
            "layers": list(self.layers),
            "assumed": dict(self.assumed),
            "keys": [row.as_json() for row in self.keys],
            "left_out": list(self.left_out),
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote. `mapped`: names and layouts are those of the file that the checkpoint was imported from."""

    checkpoint: Source
    format: str
    output: str
    mapped: bool
    keys: Sequence[KeyRow]
    left_out: Sequence[str] = ()
    warnings: Sequence[str] = ()

    def as_json(self) -> Json:
        """last.export/1."""
        return {
            "schema": "last.export/1",
            "last": __version__,
            "checkpoint": self.checkpoint.as_json(),
            "output": self.output,
            "format": self.format,
            "mapped": self.mapped,
            "keys": [row.as_json() for row in self.keys],
            "left_out": list(self.left_out),
            "warnings": list(self.warnings),
        }
