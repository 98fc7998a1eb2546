"""The notebook beside the samples: its cells run one after the other, and what they end with shows itself."""

from __future__ import annotations

import ast
import json
from typing import Any

import pytest
from cases import SAMPLES

TOUR = json.loads((SAMPLES / "tour.ipynb").read_text("utf-8"))


def shown(source: str, names: dict[str, Any]) -> Any:
    """What a cell ends with, as a notebook takes it."""
    *body, end = ast.parse(source).body
    if not isinstance(end, ast.Expr):
        body, end = [*body, end], None
    exec(compile(ast.Module(body, []), "<cell>", "exec"), names)
    return None if end is None else eval(compile(ast.Expression(end.value), "<cell>", "eval"), names)


def test_the_tour_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(SAMPLES)
    names: dict[str, Any] = {}
    first, *cells = TOUR["cells"]
    assert len(cells) == 9 and first["cell_type"] == "markdown"
    found = [shown("".join(cell["source"]), names) for cell in cells]
    assert all(len(repr(value).splitlines()) == 1 for value in found if type(value).__module__.startswith("last_cli"))
    assert ["_repr_html_" if hasattr(value, "_repr_html_") else type(value).__name__ for value in found] == [
        "Checkpoint", "_repr_html_", "Drawing", "_repr_html_", "_repr_html_", "_repr_html_", "tuple", "Drawing",
        "_repr_html_",
    ]  # fmt: skip
    assert all("<table" in value._repr_html_() for value in found if hasattr(value, "_repr_html_"))
    assert found[-1].passed and len(names["sweep"].points) == 4


def test_the_tour_is_stored_without_outputs() -> None:
    assert not any(cell.get("outputs") for cell in TOUR["cells"])
