"""How fast a Mamba-2 language model is evaluated, beside transformers on the same core and the matrix products alone.

    python tests/benchmarks/language_speed.py [--layers 24] [--width 768] [--length 2048] [--repeat 3] [--core 0]
    python tests/benchmarks/language_speed.py --transformers ENV/bin/python  # where torch and transformers live

Prints Markdown: tokens per CPU second of the loss of one sequence, median and range. Each part is a process of its own
that loads the same random weights, by default of the 130M shape, and they take turns on one core. `products` is the
time of all of last's products with weights, the head's too, run by XLA one after the other; `chunk N` is last with
another length of its chunks. Without transformers its row is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Work = Callable[[], float]

SHAPE = {"layers": 24, "width": 768, "vocabulary": 50288, "length": 2048}  # of the 130M model


def main() -> None:
    args = _arguments()
    if args.part:
        _serve(args.part, Path(args.directory))
        return
    with tempfile.TemporaryDirectory(prefix="language-benchmark-") as place:
        config = write(Path(place), args)
        parts = ["last", "products", "transformers", *(f"chunk {n}" for n in args.chunks)]
        workers = {part: started for part in parts if (started := _start(part, place, args))}
        seconds: dict[str, list[float]] = {part: [] for part in workers}
        losses: dict[str, float] = {}
        for _ in range(args.repeat):
            for part, worker in workers.items():
                answer = _ask(worker)
                seconds[part].append(answer["seconds"])
                losses[part] = answer["loss"]
        for worker in workers.values():
            worker.kill()
    _show(config, args, seconds, losses)


def write(directory: Path, args: argparse.Namespace) -> dict[str, Any]:
    """A model of random weights as transformers has it, and tokens."""
    from safetensors.numpy import save_file

    rng, width, inner, states, heads = np.random.default_rng(0), args.width, 2 * args.width, 128, 2 * args.width // 64
    channels = inner + 2 * states

    def normal(*shape: int, scale: float = 0.02) -> np.ndarray:
        return rng.standard_normal(shape, np.float32) * np.float32(scale)

    tensors = {"backbone.embeddings.weight": normal(args.vocabulary, width), "backbone.norm_f.weight": np.ones(width)}
    for i in range(args.layers):
        mixer = {
            "in_proj.weight": normal(inner + channels + heads, width),
            "conv1d.weight": normal(channels, 1, 4, scale=0.3),
            "conv1d.bias": normal(channels),
            "A_log": np.log(rng.uniform(1, 16, heads)),
            "dt_bias": rng.uniform(-6, -2, heads),
            "D": np.ones(heads),
            "norm.weight": np.ones(inner),
            "out_proj.weight": normal(width, inner),
        }
        tensors |= {f"backbone.layers.{i}.mixer.{name}": array for name, array in mixer.items()}
        tensors[f"backbone.layers.{i}.norm.weight"] = np.ones(width)
    save_file({name: array.astype(np.float32) for name, array in tensors.items()}, directory / "model.safetensors")
    config = {
        "architectures": ["Mamba2ForCausalLM"],
        "model_type": "mamba2",
        "hidden_size": width,
        "num_hidden_layers": args.layers,
        "num_heads": heads,
        "head_dim": 64,
        "state_size": states,
        "n_groups": 1,
        "expand": 2,
        "conv_kernel": 4,
        "chunk_size": 256,
        "vocab_size": args.vocabulary,
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
    }
    (directory / "config.json").write_text(json.dumps(config))
    np.save(directory / "tokens.npy", rng.integers(0, args.vocabulary, (1, args.length + 1), np.int32))
    return config


def _serve(part: str, directory: Path) -> None:
    """Prepare one part; then for every line on stdin do it once, and answer with CPU seconds and the loss."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    tokens = np.load(directory / "tokens.npy")
    work = _transformers(directory, tokens) if part == "transformers" else last(part, directory, tokens)
    work()
    for _ in sys.stdin:
        began = time.process_time()
        loss = work()
        answers.write(json.dumps({"seconds": time.process_time() - began, "loss": loss}) + "\n")
        answers.flush()


def _transformers(directory: Path, tokens: np.ndarray) -> Work:
    import torch  # pyright: ignore[reportMissingImports]
    from transformers import AutoModelForCausalLM  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(1)
    model, x = AutoModelForCausalLM.from_pretrained(directory).eval(), torch.from_numpy(tokens).long()

    def loss() -> float:
        with torch.no_grad():
            logits = model(x[:, :-1]).logits[0]
            return float(torch.nn.functional.cross_entropy(logits, x[0, 1:]))

    return loss


def last(part: str, directory: Path, tokens: np.ndarray) -> Work:
    """The mean loss of the tokens by last, as one of the parts."""
    import jax
    from safetensors.numpy import load_file

    from last_cli.evaluation import program
    from last_cli.families.mamba2.network import forward
    from last_cli.families.mamba2.network.language import LANGUAGE
    from last_cli.families.mamba2.network.spec import language_spec

    tensors = load_file(directory / "model.safetensors")
    if part == "products":
        return _products(tensors, tokens.shape[1] - 1)
    if part.startswith("chunk "):
        forward.surprise.__defaults__ = (int(part.removeprefix("chunk ")),)
    config = {"file:config.json": json.loads((directory / "config.json").read_text())}
    spec = language_spec({name: array.shape for name, array in tensors.items()}, config)
    batching = program.Batching(tokens.shape[1:], tokens.dtype, micro=1, rounds=1)
    found = program.program(LANGUAGE, spec, tensors, jax.devices()[:1], batching)
    lengths = np.array([tokens.shape[1]], np.int32)
    return lambda: float(found.start(tokens, lengths)().mean(dtype=np.float64))


def _products(tensors: dict[str, np.ndarray], steps: int) -> Work:
    """All products of a sequence with weights; those of one shape are run by one program."""
    import jax

    from last_cli.evaluation.program import CPU_OPTIONS

    weights = [array for array in tensors.values() if array.ndim == 2]
    product = jax.jit(lambda u, w: u @ w.T, compiler_options=CPU_OPTIONS)
    inputs = {w.shape[1]: jax.device_put(np.ones((steps, w.shape[1]), np.float32)) for w in weights}
    placed = [jax.device_put(w) for w in weights]

    def run() -> float:
        for w in placed:
            jax.block_until_ready(product(inputs[w.shape[1]], w))
        return float("nan")

    return run


def _start(part: str, place: str, args: argparse.Namespace) -> subprocess.Popen[str] | None:
    python = args.transformers if part == "transformers" else sys.executable
    if part == "transformers":
        check = [python, "-c", "import torch, transformers"]
        if subprocess.run(check, stderr=subprocess.DEVNULL, check=False).returncode:
            return None
    worker = subprocess.Popen(
        [python, __file__, "--part", part, "--directory", place],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: os.sched_setaffinity(0, {args.core}),
    )
    _ask(worker)
    return worker


def _ask(worker: subprocess.Popen[str]) -> dict[str, Any]:
    assert worker.stdin and worker.stdout
    worker.stdin.write("\n")
    worker.stdin.flush()
    return json.loads(worker.stdout.readline())


def _show(
    config: dict[str, Any], args: argparse.Namespace, seconds: dict[str, list[float]], losses: dict[str, float]
) -> None:
    shape = f"{config['num_hidden_layers']} layers of {config['hidden_size']}, vocabulary {config['vocab_size']:,}"
    print(f"{time.strftime('%Y-%m-%d')}, {_processor()}, one core, Python {platform.python_version()}, JAX and torch")
    print(f"\n{shape}, one sequence of {args.length:,} tokens\n")
    print("| | tokens per CPU second | loss |\n|---|---|---|")
    for part, found in seconds.items():
        speeds = [args.length / each for each in found]
        span = f"{statistics.median(speeds):.0f} ({min(speeds):.0f} to {max(speeds):.0f})"
        print(f"| {part} | {span} | {'' if part == 'products' else f'{losses[part]:.5f}'} |")
    middle = {part: statistics.median(found) for part, found in seconds.items()}
    print(f"\nlast takes {middle['products'] / middle['last']:.0%} of its time for the products alone.", end=" ")
    if "transformers" in middle:
        print(f"It is {middle['transformers'] / middle['last']:.2f} times as fast as transformers.", end="")
    print()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.machine())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=SHAPE["layers"])
    parser.add_argument("--width", type=int, default=SHAPE["width"])
    parser.add_argument("--vocabulary", type=int, default=SHAPE["vocabulary"])
    parser.add_argument("--length", type=int, default=SHAPE["length"])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--core", type=int, default=0, help="the one that all parts run on")
    parser.add_argument("--chunks", type=int, nargs="*", default=[], help="other lengths of chunks to measure")
    parser.add_argument("--transformers", default=sys.executable, help="a Python that has torch and transformers")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--directory", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
