"""What `last eval` shows."""

from __future__ import annotations

from last_cli.display.sheet import Format, Sheet, write_csv, write_json, write_sheet
from last_cli.display.words import base_name
from last_cli.results.evaluation import EvalReport


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
    speed = f"{measured.speed:,.0f}"
    columns = ["", "accuracy", "loss", "same answer", "sequences/s"]
    this = f"{measured.accuracy:.2%} ± {report.stderr:.2%}"
    rows = [[base_name(report.checkpoint.path), this, f"{measured.losses.mean():.4f}", "", speed]]
    if other is not None:
        rows.append([f"baseline {base_name(other.path)}", f"{other.accuracy:.2%}", "", "", ""])
        drop = f"{0 - 100 * other.drop:+.2f} ± {100 * other.drop_stderr:.2f} points"
        rows.append(["difference (paired)", drop, "", f"{other.agreement:.1%}", ""])
    if precision is not None:
        drop = f"{0 - 100 * precision.drop:+.2f} ± {100 * precision.drop_stderr:.2f} points"
        rows.append([f"{precision.name} against float32", drop, "", f"{precision.agreement:.1%}", ""])
    return Sheet(columns, rows, drop=(2,))
