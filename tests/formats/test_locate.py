"""From the path that a user names to the tree: runs, steps, items, files, and what is said where there is none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from last_cli.base.errors import CheckpointError
from last_cli.formats import locate


def test_takes_the_newest_step_and_says_so(fixtures: Path) -> None:
    location = locate(fixtures / "cur_manager_composite_qs5" / "ckpt")
    assert (location.step, location.item, location.items) == (3, "state", ("state",))
    assert location.root == fixtures / "cur_manager_composite_qs5" / "ckpt"
    assert location.directory == location.root / "3" / "state"
    assert location.notes == ("using step 3 (latest of 1, 2, 3)",)


def test_takes_the_step_that_is_asked_for(fixtures: Path) -> None:
    location = locate(fixtures / "cur_manager_best_metrics_prefix" / "ckpt", step=6)
    assert location.directory.parent.name == "epoch_000006"
    with pytest.raises(CheckpointError, match="no committed step 4; the steps are 5, 6, 7"):
        locate(fixtures / "cur_manager_best_metrics_prefix" / "ckpt", step=4)
    with pytest.raises(CheckpointError, match="is one checkpoint, not a run of steps"):
        locate(fixtures / "cur_standard_params" / "ckpt", step=4)


def test_of_many_steps_the_first_and_the_last_are_named(fixtures: Path, tmp_path: Path) -> None:
    source = fixtures / "cur_manager_composite_qs5" / "ckpt" / "3"
    for step in range(100, 120):
        shutil.copytree(source, tmp_path / str(step))
    assert locate(tmp_path).notes[0] == "using step 119 (latest of 20 from 100 to 119)"
    with pytest.raises(CheckpointError, match="no committed step 4; the steps are 20 from 100 to 119"):
        locate(tmp_path, step=4)


def test_states_best_beside_newest(fixtures: Path) -> None:
    notes = locate(fixtures / "cur_manager_best_metrics_prefix" / "ckpt").notes
    assert "val_acc: 0.8 at step 7, highest 0.9 at step 6, lowest 0.7 at step 5" in notes


def test_says_that_an_uncommitted_step_is_passed_over(fixtures: Path) -> None:
    location = locate(fixtures / "cur_manager_gap_hidden_tmp" / "ckpt")
    assert location.notes == ("using step 8; step 9 is uncommitted and was skipped",)


@pytest.mark.parametrize(
    ("path", "step", "item", "root"),
    [
        ("cur_manager_composite_qs5/ckpt/3", 3, "state", "3"),
        ("cur_manager_composite_qs5/ckpt/3/state", 3, "state", "state"),
        ("cur_manager_best_metrics_prefix/ckpt/epoch_000007", 7, "default", "epoch_000007"),
        ("cur_flax_orbax_trainstate/ckpt/checkpoint_2", 2, None, "checkpoint_2"),
        ("cur_flax_legacy_msgpack/ckpt/checkpoint_2", 2, None, "checkpoint_2"),
        ("cur_flax_legacy_msgpack/ckpt", 2, None, "ckpt"),
        ("cur_msgpack_to_bytes_aire/ckpt", None, None, "ckpt"),
        ("cur_v1_save_pytree/ckpt", None, "state", "ckpt"),
        ("o01125_v1_training_checkpointer/ckpt", 20, "pytree", "ckpt"),
    ],
)
def test_knows_step_item_and_root(fixtures: Path, path: str, step: int | None, item: str | None, root: str) -> None:
    location = locate(fixtures / path)
    assert (location.step, location.item, location.root.name) == (step, item, root)


FORMS = [
    "step-{}",
    "step_{}",
    "ckpt-{}",
    "checkpoint-{}",
    "s5-lr-0.01-step-{}",
    "epoch{}",
    "{}.ckpt",
    "epoch=3-step={}",
]


@pytest.mark.parametrize("form", FORMS)
def test_knows_the_ways_to_name_a_step(fixtures: Path, tmp_path: Path, form: str) -> None:
    for step in (99, 100):
        (tmp_path / form.format(step)).symlink_to(fixtures / "cur_standard_params" / "ckpt")
    location = locate(tmp_path)
    assert (location.step, location.directory.name) == (100, form.format(100))
    assert location.notes == ("using step 100 (latest of 99, 100)",)
    assert locate(tmp_path, step=99).directory.name == form.format(99)
    if "lr" not in form and not form.startswith("{"):
        assert locate(tmp_path / form.format(99)).step == 99


def test_a_step_may_name_its_epoch_too(fixtures: Path, tmp_path: Path) -> None:
    for epoch in (1, 2):
        (tmp_path / f"epoch={epoch}-step={50 * epoch}").symlink_to(fixtures / "cur_standard_params" / "ckpt")
    assert locate(tmp_path).step == 100


def test_a_day_is_no_step(fixtures: Path, tmp_path: Path) -> None:
    for day in (27, 28):
        (tmp_path / f"2026-11-{day}").symlink_to(fixtures / "cur_standard_params" / "ckpt")
    with pytest.raises(CheckpointError, match="several items hold a tree"):
        locate(tmp_path)


@pytest.mark.parametrize(
    ("url", "command"),
    [
        ("gs://bucket/runs/s5", "gcloud storage cp -r gs://bucket/runs/s5 s5"),
        ("s3://bucket/s5/", "aws s3 sync s3://bucket/s5"),
        ("hf://me/s5", "hf download me/s5"),
        ("https://example.org/s5.msgpack", "curl -LO https://example.org/s5.msgpack"),
    ],
)
def test_remote_paths_are_named_as_typed_with_the_command_that_copies(url: str, command: str) -> None:
    for path in (url, Path(url)):
        with pytest.raises(CheckpointError, match=f"^{url.rstrip('/')}/?: remote paths are not read") as caught:
            locate(path)
        assert command in caught.value.hint


def test_a_number_in_the_name_of_a_tree_is_no_step(fixtures: Path, tmp_path: Path) -> None:
    (tmp_path / "run_5").symlink_to(fixtures / "cur_standard_params" / "ckpt")
    assert locate(tmp_path / "run_5").step is None


def test_takes_the_item_that_is_asked_for(fixtures: Path) -> None:
    path = fixtures / "cur_v1_save_checkpointables" / "ckpt"
    assert locate(path).notes == ("took item model of cfg, model",)
    assert locate(path, item="cfg").item == "cfg"
    with pytest.raises(CheckpointError, match="no item 'nope' that holds a tree; the items are cfg, model"):
        locate(path, item="nope")


def test_does_not_guess_between_items(fixtures: Path, tmp_path: Path) -> None:
    for name in ("teacher", "student"):
        shutil.copytree(fixtures / "cur_standard_params" / "ckpt", tmp_path / name)
    with pytest.raises(CheckpointError, match="several items hold a tree: student, teacher"):
        locate(tmp_path)


def test_does_not_guess_between_series(fixtures: Path, tmp_path: Path) -> None:
    for name in ("best_3", "checkpoint_7"):
        shutil.copytree(fixtures / "cur_standard_params" / "ckpt", tmp_path / name)
    with pytest.raises(CheckpointError, match=r"holds several series of checkpoints: best_\*, checkpoint_\*"):
        locate(tmp_path)


def test_points_to_a_checkpoint_below(fixtures: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        locate(fixtures / "cur_flax_orbax_s4d" / "ckpt")
    assert "mnist" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("model.pt", b"PK\x03\x04....", "a zip file"),
        ("model.pkl", b"\x80\x04\x95)...", "a pickle file; refused"),
        ("model.safetensors", b"\x10\0\0\0\0\0\0\0{}", "a safetensors file"),
        ("empty", b"", "empty file"),
        ("notes.txt", b"hello", "not an Orbax or Flax checkpoint"),
    ],
)
def test_says_what_a_file_is(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=words):
        locate(tmp_path / name)


def test_several_msgpack_files(fixtures: Path, tmp_path: Path) -> None:
    for name in ("a.msgpack", "b.msgpack"):
        shutil.copy(fixtures / "cur_msgpack_to_bytes_aire" / "ckpt" / "best_state.msgpack", tmp_path / name)
    with pytest.raises(CheckpointError, match=r"several msgpack files: a.msgpack, b.msgpack"):
        locate(tmp_path)


def test_a_loose_file_has_no_steps(fixtures: Path) -> None:
    with pytest.raises(CheckpointError, match="is one checkpoint, not a run of steps"):
        locate(fixtures / "cur_msgpack_to_bytes_aire" / "ckpt", step=4)
