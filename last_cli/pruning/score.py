"""Scores of a checkpoint's states, and which of them a ratio would keep."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

import numpy as np

from last_cli.base import registry
from last_cli.base.errors import UnstableStateError, UsageError, inside
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.evaluation.inputs import Asked
from last_cli.families.find import Layer
from last_cli.families.lti.system import System, hinf_norm, state_gains
from last_cli.pruning import select as selection
from last_cli.pruning.criteria.criterion import Criterion, scores
from last_cli.pruning.needs import Choice, Needed, Shape, needed
from last_cli.results.score import LayerScore, ScoreReport
from last_cli.results.source import Progress

LAYERS_AT_ONCE = 4  # each holds one layer's parameters in float64


def score(
    checkpoint: Checkpoint,
    criterion: str = "last",
    *,
    ratio: float | None = None,
    layer: str | None = None,
    scope: selection.Scope = "global",
    min_states: int = 1,
    seed: int = 0,
    shape: Shape = "ragged",
    allow_unstable: bool = False,
    horizon: int | None = None,
    calibration: int | None = None,
    task: str | None = None,
    calibration_file: str | Path | None = None,
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> ScoreReport:
    """H-infinity norms and scores of every state, and with a ratio which states would stay.

    Args:
        layer: report only layers whose name, or its part, matches this glob; selection still ranks all of them.
        horizon: steps that the criterion `energy` looks ahead; by default the trained length.
        calibration: sequences that a criterion such as `gn` runs the network on; what they are of, see reducing.prune.

    Raises:
        CheckpointError: numbers that are not finite, poles at or beyond the unit circle, or, where the network must run
            for the criterion, a tree that is no classifier.
        DataError: the calibration sequences cannot be read.
        UsageError: an unknown criterion, a ratio outside [0, 1), or a glob that matches nothing.
    """
    choice = Choice(criterion, scope, min_states, seed, shape, allow_unstable, horizon)
    inputs = Asked(calibration, task, calibration_file, data_dir).read(checkpoint, seed=seed, progress=progress)
    known = needed(checkpoint, choice, inputs, progress=progress)
    scored, warnings = score_layers(checkpoint, choice, ratio, known)
    shown = [s for s in scored if layer is None or _named(s.name, layer)]
    if not shown:
        names = ", ".join(s.name for s in scored)
        raise UsageError(f"no layer matches '{layer}'", f"the layers are: {names}")
    assumed = checkpoint.assumed(checkpoint.layer_options) | dict(known.assumed)
    return ScoreReport(checkpoint.source, checkpoint.family, criterion, assumed, shown, ratio, warnings, known.said)


def score_layers(
    checkpoint: Checkpoint, choice: Choice, ratio: float | None = None, known: Needed | None = None
) -> tuple[list[LayerScore], list[str]]:
    """Every layer's norms, scores and, with a ratio, keep mask; and warnings for the user.

    `known` is what the criterion needs, see choice.needed, which by default is asked here.
    """
    if ratio is not None and not 0 <= ratio < 1:
        raise UsageError(
            f"ratio is {ratio:g}, expected a number from 0 up to, but not including, 1", _ratio_hint(ratio)
        )
    if choice.min_states < 0:
        raise UsageError(f"min-states is {choice.min_states}, expected 0 or more", "0 lets a layer lose all its states")
    if choice.seed < 0:
        raise UsageError(f"seed is {choice.seed}, expected 0 or more", "any other number will do")
    criterion: Criterion = registry.get("criteria", choice.criterion)
    known = known or needed(checkpoint, choice)
    with ThreadPoolExecutor(LAYERS_AT_ONCE) as pool:
        done = list(
            pool.map(partial(_score_layer, checkpoint, choice, criterion, known), range(len(checkpoint.layers)))
        )
    scored = [layer for layer, _ in done]
    warnings = [*checkpoint.index.warnings, *(warning for _, found in done for warning in found)]
    if ratio is None:
        return scored, warnings
    masks = _masks(scored, choice, ratio, criterion)
    return [_with_keep(s, m) for s, m in zip(scored, masks, strict=True)], warnings


def _score_layer(
    checkpoint: Checkpoint, choice: Choice, criterion: Criterion, known: Needed, position: int
) -> tuple[LayerScore, list[str]]:
    layer, warnings = checkpoint.layers[position], []
    system = checkpoint.system(layer)
    with inside(checkpoint.index.location.path):
        _check_poles(layer, system, choice.allow_unstable, warnings)
    judged = system if criterion.dtype is np.float64 else checkpoint.system(layer, criterion.dtype)
    rng = np.random.default_rng([choice.seed, position])
    states = scores(criterion, judged, rng, **known.arguments.get(layer.name, {}))
    scored = _layer_score(layer, system, states)
    if not scored.hinf[system.live_mask].any():
        warnings.append(
            f"{layer.name}: B or C is zero throughout, so every norm and score there is 0"
            if system.live_mask.any()
            else f"{layer.name}: B and C are zero throughout: no state of it is live"
        )
    return scored, warnings


def _masks(scored: list[LayerScore], choice: Choice, ratio: float, criterion: Criterion) -> list[np.ndarray]:
    values, live = [s.score for s in scored], [s.live for s in scored]
    least = max(choice.min_states, criterion.min_states)
    masks = selection.select(values, live, ratio, scope=choice.scope, min_states=least, ties=criterion.threshold)
    if choice.shape == "ragged":
        return masks
    pruned = selection.rectangular(values, live, masks)
    return [p if len(p) > 1 else m for p, m in zip(pruned, masks, strict=True)]


def _check_poles(layer: Layer, system: System, allowed: bool, warnings: list[str]) -> None:
    magnitude = np.abs(system.lam)
    beyond = np.argwhere((magnitude >= 1) & system.live_mask)
    if not len(beyond):
        return
    group, state = (int(i) for i in beyond[0])
    where = f"state {state}" if len(magnitude) == 1 else f"channel {group}, state {state}"
    rest = f" and {len(beyond) - 1} more" if len(beyond) > 1 else ""
    message = (
        f"{layer.name}: {where}{rest}: |lambda| is {magnitude[group, state]:.9g}, at or beyond the unit circle, "
        "so its H-infinity norm is infinite (expected |lambda| < 1)"
    )
    if not allowed:
        clip = "⟦clip_eigs⟧ if it was trained with clip_eigs=True, " if "clip_eigs" in layer.family.options else ""
        raise UnstableStateError(message, f"{clip}⟦allow_unstable⟧ to go on with what the formula gives there")
    warnings.append(message)


def _layer_score(layer: Layer, system: System, states: np.ndarray) -> LayerScore:
    return LayerScore(
        name=layer.name,
        features=layer.shape.features,
        directions=layer.shape.directions,
        live=system.live_mask,
        hinf=hinf_norm(system),
        score=states,
        gains=state_gains(system),
        abs_lambda=np.abs(system.lam),
        poles=np.asarray(system.lam),
    )


def _with_keep(scored: LayerScore, keep: np.ndarray) -> LayerScore:
    return LayerScore(**{**vars(scored), "keep": keep})


def _named(name: str, glob: str) -> bool:
    return any(fnmatchcase(part, glob) for part in (name, *name.split("/")))


def _ratio_hint(ratio: float) -> str:
    return f"for {ratio:g} % write ⟦ratio {ratio / 100:g}⟧" if 1 < ratio < 100 else "0.33 removes a third of all states"
