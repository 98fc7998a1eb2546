"""Checkpoints on disk: find one, index it, read its arrays, write a changed copy.

The one room that knows how bytes lie on disk. What a format is, and which there are, stands in format.py: Orbax in all
its layouts (OCDBT or plain directories, zarr or zarr3, arrays inside a msgpack file), CheckpointManager runs, flax
`checkpoint_<n>`, bare msgpack files. Files of weights alone (safetensors, torch_file) are read and written whole.
"""

from last_cli.formats.locate import locate
from last_cli.formats.read import index, read, without
from last_cli.formats.types import STAMP_FILE, Index, Key, Leaf, Location, dtype_of
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
