"""The types of shape annotations. jaxtyping's, where it is there to check them; a run of the program does without."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or "jaxtyping" in sys.modules:
    from jaxtyping import (
        Array,
        Bool,
        Complex,
        Float,
        Float32,
        Int,
        Int8,
        Int16,
        Int64,
        Integer,
        Num,
        Shaped,
        UInt8,
        UInt32,
    )
else:

    class _Unchecked:
        def __class_getitem__(cls, shape: Any) -> Any:
            return Any

    Array = Bool = Complex = Float = Float32 = Int = Int8 = Int16 = Int64 = Integer = Num = Shaped = _Unchecked
    UInt8 = UInt32 = _Unchecked

__all__ = [
    "Array",
    "Bool",
    "Complex",
    "Float",
    "Float32",
    "Int",
    "Int8",
    "Int16",
    "Int64",
    "Integer",
    "Num",
    "Shaped",
    "UInt8",
    "UInt32",
]
