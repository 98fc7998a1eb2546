"""Trees of arrays by the paths of their leaves."""

from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def nested(flat: Mapping[tuple[str, ...], T]) -> dict[str, Any]:
    """Nested dictionaries with these leaves, in their order.

    Args:
        flat: leaves by path; no path is the beginning of another.
    """
    tree: dict[str, Any] = {}
    for (*parents, name), value in flat.items():
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = value
    return tree
