"""Accuracy or perplexity against ratio, for several ways to prune one checkpoint.

Every pruned version keeps the original's shapes, with zeros for what is removed, so that all of them share one compiled
program. Each is spread over all devices, its sequences side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from last_cli.base import registry
from last_cli.base.arrays import digest
from last_cli.base.errors import UsageError, resumable, spelled
from last_cli.base.progress import Progress, Tell
from last_cli.base.version import __version__
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.checkpoint.network import network_of
from last_cli.evaluation.evaluate import follow_task, load_split
from last_cli.evaluation.inputs import positive
from last_cli.evaluation.judge import Judge, judge
from last_cli.evaluation.measure import Request
from last_cli.evaluation.metrics import expect, metric_of
from last_cli.pruning import journal
from last_cli.pruning.calibration.observe import Observation, observe, refuse_without_text
from last_cli.pruning.calibration.request import Calibration, Draw
from last_cli.pruning.cost import Key, duration, extent, how_to_go_on
from last_cli.pruning.means import means_of
from last_cli.pruning.method import Method, Plan
from last_cli.pruning.recipe import BY_CRITERION, Recipe, named, usual_target
from last_cli.pruning.score import check_measures
from last_cli.pruning.units import units_of
from last_cli.results.sweep import KEYS, SweepPoint, SweepReport, Unpruned
from last_cli.tasks.find import find
from last_cli.tasks.task import ACCURACY, Split

RATIOS = "0:0.9:0.1"
CRITERIA = ("last", "aire", "reconstruct", "random")
OTHERS = ("last", "magnitude", "random")
"""Of layers that are no linear systems."""

JOURNAL = "points.jsonl"
MOST_RATIOS = 1000


@dataclass(frozen=True)
class Grid:
    """What a sweep measures: each recipe at each ratio, and, where the seed matters, for several seeds.

    Attributes:
        criteria: names of recipes: criteria, methods, or NAME+refit for C refitted after the criterion's choice; by
            default CRITERIA or OTHERS.
        targets: what goes; each is combined with each recipe that can remove it, and of several the recipes are named
            "TARGET: NAME". By default the first that all recipes can remove.
        ratios: "START:STOP:STEP" with both ends in it, "0.1,0.33,0.5", or numbers in [0, 1).
        seeds: how many, from 0, for what depends on one: random choices and inputs.
        calibration: sequences of the task, without labels, that recipes which observe the units take; without it
            sequences made without data.
        calibration_file: a file of them instead.
    """

    criteria: Sequence[str] | None = None
    ratios: str | Sequence[float] = RATIOS
    seeds: int = 3
    calibration: int | None = None
    calibration_file: str | Path | None = None
    targets: str | Sequence[str] | None = None


def sweep(
    checkpoint: Checkpoint,
    request: Request,
    grid: Grid = Grid(),
    recipe: Recipe = Recipe(),
    *,
    out: str | Path | None = None,
    progress: Progress | None = None,
    tell: Tell | None = None,
) -> SweepReport:
    """How good a checkpoint pruned in several ways, at several ratios, is on the same sequences of a task's split.

    A ratio must be chosen on "val" (or by a budget) and reported on "test".

    Args:
        checkpoint: what is pruned.
        request: the task and its split, and where the network runs.
        grid: recipes, ratios and seeds.
        progress: called with what is being done, and how many of how many are done.
        recipe: what all recipes of the grid have in common: scope, shape and min_states.
        out: a directory for points.jsonl, one line per point. A rerun resumes a sweep that was killed, and one
            with more ratios, criteria or seeds adds to it.
        tell: called with lines about what the sweep will cost, before it starts, and their kind.

    Raises:
        CheckpointError, DataError: as in `evaluate`.
        UsageError: unknown names, ratios that make no sense, or `out` is of another sweep.
    """
    said = tell or (lambda line, kind: None)
    recipes = _aimed(recipe, _criteria(grid, checkpoint), grid, checkpoint)
    if find(request.task).metric not in KEYS:
        expect(find(request.task), ACCURACY, "a sweep")
    metric, calibration = metric_of(find(request.task)), _calibration(grid, request)
    for used in recipes.values():
        refuse_without_text(calibration, used)
    if grid.calibration is not None:
        positive(grid.calibration)
    keys = list(_keys(recipes, parse_ratios(grid.ratios), grid.seeds))
    data = load_split(checkpoint, request, progress)
    checkpoint = follow_task(checkpoint, data)
    common = _common(list(recipes.values()), recipe)
    units = {used.target or "states": units_of(checkpoint, used) for used in recipes.values()}
    common |= {} if [*units] == ["states"] else {"target": ",".join(units)}
    if grid.calibration_file is not None and (inputs := calibration.read(checkpoint, Draw(), progress)):
        common |= {"calibration_file": str(grid.calibration_file), "calibration_digest": inputs.digest}
    header = _header(checkpoint, data, request, {"calibration": grid.calibration, **common})
    path = Path(out) / JOURNAL if out is not None else None
    done = {p.key: p for p in _restored(journal.resume(path, header), metric.name)} if path else {}
    todo = [key for key in keys if key not in done]
    if todo:
        said(extent(todo, len(keys), len(data.y)), "")
    judged = judge(checkpoint, data, request, progress)
    if todo:
        said(duration(todo, judged.base), "")
    plan, doubts = _plans(checkpoint, recipes, calibration, progress), dict[str, list[str]]()
    made = _Sweep(recipes, plan, judged, units, doubts, progress)
    with resumable(lambda: how_to_go_on(out)):
        for key in todo:
            done[key] = _point(key, made)
            if path:
                journal.append(path, done[key].as_json())
            if progress:
                progress("sweep", sum(k in done for k in keys), len(keys))
    points = [done[key] for key in sorted(keys, key=lambda k: (list(recipes).index(k[0]), k[2], k[1]))]
    return SweepReport(
        checkpoint=checkpoint.source,
        family=checkpoint.family,
        task=judged.described,
        baseline=_baseline(judged, units),
        points=points,
        means=means_of(points, higher_is_better=metric.higher_is_better),
        settings=header["settings"],
        assumed=checkpoint.assumed((*checkpoint.layer_options, *network_of(checkpoint).options)),
        doubts=[*judged.warnings, *dict.fromkeys(line for lines in doubts.values() for line in lines)],
        notes=[*checkpoint.source.notes, data.note, *_notes(request, grid, recipes)],
        metric=metric.name,
    )


def _common(recipes: Sequence[Recipe], given: Recipe) -> dict[str, Any]:
    """How all recipes choose; of two shapes that of all but the criteria that keep a published one."""
    scope = next((used.scope for used in recipes), given.scope)
    shape = "rectangular" if any(used.shape == "rectangular" for used in recipes) else "ragged"
    return {"scope": scope, "min_states": given.min_states, "shape": shape}


def _criteria(grid: Grid, checkpoint: Checkpoint) -> Sequence[str]:
    if grid.criteria is not None:
        return grid.criteria
    return CRITERIA if all(layer.family.system is not None for layer in checkpoint.layers) else OTHERS


def usual_split(task: str) -> str:
    """Where a ratio may be chosen, if the task has such a split."""
    return find(task).selection_split or "test"


def _aimed(recipe: Recipe, names: Sequence[str], grid: Grid, checkpoint: Checkpoint) -> dict[str, Recipe]:
    """The recipes by name, each with what it removes."""
    recipes = {name: named(name, recipe) for name in names}
    if not recipes:
        return {}
    targets = [grid.targets] if isinstance(grid.targets, str) else grid.targets
    if not targets:
        target = recipe.target or usual_target(list(recipes.values()), checkpoint.layers)
        return {name: replace(used, target=target).on(checkpoint.layers) for name, used in recipes.items()}
    found, refused = {}, {}
    for target in targets:
        for name, used in recipes.items():
            try:
                aimed = replace(used, target=target).on(checkpoint.layers)
                if aimed.method == BY_CRITERION:
                    check_measures(checkpoint, aimed)
            except UsageError as error:
                refused[target, name] = error
            else:
                found[target, name] = aimed
    for i, own in enumerate((targets, names)):
        if lacking := [one for one in own if not any(key[i] == one for key in found)]:
            raise next(error for key, error in refused.items() if key[i] == lacking[0])
    return {name if len(targets) == 1 else f"{target}: {name}": used for (target, name), used in found.items()}


def _calibration(grid: Grid, request: Request) -> Calibration:
    if grid.calibration_file is not None:
        return Calibration(grid.calibration, calibration_file=grid.calibration_file)
    if grid.calibration is None:
        return Calibration()
    return Calibration(grid.calibration, request.task, data_dir=request.data_dir)


def _plans(
    checkpoint: Checkpoint, recipes: Mapping[str, Recipe], calibration: Calibration, progress: Progress | None
) -> Callable[[str, int], Plan]:
    """The plan of a recipe and a seed. What a seed's units do on inputs is observed once, for all recipes."""
    network = next((used for used in recipes.values() if used.needs_network), None)
    given = bool(calibration.options)

    @lru_cache(maxsize=1)  # the keys come seed by seed
    def observation(seed: int) -> Observation:
        return observe(checkpoint, replace(network or Recipe(), seed=seed), calibration, progress)

    @lru_cache(maxsize=1)
    def plan(name: str, seed: int) -> Plan:
        used = replace(recipes[name], seed=seed)
        method: Method = registry.get("methods", used.method)
        return method.prepare(checkpoint, used, observation(seed) if used.takes_inputs(given) else None, progress)

    return plan


def parse_ratios(spec: str | Sequence[float]) -> list[float]:
    """Ratios of "START:STOP:STEP", of a list in words, or of numbers; rising, each once.

    Raises:
        UsageError: it is none of them, one is outside [0, 1), or they are more than a sweep could mean.
    """
    hint = "0:0.9:0.1 are ten of them, 0 and 0.9 included; 0.1,0.33,0.5 are three"
    try:
        if isinstance(spec, str) and ":" in spec:
            start, stop, step = (float(part) for part in spec.split(":"))
            count = int((stop - start) / step + 1e-9) + 1
            if count > MOST_RATIOS:
                raise UsageError(f"⟦ratios⟧ '{spec}': {count:,} ratios, expected at most {MOST_RATIOS:,}", hint)
            found = [start + i * step for i in range(count)]
        else:
            found = [float(part) for part in (spec.split(",") if isinstance(spec, str) else spec)]
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise UsageError(f"⟦ratios⟧ '{spec}': expected START:STOP:STEP or a list of numbers", hint) from error
    ratios = sorted({round(ratio, 9) for ratio in found})
    if not ratios or not 0 <= ratios[0] <= ratios[-1] < 1:
        raise UsageError(f"⟦ratios⟧ '{spec}': expected ratios from 0 up to, but not including, 1", hint)
    return ratios


def _keys(recipes: Mapping[str, Recipe], ratios: Sequence[float], seeds: int) -> Iterator[Key]:
    """Seed by seed, so that what is measured for a seed is measured once."""
    if seeds < 1:
        raise UsageError(f"⟦seeds⟧ is {seeds}, expected 1 or more", "3 show how much chance decides")
    if not recipes:
        raise UsageError(
            "no criteria are given",
            'for example ⟨⟦criteria last,aire,reconstruct⟧|⟦criteria⟧=["last", "aire", "reconstruct"]⟩',
        )
    for seed in range(seeds):
        for name, used in recipes.items():
            if seed == 0 or used.depends_on_seed:
                yield from ((name, ratio, seed) for ratio in ratios)


def _restored(records: Sequence[Any], metric: str) -> list[SweepPoint]:
    found = []
    for record in records:
        try:
            found.append(SweepPoint.restored(record, metric))
        except (AttributeError, TypeError) as error:
            hint = "choose another ⟦out⟧, or delete it"
            raise UsageError(f"{JOURNAL}: a line is no point: {record}", hint) from error
    return found


def _header(checkpoint: Checkpoint, data: Split, request: Request, settings: dict[str, Any]) -> dict[str, Any]:
    """What every point of a file shares: one sweep is told from another by it."""
    return {
        "schema": "last.sweep-points/1",
        "last": __version__,
        "checkpoint": checkpoint.digest,
        "task": request.task,
        "version": find(request.task).version,
        "split": request.split,
        "limit": request.limit,
        "data": f"sha256:{digest(('', a) for a in (data.x, data.y, data.lengths) if a is not None).hex()}",
        "model": checkpoint.said,
        "settings": settings,
    }


@dataclass(frozen=True)
class _Sweep:
    """What all points of a sweep are made with.

    Attributes:
        recipes, plan: by name, and of a name and a seed.
        units: how many there are, by target.
        doubts: of each recipe, the warnings that every ratio so far has.
    """

    recipes: Mapping[str, Recipe]
    plan: Callable[[str, int], Plan]
    judged: Judge
    units: Mapping[str, int]
    doubts: dict[str, list[str]]
    progress: Progress | None


def _point(key: Key, made: _Sweep) -> SweepPoint:
    name, ratio, seed = key
    target, measured = made.recipes[name].target or "states", made.judged.base
    left = made.units[target]
    if ratio:
        small = made.plan(name, seed).at(ratio, draft=True)
        # What every ratio has: a layer that one of them empties is told by its accuracy.
        told = small.report.warnings
        made.doubts[name] = [line for line in told if line in made.doubts.get(name, told)]
        measured = made.judged.answers(small.checkpoint, f"{name}, ratio {ratio:g}", made.progress)
        left = small.report.states[1]
    found = made.judged.compare(measured)
    return SweepPoint(
        criterion=name,
        ratio=ratio,
        seed=seed,
        states=left,
        value=measured.value,
        stderr=measured.stderr,
        loss=measured.loss,
        worse=found.worse,
        worse_stderr=found.worse_stderr,
        metric=measured.metric,
        target=target,
    )


def _baseline(judged: Judge, units: Mapping[str, int]) -> Unpruned:
    base, several = judged.base, units if len(units) > 1 else None
    whole = next(iter(units.values()), 0)
    return Unpruned(base.value, base.stderr, base.loss, whole, base.n, base.device, base.metric, several)


def _notes(request: Request, grid: Grid, recipes: Mapping[str, Recipe]) -> list[str]:
    own = find(request.task).selection_split
    notes = []
    if request.split != own:
        choose = spelled(f"choose it on ⟦split {own}⟧") if own else "choose it on data of your own"
        notes.append(f"measured on the {request.split} split: a ratio must not be chosen from this; {choose}")
    of_task = grid.calibration is not None and grid.calibration_file is None
    if request.split == own and of_task and any(used.takes_inputs(True) for used in recipes.values()):
        notes.append("the states were measured on sequences of this split too: these losses may come out too small")
    return notes
