"""Numbers, sizes and names in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from last_cli.tasks.task import FILE


def number(value: float | None, digits: int = 3) -> str:
    """A few significant digits, in whatever notation is shorter."""
    return "" if value is None else f"{value:.{digits}g}"


def byte_size(count: int) -> str:
    """In powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count = count / 1000  # pyright: ignore[reportAssignmentType]
    return f"{count:.3g} {unit}"


def kept_of(kept: int, of: int) -> str:
    """For example "85 of 128 kept (66.4 %)"."""
    return f"{kept:,} of {of:,} kept ({kept / max(of, 1):.1%})".replace("%", " %")


def base_name(path: str) -> str:
    """What a checkpoint is called in a table."""
    return PurePath(path).name or path


def short_names(names: Sequence[str]) -> list[str]:
    """Names without the path parts that all of them share at the start and at the end."""
    parts = [name.split("/") for name in names]
    if len(set(names)) < 2:
        return list(names)
    start = _common(parts)
    if start and all(part[start].isdigit() for part in parts if len(part) > start):
        start -= 1  # "layers/0" says more than "0"
    end = _common([p[::-1] for p in parts])
    return ["/".join(p[start : len(p) - end]) or name for p, name in zip(parts, names, strict=True)]


def _common(paths: Sequence[Sequence[str]]) -> int:
    """How many parts all paths share at the start."""
    return next((i for i, column in enumerate(zip(*paths, strict=False)) if len(set(column)) > 1), 0)


def task_in_words(task: Mapping[str, Any]) -> str:
    """Name, version and split; a file is called one."""
    if task["split"] == FILE:
        return f"the file {task['name']}"
    return f"{task['name']} v{task['version']}, {task['split']} split"
