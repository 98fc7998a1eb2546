"""Where a task's files lie: in the named folder, or where the usual archives and tools put them below it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from last_cli.base.errors import DataError


def data_folder(task: str, data_dir: Path | None, hint: str) -> Path:
    """`data_dir`, else $LAST_DATA_DIR.

    Raises:
        DataError: neither is given, or there is no such folder.
    """
    chosen = data_dir or os.environ.get("LAST_DATA_DIR")
    if not chosen:
        raise DataError(f"task {task} reads its data set's files, and no folder is named", f"{hint}; {NAMING}")
    folder = Path(chosen).expanduser()
    if not folder.is_dir():
        raise DataError(f"task {task}: there is no folder {folder}", f"{hint}; {NAMING}")
    return folder


def find(task: str, data_dir: Path, nested: Sequence[str], needed: Sequence[str], hint: str) -> Path:
    """The first folder of `nested` below `data_dir` that has every path of `needed`.

    Raises:
        DataError: there is none. Names every path looked for.
    """
    folders = [data_dir / name for name in nested]
    for folder in folders:
        if all((folder / path).exists() for path in needed):
            return folder
    looked = ", ".join(str(folder / path) for folder in folders for path in needed)
    raise DataError(f"task {task}: found no {' with '.join(needed)}, looked for {looked}", f"{hint}; {NAMING}")


NAMING = "then name the folder with ⟦data_dir⟧ or LAST_DATA_DIR"
