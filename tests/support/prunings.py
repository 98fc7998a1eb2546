"""Every recorded pruning of states of language models, repeated by `--keep`: written, verified, read again and run.

    python tests/support/prunings.py FOLDER    # of unpacked cases: checkpoint/, io.npz and pruned_states*.npz each

Prints a line a pruning, and exits with 1 where one fails. Where our network runs, masked and compacted give the
recorded logits to 1e-5 of their scale; elsewhere `last verify` alone compares, mixer by mixer. Layers that keep unlike
numbers are filled up with zeros where the layout has one number for all.
"""

from __future__ import annotations

import json
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import last_cli as last
from last_cli.base.errors import LastError, UsageError
from last_cli.checkpoint.network import model_spec
from last_cli.families.mamba2.network.forward import logits

TOLERANCE = 1e-5


def main(folder: Path) -> int:
    bad = False
    for case in sorted(folder.iterdir()):
        for file in sorted(case.glob("pruned_states*.npz")):
            with np.load(file) as recorded, np.load(case / "io.npz") as io:
                kept = [recorded[f"layer{i}_keep_states"] for i in range(_layers(recorded))]
                wanted, tokens = recorded["logits"], io["input_ids"]
                scale = float(np.abs(io["logits"]).max())
            try:
                if (family := last.load(case / "checkpoint").family) != "mamba2":
                    print(f"{case.name}: passed over, as its layers are {family}")
                    break
                with tempfile.TemporaryDirectory() as place:
                    said, passed = repeated(case / "checkpoint", kept, (tokens, wanted, scale), Path(place))
            except LastError as error:
                said, passed = f"not repeated: {error.message}", False
            bad |= not passed
            print(f"{case.name} {file.stem.removeprefix('pruned_')}: {said}", flush=True)
    return int(bad)


def repeated(
    source: Path, kept: list[np.ndarray], expected: tuple[np.ndarray, np.ndarray, float], place: Path
) -> tuple[str, bool]:
    """A recorded choice of states in the model of a directory: what is said of it, and whether it holds.

    Args:
        source: a model directory.
        kept: numbers of states (G, k) for each layer.
        expected: tokens (B, T), the recorded logits behind them, and the scale of those of the whole model.
        place: where the pruned model is written.
    """
    keep = {"target": "states", "layers": [{"kept": layer.tolist()} for layer in kept]}
    (place / "keep.json").write_text(json.dumps(keep))
    small, filled = _pruned(source, place / "keep.json")
    out = last.save(small, place / "small")
    report = last.verify(out, source)
    failed = [f"{check.name}: {check.seen}" for check in report.checks if not check.passed]
    again = last.load(out)
    masked = last.prune(source, keep=place / "keep.json", masked=True)
    said = ["filled up to the largest"] * filled + ["verified" if report.passed else "; ".join(failed)]
    tokens, wanted, scale = expected
    try:
        errors = [float(np.abs(run(model, tokens) - wanted).max()) / scale for model in (masked, again)]
    except last.CheckpointError as error:
        return ", ".join([*said, f"not run ({error.message.partition('; ')[0].rpartition(': ')[2]})"]), report.passed
    said.append(f"masked {errors[0]:.1e}, compacted {errors[1]:.1e} of the logits' scale")
    return ", ".join(said), report.passed and max(errors) <= TOLERANCE


def run(model: last.Checkpoint, tokens: np.ndarray) -> np.ndarray:
    """The logits of our network; raises CheckpointError where none runs the model."""
    spec = model_spec(model)
    arrays = model.read(key for key, leaf in model.leaves.items() if leaf.kind == "array")
    tensors = {".".join(key): jnp.asarray(array, jnp.float32) for key, array in arrays.items()}
    return np.asarray(_compiled(spec)(tensors, jnp.asarray(tokens)))


@cache
def _compiled(spec: Any) -> Any:
    return jax.jit(lambda tensors, tokens: logits(spec, tensors, tokens))


def _pruned(source: Path, keep: Path) -> tuple[last.Checkpoint, bool]:
    """And whether unlike layers are filled up."""
    try:
        return last.prune(source, keep=keep), False
    except UsageError as error:
        if "stock" not in error.options:
            raise
        return last.prune(source, keep=keep, stock=True), True


def _layers(recorded: Any) -> int:
    return sum(name.endswith("_keep_states") for name in recorded.files)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
