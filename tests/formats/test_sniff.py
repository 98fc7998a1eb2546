"""Files are told by their first bytes, whatever they are called."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from commands import S5

import last_cli as last
from last_cli.base.errors import CheckpointError, OutputError
from last_cli.checkpoint.convert import import_weights
from last_cli.formats.torch_file import reason_of


@pytest.mark.parametrize("header", [b"", json.dumps({"width": 4}).encode() + b"\n"])
@pytest.mark.parametrize("name", ["model.eqx", "model.pt", "model.ckpt", "model"])
def test_an_equinox_file_is_named_for_what_it_is(tmp_path: Path, name: str, header: bytes) -> None:
    file = io.BytesIO(header)
    file.seek(0, 2)
    for shape in ((3,), (2, 2)):
        np.save(file, np.ones(shape))
    (tmp_path / name).write_bytes(file.getvalue())
    for use in (last.load, lambda path: import_weights(path, tmp_path / "out")):
        with pytest.raises(CheckpointError, match=f"{name}: an Equinox file") as caught:
            use(tmp_path / name)
        assert "tree_deserialise_leaves" in caught.value.hint
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "Weights only load failed. This file can still be loaded, to do so you have two options, \x1b[1mdo those\n"
            "WeightsUnpickler error: Unsupported global: GLOBAL omegaconf.dictconfig.DictConfig was not an allowed",
            "it asks for omegaconf.dictconfig.DictConfig",
        ),
        ("\x1b[1mInvalid magic number;\ncorrupt file?\x1b[0m Try again.", "Invalid magic number; corrupt file?"),
        ("", "RuntimeError"),
        ("a" * 500, "RuntimeError"),
    ],
)
def test_what_pytorch_says_is_neither_cut_nor_coloured(text: str, reason: str) -> None:
    assert reason_of(RuntimeError(text)) == reason


def test_a_header_whose_length_looks_like_a_map_is_one_of_safetensors(tmp_path: Path) -> None:
    header = json.dumps({"C": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).ljust(0x88).encode()
    for name in ("model.safetensors", "model.bin"):
        (tmp_path / name).write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
        with pytest.raises(CheckpointError, match=f"{name}: a safetensors file") as caught:
            last.load(tmp_path / name)
        assert "last import" in caught.value.hint and "config.json" in caught.value.hint


@pytest.mark.parametrize("name", ["arrays.npz", "arrays.pt"])
def test_arrays_of_numpy_are_no_file_of_pytorch(tmp_path: Path, name: str) -> None:
    with (tmp_path / name).open("wb") as file:
        np.savez(file, B=np.ones(3))
    for use in (last.load, lambda path: import_weights(path, tmp_path / "out")):
        with pytest.raises(CheckpointError, match=f"{name}: an .npz file of numpy") as caught:
            use(tmp_path / name)
        assert "unflatten_dict" in caught.value.hint


@pytest.mark.parametrize("name", ["small.safetensors", "small.npz", "small.pt"])
def test_no_directory_gets_the_name_of_a_file(tmp_path: Path, name: str) -> None:
    small = last.prune(S5, 0.3)
    with pytest.raises(OutputError, match="would be a directory with the name of a") as caught:
        last.save(small, tmp_path / name)
    assert "last export" in caught.value.hint and not list(tmp_path.iterdir())
