"""What stamps and configuration files say of a model: whose word counts, what is named, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from random_layers import classifier, write

import last_cli as last
from last_cli.checkpoint.network import model_spec

ARGPARSE = {
    "dataset": "listops-classification",
    "n_layers": 2,
    "d_model": 4,
    "ssm_size_base": 12,
    "blocks": 1,
    "activation_fn": "half_glu2",
    "discretization": "bilinear",
    "conj_sym": True,
    "clip_eigs": True,
    "prenorm": False,
    "mode": "last",
    "batchnorm": True,
    "bn_momentum": 0.9,
    "p_dropout": 0.1,
    "bidirectional": True,
    "lr_factor": 3,
}
MEANT = {
    "discretization": "bilinear",
    "conj_sym": True,
    "clip_eigs": True,
    "activation": "half_glu2",
    "prenorm": False,
    "mode": "last",
    "padded": True,
    "dropout": 0.1,
    "bn_momentum": 0.9,
}


@pytest.fixture
def ckpt(tmp_path: Path) -> Path:
    (tmp_path / "project" / "run").mkdir(parents=True)
    return write(tmp_path / "project" / "run" / "ckpt", classifier())


def hydra(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    model = {name: value for name, value in ARGPARSE.items() if name not in ("dataset", "lr_factor", "discretization")}
    lines = ["dataset: listops-classification", "trainer:", "  mode: max", "model:"]
    lines += [f"  {name}: {str(value).lower()}" for name, value in model.items()]
    path.write_text("\n".join([*lines, "  ssm:", "    discretization: bilinear"]))


def wandb(path: Path) -> None:
    path.write_text("wandb_version: 1\n" + "".join(f"{n}:\n  desc: null\n  value: {v}\n" for n, v in ARGPARSE.items()))


def latest(path: Path) -> Path:
    """The folder of the run that wandb's link to the latest one leads to."""
    run = path.parents[1].with_name("run-20240101_000000-abc")
    (run / "files").mkdir(parents=True)
    path.parents[1].symlink_to(run.name)
    return path


def wandb_metadata(path: Path) -> None:
    words = [f"--{name}={value}" for name, value in ARGPARSE.items() if name != "batchnorm"]
    latest(path).write_text(json.dumps({"os": "Linux", "args": [*words, "--batchnorm", "--mode", ARGPARSE["mode"]]}))


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("args.json", lambda path: path.write_text(json.dumps(ARGPARSE))),
        ("../args.json", lambda path: path.write_text(json.dumps({"args": ARGPARSE}))),
        ("../.hydra/config.yaml", hydra),
        ("../config.yaml", wandb),
        ("../../../config.yaml", wandb),
        ("../../wandb/latest-run/files/config.yaml", lambda path: wandb(latest(path))),
        ("../../wandb/latest-run/files/wandb-metadata.json", wandb_metadata),
    ],
)
def test_configurations_of_argparse_hydra_and_wandb(ckpt: Path, name: str, make: Any) -> None:
    make(ckpt / name)
    found = last.load(ckpt)
    assert {option: getattr(found.config, option) for option in MEANT} == MEANT
    assert {option: found.origins[option] for option in MEANT} == dict.fromkeys(MEANT, name)
    assert found.task == {"name": "listops"} and found.index.warnings == ()
    assert last.inspect(ckpt).sources["mode"] == name


def test_a_configuration_of_another_network_is_not_used_and_that_is_said(ckpt: Path) -> None:
    for name, other in (("n_layers", 8), ("d_model", 128), ("ssm_size_base", 16), ("bidirectional", False)):
        (ckpt.parent / "config.json").write_text(json.dumps(ARGPARSE | {name: other}))
        found = last.load(ckpt)
        assert {*found.origins.values()} <= {"assumed", "tree"}
        (warning,) = found.index.warnings
        assert "../config.json is of another network and not used" in warning and name in warning
        assert warning in last.score(found).warnings


def test_the_sizes_of_a_pruned_checkpoint_are_those_before(ckpt: Path, tmp_path: Path) -> None:
    (ckpt.parent / "config.json").write_text(json.dumps(ARGPARSE | {"mode": "pool"}))
    last.save(last.prune(last.load(ckpt), 0.5), ckpt.parent / "small")
    small = last.load(ckpt.parent / "small")
    assert small.config == last.load(ckpt).config and small.index.warnings == ()


def test_the_nearest_file_decides_and_disagreement_in_one_place_is_named(ckpt: Path) -> None:
    (ckpt.parent / "config.yaml").write_text("mode: last\nprenorm: false\n")
    (ckpt.parent / "args.json").write_text('{"mode": "pool"}')
    (ckpt.parents[1] / "config.yaml").write_text("activation: half_glu2\n")
    found = last.load(ckpt)
    assert (found.config.mode, found.origins["mode"]) == ("pool", "../args.json")
    assert (found.config.prenorm, found.origins["activation"]) == (False, "assumed")
    (warning,) = found.index.warnings
    assert warning == "mode: ../config.yaml says last, but ../args.json has pool, which is taken"


def test_the_stamp_is_heard_first_and_what_was_guessed_last(tmp_path: Path) -> None:
    stamp = {
        "model": {"mode": "last", "activation": "half_glu1", "prenorm": False},
        "assumed": ["activation", "prenorm"],
    }
    ckpt = write(tmp_path / "ckpt", classifier(), stamp)
    (ckpt / "config.json").write_text('{"mode": "pool", "activation_fn": "half_glu2"}')
    found = last.load(ckpt)
    assert (found.config.mode, found.origins["mode"]) == ("last", "checkpoint")
    assert (found.config.activation, found.origins["activation"]) == ("half_glu2", "config.json")
    assert (found.config.prenorm, found.origins["prenorm"]) == (False, "assumed")


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"discretization": "async"}, "config.json says discretization is 'async', expected one of zoh"),
        ({"model": {"mode": "none"}}, "config.json says mode is 'none', expected one of pool, last"),
        ({"activation_fn": "relu"}, "config.json says activation_fn (activation): activation is 'relu'"),
        ({"conj_sym": "maybe"}, "config.json says conj_sym is 'maybe', expected true or false"),
    ],
)
def test_values_that_are_not_known_are_named(ckpt: Path, said: dict[str, Any], named: str) -> None:
    (ckpt / "config.json").write_text(json.dumps(said))
    (warning,) = last.score(ckpt).warnings
    assert warning.startswith(named) and warning.endswith("it is not used")
    assert warning in last.inspect(ckpt).warnings


def test_of_several_groups_one_has_the_sizes_and_what_differs_is_named(ckpt: Path) -> None:
    groups = {"head": {"n_layers": 1}, "model": {"n_layers": 2, "mode": "last"}, "probe": {"mode": "pool"}}
    (ckpt / "config.json").write_text(json.dumps(groups))
    found = last.load(ckpt)
    assert found.config.mode == "last"
    assert found.index.warnings == ("config.json says mode last and pool; the first is taken",)


def test_other_peoples_files_above_a_run_are_none_of_our_business(ckpt: Path) -> None:
    (ckpt.parent / "settings.json").write_text('{"mode": "dark", "activation": "on click"}')
    (ckpt.parent / "wandb_config.yaml").write_text("wandb:\n  mode: online\nhydra:\n  mode: RUN\n")
    assert last.load(ckpt).index.warnings == ()


@pytest.mark.parametrize(("norm", "said"), [("layer", True), ("batch", False)])
def test_a_norm_of_another_kind_than_the_tree_has_is_refused_where_the_network_runs(
    tmp_path: Path, norm: str, said: bool
) -> None:
    ckpt = write(tmp_path / "ckpt", classifier(norm=norm))
    (ckpt / "config.json").write_text(json.dumps({"batchnorm": said, "mode": "pool"}))
    (warning,) = last.score(ckpt).warnings
    assert f"config.json says batchnorm {str(said).lower()}, but the tree has" in warning
    for run in (model_spec, last.build_model):
        with pytest.raises(last.CheckpointError, match="batchnorm"):
            run(last.load(ckpt))
    (ckpt / "config.json").write_text(json.dumps({"batchnorm": not said, "mode": "pool"}))
    assert model_spec(last.load(ckpt)).blocks[0].norm == norm


def test_the_base_size_tells_pairs(ckpt: Path) -> None:
    for base, pairs in ((6, False), (12, True)):
        (ckpt / "config.json").write_text(json.dumps({"ssm_size_base": base, "mode": "pool"}))
        found = last.load(ckpt)
        assert (found.config.conj_sym, found.origins["conj_sym"]) == (pairs, "config.json")


def test_configurations_that_turn_in_circles_or_go_deep_end(ckpt: Path) -> None:
    (ckpt / "config.yaml").write_text("a: &a {b: *a, mode: last}\n")
    (ckpt / "deep.json").write_text('{"a":' * 40 + '{"mode": "pool"}' + "}" * 40)
    assert last.load(ckpt).config.mode == "last"


def test_another_checkpoint_or_file_lends_its_configuration(ckpt: Path, tmp_path: Path) -> None:
    stamp = {
        "model": {"mode": "last", "clip_eigs": True},
        "assumed": ["clip_eigs"],
        "task": {"name": "digits", "seed": 3},
    }
    other = write(tmp_path / "other", classifier(seed=1, states=3), stamp)
    found = last.load(ckpt, config_from=other, prenorm=False)
    assert (found.config.mode, found.origins["mode"]) == ("last", str(other))
    assert (found.origins["prenorm"], found.origins["clip_eigs"]) == ("flag", "assumed")
    assert found.task == {"name": "digits", "seed": 3}
    (tmp_path / "c.yaml").write_text("activation_fn: half_glu2\n")
    assert last.load(ckpt, config_from=tmp_path / "c.yaml").config.activation == "half_glu2"
    (tmp_path / "c.yaml").write_text("activation_fn: half_glu2\nn_layers: 9\n")
    with pytest.raises(last.UsageError, match=r"c.yaml is of another network and not used: n_layers is 9"):
        last.load(ckpt, config_from=tmp_path / "c.yaml")
    (tmp_path / "c.json").write_text("{")
    with pytest.raises(last.LastError, match=r"c.json: not valid JSON") as caught:
        last.load(ckpt, config_from=tmp_path / "c.json")
    assert caught.value.hint == "mend it, or move it away"
    with pytest.raises(last.UsageError, match="its layers are others"):
        last.load(ckpt, config_from=write(tmp_path / "wide", classifier(features=3)))
