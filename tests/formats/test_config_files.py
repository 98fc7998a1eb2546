"""Configuration files beside a run: where they are looked for, and what is made of whatever lies there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from last_cli.base.errors import CheckpointError
from last_cli.formats.config_files import LARGEST, configurations, read_config


def test_own_folders_then_three_above_and_hydra_in_each(tmp_path: Path) -> None:
    step = tmp_path / "d" / "c" / "b" / "a" / "run" / "3"
    (step.parent / ".hydra").mkdir(parents=True)
    step.mkdir()
    (step / "anything.json").write_text('{"x": 1}')
    (step / "last.json").write_text('{"x": 2}')
    (step.parent / ".hydra" / "config.yaml").write_text("x: 3")
    (step.parent / ".hydra" / "overrides.yaml").write_text("[]")
    for number, folder in enumerate("abcd"):
        place = next(p for p in step.parents if p.name == folder)
        (place / "train_config.yml").write_text(f"x: {number + 4}")
        (place / "results.json").write_text('{"x": 9}')
    found, warnings = configurations([step, step.parent])
    assert warnings == []
    assert {name: content["x"] for name, content in found.items()} == {
        "anything.json": 1,
        "../.hydra/config.yaml": 3,
        "../../train_config.yml": 4,
        "../../../train_config.yml": 5,
        "../../../../train_config.yml": 6,
    }


def test_arguments_are_read_as_their_parser_does(tmp_path: Path) -> None:
    words = ["train.py", "--a-b", "1", "--c=half_glu2", "--d", "--e", "True", "--f", "1e-3", "--g=-2", "--", 7, None]
    (tmp_path / "wandb-metadata.json").write_text(json.dumps({"args": words, "mode": "pool"}))
    found = {"a_b": 1, "c": "half_glu2", "d": True, "e": True, "f": 0.001, "g": -2}
    assert read_config(tmp_path / "wandb-metadata.json") == found
    for args in (None, "--x 1", {"x": 1}, []):
        (tmp_path / "wandb-metadata.json").write_text(json.dumps({"args": args}))
        assert read_config(tmp_path / "wandb-metadata.json") == {}


def test_the_latest_run_of_wandb_is_not_followed_out_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "files").mkdir(parents=True)
    (tmp_path / "elsewhere" / "files" / "config.yaml").write_text("x: 1")
    (tmp_path / "run" / "wandb").mkdir(parents=True)
    (tmp_path / "run" / "wandb" / "latest-run").symlink_to(tmp_path / "elsewhere")
    assert configurations([tmp_path / "run"]) == ({}, [])


@pytest.mark.parametrize("name", ["config.json", "args.yaml", "hparams.yml", "wandb-config.yaml", "model_args.json"])
def test_what_is_called_like_a_configuration_is_read_above(tmp_path: Path, name: str) -> None:
    (tmp_path / "ckpt").mkdir()
    (tmp_path / name).write_text('{"x": 1}')
    assert [*configurations([tmp_path / "ckpt"])[0]] == [f"../{name}"]


def test_a_report_of_the_program_is_no_configuration(tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text('{"schema": "last.score/1", "assumed": {"discretization": "zoh"}}')
    assert configurations([tmp_path]) == ({}, [])


def test_a_link_leads_to_where_the_run_is(tmp_path: Path) -> None:
    (tmp_path / "run" / "ckpt").mkdir(parents=True)
    (tmp_path / "run" / "config.yaml").write_text("x: 1")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "latest").symlink_to(tmp_path / "run" / "ckpt")
    assert [*configurations([tmp_path / "elsewhere" / "latest"])[0]] == ["../config.yaml"]


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("!!python/object:argparse.Namespace\nx: 1\n", {"x": 1}),
        ("x: !!python/object/apply:os.system [touch made]\n", {"x": ["touch made"]}),
        ("x: !!python/tuple [1, 2]\n", {"x": [1, 2]}),
        ("wandb_version: 1\nx: {desc: null, value: half_glu2}\n", {"wandb_version": 1, "x": "half_glu2"}),
        ("- 1\n- 2\n", {}),
        ("", {}),
        ("1: 2\n", {"1": 2}),
    ],
)
def test_yaml_of_other_programs_is_plain_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, content: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(text)
    assert read_config(tmp_path / "config.yaml") == content
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize("text", ["x: [1", "\tx: 1", "x: 1\nx: {[]: 2}", "a: &a [*b]", "[" * 5000, "\x00"])
def test_what_is_no_yaml_is_passed_over_with_a_warning(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(CheckpointError, match="not valid YAML"):
        read_config(tmp_path / "config.yaml")
    found, (warning,) = configurations([tmp_path])
    assert found == {} and warning.endswith("passed over") and "config.yaml" in warning


def test_what_is_no_small_file_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text("[" + "1," * LARGEST + "1]")
    os.mkfifo(tmp_path / "config.yaml")
    (tmp_path / "args.yaml").mkdir()
    assert configurations([tmp_path]) == ({}, [])
