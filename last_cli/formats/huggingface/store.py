"""The tensors of a model directory: of safetensors or of `torch.save`, in one file or in several."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from last_cli.base.errors import CheckpointError
from last_cli.base.words import some
from last_cli.formats import safetensors
from last_cli.formats.huggingface.locate import is_weights, weight_files
from last_cli.formats.safetensors import Header
from last_cli.formats.types import INCOMPLETE, Key, Leaf, Location, Tree

if TYPE_CHECKING:
    from last_cli.formats.torch_zip import TorchZip

File: TypeAlias = "Header | TorchZip"


@dataclass(frozen=True)
class TensorStore:
    """Tensors by their full names, each in one of the files; see Store."""

    files: tuple[File, ...]

    def read(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """The tensors of these names; see Store."""
        where = {name: file for file in self.files for name in file.tensors}
        return {name: where[name].read(name) for name in names}


def read_tree(location: Location) -> Tree:
    """The tensors of a directory as leaves: the parts of a name are the path; see Format.read_tree."""
    files, warnings = [], []
    for path, named in weight_files(location.directory).items():
        file = opened(path)
        files.append(file)
        if missing := sorted(set(named) - set(file.tensors)):
            raise CheckpointError(f"{path}: the index names tensors that are not in it: {some(missing)}", INCOMPLETE)
        if not isinstance(file, Header) and file.others:
            warnings.append(f"{path}: entries that are no tensors are left as they are: {some(file.others)}")
    read = {file.path.name for file in files}
    if more := sorted(e.name for e in location.directory.iterdir() if is_weights(e.name) and e.name not in read):
        also = f"{some(more)}, which hold weights too, are not read, and a changed copy has none of them"
        warnings.append(f"{location.directory}: {also}")
    leaves: dict[Key, Leaf] = {}
    names: dict[Key, str] = {}
    for file in files:
        for name, tensor in file.tensors.items():
            key = tuple(name.split("."))
            if key in leaves:
                raise CheckpointError(f"{location.path}: the tensor {name} is there twice", INCOMPLETE)
            leaves[key] = Leaf(key, tensor.shape, tensor.dtype.name, "array")
            names[key] = name
    return Tree(leaves, names=names, store=TensorStore(tuple(files)), warnings=tuple(warnings))


def opened(path: Path) -> File:
    """The header of one file; raises CheckpointError where it is not as its ending says."""
    if path.suffix == ".safetensors":
        return safetensors.header(path)
    from last_cli.formats import torch_zip  # Its pickles need much that nothing else does.

    return torch_zip.opened(path)


def total(sizes: Mapping[str, tuple[tuple[int, ...], np.dtype]]) -> tuple[int, int]:
    """Numbers and bytes of tensors, by shape and dtype."""
    numbers = {name: math.prod(shape) for name, (shape, _) in sizes.items()}
    return sum(numbers.values()), sum(numbers[name] * dtype.itemsize for name, (_, dtype) in sizes.items())
