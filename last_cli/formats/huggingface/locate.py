"""Finds the weights of a model directory as transformers and mamba_ssm write it."""

import re
from pathlib import Path

from last_cli.base.errors import CheckpointError
from last_cli.base.files import resolved
from last_cli.formats.json_file import read_json_object
from last_cli.formats.types import INCOMPLETE, Location

FORMAT = "huggingface"
CONFIG = "config.json"

# Files of weights in the order in which transformers takes them: one file, or an index of several.
SINGLE = ("model.safetensors", "pytorch_model.bin")
INDEXES = tuple(f"{name}.index.json" for name in SINGLE)
_SHARD = re.compile(r"(model-\d+-of-\d+\.safetensors|pytorch_model-\d+-of-\d+\.bin)")


def locate(path: Path, step: int | None, item: str | None) -> Location | None:
    """The weights in a directory; see Format.locate."""
    here = path.absolute()
    if not here.is_dir() or not (here / CONFIG).is_file():
        return None
    for single, index in zip(SINGLE, INDEXES, strict=True):
        for name in (single, index):
            if (here / name).is_file():
                layout = f"huggingface-{'safetensors' if single == SINGLE[0] else 'torch'}"
                return Location(path, here, here, FORMAT, layout)
    return None


def is_below(directory: Path) -> bool:
    """Whether such a directory is there."""
    return (directory / CONFIG).is_file() and any((directory / name).is_file() for name in (*SINGLE, *INDEXES))


def is_weights(name: str) -> bool:
    """Whether a file of this name holds the weights of a model; others may have the same ending."""
    return name in SINGLE or _SHARD.fullmatch(name) is not None


def index_file(directory: Path) -> Path | None:
    """The index of the files of weights that are taken; None where these are one file."""
    for single, index in zip(SINGLE, INDEXES, strict=True):
        if (directory / single).is_file():
            return None
        if (directory / index).is_file():
            return directory / index
    return None


def weight_files(directory: Path) -> dict[Path, tuple[str, ...]]:
    """The files of weights, each with the names that the index gives to it; none where there is no index.

    Raises:
        CheckpointError: a file of the index is missing, or the index is none.
    """
    if index := index_file(directory):
        return _indexed(directory, index)
    for single in SINGLE:
        if (directory / single).is_file():
            return {directory / single: ()}
    raise CheckpointError(f"{directory}: no file of weights: none of {', '.join((*SINGLE, *INDEXES))}", INCOMPLETE)


def leads_out(file: Path) -> bool:
    """Whether it is a link to what lies neither in its directory nor among the blobs of the same download."""
    here = resolved(file.parent)
    blobs = here.parent.parent / "blobs"  # The Hugging Face cache links from snapshots/REVISION/ to them.
    return file.is_symlink() and not any(resolved(file).is_relative_to(place) for place in (here, blobs))


def left_out(directory: Path) -> list[str]:
    """The entries that no copy has: folders, what is no file, links that lead out; hidden ones are not said."""
    entries = [entry for entry in sorted(directory.iterdir()) if not entry.name.startswith(".")]
    return [entry.name for entry in entries if not _is_there(entry) or leads_out(entry)]


def _is_there(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:  # a name that is too long
        return False


def _indexed(directory: Path, index: Path) -> dict[Path, tuple[str, ...]]:
    weights = read_json_object(index).get("weight_map")
    if not isinstance(weights, dict) or not weights or not all(isinstance(f, str) for f in weights.values()):
        raise CheckpointError(f"{index}: no `weight_map` of names to files", INCOMPLETE)
    files: dict[Path, tuple[str, ...]] = {}
    for name in sorted(set(weights.values())):
        if Path(name).name != name:
            raise CheckpointError(f"{index}: the file {name!r} points out of the directory", "do not trust this model")
        if not _is_there(directory / name):
            raise CheckpointError(f"{index}: names {name}, which is not there", INCOMPLETE)
        files[directory / name] = tuple(tensor for tensor, file in weights.items() if file == name)
    return files
