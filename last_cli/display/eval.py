"""What `last eval` shows."""

from __future__ import annotations

from last_cli.display.sheet import Format, Sheet, write_csv, write_json, write_sheet
from last_cli.display.words import base_name
from last_cli.results.evaluation import Comparison, EvalReport, PrecisionLoss
from last_cli.tasks.task import ACCURACY


def show_eval(report: EvalReport, form: Format) -> None:
    """`last eval`: a row a model."""
    data = report.as_json()
    if form == "json":
        return write_json(data)
    if form == "csv":
        flat = {"path": report.checkpoint.path, "task": report.task["name"], "split": report.task["split"]}
        flat |= {k: v for k, v in data.items() if isinstance(v, int | float | str)}
        flat |= {f"baseline_{k}": v for k, v in data.get("baseline", {}).items()}
        flat |= {f"precision_{k}": v for k, v in data["precision"].items()}
        return write_csv(list(flat), [list(flat.values())])
    return write_sheet(_eval_sheet(report), form)


def eval_summary(report: EvalReport) -> str:
    """What was evaluated on."""
    task = report.task
    return (
        f"{task['name']} v{task['version']}, {task['split']} split, {len(report.measured.results):,} sequences "
        f"of length {task['length']} in {report.measured.seconds:.1f} s on {report.measured.device}; "
        f"{'; '.join(report.notes)}"
    )


def gate_lines(report: EvalReport) -> list[tuple[str, bool]]:
    """A line for each gate, and whether it holds."""
    lines = []
    for gate in report.gates:
        if gate.name == "max_drop":
            what = f"dropped {gate.value:.2f} points, at most {gate.limit:g} allowed"
        else:
            what = f"accuracy {gate.value:.2%}, at least {gate.limit:.2%} wanted"
        lines.append((f"{what}: {'passed' if gate.passed else 'failed'}", gate.passed))
    return lines


def _eval_sheet(report: EvalReport) -> Sheet:
    measured, other, precision = report.measured, report.baseline, report.precision
    metric, speed = measured.metric, f"{measured.speed:,.0f}"
    columns = ["", metric, "loss", "same answer", "sequences/s"]
    this = f"{_number(metric, measured.value)} ± {_number(metric, report.stderr)}"
    rows = [[base_name(report.checkpoint.path), this, f"{measured.losses.mean():.4f}", "", speed]]
    if other is not None:
        rows.append([f"baseline {base_name(other.path)}", _number(metric, other.value), "", "", ""])
        rows.append(["difference (paired)", _change(metric, other), "", f"{other.agreement:.1%}", ""])
    if precision is not None:
        name = f"{precision.name} against float32"
        rows.append([name, _change(metric, precision), "", f"{precision.agreement:.1%}", ""])
    return Sheet(columns, rows, drop=(2,))


def _number(metric: str, value: float) -> str:
    return f"{value:.2%}" if metric == ACCURACY else f"{value:.4g}"


def _change(metric: str, pair: Comparison | PrecisionLoss) -> str:
    """Percentage points of accuracy; of another metric the mean over the sequences, and whether that is worse."""
    if metric == ACCURACY:
        return f"{0 - 100 * pair.drop:+.2f} ± {100 * pair.drop_stderr:.2f} points"
    return f"{'worse' if pair.drop > 0 else 'better'} by {abs(pair.drop):.4g} ± {pair.drop_stderr:.2g}"
