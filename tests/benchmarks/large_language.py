"""A large language model, 2.7B parameters of Mamba-2 in bfloat16 shards: inspect, score and prune beside `cp -r`.

    python tests/benchmarks/large_language.py [--layers 64] [--width 2560] [--repeat 3] [--dir DIR] [--weights]

With `--weights` WANDA's 2:4 on 128 sequences of 128 tokens instead, whose time is also said by layer, with what the
embeddings take: one layer is there at a time, so that a few of the full width show time and memory, but for the masks
that are kept, a bit a weight.

Makes a model directory of random weights once in DIR (a temporary directory by default), of the shape of mamba2-2.7b as
transformers has it, then runs every command as a new process and prints the median and range of its wall time, and the
most memory that it held (ru_maxrss).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from large import timed

STATES, HEAD_DIM, VOCABULARY, KERNEL = 128, 64, 50288, 4
LAYERS_A_SHARD, WEIGHTS = 16, "last prune 2:4"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=64)
    parser.add_argument("--width", type=int, default=2560)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--dir", type=Path)
    parser.add_argument("--weights", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="last-large-language-") as temporary:
        place = args.dir or Path(temporary)
        model, out = place / "model", place / "out"
        if not model.exists():
            make(model, args.layers, args.width)
        size = sum(file.stat().st_size for file in model.iterdir())
        print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} CPU cores, {size / 1e9:.2f} GB")
        last = [sys.executable, "-m", "last_cli"]
        commands = {
            "cp -r": ["cp", "-r", str(model), str(out)],
            "last inspect": [*last, "inspect", str(model)],
            "last score": [*last, "score", str(model)],
            "last prune": [*last, "prune", str(model), "--ratio", "0.5", "-o", str(out)],
        }
        if args.weights:
            np.savez(place / "tokens.npz", x=np.random.default_rng(1).integers(0, VOCABULARY, (128, 128)))
            asked = ["--target", "weights", "--criterion", "wanda", "--pattern", "2:4"]
            asked += ["--calibration-file", str(place / "tokens.npz")]
            commands = {WEIGHTS: [*last, "prune", str(model), *asked, "-o", str(out)]}
        for name, command in commands.items():
            began = _cpu()
            times, memory = zip(*(timed(command, out) for _ in range(args.repeat)), strict=True)
            span = f"({min(times):.2f} to {max(times):.2f})"
            parts = [statistics.median(times) / args.layers, (_cpu() - began) / args.repeat / args.layers]
            each = "  {:.1f} s a layer, {:.1f} s of CPU".format(*parts) if name == WEIGHTS else ""
            print(
                f"{name:14} {statistics.median(times):7.2f} s  {span:18} {max(memory) / 1e3:7.0f} MB{each}", flush=True
            )


def _cpu() -> float:
    """Seconds that the commands so far have computed, on all cores together: on a busy machine less than they took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def make(directory: Path, layers: int, width: int) -> None:
    """Writes the model, a shard at a time."""
    from safetensors.numpy import save_file

    directory.mkdir(parents=True)
    rng, shards, total = np.random.default_rng(0), -(-layers // LAYERS_A_SHARD) + 1, 0
    weight_map: dict[str, str] = {}
    for shard in range(shards):
        tensors = _embeddings(rng, width) if shard == 0 else {}
        for layer in range((shard - 1) * LAYERS_A_SHARD, min(shard * LAYERS_A_SHARD, layers)) if shard else ():
            tensors |= _layer(rng, layer, width)
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        save_file(tensors, directory / file, {"format": "pt"})
        weight_map |= dict.fromkeys(tensors, file)
        total += sum(array.nbytes for array in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    (directory / "config.json").write_text(json.dumps(_configuration(layers, width)))


def _normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.standard_normal(shape, np.float32) * np.float32(0.02)).astype(ml_dtypes.bfloat16)


def _embeddings(rng: np.random.Generator, width: int) -> dict[str, np.ndarray]:
    ones = np.ones(width, ml_dtypes.bfloat16)
    return {"backbone.embeddings.weight": _normal(rng, VOCABULARY, width), "backbone.norm_f.weight": ones}


def _layer(rng: np.random.Generator, number: int, width: int) -> dict[str, np.ndarray]:
    inner = 2 * width
    heads, channels = inner // HEAD_DIM, inner + 2 * STATES
    small = {
        "A_log": np.log(rng.uniform(1, 16, heads)),
        "D": np.ones(heads),
        "dt_bias": rng.uniform(-6, -2, heads),
        "norm.weight": np.ones(inner),
    }
    mixer = {name: array.astype(ml_dtypes.bfloat16) for name, array in small.items()} | {
        "in_proj.weight": _normal(rng, inner + channels + heads, width),
        "conv1d.weight": _normal(rng, channels, 1, KERNEL),
        "conv1d.bias": _normal(rng, channels),
        "out_proj.weight": _normal(rng, width, inner),
    }
    prefix = f"backbone.layers.{number}"
    norm = {f"{prefix}.norm.weight": np.ones(width, ml_dtypes.bfloat16)}
    return norm | {f"{prefix}.mixer.{name}": array for name, array in mixer.items()}


def _configuration(layers: int, width: int) -> dict[str, Any]:
    return {
        "architectures": ["Mamba2ForCausalLM"],
        "conv_kernel": KERNEL,
        "dtype": "bfloat16",
        "expand": 2,
        "head_dim": HEAD_DIM,
        "hidden_size": width,
        "layer_norm_epsilon": 1e-05,
        "model_type": "mamba2",
        "n_groups": 1,
        "num_heads": 2 * width // HEAD_DIM,
        "num_hidden_layers": layers,
        "state_size": STATES,
        "tie_word_embeddings": True,
        "time_step_limit": [0.0, {"__float__": "Infinity"}],
        "use_bias": False,
        "use_conv_bias": True,
        "vocab_size": VOCABULARY,
    }


if __name__ == "__main__":
    main()
