"""Images as sequences of pixels, with the arithmetic of torchvision in single precision."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from last_cli.base.annotations import Float32, UInt8

# ITU-R 601-2 in 16 bits of fraction, as Pillow has it.
RED, GREEN, BLUE, HALF = 19595, 38470, 7471, 0x8000


def to_grey(rgb: UInt8[np.ndarray, "*shape 3"]) -> UInt8[np.ndarray, "*shape"]:
    """Luma rounded to whole numbers: Pillow's `convert("L")`, and so torchvision's `Grayscale`."""
    red, green, blue = (rgb[..., i].astype(np.uint32) for i in range(3))
    return ((red * RED + green * GREEN + blue * BLUE + HALF) >> 16).astype(np.uint8)


def to_sequences(
    images: UInt8[np.ndarray, "n *shape"], mean: Sequence[float] | None = None, std: Sequence[float] = (1.0,)
) -> Float32[np.ndarray, "n length features"]:
    """The pixels as numbers: torchvision's `ToTensor` and `Normalize(mean, std)`, row by row.

    Args:
        images: (n, height, width) or (n, length) for grey, (n, height, width, features) for colour.
        mean: of each feature in [0, 1]; None leaves `Normalize` out.
        std: of each feature.
    """
    features = images.shape[3] if images.ndim == 4 else 1
    x = images.reshape(len(images), math.prod(images.shape[1:]) // features, features).astype(np.float32)
    x /= np.float32(255)
    if mean is not None:
        x -= np.array(mean, np.float32)
        x /= np.array(std, np.float32)
    return x
