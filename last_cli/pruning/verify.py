"""Does a checkpoint hold what its stamp says? Its own digests, and checks against the checkpoint it was pruned from."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.base.errors import CheckpointError
from last_cli.base.words import some
from last_cli.checkpoint.checkpoint import Checkpoint, load, opened
from last_cli.checkpoint.drop import is_dropped
from last_cli.checkpoint.trained import TRAINED, cleared
from last_cli.families.carriers import carriers
from last_cli.families.find import Layer
from last_cli.families.lti.system import System, gain_bound, subtract, transfer_gain
from last_cli.families.resizing import Resizing
from last_cli.families.target import ROLES, Role, Units
from last_cli.formats.damage import damage
from last_cli.formats.settings import merged, with_settings
from last_cli.pruning.blocks.verify import blocks_checks
from last_cli.pruning.compact import compact, resized
from last_cli.pruning.cut import Cut, Kept, own_cuts, with_rescales
from last_cli.pruning.listed import by_group
from last_cli.pruning.made_up import with_room
from last_cli.pruning.recipe import BLOCKS, WEIGHTS
from last_cli.pruning.select import stored
from last_cli.pruning.sparse.verify import zeros_checks
from last_cli.pruning.tune.plan import TUNE
from last_cli.pruning.unpaired import READOUTS, as_said
from last_cli.results.verify import Check, VerifyReport

STEPS, FEW_STEPS, FREQUENCIES = 64, 16, 257
TOLERANCE = 1e-9
Steps = Sequence[Mapping[str, Any]]
"""Entries of a stamp's `pruned`."""
ARRAYS = "arrays as written"
AROUND = {WEIGHTS: zeros_checks, BLOCKS: blocks_checks}
"""The checks of what is no unit of layers, by target."""
STEPWISE = "verify each pruning against the checkpoint that it was made from"


def verify(
    pruned: Checkpoint | str | Path, against: Checkpoint | str | Path | None = None, *, seed: int = 0
) -> VerifyReport:
    """Check a checkpoint that `last` wrote against its own digests, and against the one that it was pruned from.

    Args:
        pruned: what is checked.
        against: what it was made from, directly or by several prunings.
        seed: of the random inputs that the outputs of both are compared on.

    Raises:
        CheckpointError: there is nothing to check it against, or no stamp of a pruning that fits the other.
    """
    # What is not as the stamp says is a failed check here, and no error.
    found = pruned if isinstance(pruned, Checkpoint) else load(pruned, checked=False)
    found = replace(found, index=replace(found.index, checked=False))
    source = None if against is None else opened(against)
    checks, warnings = _as_written(found)
    if source is not None:
        checks = [*_compared(found, source, seed, checks), *checks]
    elif not checks:
        raise CheckpointError(
            f"{found.source.path}: nothing to check it against: {warnings[0]}",
            "name the checkpoint that it was made from: ⟦against CKPT⟧",
        )
    return VerifyReport(found.source, source and source.source, checks, warnings)


def _as_written(pruned: Checkpoint) -> tuple[list[Check], list[str]]:
    """The checks that need no other checkpoint, and a warning where some cannot be made."""
    written = pruned.index.written
    if pruned.changed or pruned.also:
        return [], ["it is not written yet, so there are no digests of it"]
    if lost := pruned.index.lost:
        what = "holds no stamp" if lost.exists() else "is not there"
        return [Check("stamp as written", False, f"{lost.name} {what}, and with it the digests of all else")], []
    if written is None:
        what = "its stamp holds no digests" if pruned.index.stamp else "there is no stamp in it"
        return [], [f"{what}: what changed in the optimizer, in refitted values and in files beside cannot be seen"]
    found = damage(pruned.index, written)
    if not found.described:
        place = pruned.index.location.directory
        return [], [f"{place}: written after {written.file}, which has no digests of it"]
    stamp = "model, task and history" if written.intact else f"{written.file.name} was edited or damaged"
    leaves, files = f"{found.leaves} leaves", f"{found.files} files"
    checks = [
        Check("stamp as written", written.intact, stamp),
        Check(ARRAYS, not found.wrong_leaves, _seen(found.wrong_leaves, leaves)),
        Check("other files as written", not found.wrong_files, _seen(found.wrong_files, files)),
    ]
    added = f"{written.root}: holds {some(found.added)}, which `last` did not write and nothing here checks"
    return checks, [added] if found.added else []


def _seen(wrong: Sequence[str], all_: str) -> str:
    return f"{len(wrong)} of {all_} differ: {some(wrong)}" if wrong else all_


def _compared(pruned: Checkpoint, against: Checkpoint, seed: int, own: Sequence[Check]) -> list[Check]:
    """The checks against the source; where arrays are known to be damaged, an error is a check that failed."""
    try:
        try:
            return _against(pruned, against, seed)
        except (IndexError, KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise CheckpointError(
                f"{pruned.source.path}: the stamp does not fit {against.source.path}, which has other layers or units",
                "is that what it was made from? else last.json was damaged",
            ) from error
    except CheckpointError as error:
        if all(check.passed for check in own if check.name == ARRAYS):
            raise
        return [Check("comparison with the source", False, error.message)]


def _against(pruned: Checkpoint, against: Checkpoint, seed: int) -> list[Check]:
    chain = pruned.stamp.get("pruned", [])
    if not chain:
        raise CheckpointError(
            f"{pruned.source.path}: no stamp of a pruning in it", "verify checks what `last prune` wrote"
        )
    since = next((i for i, step in enumerate(chain) if step["source"]["digest"] == against.digest), None)
    recorded = chain[-1 if since is None else since]["source"]["digest"]
    said = f"{recorded[:19]} in the stamp, {against.digest[:19]} in {against.source.path}"
    checks = [Check("source digest", since is not None, said)]
    all_steps = chain[-1 if since is None else since :]
    _refuse_trained(pruned, all_steps)
    source, (against, steps) = against, _repeated(against, all_steps)
    masked = _the_same("masked", False, steps, pruned)
    target = _the_same("target", "states", steps, pruned)
    if target in AROUND:
        return [*checks, *AROUND[target](pruned, against, steps)]
    merged = any(layer.target(target).merged for layer in against.layers)
    against = with_room(as_said(against, steps), _refitted(steps))
    said = _kept(against, steps)
    resizing = Resizing() if masked else resized(against, said)
    cuts = with_rescales(own_cuts(against.layers, said), resizing.arrays)
    refits = {layer.leaves[n] for layer in against.layers for n in _refitted(all_steps) if n in layer.leaves}
    cleared = _cleared(pruned, all_steps)
    also = f", {' and '.join(_refitted(all_steps))} {'tuned' if cleared is not None else 'refitted'}" if refits else ""
    untouched = [_untouched(pruned, against, {*cuts, *refits, *(cleared or ())}), *_all_zero(pruned, cleared or ())]
    if roles := set().union(*map(_changes, all_steps)):
        new = {layer.leaves[n] for layer in against.layers for n in _new_leaves(layer, against, target, roles)}
        kept = _bit_equal(pruned, against, {key: cut for key, cut in cuts.items() if key not in {*new, *refits}})
        checks += [replace(kept, name=f"kept entries bit-equal, {_in_words(roles)}{also}"), *untouched]
        if len(all_steps) == 1 and since is not None and "gain_bound" in steps[0]:
            checks.append(_new_poles_hold(pruned, against, steps[0]["gain_bound"]))
        return checks
    kept = _bit_equal(pruned, against, {key: cut for key, cut in cuts.items() if key not in refits})
    kept = replace(kept, name=f"{kept.name}{also}")
    kept = replace(kept, name=f"{kept.name}, means of merged {target} as computed anew") if merged else kept
    checks += [kept, *untouched, *_settings(pruned, against, resizing)]
    linear = all(layer.family.system is not None for layer in against.layers)
    responding = linear or all(layer.family.respond is not None for layer in against.layers)
    if target == "states" and responding and not refits and all(check.passed for check in checks[1:]):
        if all(_kind(step) == _kind(steps[0]) and READOUTS not in step for step in all_steps):
            against, said = source, _kept(source, all_steps)
        checks.append(_same_outputs(pruned, against, said, np.random.default_rng(seed)))
        checks += [_bound_holds(against, said.masks)] if linear else []
    return checks


def _repeated(against: Checkpoint, steps: Steps) -> tuple[Checkpoint, Steps]:
    """What a chain is checked against, and the steps of it that are: where several prunings resize a model, one by one.

    Each changes what the next finds, in files and in what is rescaled and rounded: all but the last are made again, in
    memory. Prunings of weights and blocks cannot be: those that come last are checked together, and a chain that has
    others whole.
    """
    around = [step.get("target") in AROUND for step in steps]
    count = around.index(True) if any(around) else len(steps) - 1
    if any(layer.family.resized is None for layer in against.layers) or (any(around) and not all(around[count:])):
        return against, steps
    for step in steps[:count]:
        target, masked = _kind(step)
        against = with_room(as_said(against, [step]), _refitted([step]))
        masks = _kept(against, [step]).masks
        against = compact(against, masks, {"target": target, "stock": step.get("stock")}, masked=masked)
    return against, steps[count:]


def _kept(against: Checkpoint, steps: Steps) -> Kept:
    """Which units are left after all steps, which are of one kind."""
    target, masked = _kind(steps[0])
    index = {layer.name: _index(layer, target, against, steps) for layer in against.layers}
    keep = {layer.name: _mask(layer.units[target], *index[layer.name]) for layer in against.layers}
    placeholders = {name: places for name, (places, live) in index.items() if not live and not masked}
    stock = any(step.get("stock") for step in steps)
    return Kept(keep, target, masked, placeholders, max(map(stored, keep.values())) if stock else 1, stock)


def _kind(step: Mapping[str, Any]) -> tuple[str, bool]:
    """What a step removed, and whether it only masked it."""
    return step.get("target", "states"), bool(step.get("masked"))


def _settings(pruned: Checkpoint, against: Checkpoint, resizing: Resizing) -> list[Check]:
    """Whether the configuration differs by its sizes and what is rescaled, where the layers' families know it."""
    if all(layer.family.resized is None for layer in against.layers):
        return []
    wanted = with_settings(against.index.config, merged(resizing.sizes, resizing.settings))
    found = pruned.index.config
    wrong = [name for name in wanted if wanted[name] != found.get(name)]
    return [Check("configuration as expected", not wrong, _seen(wrong, f"{len(wanted)} files"))]


def _refuse_trained(pruned: Checkpoint, steps: Steps) -> None:
    """Raises CheckpointError where any of the weights may be new."""
    if any(step.get("method") == TRAINED for step in steps):
        raise CheckpointError(
            f"{pruned.source.path}: trained since then, so its weights are not those of its source",
            "without ⟦against⟧ it is checked against its own digests",
        )


def _changes(step: Mapping[str, Any]) -> set[Role]:
    """The roles of the leaves to which a pruning gave other values in kept units."""
    if "changes" in step or "method" not in step:
        return set(step.get("changes", ()))
    # Stamps of 0.1 name the method alone: of one that is not known everything may be new.
    return {"readout"} if step["method"] in ("reconstruct", "refit") else set(ROLES)


def _refitted(steps: Steps) -> list[str]:
    """The leaves of every layer, by name, that prunings refitted otherwise than by a role."""
    return sorted({name for step in steps for name in step.get("refitted", ())})


def _cleared(pruned: Checkpoint, steps: Sequence[Mapping[str, Any]]) -> list[Any] | None:
    """Keys of the optimizer's moments that a tuning has set to zero; None where nothing was tuned."""
    names = _refitted([step for step in steps if step.get("method") == TUNE])
    keys = [layer.leaves[name] for layer in pruned.layers for name in names if name in layer.leaves]
    return list(cleared(keys, pruned.leaves)) if names else None


def _all_zero(pruned: Checkpoint, keys: Collection[Any]) -> list[Check]:
    if not keys:
        return []
    wrong = ["/".join(key) for key in keys if pruned.read([key])[key].any()]
    return [Check("moments of tuned leaves are 0", not wrong, _seen(wrong, f"{len(keys)} arrays"))]


def _in_words(roles: set[Role]) -> str:
    if roles == {"readout"}:
        return "C refitted"
    parts = [name for role, name in {"dynamics": "poles", "input": "B", "readout": "C"}.items() if role in roles]
    return f"{' and '.join([', '.join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)} new"


def _the_same(entry: str, usual: Any, steps: Steps, pruned: Checkpoint) -> Any:
    """What all steps say; a chain that masked and cut, or removed several kinds of units, is checked step by step."""
    kinds = {step.get(entry, usual) for step in steps}
    if len(kinds) > 1:
        how = "with ⟦masked⟧ and without" if entry == "masked" else f"of {' and '.join(sorted(kinds))}"
        raise CheckpointError(
            f"{pruned.source.path}: pruned {how} since then, which cannot be checked in one go", STEPWISE
        )
    return kinds.pop()


def _index(layer: Layer, target: str, against: Checkpoint, steps: Steps) -> tuple[np.ndarray, bool]:
    """Which units are stored after all steps, (G, K) with -1 for padding, and whether any of them is live."""
    units, flat = layer.units[target], layer.target(target).flat
    index = np.tile(np.arange(units.count), (units.groups, 1))
    live = True
    for step in steps:
        said = {entry["name"]: entry for entry in step["layers"]}
        if layer.name not in said:
            raise CheckpointError(
                f"the stamp says nothing of layer {layer.name}", f"is {against.source.path} what it was made from?"
            )
        entry = said[layer.name]
        kept = by_group(entry["kept"], units.groups, entry["before"], flat)
        live = any(kept)
        width = max(1, *map(len, kept)) if live else 1
        padding = -1 if live else int(entry.get("standin", -1))
        places = np.array([[*k, *[padding] * (width - len(k))] for k in kept])
        # Where nothing is masked, the places are those among what the step before left.
        before = np.tile(np.arange(units.count), (units.groups, 1)) if step.get("masked") else index
        index = np.where(places < 0, -1, np.take_along_axis(before, np.maximum(places, 0), axis=1))
    return index, live


def _mask(units: Units, index: np.ndarray, live: bool) -> np.ndarray:
    """The mask (G, N) of what is left of a layer."""
    mask = np.zeros((units.groups, units.count + 1), bool)
    if live:
        np.put_along_axis(mask, index, True, axis=1)
    return mask[:, :-1]


def _bit_equal(pruned: Checkpoint, against: Checkpoint, cuts: Mapping[Any, Cut]) -> Check:
    ours, theirs = dict(_by_key(pruned, cuts)), dict(_by_key(against, cuts))
    wrong = [k for k, cut in cuts.items() if k not in ours or not _equal(cut.apply(theirs[k]), ours[k])]
    rescales = sum(cut.rescale is not None for cut in cuts.values())
    seen = f"{len(cuts) - len(wrong)} of {len(cuts)} arrays" + (f", {rescales} of them rescaled" if rescales else "")
    seen += f"; first difference: {'/'.join(wrong[0])}" if wrong else ""
    return Check("kept entries bit-equal", not wrong, seen)


def _untouched(pruned: Checkpoint, against: Checkpoint, cuts: Collection[Any]) -> Check:
    follows = set(against.following) | set(cuts)
    stale = [k for k in carriers(against.layers, against.leaves, follows, against.leaves) if k in pruned.leaves]
    if stale:
        return Check("everything else untouched", False, f"{len(stale)} hold states still; first: {'/'.join(stale[0])}")
    keys = [k for k, leaf in against.leaves.items() if leaf.kind in ("array", "scalar") and k not in follows]
    drops = [path for step in pruned.stamp.get("pruned", []) for path in step.get("dropped", ())]
    missing = [k for k in against.leaves if k not in pruned.leaves and not is_dropped(k, drops)]
    shared = [k for k in keys if k in pruned.leaves]
    wrong = missing + [k for k in shared if not _equal(against.read([k])[k], pruned.read([k])[k])]
    seen = f"{len(keys)} arrays" if not wrong else f"{len(wrong)} differ; first difference: {'/'.join(wrong[0])}"
    return Check("everything else untouched", not wrong, seen)


def _same_outputs(pruned: Checkpoint, against: Checkpoint, kept: Kept, rng: Any) -> Check:
    worst = 0.0
    for old, new in zip(against.layers, pruned.layers, strict=True):
        if old.family.system is not None:
            masked = _only(against.system(old), kept.masks[old.name])
            u = rng.standard_normal((STEPS, masked.B.shape[0], masked.B.shape[2]))
            expected, found = _respond(masked, u), _respond(pruned.system(new), u)
        else:
            assert old.family.respond is not None and new.family.respond is not None
            u = rng.standard_normal((FEW_STEPS, old.sizes.features))
            expected = old.family.respond(_masked(against, old, kept), u)
            found = new.family.respond(pruned.arrays(new), u)
        worst = max(worst, float(np.abs(expected - found).max() / max(np.abs(expected).max(), 1e-30)))
    return Check("compacted = masked on random input", worst <= TOLERANCE, f"largest relative difference {worst:.1e}")


def _masked(against: Checkpoint, layer: Layer, kept: Kept) -> dict[str, np.ndarray]:
    """A layer's leaves in their shapes, with zeros where its removed units were."""
    kept = replace(kept, masked=True)
    cuts = {name: kept.cut(layer, name) for name in layer.leaves}
    return {name: cut.apply(a) if (cut := cuts[name]) else a for name, a in against.arrays(layer).items()}


def _bound_holds(against: Checkpoint, keep: Mapping[str, np.ndarray]) -> Check:
    shares = []
    for layer in against.layers:
        system = against.system(layer)
        removed = system.live_mask & ~keep[layer.name]
        bound = gain_bound(system, removed)
        measured = transfer_gain(_only(system, removed), np.linspace(0, np.pi, FREQUENCIES))
        shares.append(measured / bound if bound else float(measured > 0))
    worst = max(shares)
    return Check("gain bound holds", worst <= 1 + TOLERANCE, f"removed parts reach {worst:.0%} of their bounds at most")


def _new_leaves(layer: Layer, against: Checkpoint, target: str, roles: set[Role]) -> set[str]:
    """The leaves of these roles; new poles are in those that a System goes into, and leave the step sizes."""
    if "dynamics" in roles and target == "states" and layer.family.with_system is not None:
        return set(layer.family.with_system(against.arrays(layer), against.system(layer), against.config))
    return {name for name in layer.leaves if roles & layer.units[target].roles(name)}


def _new_poles_hold(pruned: Checkpoint, against: Checkpoint, bounds: Mapping[str, float]) -> Check:
    shares, frequencies = [0.0], np.linspace(0, np.pi, FREQUENCIES)
    for old, new in zip(against.layers, pruned.layers, strict=True):
        before, after = against.system(old), pruned.system(new)
        measured, whole = transfer_gain(subtract(before, after), frequencies), transfer_gain(before, frequencies)
        if measured > TOLERANCE * whole:
            shares.append(measured / bounds[old.name] if bounds[old.name] else np.inf)
    worst = max(shares)
    return Check("gain bound holds", worst <= 1 + TOLERANCE, f"differences reach {worst:.0%} of their bounds at most")


def _only(system: System, keep: np.ndarray) -> System:
    return replace(system, C=system.C * keep[None, :, None, :])


def _respond(system: System, u: np.ndarray) -> np.ndarray:
    """Outputs (T, G, K) for inputs u (T, G, M), by the plain recurrence and without feedthrough."""
    driven = np.einsum("gnm,tgm->tgn", system.B, u)
    total = np.zeros((len(u), *system.C.shape[1:3]))
    for readout, C in enumerate(system.C):
        x, order = np.zeros(system.lam.shape, complex), range(len(u))
        for t in reversed(order) if readout else order:
            x = system.lam * x + driven[t]
            total[t] += system.gain * np.real(np.einsum("gkn,gn->gk", C, x))
    return total


def _by_key(checkpoint: Checkpoint, keys: Mapping[Any, Any]) -> Iterator[tuple[Any, np.ndarray]]:
    for key in keys:
        if key in checkpoint.leaves:
            yield key, checkpoint.read([key])[key]


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
