"""The benchmark that waits for a GPU runs to its end, at small sizes, wherever it is started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


def test_the_whole_of_it_runs_on_a_cpu(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--quick", "--out", str(tmp_path / "runs")]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | {"JAX_PLATFORMS": "cpu"}
    )
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("###")] == [
        "### The original code's cases",
        "### Speed, milliseconds a sequence",
        "### A Mamba-2 language model, 1 layers of width 64, one sequence of 16 tokens",
        next(line for line in lines if line.startswith("### Training `s5-digits`")),
    ]
    assert {"| S5 ListOps ", "| S4D "} <= {line[: line.index("|", 1)] for line in lines if line.startswith("| S")}
    assert (tmp_path / "runs" / "s5-digits" / "last.json").exists()
