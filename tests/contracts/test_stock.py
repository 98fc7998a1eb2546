"""What `last prune` and `last export` write of language models loads in stock classes, which compute what ours does.

Runs where the extra `oracle` is installed (torch, transformers); skipped elsewhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from language_models import model, opened

import last_cli as last
from last_cli.families.mamba2.network.forward import logits

torch: Any = pytest.importorskip("torch")
transformers: Any = pytest.importorskip("transformers")

CASES = ["hf_base", "hf_groups", "hf_bf16_sharded", "bamba", "granite_dense", "falcon_h1_norm"]
TOLERANCE = 1e-5
WAYS: dict[str, dict[str, Any]] = {
    "uniform": {"ratio": 0.5},
    "filled up": {"ratio": 0.4, "scope": "global", "multiple_of": 1, "stock": True},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CASES)
def test_the_stock_class_computes_the_same(tmp_path: Path, name: str, way: str) -> None:
    whole = model(name)
    out = last.save(last.prune(whole.directory / "checkpoint", **WAYS[way]), tmp_path / "small")
    tokens = whole.recorded["tokens"]
    theirs = stock_logits(out, tokens)
    spec, tensors = opened(out)
    ours = np.asarray(jax.jit(lambda tensors, tokens: logits(spec, tensors, tokens))(tensors, jnp.asarray(tokens)))
    assert np.abs(ours - theirs).max() <= TOLERANCE * np.abs(theirs).max()


@pytest.mark.parametrize("name", ["ssm_defaults", "ssm_bf16", "ssm_groups_eq_heads"])
def test_what_was_exported_from_mamba_ssm_computes_what_mamba_ssm_does(tmp_path: Path, name: str) -> None:
    whole = model(name)
    last.export_weights(whole.directory / "checkpoint", tmp_path / "hf", to="hf")
    theirs = stock_logits(tmp_path / "hf", whole.recorded["tokens"])
    assert np.abs(whole.recorded["logits"] - theirs).max() <= TOLERANCE * whole.recorded["scale"]


def stock_logits(directory: Path, tokens: np.ndarray) -> np.ndarray:
    """Of the stock class, which takes every tensor and lacks none."""
    stock, said = transformers.AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, output_loading_info=True
    )
    assert not any(said.values()), said
    with torch.no_grad():
        return stock(torch.tensor(tokens)).logits.numpy()
