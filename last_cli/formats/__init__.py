"""Checkpoints on disk: find one, index it, read its arrays, write a changed copy.

The one room that knows the formats: Orbax in all its layouts (OCDBT or plain directories, zarr or zarr3, arrays inside
a msgpack file), CheckpointManager runs, flax `checkpoint_<n>`, bare msgpack files.
"""

from last_cli.formats.orbax.beside import read_stamp
from last_cli.formats.orbax.locate import locate
from last_cli.formats.read import index, read
from last_cli.formats.types import STAMP_FILE, Index, Key, Leaf, Location
from last_cli.formats.write import check_output, save

__all__ = [
    "STAMP_FILE",
    "Index",
    "Key",
    "Leaf",
    "Location",
    "check_output",
    "index",
    "locate",
    "read",
    "read_stamp",
    "save",
]
