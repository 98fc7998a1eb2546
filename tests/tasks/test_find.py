"""Tasks by name, and a task that is a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from last_cli.base import registry
from last_cli.base.errors import UsageError
from last_cli.tasks.digits import DIGITS
from last_cli.tasks.find import find
from last_cli.tasks.task import Task


def test_a_name_of_the_registry() -> None:
    assert find("digits") is DIGITS
    with pytest.raises(UsageError, match=r"^unknown task 'digit'$") as caught:
        find("digit")
    assert caught.value.hint.startswith("did you mean 'digits'? ")


def test_a_file_of_arrays(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, x=np.zeros((3, 4), np.int32), y=np.zeros(3, np.int32))
    task = find(str(path))
    assert (task.name, task.selection_split) == (str(path), "test")
    assert task.load().x.shape == (3, 4)


def test_what_another_package_adds_comes_before_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = Task("mine.npz", 1, "of another package", DIGITS.read)
    monkeypatch.setitem(registry.BUILT_IN["tasks"], "mine.npz", "mine:TASK")
    monkeypatch.setattr(registry, "import_module", lambda name: type("mine", (), {"TASK": mine}))
    assert find("mine.npz") is mine
