"""Scores of a checkpoint's units, and which of them a ratio would keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from last_cli.base import registry
from last_cli.base.annotations import Float
from last_cli.base.errors import CheckpointError, UnstableStateError, UsageError, inside
from last_cli.base.progress import Progress
from last_cli.checkpoint.checkpoint import Checkpoint, opened
from last_cli.checkpoint.sizes import count
from last_cli.families.find import Layer
from last_cli.families.followers import other_weights
from last_cli.families.lti.system import System, hinf_norm, state_gains
from last_cli.pruning.criteria.criterion import Criterion, scores
from last_cli.pruning.needs import Needs, needs_of
from last_cli.pruning.recipe import Recipe
from last_cli.pruning.select import check_ratio, choose
from last_cli.pruning.slow import slow_warnings
from last_cli.results.score import LayerScore, Norms, ScoreReport

if TYPE_CHECKING:
    from last_cli.pruning.calibration.observe import Observation
    from last_cli.pruning.calibration.request import Calibration

LAYERS_AT_ONCE, BYTES_AT_ONCE = 4, 2**29  # each holds one layer's parameters in float64


def score(
    checkpoint: Checkpoint | str | Path,
    recipe: Recipe,
    *,
    ratio: float | None = None,
    layer: str | None = None,
    calibration: Calibration | None = None,
    progress: Progress | None = None,
) -> ScoreReport:
    """Scores of every unit, norms where these are states of a System, and with a ratio which units would stay.

    Args:
        checkpoint: whose units are scored, an open one or its path.
        ratio: share of all units that would go.
        progress: called with what is being done, and how many of how many are done.
        recipe: of the method "criterion".
        layer: report only layers whose name, or its part, matches this glob; selection still ranks all of them.
        calibration: sequences that a criterion such as `gn` runs the network on.

    Raises:
        CheckpointError: numbers that are not finite, poles at or beyond the unit circle, or, where the network must run
            for the criterion, a tree that is no network.
        DataError: the calibration sequences cannot be read.
        UsageError: a ratio outside [0, 1), a glob that matches nothing, sequences for a criterion that takes none, or
            layers without what the recipe scores.
    """
    if ratio is not None:
        check_ratio(ratio)
    checkpoint = opened(checkpoint)
    recipe = recipe.on(checkpoint.layers)
    given = calibration is not None and bool(calibration.options)
    check_measures(checkpoint, recipe)
    observation = _observed(checkpoint, recipe, calibration, progress) if recipe.takes_inputs(given) else None
    if observation is None and given:
        raise UsageError(
            f"calibration sequences are given, but the criterion {recipe.criterion} takes none",
            "the criterion gn takes them, and so does `last prune` with ⟦method reconstruct⟧ or ⟦refit⟧; of language "
            "models last, hinf, energy, fisher and taylor",
        )
    needs = needs_of(checkpoint, recipe, observation)
    scored, warnings = score_layers(checkpoint, needs)
    warnings += [*slow_warnings(checkpoint, recipe, scored), *other_weights(checkpoint.layers, checkpoint.following)]
    if ratio is not None:
        scored = with_keep(scored, needs.recipe, ratio)
    shown = [s for s in scored if layer is None or _named(s.name, layer)]
    if not shown:
        names = ", ".join(s.name for s in scored)
        raise UsageError(f"no ⟨layer⟩ matches '{layer}'", f"the layers are: {names}")
    assumed = checkpoint.assumed(checkpoint.layer_options) | dict(needs.assumed)
    report = ScoreReport(checkpoint.source, checkpoint.family, recipe.criterion, assumed, shown, ratio)
    report = replace(report, target=needs.recipe.target or report.target)
    warnings += observation.warnings if observation else []
    return replace(report, warnings=warnings, needed=needs.said)


def _observed(
    checkpoint: Checkpoint, recipe: Recipe, calibration: Calibration | None, progress: Progress | None
) -> Observation:
    from last_cli.pruning.calibration.observe import observe  # Most criteria look at no inputs, and start without it.
    from last_cli.pruning.calibration.request import Calibration

    return observe(checkpoint, recipe, calibration or Calibration(), progress)


def score_layers(checkpoint: Checkpoint, needs: Needs) -> tuple[list[LayerScore], list[str]]:
    """Every layer's norms and scores, and warnings for the user.

    Raises:
        CheckpointError: numbers that are not finite, or poles at or beyond the unit circle.
        UsageError: the criterion needs a linear system, and a layer is none; or it scores none of the layers' units.
    """
    needs = replace(needs, recipe=needs.recipe.on(checkpoint.layers))
    check_measures(checkpoint, needs.recipe)
    with ThreadPoolExecutor(_at_once(checkpoint)) as pool:
        done = list(pool.map(partial(_score_layer, checkpoint, needs), range(len(checkpoint.layers))))
    warnings = [*checkpoint.index.warnings, *(warning for _, found in done for warning in found)]
    return [layer for layer, _ in done], warnings


def _at_once(checkpoint: Checkpoint) -> int:
    """How many layers are scored side by side: fewer where they are large."""
    most = max(count([checkpoint.leaves[key] for key in layer.leaves.values()]) for layer in checkpoint.layers)
    return max(1, min(LAYERS_AT_ONCE, BYTES_AT_ONCE // (8 * most + 1)))


def with_keep(scored: Sequence[LayerScore], recipe: Recipe, ratio: float) -> list[LayerScore]:
    """The same with the masks of what stays when `ratio` of all live units goes."""
    least = max(recipe.min_states, recipe.scoring.min_states)
    rule = replace(recipe.rule, min_states=least, ties=recipe.scoring.ties)
    masks = choose([s.scores for s in scored], [s.live for s in scored], ratio, rule)
    return [replace(s, keep=mask) for s, mask in zip(scored, masks, strict=True)]


@np.errstate(all="ignore")  # what overflows is an error of its own
def _score_layer(checkpoint: Checkpoint, needs: Needs, position: int) -> tuple[LayerScore, list[str]]:
    layer, recipe, warnings = checkpoint.layers[position], needs.recipe, []
    criterion, norms = recipe.scoring, None
    available: dict[str, Any] = {"rng": np.random.default_rng([recipe.seed, position]), **needs.of(layer.name)}
    system = checkpoint.system(layer) if layer.family.system is not None and recipe.target == "states" else None
    if system is None:
        live = checkpoint.live(layer, recipe.target)
    else:
        with inside(checkpoint.index.location.path):
            _check_poles(layer, system, recipe.allow_unstable, warnings)
            norms = _norms(system)
            _check_norms(layer, system, norms)
        live = system.live_mask
    if system is None and (measure := _measure(layer, recipe)):
        with inside(checkpoint.index.location.path):
            available["measured"] = _measured(layer, measure, checkpoint.arrays(layer), needs)
            _check_energies(layer, available["measured"])
    elif "system" in criterion.needs:
        exact = system is not None and criterion.dtype is np.float64
        available["system"] = system if exact else checkpoint.system(layer, criterion.dtype)
    found = scores(criterion, live, available | {"live": live})
    sizes = layer.sizes
    scored = LayerScore(layer.name, sizes.features, sizes.directions, live, found, norms)
    scored = replace(scored, flat=layer.target(recipe.target).flat)
    if norms is not None and not norms.hinf[live].any():
        warnings.append(
            f"{layer.name}: B or C is zero throughout, so every norm and score there is 0"
            if live.any()
            else f"{layer.name}: B and C are zero throughout: no state of it is live"
        )
    return scored, warnings


def check_measures(checkpoint: Checkpoint, recipe: Recipe) -> None:
    """Raises UsageError where a layer has nothing that the criterion scores."""
    scored, target = recipe.scoring, recipe.target or "states"
    other = next((layer for layer in checkpoint.layers if not _scores(scored, layer, target)), None)
    if other is None:
        return
    every = (registry.get("criteria", name) for name in registry.names("criteria"))
    able = [one.name for one in every if _scores(one, other, target)]
    what = f"has {target}, which the criterion {recipe.criterion} does not score"
    measured = bool(scored.measure and other.family.energies)  # No linear system, but of such a criterion's kind.
    if not measured and (not scored.targets or target in scored.targets):
        kind, none = ("a", "none") if other.family.system else ("no", "one")
        what = f"is {kind} linear system, and the criterion {recipe.criterion} scores {none}"
    raise UsageError(
        f"{other.name}: a layer of the family '{other.family.name}' {what}",
        f"criteria that score it: {', '.join(able)}; ⟦keep FILE⟧ prunes without any",
    )


def _scores(criterion: Criterion, layer: Layer, target: str) -> bool:
    """Whether a criterion scores such units of a layer."""
    family, name, needs = layer.family, (criterion.measure or "", target), {*criterion.needs}
    if name in family.energies or (family.system is None and name in family.on_inputs):
        return True
    if family.system is None:
        return not {"system", "measured"} & needs
    return "measured" not in needs and ("system" not in needs or not criterion.targets or target in criterion.targets)


def able_criterion(checkpoint: Checkpoint, recipe: Recipe) -> str:
    """A criterion by which a checkpoint's units can be looked at, whatever they are: norms where there are any."""
    known = all(
        (layer.family.system is not None and recipe.target == "states")
        or ("hinf", recipe.target) in layer.family.energies
        for layer in checkpoint.layers
    )
    return "hinf" if known else "random"


def _measure(layer: Layer, recipe: Recipe) -> tuple[str, str] | None:
    """Under which name the layer's family has energies for the criterion; None where it has none."""
    name = (recipe.scoring.measure or "", recipe.target or "")
    return name if name in layer.family.energies or name in layer.family.on_inputs else None


def _measured(layer: Layer, name: tuple[str, str], leaves: Mapping[str, Any], needs: Needs) -> Float[np.ndarray, "G N"]:
    """A layer's energies: from what was measured on text, else by its weights alone."""
    if (means := needs.means.get(layer.name)) is not None:
        return layer.family.on_inputs[name](leaves, means)
    return layer.family.energies[name](leaves)


def _check_energies(layer: Layer, energies: np.ndarray) -> None:
    beyond = np.argwhere(~np.isfinite(energies))
    if len(beyond):
        group, unit = (int(i) for i in beyond[0])
        raise CheckpointError(
            f"{layer.name}: {layer.family.group} {group}, unit {unit}: its energy is more than double precision holds, "
            f"or no number ({energies[group, unit]:.3g})",
            "such numbers are damaged: use a checkpoint that was saved before",
        )


def _norms(system: System) -> Norms:
    return Norms(hinf_norm(system), state_gains(system), np.abs(system.lam), np.asarray(system.lam))


def _check_poles(layer: Layer, system: System, allowed: bool, warnings: list[str]) -> None:
    magnitude = np.abs(system.lam)
    beyond = np.argwhere((magnitude >= 1) & system.live_mask)
    if not len(beyond):
        return
    group, state = (int(i) for i in beyond[0])
    where = _place(magnitude, group, state)
    rest = f" and {len(beyond) - 1} more" if len(beyond) > 1 else ""
    message = (
        f"{layer.name}: {where}{rest}: |lambda| is {magnitude[group, state]:.9g}, at or beyond the unit circle, "
        "so its H-infinity norm is infinite (expected |lambda| < 1)"
    )
    if not allowed:
        clip = "⟦clip_eigs⟧ if it was trained with clip_eigs=True, " if "clip_eigs" in layer.family.options else ""
        raise UnstableStateError(message, f"{clip}⟦allow_unstable⟧ to go on with what the formula gives there")
    warnings.append(message)


def _check_norms(layer: Layer, system: System, norms: Norms) -> None:
    """A norm whose square is no number ranks like all others of its kind, by nothing."""
    with np.errstate(over="ignore", invalid="ignore"):
        beyond = np.argwhere(system.live_mask & ~(norms.abs_lambda >= 1) & ~np.isfinite(norms.hinf**2))
    if len(beyond):
        group, state = (int(i) for i in beyond[0])
        raise CheckpointError(
            f"{layer.name}: {_place(norms.abs_lambda, group, state)}: its H-infinity norm, or its square, is more "
            f"than double precision holds, or no number ({norms.hinf[group, state]:.3g}, with |lambda| "
            f"{norms.abs_lambda[group, state]:.9g})",
            "such numbers are damaged: use a checkpoint that was saved before",
        )


def _place(values: np.ndarray, group: int, state: int) -> str:
    return f"state {state}" if len(values) == 1 else f"channel {group}, state {state}"


def _named(name: str, glob: str) -> bool:
    return any(part == glob or fnmatchcase(part, glob) for part in (name, *name.split("/")))
