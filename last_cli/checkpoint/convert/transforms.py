"""The functions under which the full S4 repository can store positive numbers; our leaves store their logarithm."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from last_cli.base.annotations import Bool, Shaped
from last_cli.base.errors import CheckpointError, UsageError

Numbers = Shaped[np.ndarray, "..."]

# name -> (what a stored number stands for, and back), as `param_transform` and `inv_transform` in kernels/ssm.py.
_TRANSFORMS: dict[str, tuple[Callable[[Numbers], Numbers], Callable[[Numbers], Numbers]]] = {
    "exp": (np.exp, np.log),
    "none": (lambda x: x, lambda y: y),
    "relu": (lambda x: np.maximum(x, 0) + 1e-4, lambda y: y - 1e-4),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), lambda y: np.log(y / (1 - y))),
    "softplus": (lambda x: np.logaddexp(x, 0), lambda y: np.log(np.expm1(y))),
}

# What padding stands for after an export: any number that all the functions can give will do, for its C is zero.
_PADDING = 0.5


def check(option: str, transform: str) -> None:
    """Looks up a function.

    Args:
        option: which is to name it, for the error.
        transform: the name.

    Raises:
        UsageError: there is none.
    """
    if transform not in _TRANSFORMS:
        raise UsageError(f"{option} is '{transform}', expected one of {', '.join(_TRANSFORMS)}", "see the S4 config")


def log_of(stored: Numbers, transform: str, name: str) -> Numbers:
    """Logarithm of what the stored numbers stand for, in their own type; under "exp" they are it, bit by bit.

    Args:
        stored: the numbers of the file.
        transform: the function under which they are stored.
        name: of the tensor, for the error.

    Raises:
        CheckpointError: a number stands for none that is positive; names the tensor.
    """
    if transform == "exp":
        return stored
    meant = _TRANSFORMS[transform][0](stored.astype(np.float64))
    if not (meant > 0).all():
        raise CheckpointError(
            f"{name}: {int((~(meant > 0)).sum())} numbers are not positive under the transform '{transform}'",
            "name the transform that the model was trained with",
        )
    return np.log(meant).astype(stored.dtype)


def unlog(
    log: Numbers, original: Numbers | None, transform: str, padding: Bool[np.ndarray, "..."] | None = None
) -> Numbers:
    """The inverse: the original where its logarithm is still the same outside of the padding, else computed.

    Args:
        log: logarithms, as the checkpoint has them.
        original: the numbers of the file, where they were kept.
        transform: the function under which they are stored.
        padding: where states were added that stand for nothing.
    """
    if transform == "exp":
        return log
    inverse = _TRANSFORMS[transform][1]
    live = np.ones(log.shape, bool) if padding is None else ~padding
    filler = inverse(np.full((), _PADDING)).astype(log.dtype)
    if original is not None:
        original = np.where(live, original, filler)
        if np.array_equal(log_of(original, transform, "")[live], log[live]):
            return original
    return np.where(live, inverse(np.exp(np.where(live, log, np.log(_PADDING)).astype(np.float64))), filler).astype(
        log.dtype
    )
