"""What calibration sequences do in the network, against simulation, and what an interrupted measurement leaves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_layers import LAYOUTS, simulate
from random_networks import features, shared

import last_cli as last
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.evaluation.inputs import Inputs
from last_cli.pruning.calibration import measurements as network
from last_cli.pruning.calibration import resume, states, watch
from last_cli.pruning.moments import energy, readout_matrix
from last_cli.pruning.reconstruct.probe import Whitening, probe


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


def test_what_is_held_at_once_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of S4D, channel by channel as all channels together; of states and of slopes."""
    ck, x = shared("s4d"), features(5, 9)
    whole, slopes = network.measurements(ck, x), _slopes(ck, x)
    monkeypatch.setattr(states, "AT_A_TIME", 1)
    for name, one in network.measurements(ck, x).items():
        for found, wanted in zip(_arrays(one), _arrays(whole[name]), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6 * np.abs(wanted).max())
    for found, wanted in zip(_slopes(ck, x), slopes, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def _arrays(one: network.Measurement) -> list[np.ndarray]:
    return [one.moments, one.weighted, one.sensitivity, one.metric]


def _slopes(ck: Checkpoint, x: Inputs) -> list[np.ndarray]:
    """Derivatives of the logits by every readout."""
    seen, systems = probe(ck, x), [ck.system(layer) for layer in ck.layers]
    sides = []
    for system in systems:
        G, K, d = readout_matrix(system).shape
        left, right = np.tile(np.eye(K), (G, 1, 1)), np.tile(np.eye(d), (G, 1, 1))
        sides.append(Whitening(left, right, np.ones(G * K * d, bool)))
    roots = np.tile(np.eye(seen.classes), (len(seen.inputs.x), 1, 1))
    return seen.derivatives([system.C for system in systems], sides, roots)


class Killed(Exception):
    pass


def test_a_killed_measurement_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ck, chunk = shared(), watch.chunk(features(1, 12))
    x = features(4 * chunk, 12)
    whole = network.measurements(ck, x)
    monkeypatch.setenv("LAST_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(resume, "SECONDS", 0.0)
    half = 2 * chunk

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
