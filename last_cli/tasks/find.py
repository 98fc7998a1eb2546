"""Tasks by name."""

from __future__ import annotations

from last_cli.base import registry
from last_cli.tasks.arrays import file_task
from last_cli.tasks.language import language_task
from last_cli.tasks.task import Task


def find(name: str) -> Task:
    """The task of the registry that is called so, else the one that is a file: FILE.npz of arrays, or a text, FILE.txt.

    Raises:
        UsageError: there is none; the hint names the closest ones.
    """
    if name.endswith((".npz", ".txt")) and name not in registry.names("tasks"):
        return language_task(name) or file_task(name)
    return registry.get("tasks", name)
