"""Whether budgets hold: what searches by `--max-drop` lose on the test split, which they never see.

    python sample_checkpoints/budgets.py --runs runs --work work [--minutes 30] [MODEL ...]

Each model of measured.py is pruned by reconstruct within 0.5, 1 and 2 points on its validation
split, with each seed, by the default rule (an upper limit of the loss must fit) and by --estimate. Searches are kept in
--work, and a run that is started again goes on from there; --minutes stops in time. Prints Markdown: the ratio that was
found, and how many points that won (or lost, if negative) on the test split, with the standard error of that; a search
breaks its budget, and is printed bold, where it lost more by over one standard error.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measured import CALIBRATION, TASKS, Cell, Model, model

import last_cli as last
from last_cli.base.errors import AnswerIsNo
from last_cli.evaluation.evaluate import start_devices
from last_cli.pruning.budget import Budget, prune_within
from last_cli.pruning.calibration.request import Calibration
from last_cli.pruning.recipe import recipe

BUDGETS = (0.5, 1.0, 2.0)
RULES = ("upper limit", "estimate")


@dataclass(frozen=True)
class Found:
    """What a search came to: the ratio, None where it refused, and what that won on the test split, in points."""

    model: str
    seed: int
    budget: float
    rule: str
    ratio: float | None
    points: float = 0.0
    error: float = 0.0

    @property
    def broken(self) -> bool:
        """Whether more than the budget is lost, by over one standard error."""
        return self.ratio is not None and -self.points > self.budget + self.error

    def __str__(self) -> str:
        if self.ratio is None:
            return "none"
        said = f"{self.ratio:.0%}: {self.points:+.1f} ± {self.error:.1f}"
        return f"**{said}**" if self.broken else said


def main() -> None:
    args = _arguments()
    start_devices("cpu")
    began, found = time.perf_counter(), []
    models = [model(name, args.runs, args.work) for name in args.models]
    for one, seed, budget, rule in itertools.product(models, range(args.seeds), BUDGETS, RULES):
        file = args.work / "budgets" / f"{one.name}-{seed}-{budget:g}-{rule.replace(' ', '-')}.json"
        late = args.minutes is not None and time.perf_counter() - began > 60 * args.minutes
        if not file.exists() and not late:
            said = vars(_search(one, seed, budget, rule))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.with_suffix(".part").write_text(json.dumps(said))
            file.with_suffix(".part").replace(file)
        if file.exists():
            found.append(Found(**json.loads(file.read_text())))
    print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} CPU cores, last {last.__version__}\n")
    show(found)


def show(found: list[Found]) -> None:
    """The table of all that both rules have searched, and what is counted of them."""
    rows: dict[tuple[str, int, float], dict[str, Found]] = {}
    for one in found:
        rows.setdefault((one.model, one.seed, one.budget), {})[one.rule] = one
    rows = {key: row for key, row in rows.items() if len(row) == len(RULES)}
    print(f"| model, seed | budget | {' | '.join(RULES)} |\n| :-- | --: | --: | --: |")
    for (name, seed, budget), row in rows.items():
        print(f"| {name}, {seed} | {budget:g} | {' | '.join(str(row[rule]) for rule in RULES)} |")
    counted: dict[str, Any] = {}
    for rule in RULES:
        own = [row[rule] for row in rows.values()]
        ratios = [one.ratio for one in own if one.ratio is not None]
        mean = f", mean ratio {sum(ratios) / len(own):.0%} (none as 0)" if own else ""
        counted[rule] = f"{sum(one.broken for one in own)} broken, {len(ratios)} with a ratio{mean}"
    print(f"| {len(rows)} searches | | {' | '.join(counted[rule] for rule in RULES)} |")


def _search(one: Model, seed: int, budget: float, rule: str) -> Found:
    task = one.calibration.calibration_file or TASKS[one.name]
    wanted = Budget("max_drop", budget, estimate=rule == "estimate")
    try:
        small = prune_within(
            one.checkpoint,
            wanted,
            recipe("reconstruct", seed=seed, masked=True),
            Calibration(CALIBRATION, str(task)),
        )
    except AnswerIsNo:
        return Found(one.name, seed, budget, rule, None)
    assert small.report is not None
    change = one.answered(small).astype(float) - one.right(Cell("unpruned"))[""]
    return Found(
        one.name,
        seed,
        budget,
        rule,
        float(small.report.ratio),
        100 * float(change.mean()),
        100 * float(change.std() / len(change) ** 0.5),
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(TASKS), metavar="MODEL")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where train.py has written the others")
    parser.add_argument("--work", type=Path, required=True, help="where searches are kept")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--minutes", type=float, help="search no longer than this, and print what is complete")
    return parser.parse_args()


if __name__ == "__main__":
    main()
