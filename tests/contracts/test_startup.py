"""Start-up and scoring never import the heavy libraries: each would cost more than the work itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SAMPLES = Path(__file__).parents[2] / "sample_checkpoints"
HEAVY = ("jax", "jaxlib", "flax", "orbax", "optax", "matplotlib", "sklearn", "scipy", "torch")

PROGRAM = """
import sys
from last_cli.cli import main
code = main(sys.argv[1:]) if sys.argv[1:] else 0
print(code, *sorted({name.split(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def imported(*arguments: str) -> tuple[str, set[str]]:
    """What a fresh interpreter's `last` with these arguments prints, and the packages it has then imported."""
    found = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True)
    code, *modules = found.stderr.splitlines()[-1].split()
    assert code == "0", found.stderr
    return found.stdout, set(modules)


def test_importing_the_command_line_reads_no_array_library() -> None:
    modules = imported()[1]
    assert "last_cli" in modules
    assert not modules & {*HEAVY, "numpy", "tensorstore"}


def test_help_imports_nothing_heavy() -> None:
    out, modules = imported("--help")
    assert "score" in out
    assert not modules & {*HEAVY, "numpy", "tensorstore", "json", "csv", "email", "tempfile"}


@pytest.mark.parametrize("sample", ["s4d-listops", "s5-listops"])
@pytest.mark.parametrize("command", ["score", "inspect"])
def test_scoring_and_inspecting_import_nothing_heavy(command: str, sample: str) -> None:
    out, modules = imported(command, str(SAMPLES / sample))
    assert "layers_0" in out
    assert not modules & {*HEAVY}


def test_scoring_in_python_imports_nothing_heavy() -> None:
    program = (
        "import sys, last_cli as last\n"
        "ck = last.load(sys.argv[1]); last.score(ck, ratio=0.33); last.prune(ck, 0.33)\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    arguments = [sys.executable, "-c", program, str(SAMPLES / "s5-listops")]
    found = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert not set(found.stdout.split()) & {*HEAVY}


def test_importing_the_api_reads_no_array_library() -> None:
    program = (
        "import sys, last_cli as last\n"
        "dir(last), last.LastError, last.prune\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not set(found.stdout.split()) & {*HEAVY, "numpy", "tensorstore", "typer", "rich"}
