"""What of a checkpoint is no more as `last` wrote it: everything that its stamp has a digest of is read again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from last_cli.base.errors import CheckpointError
from last_cli.formats.digests import digests_at, file_digest, name_of, tree_digests
from last_cli.formats.format import format_named
from last_cli.formats.types import Index, Written


@dataclass(frozen=True)
class Damage:
    """What was compared with the digests in a stamp.

    Attributes:
        leaves: how many there are of, in all items of the step.
        wrong_leaves: those that are otherwise, lost or new, each in words.
        files: how many files without arrays there are of.
        wrong_files: those that are otherwise or lost.
        added: files that are none of these, by their paths below the root.
        described: whether the tree that was opened is one of those that the stamp describes.
    """

    leaves: int
    wrong_leaves: tuple[str, ...]
    files: int
    wrong_files: tuple[str, ...]
    added: tuple[str, ...]
    described: bool


def damage(index: Index, written: Written) -> Damage:
    """Reads all leaves of all trees, and all files, that a stamp has digests of; see Damage."""
    return Damage(
        leaves=sum(map(len, written.arrays.values())),
        wrong_leaves=tuple(wrong for place in written.arrays for wrong in _wrong_leaves(index, written, place)),
        files=len(written.files),
        wrong_files=tuple(_wrong_files(written)),
        added=tuple(_added(index, written)),
        described=bool(digests_at(written, index.location.directory)),
    )


def _wrong_leaves(index: Index, written: Written, place: str) -> Iterator[str]:
    said = written.arrays[place]
    location = replace(index.location, directory=written.root / place)
    if not os.path.lexists(location.directory):  # Path.exists raises where a name is too long.
        yield f"{place}: lost"
        return
    try:
        digests = tree_digests(format_named(location.format).read_tree(location))
    except CheckpointError as error:
        yield error.args[0]
        return
    found = {name_of(key): digest for key, digest in digests.items()}
    for name in dict.fromkeys([*said, *found]):
        what = "lost" if name not in found else "new" if name not in said else "changed"
        if said.get(name) != found.get(name):
            yield f"{f'{place}: ' if place else ''}{name} {what}"


def _wrong_files(written: Written) -> Iterator[str]:
    for place, digest in written.files.items():
        name = place or written.root.name
        try:
            if file_digest(written.root / place) != digest:
                yield f"{name} changed"
        except FileNotFoundError:
            yield f"{name} lost"
        except OSError as error:
            yield f"{name} cannot be read ({error.strerror})"


def _added(index: Index, written: Written) -> Iterator[str]:
    """Files that the stamp does not name, and that hold no arrays of the trees that it describes."""
    if written.root.is_file():
        return
    format = format_named(index.location.format)
    places = [written.root / place for place in written.arrays]
    for file in sorted(written.root.rglob("*")):
        name = file.relative_to(written.root).as_posix()
        known = file == written.file or name in written.files or file in places
        if not (known or file.is_dir() or any(p in file.parents and format.is_data(p, file) for p in places)):
            yield name
