"""`last bench`, run as a user runs it."""

from __future__ import annotations

import csv
import io
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from commands import S4D, S5, UNSTABLE, Run, data, fails
from random_layers import classifier, write

import last_cli as last
from last_cli.display.bench import bench_view
from last_cli.display.forms import text
from last_cli.evaluation import bench as bench_module
from last_cli.results.bench import BenchReport, Timing


def test_two_checkpoints_are_timed_on_the_same_inputs(run: Run, tmp_path: Path) -> None:
    run("prune", S5, "--ratio", "0.6")
    code, out, err = run("bench", S5, "pruned", "--repeat", "7", "--batch", "5", "--length", "31", "--plot", "b.svg")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines() if line.strip()][2:] == ["s5-listops", "pruned"]
    assert "7 batches of 5 random sequences of length 31" in err
    assert (tmp_path / "b.svg").read_text().startswith("<?xml")


def test_the_report_says_all(run: Run) -> None:
    report = data(run, "bench", S4D, S4D, "--repeat", "6", "--batch", "3")
    assert report["schema"] == "last.bench/1"
    assert (report["length"], report["batch"], report["repeat"], report["precision"]) == (65, 3, 6, "float32")
    assert report["checkpoint"]["path"] == S4D and "device" in report
    for result in report["results"]:
        seconds = result["seconds"]
        assert len(seconds) == 6 and min(seconds) > 0
        latency = result["latency"]
        wanted = [min(seconds), *np.quantile(seconds, [0.25, 0.5, 0.75]), max(seconds)]
        assert [latency[key] for key in ("min", "q1", "median", "q3", "max")] == pytest.approx(wanted)
        assert result["sequences_per_second"] == pytest.approx(3 / latency["median"])
        assert result["parameters"] == last.load(S4D).parameters
        assert result["peak_bytes"] > result["program_bytes"] > 4 * result["parameters"] / 2
        assert result["compile_seconds"] > 0
    first, second = report["results"]
    assert first["ratios"] == {"speed": 1, "program_bytes": 1, "peak_bytes": 1}
    assert second["ratios"]["speed"] == pytest.approx(first["latency"]["median"] / second["latency"]["median"])
    assert second["ratios"]["program_bytes"] == 1


def test_what_is_guessed_of_a_network_is_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    begun = {"compile_seconds": 0.1, "program_bytes": 1, "device": "cpu"}
    answers = SimpleNamespace(begun=begun, ask=lambda _: {"seconds": [1.0], "peak_bytes": 1})
    monkeypatch.setattr(bench_module, "_worker", lambda *_: nullcontext(answers))
    bare = write(tmp_path / "ckpt", classifier())
    report = last.bench(bare, length=8, repeat=1).as_json()
    assert any("activation = half_glu1 is a guess" in line and str(bare) in line for line in report["warnings"])
    assert not last.bench(S5, repeat=1).warnings


def test_other_forms() -> None:
    source = last.load(S5).source
    timings = [Timing(source, 9, np.array([1.0, 2.0, 4.0]) / speed, 3, 0.5, 10**6, 10**8) for speed in (1, 4)]
    view = bench_view(BenchReport(timings, 65, 3, 3, "float32", "cpu"))
    rows = list(csv.DictReader(io.StringIO(text(view, "csv"))))
    assert [float(row["latency_median"]) for row in rows] == [2, 0.5]
    assert [float(row["ratios_speed"]) for row in rows] == [1, 4]
    head, _, first, second = text(view, "md").splitlines()[2:6]
    assert head.startswith("|  | parameters | compile (s) | latency (ms) | quartiles (ms) | range (ms) |")
    assert "1.00x" in first and "4.00x" in second and "2000" in first and "250 to 1000" in second
    assert "3 batches of 3 random sequences of length 65 on cpu" in view.lines[0]


def test_a_worker_that_dies_is_an_error(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    dying = "import os, sys\nif 'last_cli.evaluation.bench_worker' in sys.orig_argv: os._exit(9)\n"
    (tmp_path / "sitecustomize.py").write_text(dying)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    assert "ended with code 9" in fails(run, "bench", S5)[0]


def test_a_worker_without_memory_is_an_error(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    full = """import sys
if 'last_cli.evaluation.bench_worker' in sys.orig_argv:
    import numpy
    def default_rng(seed):
        raise MemoryError('no room')
    numpy.random.default_rng = default_rng
"""
    (tmp_path / "sitecustomize.py").write_text(full)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    message, hint = fails(run, "bench", S5)
    assert f"{S5}: MemoryError: no room" in message and "smaller --batch" in hint


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        ((), "missing argument", "--help"),
        (("nowhere",), "nowhere: no such file", ""),
        ((S5, "--batch", "0"), "--batch", "--help"),
        ((UNSTABLE,), "of which length", "length"),
        ((S5, "--device", "gpu"), "no gpu", "cuda13"),
        ((S5, "--plot", "b.txt"), "b.txt", ".svg"),
    ],
)
def test_errors_have_a_message_and_a_hint(run: Run, arguments: tuple[str, ...], message: str, hint: str) -> None:
    lines = fails(run, "bench", *arguments)
    assert message in lines[0]
    assert hint in lines[1]


def test_the_api_refuses_what_makes_no_sense() -> None:
    for wrong in ({"batch": 0}, {"repeat": 0}, {"length": -1}, {"precision": "float64"}):
        with pytest.raises(last.UsageError):
            last.bench(S5, **wrong)  # pyright: ignore[reportArgumentType]
    with pytest.raises(last.UsageError):
        last.bench()
    with pytest.raises(last.UsageError, match="was changed since it was read") as caught:
        last.bench(last.prune(S5, 0.5))
    assert caught.value.hint == "save it first, and give the path"
