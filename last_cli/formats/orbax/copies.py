"""Copies of files as they are: their content alone, without permissions, and nothing that a link has elsewhere."""

import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from last_cli.base.errors import CheckpointError
from last_cli.base.files import resolved
from last_cli.base.words import some
from last_cli.formats.orbax.beside import step_directory
from last_cli.formats.orbax.metadata import COMMIT_FILE
from last_cli.formats.types import Location


def copy_tree(directory: Path, target: Path, *, root: Path, without: Collection[str] = ()) -> None:
    """Copies what lies in a directory, but links out of the checkpoint, links to directories, and what is no file.

    Args:
        directory: what is copied.
        target: where to; made if it is not there.
        root: the checkpoint.
        without: names of entries of the directory that are left out.
    """
    target.mkdir(parents=True, exist_ok=True)
    for entry in directory.iterdir():
        if entry.name in without:
            continue
        if entry.is_dir() and not entry.is_symlink():
            copy_tree(entry, target / entry.name, root=root)
        elif entry.is_file() and not leads_out(entry, root):
            copy_file(entry, target / entry.name)


def copy_array(directory: Path, target: Path) -> None:
    """Copies the files of an array.

    Raises:
        CheckpointError: one is a link out of the array; names it.
    """
    for file in directory.rglob("*"):
        if leads_out(file, directory):
            raise CheckpointError(
                f"{file}: a link that leads out of the checkpoint, to {resolved(file)}: it is not followed",
                f"where you trust it, copy the checkpoint with what its links name: cp -rL {directory.parent} COPY",
            )
    copy_tree(directory, target, root=directory)


def copy_file(file: Path, target: Path) -> None:
    """Copies one file; of the sign that it was written whole, which names the place, the name alone."""
    if file.name == COMMIT_FILE:
        sign_commit(target)
    else:
        shutil.copyfile(file, target)


def sign_commit(file: Path) -> None:
    """Writes the file by which Orbax tells that a directory was written whole."""
    file.write_text("Checkpoint commit was successful")


def leads_out(file: Path, root: Path) -> bool:
    """Whether it is a link to something that is not below `root`."""
    return file.is_symlink() and not resolved(file).is_relative_to(resolved(root))


def warn_of_links(location: Location) -> Iterator[str]:
    """A warning where links lie beside the tree, or in an item that is none, that no copy will have."""
    step = step_directory(location)
    folder = step if step.is_dir() else step.parent
    items = [item for item in folder.iterdir() if item.is_dir() and item.name not in location.items]
    beside = [folder, *(item for item in items if location.item is not None and not item.is_symlink())]
    links = [entry for place in beside for entry in place.iterdir() if leads_out(entry, location.root)]
    if links:
        names = some(sorted(str(link.relative_to(folder)) for link in links))
        yield f"{folder}: links that lead out of the checkpoint are not followed, and are left out of copies: {names}"
