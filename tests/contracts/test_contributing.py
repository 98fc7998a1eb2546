"""The examples of CONTRIBUTING.md: each becomes a module, is registered by one line, is used by its name, and keeps the
contracts that it inherits: those of this folder, collected again with the example in the registry.
"""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import random_layers
from cases import SAMPLES
from commands import Run, data, fails

import last_cli as last
from last_cli.base import registry

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "CONTRIBUTING.md"
EXAMPLE = re.compile(r"```python\n# last_cli/\S+/(\w+)\.py\n(.*?)```", re.DOTALL)
LAYERS = re.compile(r"```python\n# tests/support/random_layers\.py\n(.*?)```", re.DOTALL)


@pytest.fixture
def add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Registers an example of the page, in its table of built-ins."""
    sources = {m[1]: m[2] for m in EXAMPLE.finditer(PAGE.read_text())}
    monkeypatch.syspath_prepend(tmp_path)

    def entry(kind: registry.Kind, name: str) -> None:
        (tmp_path / f"example_{name}.py").write_text(sources[name])
        monkeypatch.setitem(registry.BUILT_IN[kind], name, f"example_{name}:{name.upper()}")
        assert registry.get(kind, name).name == name

    return entry


@pytest.fixture
def keeps(request: pytest.FixtureRequest):
    """Runs every contract test of a file whose arguments name the example, and says how many calls that were."""

    def check(file: str, example: str) -> int:
        count = 0
        for name, test in collected(file).items():
            for arguments in calls(test, example):
                more = inspect.signature(test).parameters.keys() - arguments.keys()
                try:
                    test(**arguments, **{fixture: request.getfixturevalue(fixture) for fixture in more})
                except Exception as error:
                    error.add_note(f"{name}, {arguments}")
                    raise
                count += 1
        return count

    return check


def collected(file: str) -> dict[str, Callable[..., None]]:
    """The tests of a file of contracts, parametrized by what is registered now."""
    spec = spec_from_file_location(f"again_{file}", Path(__file__).with_name(f"{file}.py"))
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return {name: test for name, test in vars(module).items() if name.startswith("test_")}


def calls(test: Any, example: str) -> Iterator[dict[str, Any]]:
    """The arguments of each call by pytest that has the example among them; of all kinds of layers, one a layout."""
    columns = []
    for mark in getattr(test, "pytestmark", []):
        names, rows = mark.args
        single = isinstance(names, str)
        columns.append([{names: row} if single else dict(zip(names, row, strict=True)) for row in rows])
    for rows in product(*columns):
        arguments = {name: value for row in rows for name, value in row.items()}
        if example in arguments.values() and arguments.get("kind", example) in (example, *random_layers.LAYOUTS):
            yield arguments


def test_a_criterion(add, keeps) -> None:
    add("criteria", "memory")
    report = last.score(last.load(SAMPLES / "s5-listops"), "memory", ratio=0.25)
    assert sum(int(layer.keep.sum()) for layer in report.layers if layer.keep is not None) == 96
    assert all(layer.scores.max() == 1 and np.isfinite(layer.scores).all() for layer in report.layers)
    assert keeps("test_contracts", "memory") > 15


def test_a_task(add, keeps) -> None:
    add("tasks", "parity")
    test, again, val = (registry.get("tasks", "parity").load(split) for split in ("test", "test", "val"))
    assert test.x.shape == (256, 32) and set(test.y) == {0, 1}
    np.testing.assert_array_equal(test.x, again.x)
    assert (test.x[:] != val.x[:]).any()
    assert keeps("test_contracts", "parity") == 5


def test_a_family(add, keeps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add("families", "leaky")
    monkeypatch.setattr(random_layers, "KINDS", dict(random_layers.KINDS))
    exec(LAYERS.findall(PAGE.read_text())[0], dict(vars(random_layers)))
    arrays = random_layers.KINDS["leaky"].arrays(np.random.default_rng(0), states=8)
    random_layers.write(tmp_path / "ckpt", {("params", "layers_0", name): array for name, array in arrays.items()})
    checkpoint = last.load(tmp_path / "ckpt")
    small = last.prune(checkpoint, 0.5)
    last.save(small, tmp_path / "pruned")
    assert last.load(tmp_path / "pruned").leaves["params", "layers_0", "W_out"].shape == (4, 4)
    assert last.verify(last.load(tmp_path / "pruned"), checkpoint).passed
    assert keeps("test_contracts", "leaky") > 30
    assert keeps("test_methods", "leaky") == 4


def test_a_method(add, keeps, run: Run) -> None:
    add("methods", "cheapest")
    checkpoint = last.load(SAMPLES / "s5-listops")
    removed = {}
    for name in ("cheapest", "last", "aire", "hinf"):
        report = last.prune(checkpoint, 0.3, name).report
        assert report is not None
        removed[name] = sum(layer.removed_hinf or 0 for layer in report.layers)
    assert removed["cheapest"] == min(removed.values())
    assert keeps("test_methods", "cheapest") > 20
    found = data(run, "prune", SAMPLES / "s5-listops", "--ratio", "0.3", "--method", "cheapest", "-n")
    assert (found["method"], found["states"]["after"]) == ("cheapest", 89)
    assert "cheapest" in run("list", "methods")[1]
    typo = ("prune", SAMPLES / "s5-listops", "--method", "cheapst", "--ratio", "0", "-n")
    assert fails(run, *typo)[1].startswith("hint: did you mean 'cheapest'? methods are: criterion,")


def test_each_example_is_used_here() -> None:
    assert [m[1] for m in EXAMPLE.finditer(PAGE.read_text())] == ["memory", "parity", "leaky", "cheapest"]


def test_each_command_of_the_page_is_one_that_can_be_typed() -> None:
    commands = re.findall(r"`python ([^`]*)`", PAGE.read_text())
    assert len(commands) == 14
    for command in commands:
        assert (ROOT / shlex.split(command)[0]).is_file(), command
