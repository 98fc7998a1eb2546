"""Pathfinder's folders: text files with a line an image, which bear the suffix .npy, and the images as PNG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from last_cli.base.annotations import UInt8
from last_cli.base.errors import DataError
from last_cli.base.files import regular
from last_cli.tasks.png import Png, PngError, parse, to_greys
from last_cli.tasks.task import Advance

LEVEL = "curv_contour_length_14"
METADATA = f"{LEVEL}/metadata"
HINT = "unpack https://storage.googleapis.com/long-range-arena/lra_release.gz (tar -xf)"
# So many are decoded side by side.
BATCH = 1000


@dataclass(frozen=True)
class Sample:
    """An image's file, and its label: 1 where a path joins the dots."""

    image: Path
    label: int


def nested(side: int) -> tuple[str, ...]:
    """Where the folder of the images of this size lies, seen from the folder that a user is likely to name."""
    name = f"pathfinder{side}"
    return (".", name, f"lra_release/{name}", f"lra_release/lra_release/{name}")


def read_samples(folder: Path) -> list[Sample]:
    """All samples of `folder`, in the order of the numbers that the metadata files bear as names.

    Raises:
        DataError: a file cannot be read, a line is damaged, or there is none.
    """
    paths = [path for path in (folder / METADATA).glob("*.npy") if _is_number(path.stem)]
    samples = [sample for path in sorted(paths, key=lambda path: int(path.stem)) for sample in _lines(folder, path)]
    if not samples:
        raise DataError(f"{folder / METADATA}: expected files like 1.npy with one line per image, found none", HINT)
    return samples


def read_images(paths: Sequence[Path], side: int, advance: Advance) -> UInt8[np.ndarray, "n {side} {side}"]:
    """The images in grey.

    Raises:
        DataError: an image is missing or damaged, or has another size.
    """
    parts = [np.empty((0, side, side), np.uint8)]
    for start in range(0, len(paths), BATCH):
        batch = [_read_image(path, side) for path in paths[start : start + BATCH]]
        parts.append(to_greys(batch, side, side))
        advance(start + len(batch), len(paths))
    return np.concatenate(parts)


def _is_number(stem: str) -> bool:
    return stem.isascii() and stem.isdigit()


def _lines(folder: Path, path: Path) -> Iterator[Sample]:
    try:
        lines = regular(path).read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path} as text: {error}", HINT) from error
    for number, line in enumerate(lines, 1):
        words = line.split()
        if len(words) < 4 or words[3] not in ("0", "1"):
            raise DataError(
                f"{path}, line {number}: expected a folder, an image, a number and a label of 0 or 1, found {line!r}",
                HINT,
            )
        yield Sample(folder / LEVEL / words[0] / words[1], int(words[3]))


def _read_image(path: Path, side: int) -> Png:
    try:
        return parse(regular(path).read_bytes(), side, side)
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such image, though the metadata lists it", HINT) from error
    except (OSError, PngError) as error:
        raise DataError(f"cannot read {path}: {error}", HINT) from error
