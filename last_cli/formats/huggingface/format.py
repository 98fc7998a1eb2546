"""Model directories of transformers and mamba_ssm: `config.json` beside files of tensors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from last_cli.base.errors import CheckpointError, OutputError
from last_cli.base.words import some
from last_cli.formats.format import Format, lazy
from last_cli.formats.huggingface.locate import (
    CONFIG,
    INDEXES,
    SINGLE,
    index_file,
    is_below,
    left_out,
    locate,
    weight_files,
)
from last_cli.formats.json_file import read_aside, read_json_object
from last_cli.formats.stamp import read_stamp
from last_cli.formats.types import Beside, Key, Location


def read_beside(location: Location) -> Beside:
    """`config.json`, other JSON files, and the stamp; raises CheckpointError where one of the first two is no JSON."""
    directory = location.directory
    config: dict[str, Any] = {f"file:{CONFIG}": read_json_object(directory / CONFIG)}
    warnings: list[str] = []
    if left := left_out(directory):
        warnings.append(f"{directory}: folders and links that lead out are left out of copies: {some(left)}")
    for file in sorted(directory.glob("*config*.json")):
        if file.name != CONFIG:
            config[f"file:{file.name}"], trouble = read_aside(file)
            warnings += trouble
    stamp, written = read_stamp([directory])
    return Beside(config, stamp, tuple(warnings), written)


def parts(location: Location) -> set[str]:
    """The files of weights and their index, as far as they lie here."""
    index = index_file(location.directory)
    files = [*weight_files(location.directory), *([index] if index else [])]
    return {file.name for file in files if not file.is_symlink()}


def is_data(directory: Path, file: Path) -> bool:
    """Whether it is a file of weights."""
    try:
        return file in weight_files(directory)
    except CheckpointError:
        return False


def _write(directory: Path, arrays: Mapping[Key, np.ndarray], stamp: dict[str, Any]) -> NoReturn:
    raise OutputError(f"{directory}: a model directory is only written as a changed copy of another")


HUGGINGFACE = Format(
    title="a Hugging Face or mamba_ssm model",
    signs=f"{CONFIG} beside {', '.join((*SINGLE, *INDEXES))}",
    is_below=is_below,
    locate=locate,
    read_tree=lazy("last_cli.formats.huggingface.store:read_tree"),
    read_beside=read_beside,
    parts=parts,
    is_data=is_data,
    mirror=lazy("last_cli.formats.huggingface.mirror:mirror"),
    write=_write,
    renames=True,
)
