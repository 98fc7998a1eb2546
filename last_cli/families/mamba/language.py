"""The network that Mamba-1 mixers stand in: none of ours, which is said where one would run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn

from last_cli.families.find import Layer
from last_cli.families.lti.config import ModelConfig
from last_cli.families.mamba.dialect import settings
from last_cli.families.mamba2.network import language
from last_cli.families.mamba2.network.spec import not_run
from last_cli.formats import Key, Leaf


def spec(
    leaves: Mapping[Key, Leaf], layers: Sequence[Layer], config: ModelConfig, files: Mapping[str, Any]
) -> NoReturn:
    """Names the model types that run."""
    name = settings(files).name
    raise not_run("mamba_ssm with Mamba-1 mixers" if name == "mamba_ssm" else name)


LANGUAGE = replace(language.LANGUAGE, spec=spec)
