"""Only files are opened, and archives hold what they claim."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from last_cli.base.files import files_below, open_npz, regular


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def test_a_pipe_is_no_file(pipe: Path) -> None:
    with pytest.raises(OSError, match="a pipe, expected a file"):
        regular(pipe)
    (pipe.parent / "link").symlink_to(pipe)
    with pytest.raises(OSError, match="a pipe"):
        regular(pipe.parent / "link")
    with pytest.raises(OSError, match="a device"):
        regular(os.devnull)
    with pytest.raises(OSError, match="no name of a file"):
        regular("a\0b")
    with pytest.raises(FileNotFoundError):
        regular(pipe.parent / "absent")
    assert regular(__file__) == Path(__file__)


def test_files_below(tmp_path: Path) -> None:
    for name in ("b", "a/x", "a/c/y"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "gone").symlink_to(tmp_path / "nothing")
    (tmp_path / "round").symlink_to(tmp_path)
    assert sorted(files_below(tmp_path)) == ["a/c/y", "a/x", "b"]
    os.mkfifo(tmp_path / "a/c/pipe")
    with pytest.raises(OSError, match="a pipe"):
        list(files_below(tmp_path))


def npz(path: Path, header: bytes = b"", body: bytes = b"\0" * 8, packed: bool = False) -> Path:
    """An archive of one array with a header of one's own."""
    header = header or b"{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }"
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header + b"\n" + body
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        archive.writestr("x.npy", content)
    return path


def test_what_is_no_archive(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz")
    with open_npz(path) as arrays:
        assert arrays["x"].tolist() == [0]
    whole = path.read_bytes()
    array = io.BytesIO()
    np.save(array, np.zeros(2))
    found = {b"": "an empty file", whole[:50]: "not a zip", array.getvalue(): "one array", b"x" * 9: "something else"}
    for content, said in found.items():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=said), open_npz(path) as arrays:
            assert arrays["x"]
    damaged = whole.replace(b"\0" * 8, b"\0" * 7 + b"1", 1)
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="CRC"), open_npz(path) as arrays:
        assert arrays["x"]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }", "claims the shape"),
        (b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "Object arrays cannot be loaded"),
        (b"[" * 3000, "."),
    ],
)
def test_arrays_that_claim_more_than_they_have(tmp_path: Path, header: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said), open_npz(npz(tmp_path / "a.npz", header)) as arrays:
        assert arrays["x"]


def test_a_member_that_claims_more_than_deflate_can_hold(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", body=b"\0" * 8, packed=True)
    content = path.read_bytes()
    directory = content.index(b"PK\x01\x02")
    path.write_bytes(content[: directory + 24] + struct.pack("<I", 2**31) + content[directory + 28 :])
    with pytest.raises(ValueError, match=r"x\.npy claims 2,147,483,648 bytes"), open_npz(path) as arrays:
        assert arrays["x"]
