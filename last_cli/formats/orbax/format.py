"""Orbax and Flax: directories of zarr arrays, OCDBT databases, msgpack files, and runs of them."""

from dataclasses import replace

from last_cli.formats.format import Format
from last_cli.formats.orbax.beside import read_beside
from last_cli.formats.orbax.copies import warn_of_links
from last_cli.formats.orbax.locate import is_below, locate
from last_cli.formats.orbax.metadata import TREE_FILE
from last_cli.formats.orbax.mirror import mirror
from last_cli.formats.orbax.parts import is_data, parts
from last_cli.formats.orbax.tree import read_tree
from last_cli.formats.orbax.write import write
from last_cli.formats.types import Beside, Location


def _read_beside(location: Location) -> Beside:
    beside = read_beside(location)
    return replace(beside, warnings=(*beside.warnings, *warn_of_links(location)))


ORBAX = Format(
    title="an Orbax or Flax checkpoint",
    signs=f"{TREE_FILE}, manifest.ocdbt, checkpoint, step or checkpoint_* entries",
    is_below=is_below,
    locate=locate,
    read_tree=lambda location: read_tree(location.directory),
    read_beside=_read_beside,
    parts=parts,
    is_data=is_data,
    mirror=mirror,
    write=write,
)
