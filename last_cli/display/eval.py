"""What `last eval` shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from last_cli.display.sheet import Sheet
from last_cli.display.view import Passed, View
from last_cli.display.words import base_name, task_in_words
from last_cli.results.evaluation import Comparison, EvalReport, Gate, Increase, PrecisionLoss
from last_cli.tasks.task import ACCURACY, PERPLEXITY

_ELSEWHERE = {"checkpoint", "task", "assumed"}
"""What a row of CSV tells otherwise, or not at all."""


def eval_view(report: EvalReport) -> View:
    """`last eval`: one row per model."""
    language, name = report.measured.metric == PERPLEXITY, base_name(report.checkpoint.path)
    return View(
        title=f"last eval {name} on {report.task['name']}",
        data=report.as_json(),
        sheets=[(_language_sheet if language else _eval_sheet)(report)],
        records=lambda: [_record(report)],
        lines=[_summary(report)],
        details=report.notes,
        gates=[Passed(gate.name, gate.passed, f"{name}: {_gate(gate)}") for gate in report.gates],
    )


def _record(report: EvalReport) -> dict[str, Any]:
    """The one row of CSV."""
    data = report.as_json()
    names = {"path": report.checkpoint.path, "task": report.task["name"], "split": report.task["split"]}
    nested = {key: value for key, value in data.items() if isinstance(value, Mapping)}
    row = names | {key: value for key, value in data.items() if isinstance(value, int | float | str)}
    return row | {key: nested[key] for key in nested.keys() - _ELSEWHERE}


def _summary(report: EvalReport) -> str:
    """What was evaluated on."""
    task, measured = report.task, report.measured
    first = "the first " if "limit" in task else ""
    what = f"{first}{len(measured.results):,} sequences of length {task['length']}"
    if "window" in report.said:
        window, stride = report.said["window"], report.said["stride"]
        counted = "" if stride == window else f", every {stride:,}"
        what = f"{measured.n:,} tokens in {len(measured.results):,} windows of at most {window:,}{counted}"
    made = " (generated)" if task["source"] == "generated" else ""
    return f"{task_in_words(task)}{made}, {what} in {measured.seconds:.1f} s on {measured.device}"


def _gate(gate: Gate) -> str:
    """For example "gate failed: accuracy 62.40% < 90.00% (⟦min_accuracy⟧)"."""
    holds = "passed" if gate.passed else "failed"
    what, limit, sign = _compared(gate)
    return f"gate {holds}: {what} {sign[gate.passed]} {limit} (⟦{gate.name}⟧)"


_MOST, _LEAST = (">", "<="), ("<", ">=")


def _compared(gate: Gate) -> tuple[str, str, tuple[str, str]]:
    """What was measured, the limit, and how the two compare where the gate fails and where it holds."""
    if gate.name == "max_drop":
        upper = ", upper limit at 95 %," if gate.strict else ""
        return f"accuracy drop{upper} {gate.value:.2f} points", f"{gate.limit:g}", _MOST
    if gate.name == "max_perplexity":
        return f"perplexity {gate.value:.4g}", f"{gate.limit:g}", _MOST
    if gate.name == "max_increase":
        return f"perplexity increase {gate.value:+.2%}", f"{gate.limit:+.2%}", _MOST
    return f"accuracy {gate.value:.2%}", f"{gate.limit:.2%}", _LEAST


def _eval_sheet(report: EvalReport) -> Sheet:
    measured, other, precision = report.measured, report.baseline, report.precision
    metric, speed = measured.metric, f"{measured.speed:,.0f}"
    columns = ["", metric, "loss", "agreement", "sequences/s"]
    this = f"{_number(metric, measured.value)} ± {_number(metric, report.stderr)}"
    rows = [[base_name(report.checkpoint.path), this, f"{measured.losses.mean():.4f}", "", speed]]
    if isinstance(other, Comparison):
        rows.append([f"baseline {base_name(other.path)}", _number(metric, other.value), "", "", ""])
        rows.append(["difference (paired)", _change(metric, other), "", f"{other.agreement:.1%}", ""])
    if isinstance(precision, PrecisionLoss):
        name = f"{precision.name} against float32"
        rows.append([name, _change(metric, precision), "", f"{precision.agreement:.1%}", ""])
    return Sheet(columns, rows, drop=(2,), names={0: "model"})


def _language_sheet(report: EvalReport) -> Sheet:
    """Perplexities by unit; those by word and byte where there is a text."""
    measured, other = report.measured, report.baseline
    found = measured.said[PERPLEXITY]
    units = [unit for unit, value in found.items() if value is not None]
    bits = measured.said["bits_per_byte"]
    columns = ["", *(f"perplexity/{unit}" for unit in units), *(["bits/byte"] if bits is not None else [])]
    this = [f"{found[unit]:.4f}" for unit in units] + ([f"{bits:.4f}"] if bits is not None else [])
    this[0] += f" ± {report.stderr:.2g}"
    speed = measured.speed * measured.n / len(measured.losses)
    rows = [[base_name(report.checkpoint.path), *this, f"{measured.loss:.4f}", f"{speed:,.0f}"]]
    if isinstance(other, Increase):
        rest = [""] * (len(columns) - 1 - len(units) + 2)
        before = [f"{other.perplexity[unit]:.4f}" for unit in units]
        rows.append([f"baseline {base_name(other.path)}", *before, *rest])
        change = f"{other.increase:+.2%} ± {100 * other.increase_stderr:.2g} %"
        rows.append(["difference (paired)", change, *[""] * (len(units) - 1), *rest])
    return Sheet([*columns, "loss", "tokens/s"], rows)


def _number(metric: str, value: float) -> str:
    return f"{value:.2%}" if metric == ACCURACY else f"{value:.4g}"


def _change(metric: str, pair: Comparison | PrecisionLoss) -> str:
    """Percentage points of accuracy; of another metric the mean over the sequences, and whether that is worse."""
    if metric == ACCURACY:
        return f"{0 - 100 * pair.drop:+.2f} ± {100 * pair.drop_stderr:.2f} points"
    return f"{'worse' if pair.drop > 0 else 'better'} by {abs(pair.drop):.4g} ± {pair.drop_stderr:.2g}"
