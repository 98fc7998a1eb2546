"""What `last import` and `last export` show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from last_cli.base.record import Record, Result
from last_cli.results.source import Source


@dataclass(frozen=True, repr=False)
class KeyRow(Record):
    """One row of the key map.

    Attributes:
        source: the key where it comes from.
        target: the key where it goes.
        shape: as read (import) or written (export).
        dtype: the same of its type.
        note: what was done with it.
    """

    source: str
    target: str
    shape: tuple[int, ...]
    dtype: str
    note: str = ""


@dataclass(frozen=True, repr=False)
class File(Record):
    """What was imported: a file, and its format: "safetensors", "torch" or "msgpack"."""

    path: str
    format: str


@dataclass(frozen=True, repr=False)
class ImportReport(Result):
    """What an import did.

    Attributes:
        source: the file that was read.
        output: the checkpoint that was written.
        family: the kind of the SSM layers.
        layers: their names.
        keys: a row for every tensor of the file.
        assumed: what the file does not say.
        left_out: what lay beside the state dict and is no weight.
        warnings: what is odd about it.
    """

    command = "import"
    headline = ("source", "output", "family")
    json_keys = ("source", "output", "family", "layers", "assumed", "keys", "left_out", "warnings")

    source: File
    output: str
    family: str
    layers: Sequence[str]
    keys: Sequence[KeyRow]
    assumed: Mapping[str, Any]
    left_out: Sequence[str] = ()
    warnings: Sequence[str] = ()


@dataclass(frozen=True, repr=False)
class ExportReport(Result):
    """What an export wrote.

    Attributes:
        checkpoint: which one.
        format: of the file or directory that was written.
        output: where it lies.
        mapped: whether names and layouts are those of the file that the checkpoint was imported from.
        keys: a row for every tensor.
        left_out: what the checkpoint has and the output has not.
        warnings: what is odd about it.
    """

    command = "export"
    headline = ("checkpoint", "output", "format")
    json_keys = ("checkpoint", "output", "format", "mapped", "keys", "left_out", "warnings")

    checkpoint: Source
    format: str
    output: str
    mapped: bool
    keys: Sequence[KeyRow]
    left_out: Sequence[str] = ()
    warnings: Sequence[str] = ()
