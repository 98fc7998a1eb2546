import io
import struct
import time
import zlib

import numpy as np
import pytest
from data_files import png, png_of
from PIL import Image

from last_cli.tasks.images import to_grey
from last_cli.tasks.png import PngError, parse, to_greys


def random_pixels(channels: int, height: int = 7, width: int = 5) -> np.ndarray:
    return np.random.default_rng(channels).integers(0, 256, (height, width, channels)).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("filters", [[0] * 7, [1] * 7, [2] * 7, [3] * 7, [4] * 7, [4, 3, 2, 1, 0, 3, 4]])
def test_filters(channels: int, filters: list[int]) -> None:
    pixels = random_pixels(channels)
    wanted = to_grey(pixels[..., :3]) if channels > 2 else pixels[..., 0]
    np.testing.assert_array_equal(to_greys([parse(png(pixels, filters), 7, 5)], 7, 5)[0], wanted)


def test_images_of_all_kinds_in_one_batch() -> None:
    pixels = [random_pixels(channels) for channels in (1, 3, 1, 4)]
    images = [parse(png(p, [i, 4 - i, 4, 3, 2, 1, 0]), 7, 5) for i, p in enumerate(pixels)]
    together = to_greys(images, 7, 5)
    for image, one in zip(images, together, strict=True):
        np.testing.assert_array_equal(one, to_greys([image], 7, 5)[0])


def test_palette() -> None:
    indices = random_pixels(1) % 3
    palette = bytes([255, 0, 0, 0, 255, 0])
    image = parse(png(indices, [4] * 7, palette, colour=3), 7, 5)
    np.testing.assert_array_equal(to_greys([image], 7, 5)[0], np.array([76, 150, 0], np.uint8)[indices[..., 0]])


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P"])
def test_against_pillow(mode: str) -> None:
    smooth = np.add.outer(np.arange(64) * 2, np.arange(48))[..., None] + np.random.default_rng(0).integers(
        0, 9, (64, 48, 3)
    )
    original = Image.fromarray(smooth.astype(np.uint8)).convert("RGB")
    image = original.quantize(200) if mode == "P" else original.convert(mode)
    file = io.BytesIO()
    image.save(file, "png")
    found = to_greys([parse(file.getvalue(), 64, 48)], 64, 48)[0]
    np.testing.assert_array_equal(found, np.asarray(Image.open(file).convert("L")))


def header(height: int = 7, width: int = 5, bits: int = 8, colour: int = 0, interlaced: int = 0) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)


GOOD = png(random_pixels(1), [1] * 7)
END = (b"IEND", b"")
ROWS = zlib.compress(bytes(6 * 7))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a PNG image"),
        (b"GIF89a..........", "expected a PNG image"),
        (GOOD[:-1], "the file ends within the image"),
        (GOOD[:40], "the file ends within the image"),
        (GOOD[:50] + b"?" + GOOD[51:], "the part 'IDAT' is damaged"),
        (png_of([(b"IDAT", ROWS), END]), "the image has no header"),
        (png_of([header(height=8), (b"IDAT", ROWS), END]), "expected 5 x 7 pixels, found 5 x 8"),
        (png_of([header(bits=16), (b"IDAT", ROWS), END]), "expected 8 bits per sample, not interlaced, found 16 bits"),
        (png_of([header(interlaced=1), (b"IDAT", ROWS), END]), "interlacing 1"),
        (png_of([header(), (b"IDAT", b"???"), END]), "the pixels are damaged"),
        (png_of([header(), END]), "expected 42 bytes of pixels, found 0"),
        (png_of([header(), (b"IDAT", zlib.compress(bytes(41))), END]), "expected 42 bytes of pixels, found 41"),
        (png_of([header(), (b"IDAT", zlib.compress(bytes(10**7))), END]), "expected 42 bytes .* found 43 or more"),
        (png_of([header(), (b"IDAT", zlib.compress(b"\5" * 42)), END]), "a row has filter 5"),
    ],
)
def test_damaged_images(content: bytes, message: str) -> None:
    with pytest.raises(PngError, match=message):
        parse(content, 7, 5)


def test_a_thousand_images_take_well_under_a_second() -> None:
    image = parse(png(random_pixels(1, 32, 32), [4] * 32), 32, 32)
    started = time.perf_counter()
    to_greys([image] * 1000, 32, 32)
    assert time.perf_counter() - started < 2  # 0.1 s here: a step a byte in Python would take 5 s
