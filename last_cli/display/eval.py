"""What `last eval` shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from last_cli.display.sheet import Format, Sheet, write_csv, write_json, write_sheet
from last_cli.display.words import base_name
from last_cli.results.evaluation import Comparison, EvalReport, Gate, Increase, PrecisionLoss
from last_cli.tasks.task import ACCURACY, PERPLEXITY


def show_eval(report: EvalReport, form: Format) -> None:
    """`last eval`: a row a model."""
    data = report.as_json()
    if form == "json":
        return write_json(data)
    if form == "csv":
        flat = {"path": report.checkpoint.path, "task": report.task["name"], "split": report.task["split"]}
        flat |= {k: v for k, v in data.items() if isinstance(v, int | float | str)}
        flat |= _flat("", {k: v for k, v in report.measured.said.items() if isinstance(v, dict)})
        flat |= _flat("baseline_", data.get("baseline", {}))
        flat |= {f"precision_{k}": v for k, v in data["precision"].items()}
        return write_csv(list(flat), [list(flat.values())])
    sheet = _language_sheet if report.measured.metric == PERPLEXITY else _eval_sheet
    return write_sheet(sheet(report), form)


def eval_summary(report: EvalReport) -> str:
    """What was evaluated on."""
    task, measured = report.task, report.measured
    what = f"{len(measured.results):,} sequences of length {task['length']}"
    if "window" in report.said:
        window, stride = report.said["window"], report.said["stride"]
        counted = "" if stride == window else f", every {stride:,}"
        what = f"{measured.n:,} tokens in {len(measured.results):,} windows of at most {window:,}{counted}"
    return (
        f"{task['name']} v{task['version']}, {task['split']} split, {what} in {measured.seconds:.1f} s on "
        f"{measured.device}; {'; '.join(report.notes)}"
    )


def gate_lines(report: EvalReport) -> list[tuple[str, bool]]:
    """A line for each gate, and whether it holds."""
    return [(f"{_gate(gate)}: {'passed' if gate.passed else 'failed'}", gate.passed) for gate in report.gates]


def _gate(gate: Gate) -> str:
    if gate.name == "max_drop":
        most = "at most " if gate.strict else ""
        return (
            f"dropped {most}{gate.value:.2f} points{' (95 %)' if gate.strict else ''}, at most {gate.limit:g} allowed"
        )
    if gate.name == "max_perplexity":
        return f"perplexity {gate.value:.4g}, at most {gate.limit:g} allowed"
    if gate.name == "max_increase":
        return f"perplexity {gate.value:+.2%}, at most {gate.limit:+.2%} allowed"
    return f"accuracy {gate.value:.2%}, at least {gate.limit:.2%} wanted"


def _eval_sheet(report: EvalReport) -> Sheet:
    measured, other, precision = report.measured, report.baseline, report.precision
    metric, speed = measured.metric, f"{measured.speed:,.0f}"
    columns = ["", metric, "loss", "same answer", "sequences/s"]
    this = f"{_number(metric, measured.value)} ± {_number(metric, report.stderr)}"
    rows = [[base_name(report.checkpoint.path), this, f"{measured.losses.mean():.4f}", "", speed]]
    if isinstance(other, Comparison):
        rows.append([f"baseline {base_name(other.path)}", _number(metric, other.value), "", "", ""])
        rows.append(["difference (paired)", _change(metric, other), "", f"{other.agreement:.1%}", ""])
    if isinstance(precision, PrecisionLoss):
        name = f"{precision.name} against float32"
        rows.append([name, _change(metric, precision), "", f"{precision.agreement:.1%}", ""])
    return Sheet(columns, rows, drop=(2,))


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


def _flat(prefix: str, nested: Mapping[str, Any]) -> dict[str, Any]:
    """One row of a nested object."""
    parts = {f"{prefix}{key}": value for key, value in nested.items()}
    found = {key: value for key, value in parts.items() if not isinstance(value, Mapping)}
    for key, value in parts.items():
        found |= _flat(f"{key}_", value) if isinstance(value, Mapping) else {}
    return found


def _number(metric: str, value: float) -> str:
    return f"{value:.2%}" if metric == ACCURACY else f"{value:.4g}"


def _change(metric: str, pair: Comparison | PrecisionLoss) -> str:
    """Percentage points of accuracy; of another metric the mean over the sequences, and whether that is worse."""
    if metric == ACCURACY:
        return f"{0 - 100 * pair.drop:+.2f} ± {100 * pair.drop_stderr:.2f} points"
    return f"{'worse' if pair.drop > 0 else 'better'} by {abs(pair.drop):.4g} ± {pair.drop_stderr:.2g}"
