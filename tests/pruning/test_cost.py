"""What a sweep says of its cost, and what an interrupted one says of going on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import Run
from random_networks import digits

import last_cli as last
from last_cli.base import cache
from last_cli.pruning import sweep
from last_cli.pruning.cost import duration, extent, how_to_go_on
from last_cli.results.evaluation import Measured

KEYS = [("last", 0.0, 0), ("last", 0.5, 0), ("random", 0.5, 0), ("random", 0.5, 1)]


def test_the_extent_is_counted() -> None:
    said = extent(KEYS, 4, 2000)
    assert said == "4 points to measure (2 recipes, 2 ratios, up to 2 seeds) on 2,000 sequences each"
    said = extent(KEYS[:1], 4, 60)
    assert said == "1 point to measure (1 recipe, 1 ratio, 1 seed) on 60 sequences each; 3 more are done"


@pytest.mark.parametrize(("seconds", "time"), [(3, "9 s"), (300, "15 min"), (30000, "25.0 h"), (0, "0 s")])
def test_the_duration_is_that_of_the_unpruned_model(seconds: float, time: str) -> None:
    found = np.zeros(300)
    base = Measured("accuracy", 0.5, 0.1, found, found, found, float(seconds), "cpu")
    assert duration(KEYS, base) == f"about {time} of evaluation, besides choosing the units"


def test_a_sweep_says_what_it_will_cost_before_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise last.LastError("stop")

    told: list[tuple[str, str]] = []
    monkeypatch.setattr(sweep, "_point", stop)
    with pytest.raises(last.LastError, match="stop"):
        last.sweep(
            digits(),
            "digits",
            ratios=[0.5],
            criteria=["last"],
            seeds=1,
            limit=20,
            tell=lambda line, kind: told.append((line, kind)),
        )
    assert [(line.split(" ")[0], kind) for line, kind in told] == [("1", ""), ("about", "")]


def test_an_interrupted_sweep_says_how_to_go_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep, "_point", stop)
    line = ("sweep", digits().source.path, "--ratios", "0.5", "--criteria", "last", "--limit", "20", "-q")
    saved = "points saved in out; rerun the same command to continue"
    assert run(*line, "--out", "out") == (130, "", f"error: interrupted\nhint: {saved}\n")
    lost = "the points are lost; with --out DIR a rerun continues"
    assert run(*line) == (130, "", f"error: interrupted\nhint: {lost}\n")
    assert how_to_go_on("out") == saved


def test_an_interrupted_measurement_says_how_to_go_on(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from last_cli.pruning.calibration import measurements, resume

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def kept(key: resume.Key) -> tuple[None, int]:
        cache.store(resume.NAME, key, {"x": np.ones(1)})
        return None, 0

    monkeypatch.setenv("LAST_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(measurements, "on_all_devices", stop)
    line = ("prune", digits().source.path, "--ratio", "0.5", "--method", "reconstruct", "-n", "-q")
    code, _, err = run(*line)
    assert code == 130 and "hint: nothing is left half-written: run it again" in err
    monkeypatch.setattr(resume, "load", kept)
    code, _, err = run(*line)
    assert code == 130 and "hint: measurements saved; rerun the same command to continue" in err
