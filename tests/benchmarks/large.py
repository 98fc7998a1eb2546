"""A large training state, 60 layers and 2,000 leaves with Adam's moments: score, inspect and prune beside `cp -r`.

    python tests/benchmarks/large.py [--gigabytes 3] [--repeat 3] [--dir DIR]

Makes the checkpoint once in DIR (a temporary directory by default), then runs every command as a new process and prints
the median and range of its wall time, and the most memory that it held (ru_maxrss).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LAYERS, FEATURES = 60, 512
MEASURE = "import json, resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, capture_output=True); \
print(json.dumps(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=3.0)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--dir", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="last-large-") as temporary:
        place = args.dir or Path(temporary)
        ckpt, out = place / "ckpt", place / "out"
        if not ckpt.exists():
            make(ckpt, args.gigabytes)
        size = sum(f.stat().st_size for f in ckpt.rglob("*") if f.is_file())
        print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} CPU cores, {size / 1e9:.2f} GB")
        last = [sys.executable, "-m", "last_cli"]
        commands = {
            "cp -r": ["cp", "-r", str(ckpt), str(out)],
            "last inspect": [*last, "inspect", str(ckpt)],
            "last score": [*last, "score", str(ckpt)],
            "last prune": [*last, "prune", str(ckpt), "--ratio", "0.33", "-o", str(out)],
        }
        for name, command in commands.items():
            times, memory = zip(*(timed(command, out) for _ in range(args.repeat)), strict=True)
            span = f"({min(times):.2f} to {max(times):.2f})"
            print(f"{name:14} {statistics.median(times):7.2f} s  {span:18} {max(memory) / 1e3:7.0f} MB", flush=True)


def make(path: Path, gigabytes: float) -> None:
    """A TrainState-like tree: parameters, and two moments of each. S5 layers take what the dense ones leave."""
    from last_cli import formats

    states = max(8, int((gigabytes * 1e9 / 3 / 4 / LAYERS - 2 * FEATURES**2) / (6 * FEATURES)))
    rng = np.random.default_rng(0)
    leaves: dict[tuple[str, ...], np.ndarray] = {}
    for i in range(LAYERS):
        block = ("encoder", f"layers_{i}")
        shapes = {
            "Lambda_re": (states,),
            "Lambda_im": (states,),
            "B": (states, FEATURES, 2),
            "C1": (FEATURES, states, 2),
            "C2": (FEATURES, states, 2),
            "D": (FEATURES,),
            "log_step": (states, 1),
        }
        for name, shape in shapes.items():
            leaves[("params", *block, "seq", name)] = rng.standard_normal(shape, np.float32)
        leaves[("params", *block, "seq", "Lambda_re")] = -np.abs(leaves[("params", *block, "seq", "Lambda_re")]) - 0.1
        leaves[("params", *block, "seq", "log_step")] -= 5
        for gate in ("out1", "out2"):
            leaves[("params", *block, gate, "kernel")] = rng.standard_normal((FEATURES, FEATURES), np.float32)
            leaves[("params", *block, gate, "bias")] = np.zeros(FEATURES, np.float32)
    moments = {("opt_state", "0", m, *key[1:]): a for m in ("mu", "nu") for key, a in leaves.items()}
    formats.save(path, source=None, changed=leaves | moments, stamp={})


def timed(command: list[str], out: Path) -> tuple[float, float]:
    """Wall time in seconds and the most memory in kB of a command that makes `out` anew."""
    shutil.rmtree(out, ignore_errors=True)
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", MEASURE, *command], check=True, capture_output=True, text=True)
    return time.perf_counter() - began, json.loads(done.stdout)


if __name__ == "__main__":
    main()
