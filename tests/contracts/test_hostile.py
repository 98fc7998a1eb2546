"""Checkpoints that nobody writes: an error in words at once, whatever they claim."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from commands import Run
from language_models import directories
from safetensors.numpy import load_file, save_file

from last_cli import formats
from last_cli.base.errors import CheckpointError
from last_cli.formats.json_file import NESTING, parse_json, read_json
from last_cli.formats.msgpack import pack_msgpack, read_msgpack
from last_cli.formats.types import dtype_of

ZARRAY: dict[str, Any] = {
    "chunks": [4], "compressor": None, "dtype": "<f4", "fill_value": None, "filters": None, "order": "C", "shape": [4],
    "zarr_format": 2,
}  # fmt: skip


def zarr(root: Path, **changes: Any) -> Path:
    """A tree of one array `a` of four zeros, in plain directories; its metadata changed."""
    (root / "a").mkdir(parents=True)
    (root / "a" / ".zarray").write_text(json.dumps(ZARRAY | changes))
    (root / "a" / "0").write_bytes(np.zeros(4, "<f4").tobytes())
    return root


def read(root: Path) -> dict[formats.Key, np.ndarray]:
    return formats.read(formats.index(root))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shape": [1_000_000], "chunks": [1]}, "should have 1,000,000 chunks, and 1 are stored"),
        ({"shape": [2**28], "chunks": [2**28]}, "but all that is stored there has"),
        ({"shape": [4], "chunks": [2**60]}, "more than fits the memory"),
        ({"shape": [4.5]}, "not valid array metadata"),
        ({"dtype": 5}, "not valid array metadata"),
        ({"dtype": "|O"}, "no type of numbers"),
        ({"dtype": [["a", "<f4"]]}, "not valid array metadata"),
    ],
)
def test_arrays_that_claim_too_much(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    started = time.monotonic()
    with pytest.raises(CheckpointError, match=said):
        read(zarr(tmp_path / "ckpt", **changes))
    assert time.monotonic() - started < 5


def test_what_is_whole_is_read(tmp_path: Path) -> None:
    assert read(zarr(tmp_path / "ckpt"))[("a",)].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("file", ["a/.zarray", "a/0", "_METADATA", "_strings.json", "manifest.ocdbt", "elsewhere"])
def test_a_pipe_among_the_files(tmp_path: Path, file: str) -> None:
    root = zarr(tmp_path / "ckpt")
    (root / file).unlink(missing_ok=True)
    os.mkfifo(root / file)
    with pytest.raises(CheckpointError, match="a pipe, expected a file"):
        read(root)


def test_a_pipe_instead_of_all(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ckpt")
    with pytest.raises(CheckpointError, match="ckpt"):
        read(tmp_path / "ckpt")


@pytest.mark.parametrize("levels", [NESTING + 1, 900, 100_000])
def test_json_nested_too_deeply(tmp_path: Path, levels: int) -> None:
    (tmp_path / "a.json").write_text("[" * levels + "]" * levels)
    with pytest.raises(CheckpointError, match="nested deeper than 100 levels"):
        read_json(tmp_path / "a.json")


def test_json_nested_as_configurations_are() -> None:
    text = "[" * NESTING + "]" * NESTING
    assert json.dumps(parse_json(text)) == text


@pytest.mark.parametrize("content", [b"\x91" * 200 + b"\x01", b"\x81\xa1a" * 1500 + b"\x01", b"\x91" * 100_000])
def test_msgpack_nested_too_deeply(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.msgpack").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.msgpack"):
        read_msgpack(tmp_path / "a.msgpack")


@pytest.mark.parametrize(
    "data",
    [
        msgpack.packb(([2], b"|O", b"\0" * 16)),
        msgpack.packb(([2], b"(9,)f4", b"\0" * 72)),
        msgpack.packb(([2], b"finfo", b"\0" * 16)),
        msgpack.packb(([2], [b"f4"], b"\0" * 8)),
        msgpack.packb(([10**12], b"float32", b"\0" * 8)),
        msgpack.packb([10**30 % 2**64, 2**64 - 1, 1]),
    ],
)
def test_arrays_of_msgpack_that_are_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.msgpack").write_bytes(msgpack.packb({"a": msgpack.ExtType(1, data)}) or b"")
    with pytest.raises(CheckpointError, match="not a msgpack tree as flax writes it"):
        read_msgpack(tmp_path / "a.msgpack")


def test_chunks_of_an_array_that_are_none(tmp_path: Path) -> None:
    tree = {"__msgpack_chunked_array__": True, "shape": {"0": 1}, "chunks": {"0": [None]}}
    (tmp_path / "a.msgpack").write_bytes(pack_msgpack(tree))
    with pytest.raises(CheckpointError, match="a chunk of an array is no array"):
        read_msgpack(tmp_path / "a.msgpack")


def test_types_of_numbers() -> None:
    names = ["float32", "<f8", "bool", "complex64", "bfloat16", "float8_e4m3fn", "int4", "uint8"]
    assert [dtype_of(name).itemsize for name in names] == [4, 8, 1, 8, 2, 1, 1, 1]
    for name in ("|O", "U5", "V3", "M8[s]", "f4,f4", "(2,)f4", "finfo", "nonsense", "9" * 5000, ""):
        with pytest.raises(TypeError):
            dtype_of(name)


def test_names_in_a_model_directory_are_taken_as_they_are_and_shown_harmless(tmp_path: Path, run: Run) -> None:
    source = shutil.copytree(directories() / "hf_base" / "checkpoint", tmp_path / "model")
    tensors = load_file(source / "model.safetensors")
    for name in ("../../x", "a..b", "", "x/y.z", "backbone.\x1b[31mred", f"backbone.layers.{'9' * 200}.norm.weight"):
        tensors[name] = np.ones(3, np.float32)
    save_file(tensors, source / "model.safetensors")
    (source / "notes\n::error::.txt").write_text("x")
    for command in (
        ["prune", source, "--ratio", "0.5", "-o", tmp_path / "out"],
        ["verify", tmp_path / "out", "--against", source],
        ["prune", source, "--ratio", "0.5", "-o", tmp_path / "out", "--force"],
        ["inspect", tmp_path / "out", "--tree"],
    ):
        code, out, err = run(*command)
        assert code == 0 and "\x1b" not in out + err and "\n::error::" not in out + err, err
    assert set(load_file(tmp_path / "out" / "model.safetensors")) == set(tensors)
    (tmp_path / "out" / "more\n::error::.txt").write_text("x")
    code, out, err = run("prune", source, "--ratio", "0.5", "-o", tmp_path / "out", "--force")
    assert code == 2 and "\n::error::" not in err and "holds more than a checkpoint (more\\n" in err
