"""The safetensors format: what others wrote is read, what we write others read, and damage is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy as reference
from foreign import assert_same, minimal_s4d, write_safetensors

from last_cli.base.errors import CheckpointError, OutputError
from last_cli.formats import safetensors

# The words of the library, which differ between its versions, follow.
REFUSED = r"not a safetensors file, or truncated: \w"
ENTRY = b'"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}'


def written(path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, str] | None = None) -> Path:
    with path.open("wb") as file:
        safetensors.write(file, tensors, metadata or {})
    return path


def raw(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype: object = "F32", shape: object = (1,), offsets: object = (0, 4)) -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_a_file_made_by_hand_is_read_and_written_again_byte_by_byte(tmp_path: Path) -> None:
    tensors = minimal_s4d(np.random.default_rng(0))
    tensors |= {f"none.{i}": np.zeros((0, 2), np.float32) for i in range(8)}
    said = {"format": "pt"} | {f"note {i}": str(i) for i in range(8)}
    path = write_safetensors(tmp_path / "m.safetensors", tensors, said)
    found, metadata = safetensors.read(path)
    assert_same(found, tensors)
    assert metadata == said
    assert written(tmp_path / "again", found, metadata).read_bytes() == path.read_bytes()


def test_every_type_and_shape_comes_back(tmp_path: Path) -> None:
    tensors = {
        f"{name}{shape}": np.ones(shape, dtype)
        for name, dtype in safetensors.DTYPES.items()
        for shape in ((), (0, 2), (3, 2))
    }
    assert_same(safetensors.read(written(tmp_path / "m.safetensors", tensors))[0], tensors)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read"),
        (b"\x01\x02", "truncated"),
        (raw({"a": entry()}, bytes(4))[:20], "truncated: the header should have"),
        (b"\xff" * 40, "not a safetensors file"),
        (raw(b"{broken"), "is no JSON"),
        (raw(b"[" * 20_000), "is no JSON"),
        (raw([1]), "is no JSON object"),
        (raw(b"{%b, %b}" % (ENTRY, ENTRY), bytes(4)), "a name occurs twice"),
        (raw({"__metadata__": []}), "is no JSON object of tensors"),
        (raw({"a": 3}), "is no JSON object of tensors"),
        (raw({"a": entry(shape=[-1])}, bytes(4)), "is no JSON object of tensors"),
        (raw({"a": entry(shape=[True])}, bytes(4)), "is no JSON object of tensors"),
        (raw({"a": entry(offsets=[0])}, bytes(4)), "is no JSON object of tensors"),
        (raw({"a": entry(dtype="F4", shape=(8,))}, bytes(4)), "a has the dtype F4, expected one of BOOL"),
        (raw({"a": entry(dtype="X")}, bytes(4)), "is no JSON object of tensors .*X"),
        (raw({"a": entry(dtype=["F32"])}, bytes(4)), "is no JSON object of tensors"),
        (raw({"a": entry(shape=[2])}, bytes(4)), REFUSED),
        (raw({"a": entry()}, bytes(3)), REFUSED),
        (raw({"a": entry(), "b": entry()}, bytes(4)), REFUSED),
        (raw({"a": entry(), "b": entry(offsets=(6, 10))}, bytes(10)), REFUSED),
        (raw({"a": entry()}, bytes(9)), REFUSED),
    ],
)
def test_a_damaged_file_is_refused_in_words(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        safetensors.read(path)
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_a_type_that_the_format_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"x: safetensors has no complex128, expected one of BOOL"):
        written(tmp_path / "m.safetensors", {"x": np.zeros(2, complex)})


def test_the_reference_implementation_agrees(tmp_path: Path) -> None:
    tensors = minimal_s4d(np.random.default_rng(0))
    theirs = reference.load_file(written(tmp_path / "ours", tensors, {"format": "pt"}))
    assert_same({name: theirs[name] for name in tensors}, tensors)
    reference.save_file(tensors, tmp_path / "theirs")
    found = safetensors.read(tmp_path / "theirs")[0]
    assert_same({name: found[name] for name in tensors}, tensors)
    assert written(tmp_path / "again", found).read_bytes() == (tmp_path / "theirs").read_bytes()


@pytest.mark.parametrize("shape", [[1] * 100, [0, 2**62, 2**62]])
def test_shapes_that_no_array_has(tmp_path: Path, shape: list[int]) -> None:
    size = 0 if 0 in shape else 4
    (tmp_path / "a").write_bytes(raw({"a": entry(shape=shape, offsets=(0, size))}, bytes(size)))
    with pytest.raises(CheckpointError, match="which no array has"):
        safetensors.header(tmp_path / "a")
