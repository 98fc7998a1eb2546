"""What `last prune` writes of a Mamba-1 model loads in transformers, which computes what it should.

In the stock class where all layers are as large, and with our modelling file where they are not. No network of ours
runs such models: what was recorded of them counts, or what the masked ones do. Runs where the extra `oracle` is
installed (torch, transformers); skipped elsewhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mamba_models import directories, recorded

import last_cli as last
from last_cli.families.mamba2.modelling import CLASSES

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


# Of each model type's units, in every layer others: 3 layers of 16 states and 64 channels, in zamba 4 heads.
OWN: list[tuple[str, str, list[int]]] = [
    ("mamba", "states", [3, 16, 8]),
    ("falcon_mamba", "states", [3, 16, 8]),
    ("jamba", "states", [3, 16, 8]),
    ("zamba", "states", [3, 16, 8]),
    ("mamba", "channels", [3, 64, 30]),
    ("jamba", "channels", [3, 64, 30]),
    ("zamba", "channels", [3, 16, 7]),
    ("zamba", "heads", [1, 4, 3]),
]

LAYERS: dict[str, dict[str, Any]] = {
    "mamba": {"intermediate_size": 64},
    "falcon_mamba": {"intermediate_size": 64},
    "jamba": {**ATTENTION, "num_experts": 2, "num_hidden_layers": 4, "attn_layer_offset": 2, "attn_layer_period": 4},
    "zamba": {"layers_block_type": ["hybrid"] * 3},
}


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code of models is copied to where nothing stays."""
    monkeypatch.setattr(transformers.dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(tmp_path / "modules")


def opened(directory: Path, **options: Any) -> Any:
    """The model; all tensors are there, in the shapes that it wants."""
    found, said = transformers.AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, output_loading_info=True, **options
    )
    assert not any(said.values()), said
    return found


def loaded(directory: Path, tokens: np.ndarray, **options: Any) -> np.ndarray:
    """The class's logits."""
    with torch.no_grad():
        return opened(directory, **options)(torch.tensor(tokens)).logits.numpy()


def made(kind: str, entries: dict[str, Any], out: Path) -> Path:
    """A random model."""
    torch.manual_seed(0)
    found = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(kind, **entries))
    for parameter in found.parameters():  # As they are made, mixers hardly show in the logits.
        torch.nn.init.normal_(parameter, std=0.3)
    found.save_pretrained(out)
    return out


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
    whole = last.load(made(kind, entries, tmp_path / "whole"))
    options: dict[str, Any] = {"ratio": ratio, "target": target, "criterion": "random"}
    tokens = np.random.default_rng(0).integers(0, 96, (1, 12))
    compact = loaded(last.save(last.prune(whole, **options), tmp_path / "small"), tokens)
    if (kind, target) == ("falcon_mamba", "states"):  # Norms of B and C over the states: nothing masked is the same.
        assert np.isfinite(compact).all()
        return
    masked = loaded(last.save(last.prune(whole, masked=True, **options), tmp_path / "masked"), tokens)
    assert np.abs(compact - masked).max() <= TOLERANCE * np.abs(masked).max()
    assert np.abs(masked - loaded(tmp_path / "whole", tokens)).max() > 1e-3 * np.abs(masked).max()


@pytest.mark.parametrize(("kind", "target", "counts"), OWN)
def test_the_modelling_file_has_layers_of_their_own_sizes(
    tmp_path: Path, kind: str, target: str, counts: list[int]
) -> None:
    entries = {**(HYBRID if kind == "zamba" else SMALL), "num_hidden_layers": 3, **LAYERS[kind]}
    whole = last.load(made(kind, entries, tmp_path / "whole"))
    groups = whole.layers[0].units[target].groups
    rng = np.random.default_rng(0)

    def some(count: int, of: int) -> list[int]:
        return sorted(rng.choice(of, count, replace=False).tolist())

    of = whole.layers[0].units[target].count
    keep = {"target": target, "layers": [{"kept": [some(n, of) for _ in range(groups)]} for n in counts]}
    small = last.save(last.prune(whole, keep=keep), tmp_path / "small")
    tokens = rng.integers(0, 96, (1, 12))
    theirs = opened(small, trust_remote_code=True)
    assert type(theirs).__name__ == CLASSES[kind] and last.verify(small, tmp_path / "whole").passed
    with torch.no_grad():
        found = theirs(torch.tensor(tokens)).logits.numpy()
    start, options = torch.tensor(tokens[:, :8]), {"min_new_tokens": 12, "max_new_tokens": 12, "do_sample": False}
    cached, again = (theirs.generate(start, use_cache=way, **options).tolist() for way in (True, False))
    assert cached == again
    theirs.save_pretrained(tmp_path / "saved")
    np.testing.assert_array_equal(loaded(tmp_path / "saved", tokens, trust_remote_code=True), found)
    with pytest.raises(RuntimeError, match="mismatch"):
        opened(small)
    if (kind, target) in (("jamba", "states"), ("falcon_mamba", "states")):
        return  # Norms of B and C over the states: nothing masked or filled up is the same.
    masked = loaded(last.save(last.prune(whole, keep=keep, masked=True), tmp_path / "masked"), tokens)
    assert np.abs(found - masked).max() <= TOLERANCE * np.abs(masked).max()
    assert np.abs(masked - loaded(tmp_path / "whole", tokens)).max() > 1e-3 * np.abs(masked).max()
    filled = loaded(last.save(last.prune(whole, keep=keep, stock=True), tmp_path / "filled"), tokens)
    assert np.abs(found - filled).max() <= TOLERANCE * np.abs(filled).max()
