"""Orbax and Flax: directories of zarr arrays, OCDBT databases, msgpack files, and runs of them."""

from dataclasses import replace

from last_cli.formats.format import Format, lazy
from last_cli.formats.orbax.beside import read_beside
from last_cli.formats.orbax.locate import is_below, locate
from last_cli.formats.orbax.metadata import TREE_FILE
from last_cli.formats.orbax.tree import read_tree
from last_cli.formats.types import Beside, Location


def _read_beside(location: Location) -> Beside:
    from last_cli.formats.orbax.copies import warn_of_links

    beside = read_beside(location)
    return replace(beside, warnings=(*beside.warnings, *warn_of_links(location)))


ORBAX = Format(
    title="an Orbax or Flax checkpoint",
    signs=f"{TREE_FILE}, manifest.ocdbt, checkpoint, step or checkpoint_* entries",
    is_below=is_below,
    locate=locate,
    read_tree=lambda location: read_tree(location.directory),
    read_beside=_read_beside,
    parts=lazy("last_cli.formats.orbax.parts:parts"),
    is_data=lazy("last_cli.formats.orbax.parts:is_data"),
    mirror=lazy("last_cli.formats.orbax.mirror:mirror"),
    write=lazy("last_cli.formats.orbax.write:write"),
)
