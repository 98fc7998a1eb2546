"""What `last config` shows."""

from __future__ import annotations

from last_cli.display.sheet import Sheet
from last_cli.display.view import View
from last_cli.display.words import base_name
from last_cli.results.config import ConfigReport


def config_view(report: ConfigReport) -> View:
    """One row per value: what it is, where it came from, and what a guess rests on."""
    rows = [[one.name, str(one.value).lower(), one.origin, one.guess] for one in report.values]
    for name, value in report.task.items():
        known = f"{len(value):,} tokens" if isinstance(value, list | tuple) else str(value)
        rows.append(["task" if name == "name" else f"task {name}", known, "", ""])
    records = [{"name": v.name, "config": v.value, "sources": v.origin, "guesses": v.guess} for v in report.values]
    return View(
        title=f"last config {base_name(report.path)}",
        data=report.as_json(),
        sheets=[Sheet(["", "value", "from", "guessed because"], rows, left=4)],
        records=lambda: records,
    )


def config_hints(report: ConfigReport) -> list[str]:
    """How to say what is guessed."""
    guessed = [one.name for one in report.values if one.guess]
    if not guessed:
        return []
    presets = " or ".join(f"⟦preset {name}⟧" for name in report.presets)
    offer = [f"these sizes are published ones ({report.sizes}): {presets}"] if presets else []
    flags = " ".join(f"⟦{name}⟧" for name in guessed)
    return [*offer, f"last config {report.path} with {flags} records them beside the arrays"]
