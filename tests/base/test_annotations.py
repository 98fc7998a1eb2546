"""Shape annotations are jaxtyping's under pytest, and cost nothing in a run of the program."""

from __future__ import annotations

import subprocess
import sys

import jaxtyping
import numpy as np
import pytest

from last_cli.base import annotations as shapes
from last_cli.pruning import select as selection


def test_they_are_those_that_are_checked_here() -> None:
    assert all(getattr(shapes, name) is getattr(jaxtyping, name) for name in shapes.__all__)
    with pytest.raises(jaxtyping.TypeCheckError):
        selection.indices(np.ones(3, bool))


def test_a_run_of_the_program_does_not_import_jaxtyping() -> None:
    code = "import sys, last_cli.pruning.budget, last_cli.display.prune; print('jaxtyping' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
