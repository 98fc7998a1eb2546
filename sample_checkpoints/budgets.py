"""Whether budgets hold: what searches by `--max-drop` lose on the test split, which they never see.

    python sample_checkpoints/budgets.py --runs runs --work work [--minutes 30] [MODEL ...]

Each model of measured.py is pruned by reconstruct, calibrated, within 0.5, 1 and 2 points on its validation
split, with each seed, by the default rule (an upper limit of the loss must fit) and by --estimate. Searches are kept in
--work, and a run that is started again goes on from there; --minutes stops in time. Prints Markdown: the share of the
states that went, and how many points that won (or lost, if negative) on the test split, with the standard error of
that; a search breaks its budget, and is printed bold, where it lost more by over one standard error.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from measured import TASKS, UNPRUNED, Cell, Model, model

import last_cli as last
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.evaluation.evaluate import load_split, start_devices
from last_cli.evaluation.judge import Judge, judge, selection_request
from last_cli.pruning.budget import PATIENCE, STEPS, Budget, Lost, largest
from last_cli.pruning.method import Plan
from last_cli.pruning.recipe import Recipe, recipe
from last_cli.pruning.units import units_of
from last_cli.results.evaluation import Comparison

BUDGETS = (0.5, 1.0, 2.0)
RULES = ("upper limit", "estimate")


@dataclass(frozen=True)
class Found:
    """What a search came to: the share of states that went, None where it refused, and the points of the test split."""

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
    for seed, one in itertools.product(range(args.seeds), models):
        searches = Searches(one, seed)
        for budget, rule in itertools.product(BUDGETS, RULES):
            file = args.work / "budgets" / f"{one.name}-{seed}-{budget:g}-{rule.replace(' ', '-')}.json"
            late = args.minutes is not None and time.perf_counter() - began > 60 * args.minutes
            if not file.exists() and not late:
                said = vars(searches.found(budget, rule))
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


@dataclass(frozen=True, eq=False)
class Searches:
    """All searches of one model with one seed, which share what they measure: a ratio is measured once."""

    one: Model
    seed: int
    known: dict[float, Lost] = field(default_factory=dict)

    def found(self, budget: float, rule: str) -> Found:
        """As `last prune --max-drop` searches."""
        wanted = Budget("max_drop", budget, estimate=rule == "estimate")
        steps = min(STEPS, units_of(self.one.checkpoint, self._recipe))
        patience = 1 if wanted.rule == "upper limit" else PATIENCE
        step = largest(lambda n: wanted.judged(n / steps, self._lost(n / steps)).within, steps, patience)
        if not step:
            return Found(self.one.name, self.seed, budget, rule, None)
        small, whole = self._pruned(step / steps), self.one.checkpoint
        change = self.one.answered(small).astype(float) - self.one.right(Cell(UNPRUNED))[""]
        points, error = 100 * float(change.mean()), 100 * float(change.std() / len(change) ** 0.5)
        kept, states = (sum(int(one.live(layer).sum()) for layer in one.layers) for one in (small, whole))
        return Found(self.one.name, self.seed, budget, rule, 1 - kept / states, points, error)

    def _lost(self, ratio: float) -> Lost:
        """On the validation split."""
        if ratio not in self.known:
            compared = self._judge.compare(self._judge.answers(self._pruned(ratio)))
            assert isinstance(compared, Comparison)
            self.known[ratio] = Lost(compared.drop, compared.drop_stderr, compared.drop_upper)
        return self.known[ratio]

    def _pruned(self, ratio: float) -> Checkpoint:
        return self._plan.at(ratio, draft=True).checkpoint

    @cached_property
    def _plan(self) -> Plan:
        return self.one.plan(Cell("reconstruct, calibrated", seed=self.seed))

    @cached_property
    def _recipe(self) -> Recipe:
        return recipe("reconstruct", seed=self.seed).on(self.one.checkpoint.layers)

    @cached_property
    def _judge(self) -> Judge:
        task = str(self.one.calibration.calibration_file or TASKS[self.one.name])
        request = selection_request(self.one.checkpoint, task, None, "max_drop")
        return judge(self.one.checkpoint, load_split(self.one.checkpoint, request), request)


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
