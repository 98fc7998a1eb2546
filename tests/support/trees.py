"""Trees of leaves without data: S5 layers at a node, and arrays beside them."""

from __future__ import annotations

from last_cli.formats import Key, Leaf


def s5_at(*node: str, **shapes: tuple[int, ...]) -> dict[Key, Leaf]:
    """Leaves of an S5 layer of 12 states and 4 features at a node, some with other shapes."""
    usual = {
        "Lambda_re": (12,),
        "Lambda_im": (12,),
        "B": (12, 4, 2),
        "C1": (4, 12, 2),
        "C2": (4, 12, 2),
        "D": (4,),
        "log_step": (12, 1),
    }
    return {(*node, n): Leaf((*node, n), shape, "float32", "array") for n, shape in (usual | shapes).items()}


def array(*key: str, shape: tuple[int, ...] = (3, 4)) -> dict[Key, Leaf]:
    return {key: Leaf(key, shape, "float32", "array")}
