"""Tuning of what a pruning left: what changes, what never does, and that it goes on after a kill."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from language_models import model
from random_layers import KINDS, LAYOUTS
from tunings import all_arrays, inputs, small, trained_keys, whole

import last_cli as last
from last_cli.families.target import owners, put
from last_cli.pruning.tune import leaves, loop, plan, state, train
from last_cli.pruning.tune.leaves import entering, trained
from last_cli.pruning.tune.plan import Length
from last_cli.pruning.tune.sequences import Sequences

NAMES = {
    "s5-two-directions": "B C1 C2 Lambda_im Lambda_re log_step",
    "s5-one-C-of-two-directions": "B C Lambda_im Lambda_re log_step",
    "s5-clipped": "B C1 C2 Lambda_im Lambda_re log_step",
    "s5-bilinear": "B C1 C2 Lambda_im Lambda_re log_step",
    "s5-events": "B C Lambda_im Lambda_re log_step",
    "s4d": "A_im A_re C log_step",
    "s4d-pairs-two-directions": "A_imag C log_A_real log_dt",
    "lru": "B_im B_re C_im C_re gamma_log nu_log theta_log",
}


@pytest.fixture(autouse=True)
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look after every other step, at sequences of which a few are read at a time."""
    monkeypatch.setattr(loop, "EVERY", 4)
    monkeypatch.setattr(loop, "CHUNK", 2)
    monkeypatch.setattr(plan, "BATCH", 4)
    monkeypatch.setattr(plan, "RATES", (0.003, 0.01))
    monkeypatch.setattr(train, "AT_A_TIME", 8)


def tuned(kind: str = "s5-two-directions", steps: int | None = 12, **entries: Any) -> last.Checkpoint:
    return last.tune(small(kind), whole(kind), calibration_file=inputs(), steps=steps, **entries)


@pytest.mark.parametrize("kind", NAMES)
def test_poles_steps_b_and_c_are_trained_and_nothing_else(kind: str) -> None:
    layer, arrays = KINDS[kind].layer()
    assert " ".join(sorted(entering(layer, arrays, KINDS[kind].config))) == NAMES[kind]


@pytest.mark.parametrize("kind", LAYOUTS)
def test_an_entry_belongs_to_the_unit_that_cutting_takes_it_with(kind: str) -> None:
    layer, arrays = KINDS[kind].layer()
    units = layer.units["states"]
    for name, array in arrays.items():
        found = owners(array.shape, units, name)
        for unit in (0, units.groups * units.count - 1):
            mask = np.arange(units.groups * units.count).reshape(units.groups, units.count) == unit
            other = put(np.zeros(array.shape), units.segments.get(name, ()), mask, np.ones(array.shape))
            np.testing.assert_array_equal(found == unit, other == 1)


@pytest.mark.parametrize("kind", LAYOUTS)
def test_tuning_keeps_what_it_does_not_train(kind: str, tmp_path: Path) -> None:
    before, after = small(kind), tuned(kind, steps=40)
    report = after.tuned
    assert report is not None
    assert report.error.after < report.error.before
    assert report.best_step > 0 and report.held_out == 5 and report.sequences == 40
    keys, old, new = trained_keys(before, report.leaves), all_arrays(before), all_arrays(after)
    moments = {key for key in old if key[0] == "opt_state" and ("params", *key[3:]) in keys}
    assert len(moments) == 2 * len(keys) == report.moments_cleared
    for key, array in old.items():
        if key in moments:
            assert not new[key].any() and new[key].shape == array.shape and new[key].dtype == array.dtype
        elif key not in keys:
            assert new[key].tobytes() == array.tobytes(), key
    assert any((new[key] != old[key]).any() for key in keys)
    for layer in before.layers:  # padding of a ragged layer is no state that was forgotten
        np.testing.assert_array_equal(after.live(layer), before.live(layer))
        assert (np.abs(after.system(layer).lam) < 1).all()
    last.save(after, tmp_path / "tuned")
    for against in (before, whole(kind)):
        checks = last.verify(tmp_path / "tuned", against).checks
        assert [check for check in checks if not check.passed] == []
        assert "moments of tuned leaves are 0" in [check.name for check in checks]


def test_verification_sees_what_tuning_must_not_change(tmp_path: Path) -> None:
    after = tuned("s4d")
    broken = {("params", "encoder", "layers_0", "seq", "D"), ("opt_state", "0", "mu", "decoder", "bias")}
    cleared = ("opt_state", "0", "nu", "encoder", "layers_0", "seq", "log_step")
    for key in (*broken, cleared):
        other = replace(after, changed={**after.changed, key: after.read([key])[key] + 1})
        failed = [check.name for check in last.verify(other, small("s4d")).checks if not check.passed]
        assert failed == ["moments of tuned leaves are 0" if key == cleared else "everything else untouched"], key


def test_the_same_tuning_gives_the_same_numbers() -> None:
    first, again = tuned(), tuned()
    assert all(
        a.tobytes() == b.tobytes() for a, b in zip(*(all_arrays(x).values() for x in (first, again)), strict=True)
    )
    assert tuned(seed=1).digest != first.digest


def test_a_killed_tuning_goes_on_to_the_same_numbers(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "SECONDS", 0.0)
    expected = tuned()

    def stop(what: str, done: int, total: int) -> None:
        if what == "tune" and done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        tuned(progress=stop)
    assert "rerun with ⟦resume⟧ to continue" in caught.value.__notes__[0]
    said: list[str] = []
    found = tuned(resume=True, tell=lambda line, kind: said.append(line))
    assert said == ["resuming: 6 of 12 steps are done"]
    assert found.tuned is not None and found.tuned.resumed_steps == 6 and found.tuned.steps == 12
    assert found.digest == expected.digest
    assert not list((cache / "arrays").glob("tuning-*"))


def test_where_nothing_was_kept_nothing_is_promised(cache: Path) -> None:
    def stop(what: str, done: int, total: int) -> None:
        if what == "tune":
            raise KeyboardInterrupt

    said: list[str] = []
    with pytest.raises(KeyboardInterrupt) as caught:
        tuned(resume=True, progress=stop, tell=lambda line, kind: said.append(line))
    assert not hasattr(caught.value, "__notes__")
    assert said == ["no interrupted run found; starting from the beginning"]


def test_without_resume_it_begins_anew_and_says_so(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "SECONDS", 0.0)

    def stop(what: str, done: int, total: int) -> None:
        if what == "tune":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned(progress=stop)
    said: list[str] = []
    found = tuned(steps=12, tell=lambda line, kind: said.append(line))
    assert said == ["an interrupted run left 2 steps; resume continues it"]
    assert found.tuned is not None and found.tuned.resumed_steps == 0


def test_what_no_step_betters_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "RATES", (-0.01, -0.03))  # uphill
    found = tuned()
    assert found.tuned is not None and found.tuned.best_step == 0
    assert found.tuned.error.after == found.tuned.error.before
    assert found.digest == small("s5-two-directions").digest


def test_steps_that_help_nothing_become_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """And end when they are too small, long before all of them are made."""
    seen: list[float] = []
    batches = loop._batches

    def watched(tuning: Any, state: Any) -> Any:
        seen.append(state.scale)
        return batches(tuning, state)

    monkeypatch.setattr(loop, "_batches", watched)
    monkeypatch.setattr(plan, "RATES", (-0.01, -0.03))  # uphill
    found = tuned(steps=1000).tuned
    assert found is not None and found.best_step == 0 and found.steps < 100
    assert [round(3**i * scale, 6) for i, scale in enumerate(dict.fromkeys(seen))] == [1.0] * 5


@pytest.mark.parametrize("kind", ["s5-two-directions", "s5-bilinear", "s5-events"])
def test_no_step_makes_a_pole_slower_than_its_limit(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaves, "REACH", 0.1)
    ck = small(kind)
    t = trained(ck, ck.layers[0], 12)
    program = train.Program(ck, [t])
    numbers = {layer: {n: jnp.asarray(a) for n, a in own.items()} for layer, own in program.start.items()}
    up = {layer: {n: -np.ones_like(a) for n, a in own.items()} for layer, own in program.start.items()}
    moved = program._moved(numbers, up, np.array([10.0, 0.1], np.float32))[t.layer.name]
    changed = {t.keys[name]: t.written(name, np.asarray(moved[name])) for name in t.keys}
    lam = np.abs(replace(ck, changed={**ck.changed, **changed}).system(t.layer).lam)
    assert (lam <= t.limits + 1e-6).all() and (t.limits < 1).all()


def test_the_rates_rise_and_fall_and_end_with_the_planned_steps() -> None:
    found = plan.rates(0, 120, 100)
    assert found.shape == (120, 2)
    assert (np.diff(found[:5], axis=0) > 0).all() and (np.diff(found[5:100], axis=0) < 0).all()
    assert not found[100:].any()


def test_chunks_read_the_sequences_in_one_order() -> None:
    whole_run = plan.order(0, 30, 10, seed=3)
    np.testing.assert_array_equal(np.concatenate([plan.order(i, 5, 10, seed=3) for i in range(0, 30, 5)]), whole_run)
    assert sorted(whole_run[:2].ravel()) != sorted(whole_run[2:4].ravel()) and len({*whole_run[:2].ravel()}) == 8


def test_minutes_bound_the_steps() -> None:
    report = last.tune(
        small("s5-two-directions"), whole("s5-two-directions"), calibration_file=inputs(), minutes=1e-5
    ).tuned
    assert report is not None and report.steps == 2


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"steps": 0}, "steps is 0, expected 1 or more"),
        ({"steps": 5, "minutes": 1}, "steps and minutes are both given"),
        ({"minutes": float("nan")}, "minutes is nan"),
        ({"seed": -1}, "seed is -1"),
        ({"sequences": 1}, "sequences is 1, expected 2 or more"),
        ({"task": "listops"}, "calibration_file and task are both given"),
        ({"calibration_file": None}, "nothing says which inputs to tune on"),
        ({"calibration_file": None, "task": "listops", "split": "test"}, "the test split is asked for"),
        ({"calibration_file": None, "task": "mine.npz"}, "is no task of a training split"),
        ({"calibration_file": "nowhere.npz"}, "no calibration sequences can be read"),
    ],
)
def test_what_cannot_be_tuned_on_is_refused(entries: dict[str, Any], said: str) -> None:
    kind = "s5-two-directions"
    with pytest.raises(last.LastError, match=said) as caught:
        last.tune(small(kind), whole(kind), **{"calibration_file": inputs(), **entries})
    assert caught.value.hint


def test_sequences_must_fit_the_network() -> None:
    kind = "s5-two-directions"
    with pytest.raises(last.DataError, match="5 features per step, but the encoder takes 3"):
        last.tune(small(kind), whole(kind), calibration_file=inputs(d=5))


def test_a_teacher_is_the_same_network() -> None:
    one, other = small("s5-two-directions"), whole("s5-one-direction")
    with pytest.raises(last.UsageError, match=r"is no teacher of .*: its layers are others"):
        last.tune(one, other, calibration_file=inputs())
    bilinear = replace(whole("s5-two-directions"), config=replace(one.config, discretization="bilinear"))
    with pytest.raises(last.UsageError, match="its discretization is bilinear, expected zoh"):
        last.tune(one, bilinear, calibration_file=inputs())


def test_a_teacher_that_it_was_not_pruned_from_is_a_warning() -> None:
    kind = "s5-two-directions"
    found = last.tune(small(kind), small(kind), calibration_file=inputs(), steps=2).tuned
    assert found is not None and any("was not pruned from" in line for line in found.warnings)
    assert any("40 sequences are few" in line for line in found.warnings)
    assert any(line.startswith("activation = ") for line in found.warnings)


def test_language_models_are_not_tuned() -> None:
    ck = last.load(model("hf_groups").directory / "checkpoint")
    with pytest.raises(last.UsageError, match="is no linear system"):
        last.tune(ck, ck, calibration_file=inputs())


def test_numbers_that_are_not_finite_are_refused() -> None:
    kind = "s5-two-directions"
    ck = small(kind)
    key = ("params", "decoder", "bias")
    broken = replace(ck, changed={**ck.changed, key: ck.read([key])[key] * np.nan})
    with pytest.raises(last.CheckpointError, match=r"logits of 40 of 40 sequences are not finite \(teacher\)"):
        last.tune(ck, broken, calibration_file=inputs())
    with pytest.raises(last.CheckpointError, match=r"not finite \(to be tuned\)"):
        last.tune(broken, ck, calibration_file=inputs())


def test_the_key_of_a_run_tells_what_it_depends_on() -> None:
    kind = "s5-two-directions"
    read = Sequences(file=inputs()).read(small(kind), 0)
    keys = [state.key_of(small(kind), whole(kind), read, Length(steps=steps)) for steps in (1, 2)]
    assert keys[0] != keys[1]
    assert state.key_of(small(kind), small(kind), read, Length(steps=1)) != keys[0]
