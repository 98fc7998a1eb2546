"""Where a task's files lie: in the named folder, or where the usual archives and tools put them below it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from last_cli.base.errors import DataError
from last_cli.tasks.task import Query

NAMING = "then name the folder with ⟦data_dir⟧ or LAST_DATA_DIR"


def find_folder(query: Query, nested: Sequence[str], needed: Sequence[str], hint: str) -> Path:
    """The folder with a task's files.

    Args:
        query: names the task, and perhaps a folder.
        nested: where it may lie, seen from the folder that the user names; the first that fits is taken.
        needed: paths that it must have.
        hint: where the files come from, for errors.

    Raises:
        DataError: there is none. Names every path looked for.
    """
    return folder_with(query.task, named_folder(query, hint), nested, needed, hint)


def named_folder(query: Query, hint: str) -> Path:
    """The data directory that is asked for, else $LAST_DATA_DIR.

    Raises:
        DataError: neither is given, or there is no such folder.
    """
    chosen = query.data_dir or os.environ.get("LAST_DATA_DIR")
    if not chosen:
        raise DataError(f"task {query.task} reads its data set's files, and no folder is named", f"{hint}; {NAMING}")
    folder = Path(chosen).expanduser()
    if not folder.is_dir():
        raise DataError(f"task {query.task}: there is no folder {folder}", f"{hint}; {NAMING}")
    return folder


def folder_with(task: str, named: Path, nested: Sequence[str], needed: Sequence[str], hint: str) -> Path:
    """The first folder of `nested` below `named` that has every path of `needed`; see `find_folder`."""
    folders = [named / name for name in nested]
    for folder in folders:
        if all((folder / path).exists() for path in needed):
            return folder
    looked = ", ".join(str(folder / path) for folder in folders for path in needed)
    raise DataError(f"task {task}: found no folder with {', '.join(needed)}, looked for {looked}", f"{hint}; {NAMING}")
