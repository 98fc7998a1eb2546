"""Archives of fixtures, unpacked by every Python from 3.11.0 on."""

from __future__ import annotations

import tarfile
from pathlib import Path


def unpacked(archive: Path, directory: Path) -> Path:
    """The directory, with what the archive holds in it."""
    with tarfile.open(archive) as opened:
        if hasattr(tarfile, "data_filter"):
            opened.extractall(directory, filter="data")
        else:  # before 3.11.4
            opened.extractall(directory)
    return directory
