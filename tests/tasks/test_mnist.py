import gzip
import math
from pathlib import Path

import numpy as np
import pytest
from data_files import idx, mnist
from recorded import arrays

from last_cli.base.errors import DataError, UsageError
from last_cli.tasks.idx import read_idx
from last_cli.tasks.mnist import PSMNIST, SMNIST, bit_reversal


def by_halves(n: int) -> np.ndarray:
    """The order as the S4 and S5 codes make it: cut in halves, put one beside the other."""
    order = np.arange(1 << math.ceil(math.log2(n)))[:, None]
    while len(order) > 1:
        order = np.hstack(np.split(order, 2))
    return np.extract(order < n, order)


@pytest.mark.parametrize("n", [2, 8, 10, 784, 1024])
def test_bit_reversal(n: int) -> None:
    np.testing.assert_array_equal(bit_reversal(n), by_halves(n))
    assert bit_reversal(784)[:6].tolist() == [0, 512, 256, 768, 128, 640]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("nested", [".", "MNIST/raw"])
def test_values(tmp_path: Path, packed: bool, nested: str) -> None:
    images = np.random.default_rng(1).integers(0, 256, (3, 28, 28))
    idx(tmp_path / nested / "t10k-images-idx3-ubyte", images, packed)
    idx(tmp_path / nested / "t10k-labels-idx1-ubyte", np.array([7, 0, 9]), packed)
    split = SMNIST.load(data_dir=tmp_path)
    assert split.x.shape == (3, 784, 1) and split.x.dtype == np.float32
    np.testing.assert_allclose(split.x[..., 0], images.reshape(3, -1) / 255, rtol=1e-6)
    assert split.y.tolist() == [7, 0, 9] and split.y.dtype == np.int32
    assert (split.source, split.classes, split.length, split.lengths) == ("files", 10, 784, None)
    np.testing.assert_array_equal(PSMNIST.load(data_dir=tmp_path).x, split.x[:, by_halves(784)])


def test_splits_are_those_of_random_split(tmp_path: Path) -> None:
    labels = read_idx(mnist(tmp_path, rows=10) / "train-labels-idx1-ubyte.gz", "")
    order = [2, 6, 1, 8, 4, 5, 0, 9, 3, 7]  # torch.randperm(10) of seed 42
    for task in (SMNIST, PSMNIST):
        assert task.load("train", data_dir=tmp_path).y.tolist() == labels[order[:9]].tolist()
        assert task.load("val", data_dir=tmp_path).y.tolist() == labels[order[9:]].tolist()


def test_limit(tmp_path: Path) -> None:
    part, whole = (PSMNIST.load(data_dir=mnist(tmp_path), limit=limit) for limit in (3, None))
    np.testing.assert_array_equal(part.x, whole.x[:3])
    assert part.note.endswith("only the first 3 of 20 sequences are used")


def test_what_torchvision_reads(tmp_path: Path) -> None:
    recorded = arrays("images")
    idx(tmp_path / "MNIST/raw/t10k-images-idx3-ubyte", recorded["smnist"])
    idx(tmp_path / "MNIST/raw/t10k-labels-idx1-ubyte", recorded["smnist_y"])
    found = SMNIST.load(data_dir=tmp_path)
    np.testing.assert_array_equal(found.x[:], recorded["smnist_x"], strict=True)
    assert found.y.tolist() == recorded["smnist_y"].tolist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected an IDX file of bytes, found one that starts with "),
        (b"\0\0\x0d\1\0\0\0\0", "expected an IDX file of bytes, found one that starts with 00000d01"),
        (b"\0\0\x08\3\0\0", "the file ends within its header"),
        (b"\0\0\x08\1\0\0\0\2\1", r"expected 2 bytes for shape \(2,\), found 1"),
        (b"\0\0\x08\1\0\0\0\1\1", r"expected images of 28 x 28 bytes, found shape \(1,\)"),
    ],
)
def test_damaged_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = mnist(tmp_path) / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match=message) as caught:
        SMNIST.load(data_dir=tmp_path)
    assert str(path) in caught.value.message and "https://" in caught.value.hint


@pytest.mark.parametrize("damage", [b"no gzip", gzip.compress(bytes(5000), mtime=0)[:-9]], ids=["text", "cut"])
def test_damaged_archives(tmp_path: Path, damage: bytes) -> None:
    (mnist(tmp_path) / "t10k-images-idx3-ubyte.gz").write_bytes(damage)
    with pytest.raises(DataError, match=r"cannot read .*t10k-images-idx3-ubyte\.gz"):
        SMNIST.load(data_dir=tmp_path)


@pytest.mark.parametrize("labels", [[1] * 19, [10] * 20])
def test_labels_must_fit(tmp_path: Path, labels: list[int]) -> None:
    idx(mnist(tmp_path) / "t10k-labels-idx1-ubyte", np.array(labels), packed=True)
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.gz: expected 20 labels from 0 to 9"):
        SMNIST.load(data_dir=tmp_path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        SMNIST.load("train", data_dir=tmp_path)
    assert str(tmp_path / "MNIST/raw/train-labels-idx1-ubyte") in caught.value.message
    assert "(unpacked or not)" in caught.value.hint
    with pytest.raises(UsageError):
        PSMNIST.load("dev")


@pytest.mark.parametrize("shape", [(1,) * 100, (0, *(2**32 - 1,) * 5)])
def test_shapes_that_no_array_has(tmp_path: Path, shape: tuple[int, ...]) -> None:
    header = bytes([0, 0, 8, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape)
    (tmp_path / "a").write_bytes(header + bytes(0 not in shape))
    with pytest.raises(DataError, match="bytes for shape"):
        read_idx(tmp_path / "a", "")
