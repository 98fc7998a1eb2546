"""The language models in tests/data/mamba2: their tensors, specs, and what the libraries that wrote them compute."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from archives import unpacked

from last_cli import formats
from last_cli.families.mamba2.network.spec import Block, LanguageSpec, language_spec

DATA = Path(__file__).parents[1] / "data" / "mamba2" / "oracle.tar.xz"


@dataclass(frozen=True)
class Model:
    """A case: its directory, spec, tensors in float32, and recorded arrays."""

    directory: Path
    spec: LanguageSpec
    tensors: Mapping[str, np.ndarray]
    recorded: Mapping[str, np.ndarray]

    def mixers(self) -> Iterator[tuple[int, Block, str, dict[str, np.ndarray]]]:
        """Each mixer's number, block, prefix and tensors."""
        for number, block in enumerate(block for block in self.spec.blocks if block.mixer):
            prefix = f"{block.prefix}.{block.mixer}."
            own = {name.removeprefix(prefix): a for name, a in self.tensors.items() if name.startswith(prefix)}
            yield number, block, prefix, own


@cache
def directories() -> Path:
    """Where the cases are unpacked, once in a process. Tests do not change them."""
    directory = Path(tempfile.mkdtemp(prefix="language-models-"))
    unpacked(DATA, directory)
    return directory


@cache
def model(name: str) -> Model:
    """A case by its name."""
    directory = directories() / name
    spec, tensors = opened(directory / "checkpoint")
    with np.load(directory / "oracle.npz") as recorded:
        return Model(directory, spec, tensors, dict(recorded))


def opened(directory: Path) -> tuple[LanguageSpec, dict[str, np.ndarray]]:
    """The spec of a model directory, and its tensors in float32."""
    index = formats.index(directory)
    tensors = {".".join(key): array.astype(np.float32) for key, array in formats.read(index).items()}
    return language_spec({name: array.shape for name, array in tensors.items()}, index.config), tensors
