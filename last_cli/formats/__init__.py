"""Checkpoints on disk: find one, index it, read its arrays, write a changed copy.

The one room that knows how bytes lie on disk. What a format is, and which there are, stands in format.py: Orbax in all
its layouts (OCDBT or plain directories, zarr or zarr3, arrays inside a msgpack file), CheckpointManager runs, flax
`checkpoint_<n>`, bare msgpack files. Files of weights alone (safetensors, torch_file) are read and written whole.
"""

from typing import TYPE_CHECKING, Any

from last_cli.formats.locate import locate
from last_cli.formats.read import index, read, without
from last_cli.formats.types import STAMP_FILE, Index, Key, Leaf, Location, dtype_of

if TYPE_CHECKING:
    from last_cli.formats.write import check_output, save, write_stamp

__all__ = [
    "STAMP_FILE",
    "Index",
    "Key",
    "Leaf",
    "Location",
    "check_output",
    "dtype_of",
    "index",
    "locate",
    "read",
    "save",
    "without",
    "write_stamp",
]


def __getattr__(name: str) -> Any:
    """What writes is imported when it is first asked for, since most commands only read."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from last_cli.formats import write

    return getattr(write, name)
