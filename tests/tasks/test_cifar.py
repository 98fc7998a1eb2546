import collections
import os
import pickle
import resource
from pathlib import Path

import numpy as np
import pytest
from data_files import cifar, cifar_batch, pickled
from PIL import Image
from recorded import arrays

from last_cli.base.errors import DataError, UsageError
from last_cli.tasks.cifar import IMAGE, SCIFAR
from last_cli.tasks.cifar_files import read_batch
from last_cli.tasks.images import to_grey
from last_cli.tasks.task import Task

RED, GREEN, BLUE = ([255, 0, 0], [0, 255, 0], [0, 0, 255])


def batch(folder: Path, pixels: list[list[int]], label: int = 3) -> Path:
    """A data set whose test images have one colour each."""
    data = np.repeat(np.array(pixels, np.uint8), 1024, axis=1)
    cifar_batch(folder / "test_batch", data, [label] * len(pixels))
    return folder


def test_grey_values(tmp_path: Path) -> None:
    split = IMAGE.load(data_dir=batch(tmp_path, [RED, GREEN, BLUE, [255, 255, 255], [1, 2, 4]]))
    assert split.x.shape == (5, 1024, 1) and split.x.dtype == np.float32
    assert (split.y.dtype, split.y.tolist()) == (np.int32, [3] * 5)
    assert (split.source, split.classes, split.length, split.lengths) == ("files", 10, 1024, None)
    grey = np.array([76, 150, 29, 255, 2])  # 0.299, 0.587 and 0.114, rounded
    np.testing.assert_allclose(split.x[:, 0, 0], (grey / 255 - 122.6 / 255) / (61 / 255), rtol=1e-6)
    assert (split.x[:] == split.x[:, :1]).all()


def test_colour_values(tmp_path: Path) -> None:
    split = SCIFAR.load(data_dir=batch(tmp_path, [RED, [10, 20, 30]]))
    assert split.x.shape == (2, 1024, 3)
    wanted = (np.array([10, 20, 30]) / 255 - [0.4914, 0.4822, 0.4465]) / [0.247, 0.243, 0.261]
    np.testing.assert_allclose(split.x[1, 7], wanted, rtol=1e-5)


def test_pixels_are_in_rows(tmp_path: Path) -> None:
    data = np.zeros((1, 3, 32, 32), np.uint8)
    data[0, :, 1, 2] = 255
    cifar_batch(tmp_path / "test_batch", data.reshape(1, -1), [0])
    for task in (IMAGE, SCIFAR):
        x = task.load(data_dir=tmp_path).x[0]
        assert np.flatnonzero(x[:, 0] > 0).tolist() == [34]


def test_splits_are_those_of_random_split(tmp_path: Path) -> None:
    cifar(tmp_path, rows=2)
    whole = np.concatenate([read_batch(tmp_path / f"cifar-10-batches-py/data_batch_{i}")[1] for i in range(1, 6)])
    order = [2, 6, 1, 8, 4, 5, 0, 9, 3, 7]  # torch.randperm(10) of seed 42
    assert IMAGE.load("train", data_dir=tmp_path).y.tolist() == whole[order[:9]].tolist()
    assert IMAGE.load("val", data_dir=tmp_path).y.tolist() == whole[order[9:]].tolist()
    assert len(IMAGE.load("test", data_dir=tmp_path).y) == 2


def test_limit(tmp_path: Path) -> None:
    part, whole = (SCIFAR.load(data_dir=cifar(tmp_path), limit=limit) for limit in (5, None))
    np.testing.assert_array_equal(part.x, whole.x[:5])
    assert part.note.endswith("only the first 5 of 20 sequences are used")
    assert "only" not in SCIFAR.load(data_dir=tmp_path, limit=20).note


@pytest.mark.parametrize("task", [IMAGE, SCIFAR], ids=lambda task: task.name)
def test_what_torchvision_reads(tmp_path: Path, task: Task) -> None:
    recorded = arrays("images")
    cifar_batch(tmp_path / "test_batch", recorded["cifar"], recorded["cifar_y"].tolist())
    found = task.load(data_dir=tmp_path)
    np.testing.assert_array_equal(found.x[:], recorded[f"{task.name}_x"], strict=True)
    assert found.y.tolist() == recorded["cifar_y"].tolist()


def test_every_grey_is_that_of_pillow() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (400, 400, 3)).astype(np.uint8)
    np.testing.assert_array_equal(to_grey(rgb), np.asarray(Image.fromarray(rgb).convert("L")))


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("key", [str, str.encode])
def test_pickles_of_today(tmp_path: Path, protocol: int, key: object) -> None:
    data = np.arange(6144, dtype=np.uint8).reshape(2, -1)
    content = {(k if key is str else k.encode()): v for k, v in {"data": data, "labels": [4, 9]}.items()}
    images, labels = read_batch(pickled(tmp_path / "test_batch", content, protocol))
    np.testing.assert_array_equal(images.transpose(0, 3, 1, 2).reshape(2, -1), data)
    assert labels.tolist() == [4, 9]


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    path = pickled(tmp_path / "test_batch", {"data": Evil(tmp_path / "trace"), "labels": []})
    with pytest.raises(DataError, match=r"asks for (posix|nt)\.mkdir, expected the plain arrays"):
        IMAGE.load(data_dir=tmp_path)
    assert path.exists() and not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    "content",
    [
        np.ndarray,
        np.dtype,
        {"data": np.array([Evil], object), "labels": [1]},
        collections.OrderedDict(data=1),
        pickle.Unpickler,
        np.float64(1.0),
    ],
)
def test_anything_but_plain_arrays_is_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(DataError):
        read_batch(pickled(tmp_path / "test_batch", content))


IMAGES = np.zeros((2, 3072), np.uint8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "expected a dictionary, found list"),
        ({"labels": [1, 2]}, "expected an array of bytes under 'data', found nothing"),
        ({"data": [1], "labels": [1]}, "under 'data', found list"),
        ({"data": IMAGES.astype(np.float32), "labels": [1, 2]}, "under 'data', found one of f4"),
        ({"data": IMAGES[:, :3000], "labels": [1, 2]}, r"expected 3072 bytes an image, found shape \(2, 3000\)"),
        ({"data": IMAGES, "labels": [1, 10]}, "expected a list of labels from 0 to 9"),
        ({"data": IMAGES, "labels": [1, True]}, "expected a list of labels from 0 to 9"),
        ({"data": IMAGES, "fine_labels": [1, 2]}, "expected a list of labels"),
        ({"data": IMAGES, "labels": [1]}, "expected 2 labels, as there are images, found 1"),
    ],
)
def test_damaged_content(tmp_path: Path, content: object, message: str) -> None:
    path = pickled(tmp_path / "test_batch", content)
    with pytest.raises(DataError, match=message) as caught:
        IMAGE.load(data_dir=tmp_path)
    assert str(path) in caught.value.message and "cifar-10-python.tar.gz" in caught.value.hint


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04Nr\xff\xff\xff\x07.",  # remembers a value as number 134,217,727, and would make room for as many
        b"\x80\x04p999999999\n.",
        b"\x80\x05\x96\x00\x00\x00\x00\x02\x00\x00\x00.",  # eight gigabytes of a bytearray
        b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b".",
    ],
)
def test_pickles_that_claim_too_much(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "test_batch").write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match="test_batch"):
        IMAGE.load(data_dir=tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2e5  # kB


@pytest.mark.parametrize("size", [0, 1, 50, 3000])
def test_cut_files(tmp_path: Path, size: int) -> None:
    path = batch(tmp_path, [RED]) / "test_batch"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match=r"cannot read .*test_batch as a pickle"):
        IMAGE.load(data_dir=tmp_path)


def test_missing_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError) as caught:
        IMAGE.load("val", data_dir=tmp_path)
    for path in ("data_batch_1", "cifar-10-batches-py/data_batch_5"):
        assert str(tmp_path / path) in caught.value.message
    assert "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz" in caught.value.hint
    with pytest.raises(DataError, match="task image reads its data set's files, and no folder is named"):
        IMAGE.load()
    with pytest.raises(DataError, match="there is no folder"):
        IMAGE.load(data_dir=tmp_path / "absent")
    monkeypatch.setenv("LAST_DATA_DIR", str(cifar(tmp_path)))
    assert len(IMAGE.load().y) == 20


@pytest.mark.parametrize("arguments", [{"split": "dev"}, {"limit": 0}])
def test_requests_are_checked(arguments: dict) -> None:
    with pytest.raises(UsageError):
        SCIFAR.load(**arguments)


TUPLES = b"\x80\x02)q\0" + b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(20))


@pytest.mark.parametrize("content", [b"}h\x14Ns", b"}(h\x14Nu", b"(h\x14Nd", b"\x8f(h\x14\x90", b"(h\x14\x91"])
def test_what_takes_the_hash_of_nested_tuples(tmp_path: Path, content: bytes) -> None:
    """Each level takes twice as long as the one before."""
    (tmp_path / "test_batch").write_bytes(TUPLES + content + b".")
    with pytest.raises(DataError, match=r"by other things than names|holds sets"):
        IMAGE.load(data_dir=tmp_path)


def test_a_pickle_sets_no_attributes_of_the_reader(tmp_path: Path) -> None:
    (tmp_path / "test_batch").write_bytes(b"\x80\x02c_codecs\nencode\n}X\1\0\0\0aK\1sb.")
    with pytest.raises(DataError, match="sets attributes of something"):
        IMAGE.load(data_dir=tmp_path)
