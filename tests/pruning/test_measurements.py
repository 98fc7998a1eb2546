"""What calibration sequences do in the network, against simulation, and what an interrupted measurement leaves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_layers import LAYOUTS, simulate
from random_networks import features, shared

import last_cli as last
from last_cli.evaluation.inputs import Inputs
from last_cli.pruning.calibration import measurements as network
from last_cli.pruning.calibration import resume, watch
from last_cli.pruning.moments import energy, readout_matrix


@pytest.mark.parametrize("kind", LAYOUTS)
def test_measured_moments_are_those_of_the_states(kind: str) -> None:
    """The energy of a layer's simulated output, for the inputs that the network gives it, is w S w^T."""
    ck = shared(kind, blocks=1, norm="layer")
    x = features(5, 9)
    kernel, bias = (ck.tree["params"]["encoder"]["encoder"][n] for n in ("kernel", "bias"))
    norm = ck.tree["params"]["encoder"]["layers_0"]["norm"]
    u = x.x @ kernel + bias
    u = (u - u.mean(axis=-1, keepdims=True)) / np.sqrt(u.var(axis=-1, keepdims=True) + 1e-6)
    u = u * norm["scale"] + norm["bias"]
    system = ck.system(ck.layers[0])
    quiet = replace(system, D=0 * system.D)
    wanted = np.mean([simulate(quiet, one) ** 2 for one in u], axis=(0, 1))
    measured = network.measurements(ck, x)[ck.layers[0].name]
    np.testing.assert_allclose(energy(readout_matrix(system), measured.moments).ravel(), wanted, rtol=1e-4)
    assert (measured.sensitivity >= 0).all() and np.isfinite(measured.weighted).all()


class Killed(Exception):
    pass


def test_a_killed_measurement_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ck, x = shared(), features(4 * watch.chunk(), 12)
    whole = network.measurements(ck, x)
    monkeypatch.setenv("LAST_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(resume, "SECONDS", 0.0)
    half = 2 * watch.chunk()

    def kill(what: str, done: int, total: int) -> None:
        if done > half:
            raise Killed

    with pytest.raises(Killed):
        network.measurements(ck, x, progress=kill)
    seen: list[int] = []
    again = network.measurements(ck, x, progress=lambda what, done, total: seen.append(done))
    assert seen[0] > half
    for name, one in again.items():
        assert one.reused >= half
        np.testing.assert_allclose(one.moments, whole[name].moments, rtol=1e-12)
        np.testing.assert_allclose(one.sensitivity, whole[name].sensitivity, rtol=1e-12)
    assert all(one.reused == len(x.x) for one in network.measurements(ck, x).values())


def test_other_inputs_seeds_and_weights_are_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAST_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(resume, "SECONDS", 0.0)
    ck, x = shared(blocks=1), features(4, 12)
    network.measurements(ck, x)
    assert network.measurements(ck, x).popitem()[1].reused == 4
    others: list[tuple[last.Checkpoint, Inputs, int]] = [
        (ck, features(4, 12, seed=1), 0),
        (ck, x, 1),
        (shared(seed=1, blocks=1), x, 0),
    ]
    assert [network.measurements(*other).popitem()[1].reused for other in others] == [0, 0, 0]
