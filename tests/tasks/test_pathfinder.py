import io
from pathlib import Path

import numpy as np
import pytest
from data_files import pathfinder, png
from PIL import Image
from recorded import arrays

from last_cli.base.errors import DataError
from last_cli.tasks import pathfinder as module
from last_cli.tasks.pathfinder import PATHFINDER, PATHX
from last_cli.tasks.pathfinder_files import read_samples
from last_cli.tasks.torch_random import randperm

LEVEL = "curv_contour_length_14"


def test_values(tmp_path: Path) -> None:
    level = tmp_path / LEVEL
    (level / "metadata").mkdir(parents=True)
    (level / "imgs").mkdir()
    pixels = np.zeros((32, 32, 1), np.uint8)
    pixels[1, 2], pixels[31, 31] = 255, 51
    (level / "imgs/a.png").write_bytes(png(pixels, [4] * 32))
    (level / "metadata/3.npy").write_text("imgs a.png 0 1\n" * 10)
    split = PATHFINDER.load(data_dir=tmp_path)
    assert split.x.shape == (1, 1024, 1) and split.x.dtype == np.float32
    assert split.x[0, [0, 34, 1023], 0].tolist() == [-1, 1, pytest.approx(-0.6)]
    assert (split.x[:] == -1).sum() == 1022
    assert split.y.tolist() == [1] and split.y.dtype == np.int32
    assert (split.source, split.classes, split.length, split.lengths) == ("files", 2, 1024, None)


def test_splits_are_cuts_of_the_seeded_permutation(tmp_path: Path) -> None:
    pathfinder(tmp_path, 32, files=5, lines=11)
    samples = read_samples(tmp_path / "pathfinder32")
    order = randperm(55, 42)
    for split, part in {"train": order[:45], "val": order[45:50], "test": order[50:]}.items():
        found = PATHFINDER.load(split, data_dir=tmp_path)
        assert found.y.tolist() == [samples[i].label for i in part]


def test_metadata_files_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = pathfinder(tmp_path, 32, files=11, lines=1) / "pathfinder32"
    (folder / LEVEL / "metadata/note.npy").write_text("no sample")
    samples = read_samples(folder)
    assert [int(s.image.parent.name) for s in samples] == list(range(1, 12))
    assert samples[1].image == folder / LEVEL / "imgs/2/sample_0.png"


@pytest.mark.parametrize(("task", "side"), [(PATHFINDER, 32), (PATHX, 128)])
def test_both_sizes_against_pillow(tmp_path: Path, task, side: int) -> None:
    pathfinder(tmp_path / "lra_release", side, files=1, lines=20)
    folder = tmp_path / "lra_release" / f"pathfinder{side}"
    samples = [read_samples(folder)[i] for i in randperm(20, 42)[18:]]
    found = task.load(data_dir=tmp_path)
    assert (found.x.shape, found.length) == ((2, side**2, 1), side**2)
    for x, sample in zip(found.x, samples, strict=True):
        grey = np.asarray(Image.open(io.BytesIO(sample.image.read_bytes())).convert("L"))
        np.testing.assert_allclose(x[:, 0], grey.ravel() / 127.5 - 1, atol=1e-6)


def test_arithmetic_is_that_of_torchvision(tmp_path: Path) -> None:
    level = tmp_path / LEVEL
    (level / "metadata").mkdir(parents=True)
    (level / "a.png").write_bytes(png(arrays("images")["pathfinder"], [0] * 32))
    (level / "metadata/1.npy").write_text(". a.png 0 1\n" * 10)
    np.testing.assert_array_equal(
        PATHFINDER.load(data_dir=tmp_path).x[0], arrays("images")["pathfinder_x"], strict=True
    )


def test_images_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, int, int]] = []
    before = PATHFINDER.load(data_dir=pathfinder(tmp_path, 32), progress=lambda *call: calls.append(call))
    assert calls == [("load pathfinder", 5, 5)]
    with monkeypatch.context() as patch:
        patch.delattr(module.files, "read_images")
        part = PATHFINDER.load(data_dir=tmp_path, limit=2)
    np.testing.assert_array_equal(part.x, before.x[:2])
    assert part.note.endswith("only the first 2 of 5 sequences are used")
    # Half of the samples: another tenth.
    (tmp_path / "pathfinder32" / LEVEL / "metadata/5.npy").unlink()
    assert len(PATHFINDER.load(data_dir=tmp_path).y) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("imgs a.png 0\n", r"1\.npy, line 1: expected a folder, an image, a number and a label .*found 'imgs a.png 0'"),
        ("imgs a.png 0 2\n", r"line 1: expected a folder"),
        ("imgs a.png 0 1\n\n", r"line 2: expected a folder"),
        ("imgs a.png 0 1\n" * 10, r"imgs/a\.png: there is no such image, though the metadata lists it"),
        ("", r"metadata: expected files like 1\.npy with one line per image, found none"),
        ("\u00e9", r"cannot read .*1\.npy as text"),
    ],
)
def test_damaged_metadata(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / LEVEL / "metadata").mkdir(parents=True)
    (tmp_path / LEVEL / "metadata/1.npy").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        PATHFINDER.load(data_dir=tmp_path)
    assert "lra_release.gz" in caught.value.hint


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    for image in (pathfinder(tmp_path, 32) / "pathfinder32" / LEVEL).glob("imgs/*/*.png"):
        image.write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot read .*sample_\d\.png: expected a PNG image"):
        PATHFINDER.load(data_dir=tmp_path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        PATHX.load(data_dir=pathfinder(tmp_path, 32))
    assert str(tmp_path / "lra_release/pathfinder128" / LEVEL / "metadata") in caught.value.message
