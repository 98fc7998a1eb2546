"""What the tree does not say: who decides, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from last_cli.base.errors import UsageError
from last_cli.families.lti.config import CHOICES, NAMES, SWITCHES, ModelConfig, known, resolve
from last_cli.families.lti.presets import PRESETS, preset


def test_flags_win_over_presets_over_the_checkpoint_over_the_tree_over_assumptions() -> None:
    said = {"activation": "gelu", "clip_eigs": True, "mode": "last"}
    config, sources = resolve(
        said,
        {"activation": "full_glu", "padded": None},
        "s5-lra-listops",
        inferred={"activation": "half_glu1", "mode": "pool", "dropout": 0.25, "step_rescale": 2.0},
        assumed={"step_rescale": 3.0},
    )
    assert (config.activation, sources["activation"]) == ("full_glu", "flag")
    assert (config.padded, sources["padded"]) == (True, "preset")
    assert (config.clip_eigs, sources["clip_eigs"]) == (False, "preset")
    assert (config.mode, sources["mode"]) == ("pool", "preset")
    assert (config.step_rescale, sources["step_rescale"]) == (2.0, "tree")


@pytest.mark.parametrize(
    ("given", "decided"),
    [
        (("flag", "preset", "checkpoint", "tree"), "flag"),
        (("preset", "checkpoint", "tree"), "preset"),
        (("checkpoint", "tree"), "checkpoint"),
        (("tree",), "tree"),
        ((), "assumed"),
    ],
)
def test_the_highest_source_that_speaks_decides(given: tuple[str, ...], decided: str) -> None:
    said = {"flag": "gelu", "preset": "half_glu2", "checkpoint": "full_glu", "tree": "half_glu1"}
    config, sources = resolve(
        {"activation": said["checkpoint"]} if "checkpoint" in given else {},
        {"activation": said["flag"] if "flag" in given else None},
        "s5-lra-text" if "preset" in given else None,
        {"activation": said["tree"]} if "tree" in given else None,
    )
    assert sources["activation"] == decided
    assert config.activation == said.get(decided, ModelConfig().activation)


def test_without_any_word_everything_is_assumed_as_s5_has_it() -> None:
    config, sources = resolve({}, {})
    assert config == ModelConfig()
    assert (config.discretization, config.conj_sym, config.clip_eigs, config.step_rescale) == ("zoh", True, False, 1.0)
    assert sources == dict.fromkeys(NAMES, "assumed")


def test_what_an_earlier_pruning_assumed_stays_assumed() -> None:
    config, sources = resolve({}, {}, assumed={"discretization": "bilinear"})
    assert (config.discretization, sources["discretization"]) == ("bilinear", "assumed")
    config, sources = resolve({"discretization": "zoh"}, {}, assumed={"discretization": "bilinear"})
    assert (config.discretization, sources["discretization"]) == ("zoh", "checkpoint")


def test_a_flag_may_say_false_and_zero() -> None:
    config, sources = resolve({"conj_sym": True, "dropout": 0.1}, {"conj_sym": False, "dropout": 0.0})
    assert (config.conj_sym, config.dropout) == (False, 0)
    assert (sources["conj_sym"], sources["dropout"]) == ("flag", "flag")


@pytest.mark.parametrize(
    ("foreign", "meant"),
    [
        ({"activation_fn": "half_glu2"}, {"activation": "half_glu2"}),
        ({"discretisation": "bilinear"}, {"discretization": "bilinear"}),
        ({"pooling": "last"}, {"mode": "last"}),
        ({"conjugate_symmetry": False}, {"conj_sym": False}),
    ],
)
def test_other_peoples_names_are_understood(foreign: dict, meant: dict) -> None:
    assert known(foreign) == meant
    name, value = next(iter(meant.items()))
    config, sources = resolve(foreign, {})
    assert (getattr(config, name), sources[name]) == (value, "checkpoint")


@pytest.mark.parametrize(
    "foreign",
    [
        {"mode": "train"},
        {"activation": "relu"},
        {"activation": None},
        {"activation": ["gelu"]},
        {"conj_sym": "yes"},
        {"conj_sym": 1},
        {"padded": 0.5},
        {"step_rescale": 0},
        {"step_rescale": "fast"},
        {"step_rescale": True},
        {"step_rescale": float("nan")},
        {"dropout": -0.1},
        {"bn_momentum": float("inf")},
        {"learning_rate": 0.001, "seed": 3},
        {"dropout": {"rate": 0.1}},
    ],
)
def test_words_of_a_foreign_configuration_that_mean_something_else_are_passed_over(foreign: dict) -> None:
    assert known(foreign) == {}
    assert resolve(foreign, {}) == resolve({}, {})


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"discretization": "euler"}, "discretization is 'euler', expected one of zoh, bilinear"),
        ({"mode": "sum"}, "mode is 'sum', expected one of pool, last"),
        ({"activation": "relu"}, "expected one of full_glu, half_glu1, half_glu2, gelu"),
        ({"step_rescale": -1.0}, "step_rescale is -1.0, expected a positive number"),
        ({"step_rescale": 0.0}, "step_rescale is 0.0, expected a positive number"),
        ({"step_rescale": np.inf}, "step_rescale is inf"),
        ({"dropout": -1.0}, "dropout is -1.0"),
    ],
)
def test_a_flag_with_a_value_that_makes_no_sense_is_refused(flags: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve({}, flags)


def test_every_choice_and_switch_is_an_entry_of_the_configuration() -> None:
    assert {*CHOICES, *SWITCHES} < set(NAMES)
    for name, values in CHOICES.items():
        for value in values:
            assert getattr(ModelConfig(**{name: value}), name) == value


PUBLISHED = {
    "s5-lra-listops": ("half_glu2", True, False, (8, 128, 16, 8), 0.0),
    "s5-lra-text": ("half_glu2", True, False, (6, 256, 192, 12), 0.1),
    "s5-lra-retrieval": ("half_glu1", True, False, (6, 128, 256, 16), 0.0),
    "s5-lra-image": ("half_glu1", False, True, (6, 512, 384, 3), 0.1),
    "s5-lra-pathfinder": ("half_glu1", False, False, (6, 192, 256, 8), 0.05),
    "s5-lra-pathx": ("half_glu1", False, False, (6, 128, 256, 16), 0.0),
}


def test_the_six_presets_are_those_of_long_range_arena() -> None:
    assert set(PRESETS) == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_preset_has_the_published_values(name: str) -> None:
    activation, padded, clip_eigs, size, dropout = PUBLISHED[name]
    config, sources = resolve({}, {}, name)
    assert (config.activation, config.padded, config.clip_eigs) == (activation, padded, clip_eigs)
    assert (config.dropout, tuple(preset(name).size.values())) == (dropout, size)
    assert (config.discretization, config.conj_sym, config.prenorm, config.mode) == ("zoh", True, True, "pool")
    assert config.bn_momentum == (0.9 if "path" in name else 0.95)
    assert preset(name).task == name.removeprefix("s5-lra-")
    assert sources["activation"] == sources["conj_sym"] == "preset" and sources["step_rescale"] == "assumed"


def test_a_misspelt_preset_gets_a_suggestion() -> None:
    with pytest.raises(UsageError, match="unknown preset 's5-lra-listop'") as caught:
        resolve({}, {}, "s5-lra-listop")
    assert "did you mean 's5-lra-listops'?" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        resolve({}, {}, "zzz")
    assert "did you mean" not in caught.value.hint and "s5-lra-pathx" in caught.value.hint
