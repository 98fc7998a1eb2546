"""PNG images of 8 bits in grey, by zlib and NumPy alone: many images of one size at a time.

A filtered byte depends on its left neighbour, so that decoding one image takes a step a byte. Here a step takes the
same byte of all images at once.
"""

from __future__ import annotations

import struct
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from last_cli.base.annotations import UInt8
from last_cli.tasks.images import to_grey

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Bytes a pixel of each colour type: grey, RGB, palette, grey and RGB with alpha.
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
PALETTE = 3


class PngError(ValueError):
    """This is no PNG image that can be read; says why."""


@dataclass(frozen=True)
class Png:
    """An image before its filters are undone: `rows` has a filter byte and the pixels of each row."""

    colour: int
    palette: bytes
    rows: bytes


def parse(content: bytes, height: int, width: int) -> Png:
    """The parts of a PNG file with an image of this size.

    Raises:
        PngError: it is damaged, has another size, is interlaced or has no 8 bits a sample.
    """
    if content[:8] != SIGNATURE:
        raise PngError("expected a PNG image")
    header, palette, data, at, kind = b"", b"", [], 8, b""
    while kind != b"IEND":
        if len(content) < at + 12:
            raise PngError("the file ends within the image")
        size, kind = struct.unpack_from(">I4s", content, at)
        body, check = content[at + 8 : at + 8 + size], content[at + 8 + size : at + 12 + size]
        if check != struct.pack(">I", zlib.crc32(kind + body)):
            raise PngError(f"the part {kind.decode('latin1')!r} is damaged")
        header, palette = (body if kind == b"IHDR" else header), (body if kind == b"PLTE" else palette)
        if kind == b"IDAT":
            data.append(body)
        at += 12 + size
    colour = _check_header(header, height, width)
    stride = 1 + width * CHANNELS[colour]
    rows = _inflate(data, height * stride)
    if (filter_ := max(rows[::stride])) >= len(_FILTERS):
        raise PngError(f"a row has filter {filter_}, expected 0 to {len(_FILTERS) - 1}")
    return Png(colour, palette, rows)


def to_greys(images: Sequence[Png], height: int, width: int) -> UInt8[np.ndarray, "n {height} {width}"]:
    """The images as Pillow's `convert("L")` gives them. What a palette lacks is black."""
    out = np.empty((len(images), height, width), np.uint8)
    groups: dict[int, list[int]] = defaultdict(list)
    for i, image in enumerate(images):
        groups[image.colour].append(i)
    for colour, members in groups.items():
        rows = np.frombuffer(b"".join(images[i].rows for i in members), np.uint8)
        channels = CHANNELS[colour]
        pixels = _unfilter(rows.reshape(len(members), height, -1), channels)
        pixels = pixels.reshape(len(members), height, width, channels)
        if colour == PALETTE:
            for i, indices in zip(members, pixels[..., 0], strict=True):
                colours = images[i].palette.ljust(768, b"\0")
                out[i] = to_grey(np.frombuffer(colours[:768], np.uint8).reshape(256, 3))[indices]
        else:
            out[members] = to_grey(pixels[..., :3]) if channels >= 3 else pixels[..., 0]
    return out


def _check_header(header: bytes, height: int, width: int) -> int:
    if len(header) != 13:
        raise PngError("the image has no header")
    w, h, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    if (h, w) != (height, width):
        raise PngError(f"expected {width} x {height} pixels, found {w} x {h}")
    if bits != 8 or interlaced or colour not in CHANNELS:
        raise PngError(f"expected 8 bits per sample, not interlaced, found {bits} bits, interlacing {interlaced}")
    return colour


def _inflate(data: Sequence[bytes], size: int) -> bytes:
    try:
        # Never more than the image needs, whatever the file claims.
        rows = zlib.decompressobj().decompress(b"".join(data), size + 1)
    except zlib.error as error:
        raise PngError(f"the pixels are damaged: {error}") from error
    if len(rows) != size:
        raise PngError(f"expected {size} bytes of pixels, found {len(rows)}{' or more' if len(rows) > size else ''}")
    return rows


def _unfilter(rows: UInt8[np.ndarray, "n h w_1"], bpp: int) -> UInt8[np.ndarray, "n h w"]:
    """The bytes of the pixels, from rows with a filter byte first (PNG specification, section 9)."""
    n, height, width = rows.shape
    out = np.zeros((n, height, width - 1), np.uint8)
    above = np.zeros((n, width - 1), np.uint8)
    for y in range(height):
        kinds, raw = rows[:, y, 0], rows[:, y, 1:]
        for kind in np.unique(kinds):
            chosen = kinds == kind
            out[chosen, y] = _FILTERS[kind](raw[chosen], above[chosen], bpp)
        above = out[:, y]
    return out


def _sub(raw: np.ndarray, above: np.ndarray, bpp: int) -> np.ndarray:
    pixels = raw.reshape(len(raw), -1, bpp)
    return np.cumsum(pixels, axis=1, dtype=np.uint8).reshape(raw.shape)


def _average(raw: np.ndarray, above: np.ndarray, bpp: int) -> np.ndarray:
    return _pixel_by_pixel(raw, above, bpp, lambda left, up, corner: (left + up) >> 1)


def _paeth(raw: np.ndarray, above: np.ndarray, bpp: int) -> np.ndarray:
    def nearest(left: np.ndarray, up: np.ndarray, corner: np.ndarray) -> np.ndarray:
        # How far each is from left + up - corner; ties go to the first in this order.
        to_left, to_up, to_corner = np.abs(up - corner), np.abs(left - corner), np.abs(left + up - 2 * corner)
        up_or_corner = np.where(to_up <= to_corner, up, corner)
        return np.where((to_left <= to_up) & (to_left <= to_corner), left, up_or_corner)

    return _pixel_by_pixel(raw, above, bpp, nearest)


def _pixel_by_pixel(
    raw: np.ndarray,
    above: np.ndarray,
    bpp: int,
    predict: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """Each byte plus what is predicted from those left, above and left above."""
    n = len(raw)
    # One pixel of all images lies together, in numbers that can become negative.
    pixels, ups = (np.ascontiguousarray(a.reshape(n, -1, bpp).swapaxes(0, 1), np.int16) for a in (raw, above))
    left = corner = np.zeros((n, bpp), np.int16)
    for x, up in enumerate(ups):
        left = pixels[x] = (pixels[x] + predict(left, up, corner)) & 0xFF
        corner = up
    return pixels.swapaxes(0, 1).reshape(n, -1).astype(np.uint8)


_FILTERS = (lambda raw, above, bpp: raw, _sub, lambda raw, above, bpp: raw + above, _average, _paeth)
