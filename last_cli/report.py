"""Results as a table, JSON, CSV or Markdown. Data goes to stdout; what was read, warnings and hints go to stderr."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

from last_cli.loading import Checkpoint
from last_cli.results import EvalReport, LayerPrune, LayerScore, Progress, PruneReport, ScoreReport

Format = Literal["table", "json", "csv", "md"]
WIDE = 4000  # a piped table is never cut
BAR = 16


@dataclass(frozen=True)
class Sheet:
    """Rows of text under headings, and perhaps a row of totals; every column but the first `left` is right-aligned.

    `drop` lists the columns, by place, that a narrow terminal does without, the first one first.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    total: Sequence[str] | None = None
    left: int = 1
    drop: Sequence[int] = ()


def show_score(report: ScoreReport, form: Format, per_state: bool) -> None:
    """`last score`: a row a layer, or a row a state."""
    if form == "json":
        return _json(report.as_json(per_state))
    if form == "csv":
        return _csv(*_states_of(report))
    sheet = _states_sheet(report) if per_state else _score_sheet(report)
    return _sheet(sheet, form)


def show_prune(report: PruneReport, form: Format, output: str | None) -> None:
    """`last prune`: a row a layer, before and after."""
    if form == "json":
        return _json(report.as_json(output))
    if form == "csv":
        rows = [list(layer.as_json().values()) for layer in report.layers]
        return _csv(list(report.layers[0].as_json()), rows)
    return _sheet(_prune_sheet(report), form)


def show_eval(report: EvalReport, form: Format) -> None:
    """`last eval`: a row a model."""
    data = report.as_json()
    if form == "json":
        return _json(data)
    if form == "csv":
        flat = {"path": report.checkpoint.path, "task": report.task["name"], "split": report.task["split"]}
        flat |= {k: v for k, v in data.items() if isinstance(v, int | float | str)}
        flat |= {f"baseline_{k}": v for k, v in data.get("baseline", {}).items()}
        flat |= {f"precision_{k}": v for k, v in data["precision"].items()}
        return _csv(list(flat), [list(flat.values())])
    return _sheet(_eval_sheet(report), form)


def show_sheet(sheet: Sheet, data: dict[str, Any], form: Format) -> None:
    """Any other result: `data` as JSON, the sheet in the other forms."""
    if form == "json":
        return _json(data)
    return _csv(sheet.columns, sheet.rows) if form == "csv" else _sheet(sheet, form)


def write_csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Plain rows under headings, to stdout."""
    _csv(columns, rows)


def read_line(checkpoint: Checkpoint) -> str:
    """What was read, in one line."""
    shapes = [layer.shape for layer in checkpoint.layers]
    width = " and ".join(str(f) for f in dict.fromkeys(shape.features for shape in shapes))
    few, many = min(shape.states for shape in shapes), max(shape.states for shape in shapes)
    states = str(few) if few == many else f"{few} to {many}"
    each = "state" if few == many == 1 else "states"
    each += " a channel" if shapes[0].groups > 1 else ""
    way = "two directions" if shapes[0].directions == 2 else "one direction"
    location = checkpoint.index.location
    step = f", step {location.step}" if location.step is not None else ""
    return (
        f"{location.path}: {checkpoint.family}, {len(shapes)} layers of {states} {each}, width {width}, {way} "
        f"({location.layout}{step})"
    )


def assumed_line(assumed: Mapping[str, Any]) -> str:
    """What was assumed."""
    said = ", ".join(f"{name} = {str(value).lower()}" for name, value in assumed.items())
    return f"assumed (the checkpoint does not say): {said}"


def needed_lines(needed: Mapping[str, Any]) -> list[str]:
    """What a criterion was given."""
    said = {"horizon": "energies over {} steps", "calibration": "the network ran on {}"}
    return [said[name].format(_listed(value)) for name, value in needed.items()]


def prune_summary(report: PruneReport) -> list[str]:
    """Sizes, and what is known of the error."""
    (p0, p1), (b0, b1) = report.parameters, report.bytes
    sizes = f"arrays {byte_size(b0)} -> {byte_size(b1)} ({b1 / b0 - 1:+.1%})"
    lines = [f"parameters {p0:,} -> {p1:,} ({p1 / p0 - 1:+.1%}), {sizes}"]
    if report.sliced_copies:
        lines.append(
            f"{report.sliced_copies} copies of the parameters (optimizer moments, averages) were sliced with them"
        )
    lines += report.measured_notes
    lines += report.search.lines if report.search else []
    lines.append(
        "gain bound: no input makes a layer's removed part exceed this gain, worst case over all inputs; "
        "it bounds, it does not predict accuracy"
    )
    return lines


def prune_hints(report: PruneReport) -> list[str]:
    """What a user of the output should know."""
    if report.masked:
        return ["all shapes are as before, so unmodified training code loads it; without --masked it would be smaller"]
    hints = []
    if not report.measured_columns:
        hints.append(
            "--method reconstruct refits C of what is kept, which mostly keeps more accuracy at the same ratio"
        )
    (states, live), (before, after) = report.states, report.bytes
    shrunk = after < before * (1 + live / states) / 2
    if report.shape == "ragged" and report.family != "s5" and live < states and not shrunk:
        hints.append("channels are padded to the widest, so arrays hardly shrink; --shape rectangular shrinks them too")
    if report.maskable:
        hints.append(
            "code that restores into arrays of the old sizes wants --masked: "
            "Orbax 0.4 to 0.6 silently fill up with zeros"
        )
    return hints


def eval_summary(report: EvalReport) -> str:
    """What was evaluated on."""
    task = report.task
    return (
        f"{task['name']} v{task['version']}, {task['split']} split, {len(report.measured.correct):,} sequences "
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


def tell(line: str, kind: str = "") -> None:
    """A line to stderr: a warning, a hint, the next command, a summary."""
    from rich.console import Console
    from rich.text import Text

    style = {"warning": "yellow", "hint": "cyan", "next": "cyan", "error": "bold red", "ok": "green"}.get(kind, "dim")
    text = Text(f"{kind}: " if kind in ("warning", "hint", "next", "error") else "", style=style)
    whole = kind == "next" or not sys.stderr.isatty()  # a command is there to be copied
    console = Console(stderr=True, highlight=False, soft_wrap=whole)
    console.print(text + Text(line, style="" if text else style))


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Progress | None]:
    """A progress callback that draws bars on stderr; None where stderr is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def advance(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield advance


def _listed(value: Any) -> str:
    """An entry of a report in words, without digests."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {item}" for name, item in value.items() if name != "digest")
    return str(value)


def number(value: float | None, digits: int = 3) -> str:
    """A few significant digits, in whatever notation is shorter."""
    return "" if value is None else f"{value:.{digits}g}"


def _score_sheet(report: ScoreReport) -> Sheet:
    kept = report.ratio is not None
    names = _short([layer.name for layer in report.layers])
    columns = ["layer", "states", *(["kept"] if kept else [])]
    columns += ["H∞ min", "median", "max", f"{report.criterion.upper()} min", "median", "max", "max |λ|"]
    rows = []
    for name, layer in zip(names, report.layers, strict=True):
        hinf, score = layer.spread(layer.hinf), layer.spread(layer.score)
        share = [f"{layer.kept:,}"] if kept else []
        values = [*hinf.values(), *score.values()]
        peak = layer.abs_lambda[layer.live].max(initial=0.0)
        rows.append([name, f"{layer.states:,}", *share, *map(number, values), f"{peak:.5f}"])
    total = ["total", f"{report.states:,}"]
    if kept:
        stay = sum(layer.kept or 0 for layer in report.layers)
        total.append(f"{stay:,}")
    last = len(columns) - 1
    return Sheet(columns, rows, [*total, *[""] * (len(columns) - len(total))], drop=(last - 1, last - 5, last - 2))


def _states_of(report: ScoreReport) -> tuple[list[str], list[list[Any]]]:
    columns = ["layer", "channel", "state", "hinf", "score", "abs_lambda"]
    if report.ratio is not None:
        columns.append("keep")
    return columns, [row for layer in report.layers for row in _layer_states(layer)]


def _layer_states(layer: LayerScore) -> Iterator[list[Any]]:
    for group, row in enumerate(layer.live):
        channel = group if len(layer.live) > 1 else ""
        for state in row.nonzero()[0].tolist():
            at = (group, state)
            values = [float(layer.hinf[at]), float(layer.score[at]), float(layer.abs_lambda[at])]
            keep = [] if layer.keep is None else [int(layer.keep[at])]
            yield [layer.name, channel, state, *values, *keep]


def _states_sheet(report: ScoreReport) -> Sheet:
    columns, rows = _states_of(report)
    text = [[str(v) for v in row[:3]] + [number(v, 6) for v in row[3:6]] + _yes(row[6:]) for row in rows]
    return Sheet(columns, text)


def _yes(keep: Sequence[int]) -> list[str]:
    return ["yes" if k else "no" for k in keep]


def _prune_sheet(report: PruneReport) -> Sheet:
    names = _short([layer.name for layer in report.layers])
    padded = any(layer.stored != layer.after for layer in report.layers) and report.family != "s5"
    columns = ["layer", "before", "after", "", *(["stored/channel"] if padded else [])]
    columns += ["smallest kept", *report.measured_columns, "removed Σ H∞", "gain bound"]
    rows = [_prune_row(name, layer, padded) for name, layer in zip(names, report.layers, strict=True)]
    for row, measured in zip(rows, report.measured_rows, strict=False):
        row[-2:-2] = [number(value) for value in measured]
    before, after = report.states
    total = ["total", f"{before:,}", f"{after:,}", f"{after / max(before, 1):.1%} stay"]
    least = ["smallest kept", "removed Σ H∞", "", *report.measured_columns[:0:-1], "stored/channel"]
    drop = [columns.index(name) for name in least if name in columns]
    return Sheet(columns, rows, [*total, *[""] * (len(columns) - len(total))], drop=drop)


def _prune_row(name: str, layer: LayerPrune, padded: bool) -> list[str]:
    row = [name, f"{layer.before:,}", f"{layer.after:,}", _bar(layer.after, layer.before)]
    row += [str(layer.stored)] if padded else []
    return [*row, number(layer.smallest_kept_score), number(layer.removed_hinf), number(layer.gain_bound)]


def _eval_sheet(report: EvalReport) -> Sheet:
    measured, other, precision = report.measured, report.baseline, report.precision
    speed = f"{measured.speed:,.0f}"
    columns = ["", "accuracy", "loss", "same answer", "sequences/s"]
    this = f"{measured.accuracy:.2%} ± {report.stderr:.2%}"
    rows = [[_name(report.checkpoint.path), this, f"{measured.losses.mean():.4f}", "", speed]]
    if other is not None:
        rows.append([f"baseline {_name(other.path)}", f"{other.accuracy:.2%}", "", "", ""])
        drop = f"{0 - 100 * other.drop:+.2f} ± {100 * other.drop_stderr:.2f} points"
        rows.append(["difference (paired)", drop, "", f"{other.agreement:.1%}", ""])
    if precision is not None:
        drop = f"{0 - 100 * precision.drop:+.2f} ± {100 * precision.drop_stderr:.2f} points"
        rows.append([f"{precision.name} against float32", drop, "", f"{precision.agreement:.1%}", ""])
    return Sheet(columns, rows, drop=(2,))


def _name(path: str) -> str:
    return PurePath(path).name or path


def byte_size(count: int) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count = count / 1000  # pyright: ignore[reportAssignmentType]
    return f"{count:.3g} {unit}"


def _bar(part: int, whole: int) -> str:
    filled = round(BAR * part / whole) if whole else 0
    return "█" * filled + "░" * (BAR - filled)


def _short(names: Sequence[str]) -> list[str]:
    """Names without the path parts that all of them share at the start and at the end."""
    parts = [name.split("/") for name in names]
    if len(set(names)) < 2:
        return list(names)
    start = _common(parts)
    if start and all(part[start].isdigit() for part in parts if len(part) > start):
        start -= 1  # "layers/0" says more than "0"
    end = _common([p[::-1] for p in parts])
    return ["/".join(p[start : len(p) - end]) or name for p, name in zip(parts, names, strict=True)]


def _common(paths: Sequence[Sequence[str]]) -> int:
    """How many parts all paths share at the start."""
    return next((i for i, column in enumerate(zip(*paths, strict=False)) if len(set(column)) > 1), 0)


def _json(data: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(_finite(data), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    """JSON has no infinity and no NaN: they become null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([columns, *rows])
    sys.stdout.write(buffer.getvalue())


def _sheet(sheet: Sheet, form: Format) -> None:
    if form == "md":
        _markdown(sheet)
        return
    from rich.console import Console

    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
    free = console.options.update(max_width=WIDE)
    table, dropped = _table(sheet, (0, 1)), 0
    while console.measure(table, options=free).maximum > console.width and dropped <= len(sheet.drop):
        table, dropped = _table(sheet, (0, 1, 0, 0), set(sheet.drop[:dropped])), dropped + 1
    if console.measure(table, options=free).maximum > console.width:
        table = _table(sheet, (0, 1, 0, 0), set(sheet.drop), wrap=True)  # better on two lines than cut off
    console.print(table)


def _table(
    sheet: Sheet,
    padding: tuple[int, int] | tuple[int, int, int, int],
    hidden: Set[int] = frozenset(),
    wrap: bool = False,
) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD,
        show_header=any(sheet.columns),
        show_footer=sheet.total is not None,
        pad_edge=False,
        padding=padding,
    )
    shown = [i for i in range(len(sheet.columns)) if i not in hidden]
    for i in shown:
        column, footer = sheet.columns[i], sheet.total[i] if sheet.total else ""
        left = i < sheet.left or not column
        words = 1 < sheet.left == i + 1  # the last column of a list may take several lines
        table.add_column(Text(column), Text(footer), justify="left" if left else "right", no_wrap=not (words or wrap))
    for row in sheet.rows:
        table.add_row(*[Text(row[i], style="cyan" if "█" in row[i] or "░" in row[i] else "") for i in shown])
    return table


def _markdown(sheet: Sheet) -> None:
    align = [":--" if i < sheet.left or not c else "--:" for i, c in enumerate(sheet.columns)]
    rows = [sheet.columns, align, *sheet.rows, *([sheet.total] if sheet.total else [])]
    sys.stdout.write("".join("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |\n" for row in rows))
