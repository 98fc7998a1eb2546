"""What `last prune` writes of a language model loads in the stock class of transformers, which computes what ours does.

Runs where the extra `oracle` is installed (torch, transformers); skipped elsewhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from language_models import model

import last_cli as last
from last_cli import formats
from last_cli.families.mamba2.network.forward import logits
from last_cli.families.mamba2.network.spec import language_spec

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
    stock, said = transformers.AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32, output_loading_info=True)
    assert not any(said.values()), said
    tokens = whole.recorded["tokens"]
    with torch.no_grad():
        theirs = stock(torch.tensor(tokens)).logits.numpy()
    index = formats.index(out)
    tensors = {".".join(key): jnp.asarray(array, jnp.float32) for key, array in formats.read(index).items()}
    spec = language_spec({name: array.shape for name, array in tensors.items()}, index.config)
    ours = np.asarray(jax.jit(lambda tensors, tokens: logits(spec, tensors, tokens))(tensors, jnp.asarray(tokens)))
    assert np.abs(ours - theirs).max() <= TOLERANCE * np.abs(theirs).max()
