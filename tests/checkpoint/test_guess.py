"""What is guessed of a network: only what changes its answers, what it rests on, and which published run it may be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run
from random_layers import KINDS, classifier, write
from random_networks import shared, two_towers

import last_cli as last
from last_cli.checkpoint.guess import guesses, offered, refuse_guesses, told


def names(checkpoint: last.Checkpoint, **given: Any) -> set[str]:
    return {guess.name for guess in guesses(checkpoint, **given)}


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    return write(tmp_path / "ckpt", classifier())


def test_every_value_that_changes_the_answers_is_named_with_its_basis(bare: Path) -> None:
    ck = last.load(bare)
    assert names(ck) == {"discretization", "conj_sym", "activation", "prenorm", "mode"}
    assert names(ck, padded=True) == names(ck) | {"padded"}
    assert "padded = true" in {guess.said for guess in guesses(ck, padded=True)}
    lines = told(ck, guesses(ck))
    assert "activation = half_glu1 is a guess: the tree allows half_glu1 or half_glu2" in lines
    assert all(any(line.startswith(f"{name} = ") for line in lines) for name in names(ck))


def test_what_is_said_shown_or_without_effect_is_no_guess(tmp_path: Path, bare: Path) -> None:
    given = {"activation": "half_glu2", "conj_sym": True, "discretization": "zoh", "prenorm": True, "mode": "last"}
    for name in given:
        assert name not in names(last.load(bare, **{name: given[name]}))  # pyright: ignore[reportArgumentType]
    assert names(last.load(bare, **given), padded=True) == set()  # pyright: ignore[reportArgumentType]
    assert names(last.load(bare, preset="s5-lra-listops"), padded=True) == set()
    assert "activation" not in names(last.load(write(tmp_path / "gelu", classifier(gates=()))))
    pairs = last.load(write(tmp_path / "pairs", two_towers()))
    assert not {"mode", "padded"} & names(pairs, padded=True)
    assert names(last.load(write(tmp_path / "lru", classifier("lru")))) == {"activation", "prenorm", "mode"}


def test_clipping_is_a_guess_only_where_it_would_move_a_pole(tmp_path: Path) -> None:
    assert "clip_eigs" in names(last.load(write(tmp_path / "ckpt", classifier("s5-clipped"))))
    assert KINDS["s5-clipped"].config.clip_eigs


def test_what_an_earlier_pruning_assumed_stays_a_guess(bare: Path, tmp_path: Path) -> None:
    last.save(last.prune(bare, 0.3), tmp_path / "small")
    found = {guess.name: guess.basis for guess in guesses(last.load(tmp_path / "small"))}
    assert found == dict.fromkeys(names(last.load(bare)), "an earlier pruning assumed it")


def test_published_sizes_are_recognised_and_the_tree_must_allow_them(run: Run, tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"blocks": 8, "features": 128, "states": 8}
    ck = last.load(write(tmp_path / "listops", classifier(**sizes)))
    assert offered(ck) == "8 layers x 128 x 8 states: ⟦preset s5-lra-listops⟧"
    assert "s5-lra-listops" in told(ck, guesses(ck))[-1]
    assert "hint: these sizes are published ones: 8 layers x 128 x 8 states: --preset s5-lra-listops" in run(
        "score", tmp_path / "listops"
    )[2].replace("\n", " ")
    small = last.prune(ck, 0.5)
    assert offered(small) == offered(ck)
    gelu = last.load(write(tmp_path / "gelu", classifier(**sizes, gates=())))
    assert offered(gelu) == "" == offered(shared())


def test_nothing_is_judged_by_a_guess(bare: Path) -> None:
    ck = last.load(bare)
    refuse_guesses(ck, [], ["max_drop"])
    with pytest.raises(last.UsageError, match="max_drop would judge by a guess: discretization = zoh, conj") as caught:
        refuse_guesses(ck, guesses(ck), ["max_drop"])
    assert {"activation", "assume"} <= set(caught.value.options) and "last config" in caught.value.hint


def test_gates_and_budgets_refuse_before_anything_runs(bare: Path, tmp_path: Path) -> None:
    """So that no file of the task is even looked for."""
    for judged in (
        lambda: last.evaluate(bare, str(tmp_path / "none.npz"), min_accuracy=0.5),
        lambda: last.evaluate(bare, str(tmp_path / "none.npz"), baseline=bare, max_drop=0.5),
        lambda: last.prune(bare, max_drop=0.5, task="digits"),
        lambda: last.prune(bare, max_error=0.5, calibration_file=str(tmp_path / "none.npz")),
    ):
        with pytest.raises(last.UsageError, match="would judge by a guess"):
            judged()
    with pytest.raises(last.DataError, match="there is no file"):
        last.evaluate(bare, str(tmp_path / "none.npz"), min_accuracy=0.5, assume=True)
    np.savez(tmp_path / "x.npz", x=np.zeros((4, 8, 7), np.float32), lengths=np.full(4, 5))
    said = last.load(bare, preset="s5-lra-image", padded=None)
    padded = last.Checkpoint(**{**vars(said), "origins": {**said.origins, "padded": "assumed"}})
    with pytest.raises(last.UsageError, match="would judge by a guess: padded = true"):
        last.prune(padded, max_error=0.5, calibration_file=tmp_path / "x.npz")
