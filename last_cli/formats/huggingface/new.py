"""Writes a model directory of Hugging Face anew, streamed tensor by tensor, beside the other files of its source."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.formats.digests import array_digest
from last_cli.formats.format import format_named
from last_cli.formats.huggingface.locate import CONFIG, FORMAT, SINGLE
from last_cli.formats.huggingface.mirror import own_files
from last_cli.formats.safetensors import write_streamed
from last_cli.formats.stage import staged
from last_cli.formats.types import STAMP_FILE, Key, Location
from last_cli.formats.write import written_entry


@dataclass(frozen=True)
class Model:
    """A model that is yet to be written.

    Attributes:
        config: of config.json.
        sizes: dtype and shape of every tensor, by name.
        tensor: name -> the tensor; each is asked for once.
    """

    config: Mapping[str, Any]
    sizes: Mapping[str, tuple[np.dtype, tuple[int, ...]]]
    tensor: Callable[[str], np.ndarray]


def save_model(out: Path, model: Model, *, beside: Location, stamp: dict[str, Any], force: bool = False) -> None:
    """Writes config.json and model.safetensors, whole or not at all.

    Args:
        out: the directory that appears.
        model: what is written.
        beside: the model directory whose tokenizer and other files are copied.
        stamp: goes into `last.json`, with digests of all that was written.
        force: replace a checkpoint, and nothing else, that is there.

    Raises:
        OutputError: the output exists, lies in the source, or cannot be written.
        CheckpointError: the source cannot be read.
    """
    digests: dict[Key, str] = {}

    def tensor(name: str) -> np.ndarray:
        array = model.tensor(name)
        digests[tuple(name.split("."))] = array_digest(array)
        return array

    with staged(out, source=beside.root, force=force) as stage:
        for file in own_files(beside.directory, {CONFIG, *SINGLE, *format_named(FORMAT).parts(beside)}):
            shutil.copyfile(file, stage / file.name)
        (stage / CONFIG).write_text(json.dumps(model.config, indent=2) + "\n")
        with (stage / SINGLE[0]).open("xb") as opened:
            write_streamed(opened, model.sizes, {"format": "pt"}, tensor)
        entry = written_entry(stage, format_named(FORMAT), {"": digests}, stamp)
        (stage / STAMP_FILE).write_text(json.dumps({**stamp, "written": entry}, indent=1))
