"""What `last prune` writes of a Mamba-1 model loads in the stock class of transformers, which computes what it should.

No network of ours runs such models: what was recorded of them counts, or what the masked ones do. Runs where the extra
`oracle` is installed (torch, transformers); skipped elsewhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mamba_models import directories, recorded

import last_cli as last

torch: Any = pytest.importorskip("torch")
transformers: Any = pytest.importorskip("transformers")

TOLERANCE = 1e-5
MAMBA = [("mamba1", p) for p in ("states50", "states_ragged", "channels50")] + [
    ("jamba", p) for p in ("states50", "channels50")
]
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 96, "intermediate_size": 48}
ATTENTION = {"num_attention_heads": 4, "num_key_value_heads": 4, "attention_hidden_size": 64, "attention_head_dim": 16}
HYBRID = {**SMALL, **ATTENTION, "n_mamba_heads": 4, "use_mamba_kernels": False, "layers_block_type": ["hybrid"] * 2}
# Model type, what a random model is made of, and how much of what is pruned in it.
MADE: list[tuple[str, dict[str, Any], str, float]] = [
    ("zamba", HYBRID, "states", 0.5),
    ("zamba", HYBRID, "heads", 0.5),
    ("zamba", HYBRID, "channels", 0.5),
    ("mamba", {**SMALL, "intermediate_size": 64}, "channels", 0.25),
    ("falcon_mamba", {**SMALL, "intermediate_size": 64}, "channels", 0.25),
    ("falcon_mamba", {**SMALL, "intermediate_size": 64}, "states", 0.5),
]


def loaded(directory: Path, tokens: np.ndarray) -> np.ndarray:
    """The stock class's logits; all tensors are there, in the shapes that it wants."""
    stock, said = transformers.AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, output_loading_info=True
    )
    assert not any(said.values()), said
    with torch.no_grad():
        return stock(torch.tensor(tokens)).logits.numpy()


@pytest.mark.parametrize(("case", "pruning"), MAMBA)
def test_the_stock_class_computes_what_was_recorded_of_mamba_1(tmp_path: Path, case: str, pruning: str) -> None:
    found, target = recorded(case, "oracle"), "channels" if pruning == "channels50" else "states"
    keep = {"target": target, "layers": [{"kept": found[f"{pruning}/layer{i}"].tolist()} for i in range(3)]}
    small = last.prune(directories() / case / "checkpoint", keep=keep, stock=pruning == "states_ragged")
    theirs = loaded(last.save(small, tmp_path / "small"), found["tokens"])
    assert np.abs(theirs - found[f"{pruning}/logits"]).max() <= TOLERANCE * found["scale"]


@pytest.mark.parametrize(("kind", "entries", "target", "ratio"), MADE)
def test_compacted_equals_masked_in_the_stock_class(
    tmp_path: Path, kind: str, entries: dict[str, Any], target: str, ratio: float
) -> None:
    torch.manual_seed(0)
    made = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(kind, **entries))
    for parameter in made.parameters():  # As they are made, mixers hardly show in the logits.
        torch.nn.init.normal_(parameter, std=0.3)
    made.save_pretrained(tmp_path / "whole")
    whole = last.load(tmp_path / "whole")
    options: dict[str, Any] = {"ratio": ratio, "target": target, "criterion": "random"}
    tokens = np.random.default_rng(0).integers(0, 96, (1, 12))
    compact = loaded(last.save(last.prune(whole, **options), tmp_path / "small"), tokens)
    if (kind, target) == ("falcon_mamba", "states"):  # Norms of B and C over the states: nothing masked is the same.
        assert np.isfinite(compact).all()
        return
    masked = loaded(last.save(last.prune(whole, masked=True, **options), tmp_path / "masked"), tokens)
    assert np.abs(compact - masked).max() <= TOLERANCE * np.abs(masked).max()
    assert np.abs(masked - loaded(tmp_path / "whole", tokens)).max() > 1e-3 * np.abs(masked).max()
