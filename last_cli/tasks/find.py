"""Tasks by name."""

from __future__ import annotations

from last_cli.base import registry
from last_cli.tasks.arrays import file_task
from last_cli.tasks.language import language_task
from last_cli.tasks.task import FILE, Task


def is_file(name: str) -> bool:
    """Whether a task is a file, and no entry of the registry."""
    return name.endswith((".npz", ".txt")) and name not in registry.names("tasks")


def split_of(name: str, split: str) -> str:
    """What reports call a task's split; of a file that is no split of anything."""
    return FILE if is_file(name) else split


def find(name: str) -> Task:
    """The task of the registry that is called so, else the one that is a file: FILE.npz of arrays, or a text, FILE.txt.

    Raises:
        UsageError: there is none; the hint names the closest ones.
    """
    if is_file(name):
        return language_task(name) or file_task(name)
    return registry.get("tasks", name)
