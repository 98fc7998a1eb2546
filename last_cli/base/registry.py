"""Families, criteria, tasks and methods by name: built-in ones, and those that other packages add by entry points.

A built-in is one line here, `"name": "module:attribute"`, imported on first use. Another package adds its own with the
entry-point groups `last_cli.families`, `last_cli.criteria`, `last_cli.tasks` and `last_cli.methods`.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from last_cli.base.errors import UsageError
from last_cli.base.words import suggestion

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Kind = Literal["families", "criteria", "tasks", "methods"]
NOUN = {"families": "family", "criteria": "⟨criterion⟩", "tasks": "⟨task⟩", "methods": "⟨method⟩"}

BUILT_IN: dict[Kind, dict[str, str]] = {
    "families": {
        "s5": "last_cli.families.lti.s5:S5",
        "s4d": "last_cli.families.lti.s4d:S4D",
        "s4d-pairs": "last_cli.families.lti.s4d_pairs:S4D_PAIRS",
        "lru": "last_cli.families.lti.lru:LRU",
        "mamba2": "last_cli.families.mamba2.table:MAMBA2",
        "mamba": "last_cli.families.mamba.table:MAMBA",
        "zamba": "last_cli.families.mamba.table:ZAMBA",
    },
    "criteria": {
        "last": "last_cli.pruning.criteria.last:LAST",
        "last-reference": "last_cli.pruning.criteria.last_reference:LAST_REFERENCE",
        "hinf": "last_cli.pruning.criteria.hinf:HINF",
        "aire": "last_cli.pruning.criteria.aire:AIRE",
        "energy": "last_cli.pruning.criteria.energy:ENERGY",
        "fisher": "last_cli.pruning.criteria.fisher:FISHER",
        "reference-fisher": "last_cli.pruning.criteria.fisher:REFERENCE_FISHER",
        "taylor": "last_cli.pruning.criteria.taylor:TAYLOR",
        "reference-taylor": "last_cli.pruning.criteria.taylor:REFERENCE_TAYLOR",
        "flap": "last_cli.pruning.criteria.flap:FLAP",
        "reference-flap": "last_cli.pruning.criteria.flap:REFERENCE_FLAP",
        "gn": "last_cli.pruning.criteria.gn:GN",
        "magnitude": "last_cli.pruning.criteria.magnitude:MAGNITUDE",
        "reference-magnitude": "last_cli.pruning.criteria.magnitude:REFERENCE_MAGNITUDE",
        "random": "last_cli.pruning.criteria.random:RANDOM",
    },
    "tasks": {
        "listops": "last_cli.tasks.listops:LISTOPS",
        "digits": "last_cli.tasks.digits:DIGITS",
        "text": "last_cli.tasks.text:TEXT",
        "retrieval": "last_cli.tasks.retrieval:RETRIEVAL",
        "image": "last_cli.tasks.cifar:IMAGE",
        "pathfinder": "last_cli.tasks.pathfinder:PATHFINDER",
        "pathx": "last_cli.tasks.pathfinder:PATHX",
        "smnist": "last_cli.tasks.mnist:SMNIST",
        "psmnist": "last_cli.tasks.mnist:PSMNIST",
        "scifar": "last_cli.tasks.cifar:SCIFAR",
        "speech35": "last_cli.tasks.speech:SPEECH35",
        "speech35-8khz": "last_cli.tasks.speech:SPEECH35_8K",
    },
    "methods": {
        "criterion": "last_cli.pruning.by_criterion:CRITERION",
        "reconstruct": "last_cli.pruning.reconstruct.method:RECONSTRUCT",
        "balanced": "last_cli.pruning.balanced.method:BALANCED",
        "wanda": "last_cli.pruning.sparse.method:WANDA",
        "reference-wanda": "last_cli.pruning.sparse.method:REFERENCE_WANDA",
        "sparsegpt": "last_cli.pruning.sparse.method:SPARSEGPT",
        "loss": "last_cli.pruning.blocks.method:LOSS",
        "merge": "last_cli.pruning.merge:MERGE",
    },
}

# The class of what each command finds out, and the function that shows it to people; see base.record.
RESULTS = {
    "score": "last_cli.results.score:ScoreReport",
    "prune": "last_cli.results.prune:PruneReport",
    "tune": "last_cli.results.tune:TuneReport",
    "eval": "last_cli.results.evaluation:EvalReport",
    "sweep": "last_cli.results.sweep:SweepReport",
    "compare": "last_cli.results.compare:CompareReport",
    "bench": "last_cli.results.bench:BenchReport",
    "inspect": "last_cli.results.inspect:Inspection",
    "config": "last_cli.results.config:ConfigReport",
    "verify": "last_cli.results.verify:VerifyReport",
    "diff": "last_cli.results.diff:DiffReport",
    "import": "last_cli.results.convert:ImportReport",
    "export": "last_cli.results.convert:ExportReport",
    "list": "last_cli.results.listing:Listing",
    "explain": "last_cli.results.listing:Pages",
    "doctor": "last_cli.results.doctor:Doctor",
    "cache": "last_cli.results.doctor:CacheReport",
}
VIEWS = {
    "score": "last_cli.display.score:score_view",
    "prune": "last_cli.display.prune:prune_view",
    "tune": "last_cli.display.tune:tune_view",
    "eval": "last_cli.display.eval:eval_view",
    "sweep": "last_cli.display.sweep:sweep_view",
    "compare": "last_cli.display.compare:compare_view",
    "bench": "last_cli.display.bench:bench_view",
    "inspect": "last_cli.display.inspect:inspect_view",
    "config": "last_cli.display.config:config_view",
    "verify": "last_cli.display.verify:verify_view",
    "diff": "last_cli.display.diff:diff_view",
    "import": "last_cli.display.convert:convert_view",
    "export": "last_cli.display.convert:convert_view",
}
NOTEBOOK = "last_cli.display.notebook"


def names(kind: Kind) -> list[str]:
    """All names of a kind: the built-in ones in their order, then those of entry points, sorted."""
    return [*BUILT_IN[kind], *sorted(set(_entry_points(kind)) - set(BUILT_IN[kind]))]


def get(kind: Kind, name: str) -> Any:
    """The family, criterion, task or method called `name`.

    Raises:
        UsageError: there is none, the hint names the closest ones; or the package that adds it is broken.
    """
    if target := BUILT_IN[kind].get(name):
        return _built_in(target)
    if kind == "criteria" and name in names("methods"):
        raise UsageError(
            f"'{name}' is a ⟨method⟩ of pruning and scores no states",
            f"⟨last prune CKPT ⟦method {name}⟧|last.prune(checkpoint, ratio, ⟦method {name}⟧)⟩",
        )
    if name in (found := _entry_points(kind)):
        return _loaded(kind, found[name])
    known = names(kind)
    raise UsageError(
        f"unknown {NOUN[kind]} '{name}'",
        f"{suggestion(name, known)}{kind} are: {', '.join(known)} (`last list {kind}` describes them)",
    )


def result_of(command: str) -> Any:
    """The class of what a command finds out.

    Raises:
        UsageError: there is no such command, or its output is no result.
    """
    if command not in RESULTS:
        known = f"{suggestion(command, RESULTS)}those of {', '.join(RESULTS)} do"
        raise UsageError(f"the output of '{command}' has no schema", known)
    return _built_in(RESULTS[command])


def view_of(command: str) -> Any:
    """The function that makes a view of such a result, see display.view."""
    return _built_in(VIEWS[command])


def notebook() -> Any:
    """The module that shows such results in a notebook."""
    return import_module(NOTEBOOK)


def _built_in(target: str) -> Any:
    module, attribute = target.split(":")
    return getattr(import_module(module), attribute)


def summaries(kind: Kind) -> dict[str, str]:
    """A line about each; where another package is broken, what is wrong with it."""
    found = {}
    for name in names(kind):
        try:
            found[name] = get(kind, name).summary
        except UsageError as error:
            found[name] = error.message
    return found


def _loaded(kind: Kind, entry: EntryPoint) -> Any:
    """What another package adds; its import may fail in any way."""
    package = f"the package {entry.dist.name}" if entry.dist else f"the package of {entry.module}"
    try:
        found = entry.load()
        if not isinstance(getattr(found, "summary", None), str):
            raise TypeError(f"{found!r} has no summary")
    except Exception as error:
        said = str(error).partition("\n")[0]
        raise UsageError(
            f"{NOUN[kind]} '{entry.name}' cannot be taken from {entry.value}: {type(error).__name__}: {said}",
            f"{package} adds it: mend, update or uninstall that",
        ) from error
    return found


@cache
def _entry_points(kind: Kind) -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points  # slow to import, and `last --help` asks for none

    return {e.name: e for e in entry_points(group=f"last_cli.{kind}")}
