"""Files of `torch.save` are read by opcode: tensors and nothing else, and no code of a file ever runs."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from last_cli.base.errors import CheckpointError
from last_cli.formats import torch_zip
from last_cli.formats.torch_file import reason_of


class _Storage:
    """Stands for a storage in a pickle that is written here as PyTorch writes it."""

    key = "0"


_InPython: Any = vars(pickle)["_Pickler"]  # unlike the one in C, its functions can be replaced


class _Pickler(_InPython):
    def persistent_id(self, obj):
        kind = _Name("torch", "FloatStorage")
        return ("storage", kind, obj.key, "cpu", 6) if isinstance(obj, _Storage) else None

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, _Name):
            self.write(b"c" + f"{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, _Call):
            self.save(obj.function)
            self.save(obj.arguments)
            self.write(b"R")
        else:
            super().save(obj, save_persistent_id)


class _Name:
    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class _Call:
    def __init__(self, function: _Name, *arguments: object) -> None:
        self.function, self.arguments = function, arguments


def tensor(shape=(2, 3), strides=(3, 1), offset=0) -> _Call:
    hooks = OrderedDict()
    return _Call(_Name("torch._utils", "_rebuild_tensor_v2"), _Storage(), offset, shape, strides, False, hooks)


def saved(path: Path, content: object, protocol: int = 2) -> Path:
    data = io.BytesIO()
    _Pickler(data, protocol).dump(content)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data.getvalue())
        archive.writestr("archive/data/0", np.arange(6, dtype="<f4").tobytes())
        archive.writestr("archive/version", "3\n")
    return path


@pytest.mark.parametrize("protocol", [2, 4])
def test_views_of_a_storage_are_read(tmp_path: Path, protocol: int) -> None:
    content = {"w": tensor(), "model": {"t": tensor((3, 2), (1, 3)), "part": tensor((2,), (1,), 4)}, "epoch": 7}
    file = torch_zip.opened(saved(tmp_path / "m.bin", content, protocol))
    assert file.others == ("epoch",)
    assert file.read("w").tolist() == [[0, 1, 2], [3, 4, 5]]
    assert file.read("model.t").tolist() == [[0, 3], [1, 4], [2, 5]]
    assert file.read("model.part").tolist() == [4, 5]


def test_a_copy_keeps_what_it_does_not_change(tmp_path: Path) -> None:
    file = torch_zip.opened(saved(tmp_path / "m.bin", {"w": tensor(), "epoch": 7}))
    with (tmp_path / "out.bin").open("wb") as out:
        torch_zip.write(file, out, {"w": (1, 3)}, lambda name: np.full((1, 3), 9, np.float32))
    again = torch_zip.opened(tmp_path / "out.bin")
    assert again.read("w").tolist() == [[9, 9, 9]] and again.others == ("epoch",)


def test_code_is_named_and_never_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    evil = _Call(_Name("os", "system"), f"touch {ran}")
    for content in ({"w": tensor(), "x": evil}, {"w": _Call(_Name("builtins", "eval"), "1")}):
        with pytest.raises(CheckpointError, match=r"asks for (os\.system|builtins\.eval), which is no part"):
            torch_zip.opened(saved(tmp_path / "m.bin", content))
    assert not ran.exists()


def test_tensors_beyond_their_storage_and_parts_that_change_alone_are_refused(tmp_path: Path) -> None:
    beyond = torch_zip.opened(saved(tmp_path / "m.bin", {"w": tensor((3, 3), (3, 1))}))
    with pytest.raises(CheckpointError, match="w ends at number 8 of a storage of 6"):
        beyond.read("w")
    part = torch_zip.opened(saved(tmp_path / "n.bin", {"w": tensor(), "part": tensor((2,), (1,), 4)}))
    with (tmp_path / "out").open("wb") as out, pytest.raises(CheckpointError, match="so it cannot change alone"):
        torch_zip.write(part, out, {"w": (1, 3)}, lambda name: np.zeros((1, 3), np.float32))


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06", b"\x80\x02}q\x00.", b"garbage" * 20])
def test_what_is_no_such_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.bin"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"m\.bin: no zip file as `torch.save` has written"):
        torch_zip.opened(path)


def test_every_truncation_of_a_pickle_is_an_error_in_words(tmp_path: Path) -> None:
    whole = saved(tmp_path / "m.bin", {"w": tensor(), "model": {"t": tensor((3, 2), (1, 3))}})
    with zipfile.ZipFile(whole) as archive:
        data = archive.read("archive/data.pkl")
    for end in range(len(data)):
        with zipfile.ZipFile(tmp_path / "cut.bin", "w") as archive:
            archive.writestr("archive/data.pkl", data[:end])
        with pytest.raises(CheckpointError):
            torch_zip.opened(tmp_path / "cut.bin")


@pytest.mark.parametrize(("where", "value"), [(8, 1), (10, 8), (10, 14), (28, 255)])
def test_a_damaged_entry_is_an_error_in_words(tmp_path: Path, where: int, value: int) -> None:
    """Encrypted, compressed, or of another name, as it says."""
    path = saved(tmp_path / "m.bin", {"w": tensor()})
    whole = bytearray(path.read_bytes())
    whole[whole.rindex(b"archive/data/0") - 46 + where] = value  # In the list of entries at the end.
    path.write_bytes(whole)
    with pytest.raises(CheckpointError, match=r"m\.bin: "):
        torch_zip.opened(path).read("w")
    with pytest.raises(CheckpointError, match=r"m\.bin: "), (tmp_path / "out").open("wb") as out:
        torch_zip.write(torch_zip.opened(path), out, {}, lambda name: None)


def pickled(path: Path, content: bytes, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/data/0", bytes(64))
    return path


def nested(levels: int, pair: bytes) -> bytes:
    """Opcodes by which each value holds the one before twice: b"h%bh%b..." with their places in the memo."""
    steps = (pair.replace(b"?", bytes([i])) + b"q" + bytes([i + 1]) for i in range(levels))
    return b"q\0" + b"".join(steps)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"}" + nested(20, b"}(X\1\0\0\0ah?X\1\0\0\0bh?u"), "dictionaries that hold one another"),
        (b"}q\0X\1\0\0\0ah\0s", "dictionaries that hold one another"),
        (b"}X\1\0\0\0a" * 5000 + b"}" + b"s" * 5000, "dictionaries that hold one another"),
        (b")" + nested(20, b"h?h?\x86") + b"}h\x14Ns", "a key that is no name"),
        (b"ccollections\nOrderedDict\n]))\x86a\x85R", "a key that is no name"),
    ],
)
def test_a_few_bytes_that_stand_for_many(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        torch_zip.opened(pickled(tmp_path / "m.bin", b"\x80\x02" + content + b"."))


def test_numbers_that_no_tensor_has(tmp_path: Path) -> None:
    for shape, strides in (
        ((2**63,), (1,)),
        ((10**3000,), (1,)),
        ((1,) * 65, (1,) * 65),
        ((0, 2**40, 2**40), (1,) * 3),
    ):
        with pytest.raises(CheckpointError, match="a tensor whose shape is none"):
            torch_zip.opened(saved(tmp_path / "m.bin", {"w": tensor(shape, strides)}))
    file = torch_zip.opened(saved(tmp_path / "m.bin", {"w": tensor((2**31 - 1,), (0,)), "few": tensor((4,), (0,))}))
    with pytest.raises(CheckpointError, match="w has a shape of 8,589,934,588 bytes, and holds 24"):
        file.read("w")
    assert file.read("few").tolist() == [0, 0, 0, 0]


def test_what_torch_save_does_not_write(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is compressed, which"):
        torch_zip.opened(pickled(tmp_path / "m.bin", b"\x80\x02}.", zipfile.ZIP_DEFLATED))
    with pytest.raises(CheckpointError, match="larger than that of any state dict"):
        torch_zip.opened(pickled(tmp_path / "m.bin", b"N" * 2**21))


def test_a_storage_that_is_damaged_and_not_changed(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.bin", {"w": tensor()})
    path.write_bytes(path.read_bytes().replace(np.float32(5).tobytes(), np.float32(6).tobytes()))
    file = torch_zip.opened(path)
    with (tmp_path / "out").open("wb") as out, pytest.raises(CheckpointError, match="data/0 cannot be read"):
        torch_zip.write(file, out, {}, lambda name: np.zeros(0))


def test_one_tensor_is_stored_in_another_type(tmp_path: Path) -> None:
    other = tensor((3, 2), (2, 1))
    storage: Any = other.arguments[0]
    storage.key = "1"
    path = saved(tmp_path / "m.bin", {"w": tensor(), "tied": tensor(), "other": other})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/data/1", np.arange(6, dtype="<f4").tobytes())
    file = torch_zip.opened(path)
    with (tmp_path / "out.bin").open("wb") as out:
        torch_zip.write(file, out, {"w": (2, 2)}, lambda name: np.full((2, 2), 9.0), {"w": np.dtype("<f8")})
    again = torch_zip.opened(tmp_path / "out.bin")
    assert {name: again.read(name).dtype.name for name in again.tensors} == {
        "w": "float64",
        "tied": "float64",
        "other": "float32",
    }
    assert again.read("tied").tolist() == [[9, 9], [9, 9]] and again.read("other").tolist() == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "[enforce fail at inline_container.cc:208] . file not found: archive/data.pkl",
            "file not found: archive/data.pkl",
        ),
        ("It is no archive. Please save it again.", "It is no archive."),
        (
            "A type, e.g. A list, is not allowed (see v. 2.4 of it)",
            "A type, e.g. A list, is not allowed (see v. 2.4 of it)",
        ),
        ("Found \x1b[1mtwo\x1b[0m\n  trees, i.e. no state. Sorry", "Found two trees, i.e. no state."),
        (f"A sentence of {'many ' * 40} words", "RuntimeError"),
        ("", "RuntimeError"),
    ],
)
def test_what_pytorch_says_is_passed_on_in_whole_sentences(said: str, shown: str) -> None:
    assert reason_of(RuntimeError(said)) == shown
