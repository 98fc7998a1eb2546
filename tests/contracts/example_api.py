# pyright: strict
"""How a user's own code calls the package; pyright reads it strictly, and finds no type that it does not know.

`test_example_api.py` runs it.
"""

from __future__ import annotations

from pathlib import Path

import last_cli as last


def norms(ckpt: Path) -> dict[str, float]:
    """The largest H-infinity norm of each layer, from a path."""
    report = last.score(ckpt, ratio=0.33)
    assert report.kept is not None and report.states > report.kept
    return {layer.name: layer.hinf.max for layer in report.layers if layer.hinf is not None}


def smaller(ckpt: Path, out: Path) -> int:
    """A third of the states removed and saved; how many are left."""
    checkpoint = last.load(ckpt)
    keys = [key for key, leaf in checkpoint.leaves.items() if len(leaf.shape) > 1]
    assert checkpoint.read(keys[:1]).keys() == {keys[0]}
    small = last.prune(checkpoint, ratio=0.33, criterion="last", scope="global")
    last.save(small, out, force=True)
    verified = last.verify(out, checkpoint)
    assert verified.passed, [check.name for check in verified.checks if not check.passed]
    assert small.report is not None
    return small.report.states.after


def judged(ckpt: Path, baseline: Path, limit: int) -> float:
    """How much accuracy a pruned checkpoint loses."""
    result = last.evaluate(ckpt, limit=limit, baseline=baseline, progress=False)
    assert result.baseline is not None and result.n == limit
    keys: list[str] = sorted(result.to_dict())
    assert "accuracy" in keys and result.accuracy is not None and 0 <= result.accuracy <= 1
    return result.baseline.worse  # the drop; for language models the increase


def swept(ckpt: Path, limit: int) -> dict[str, float | None]:
    """The accuracy of each recipe where half of the states are removed."""
    report = last.sweep(ckpt, ratios=[0.5], criteria=["last", "aire"], limit=limit, progress=False)
    return {point.criterion: point.accuracy for point in report.points}


def sizes(ckpt: Path) -> list[int]:
    """The states of each layer."""
    return [layer.states for layer in last.inspect(ckpt).layers]


def weights(ckpt: Path, out: Path) -> None:
    """Train the module that a pruned checkpoint gives, and save what was trained."""
    small = last.prune(ckpt, ratio=0.33)
    model, variables = last.build_model(small)
    assert model is not None and "params" in variables
    last.save(small.with_variables(variables), out, force=True)


def problem(ckpt: Path) -> str:
    """What is wrong with a checkpoint; errors have words."""
    try:
        last.load(ckpt)
    except last.LastError as error:
        return f"{error.message}; {error.hint}"
    return ""
