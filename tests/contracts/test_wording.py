"""What a user reads is plain English: phrases that readers stumbled over are nowhere in the package."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXTS = [*sorted((ROOT / "last_cli").rglob("*.md")), ROOT / "README.md", ROOT / "sample_checkpoints" / "README.md"]
FORMER = [
    r"\d% stay\b|% stay\"",
    r"\btook step\b|the newest of",
    r"assumed \(the checkpoint|assumed \(nothing",
    r"same answer",
    r"what it is\"",
    r"(wanted|allowed): (failed|passed)",
    r"what was evaluated is kept|are taken up from an interrupted run",
    r"is as it was: there is nothing",
    r"copies of the parameters \(",
    r"arrays of the old sizes wants|silently fill up with zeros",
    r"refits C of what is kept",
    r"no input makes a layer's removed part",
    r"refitted on: ",
    r"what an earlier run measured",
    r"on these very sequences",
    r" measured ratios \(",
    r"all else is the same",
    r"\bthis ratio\"",
    r"make it: mkdir",
    r"\b1 inputs\b|features a step",
    r"Go on with poles|Go on where",
    r"\"Instead: ",
    r"How many, without labels|Their task: its val split|Or a file of them|Or a file: ",
    r"Where the norm stands|\"The gate\.\"|Of products and activations",
    r"the first so many sequences\.\"",
    r"As SLURM or Open MPI started them|Where the first of several processes is|Form of the output on stdout",
    r"the criterion energy looks ahead|\"A row a state|every layer keeps at least; 0 may",
    r"the logits mind them|its slip in|as like the training's|their lengths go up to twice",
    r"goes on from there|goes on where it was|is made up for from the stored|are refused with what to do",
    r"\bThey want a GPU|judge there with|What the report says of the error|yardstick of control",
    r"written plainly|\bfor comparison:|in the order of reversed bits",
    r"\blast-cli\[",
    r"\bdo not mind\b|C is as it was|goes on from what|Fine-tuning goes on|GPUs want",
    r"\b(rows?|lines?|states|pairs|milliseconds|ms|sequences|steps|numbers?|columns?) a "
    r"(row|state|layer|step|sequence|channel|batch|point|second|ratio|split|checkpoint|criterion)\b",
]


@pytest.mark.parametrize("phrase", FORMER)
def test_a_phrase_that_readers_stumbled_over_is_gone(phrase: str) -> None:
    assert [(where, line) for where, line in read_by_users() if re.search(phrase, line)] == []


@cache
def read_by_users() -> list[tuple[str, str]]:
    """Every line of documentation, and every text of the package but the docstrings of its code."""
    return [*_documentation(), *_texts()]


def _documentation() -> Iterator[tuple[str, str]]:
    for path in TEXTS:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            yield f"{path.relative_to(ROOT)}:{number}", line


def _texts() -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / "last_cli").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        silent = (
            set() if _is_public(path) else {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        )
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", f'"{" ".join(node.value.split())}"'


def _is_public(path: Path) -> bool:
    """Whether people read the docstrings, by `help()` or as a help page."""
    return (path.name == "__init__.py" and path.parent.name == "last_cli") or path.parent.name == "cli"
