"""What the tests of the commands share: the samples' paths, and what a command's output must look like."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cases import DATA, SAMPLES
from schemas import violations

S5, S4D, DIGITS = (str(SAMPLES / name) for name in ("s5-listops", "s4d-listops", "s5-digits"))
UNSTABLE = str(DATA / "oracle" / "s5_14_uni_unstable_state" / "ckpt")

Run = Callable[..., tuple[int, str, str]]


def data(run: Run, *arguments: str | Path, code: int = 0) -> dict[str, Any]:
    found, out, err = run(*arguments, "--format", "json")
    assert found == code, err
    output = json.loads(out)
    assert violations(output) == []
    return output


def fails(run: Run, *arguments: str | Path) -> list[str]:
    """The two lines of an error: nothing on stdout, no traceback, exit code 2."""
    code, out, err = run(*arguments, "-q")
    lines = err.strip().splitlines()
    assert code == 2, (code, err)
    assert out == ""
    assert len(lines) == 2, err
    assert lines[0].startswith("error: ")
    assert lines[1].startswith("hint: ")
    return lines
