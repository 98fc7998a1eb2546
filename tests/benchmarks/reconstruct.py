"""`last prune --method reconstruct` on 6 layers of 512 features and 192 states, with 256 sequences of 1,024 steps.

    python tests/benchmarks/reconstruct.py [--layers 6] [--features 512] [--states 192] [--sequences 256] [--dir DIR]

Makes a checkpoint of random weights and random sequences once in DIR (a temporary directory by default), runs the
command as a new process with an empty cache, and prints its wall time, how many cores it may use, the CPU time of all
of them together (on a busy machine the better number), and the most memory that it held (ru_maxrss).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
MEASURE = "import json, resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); \
used = resource.getrusage(resource.RUSAGE_CHILDREN); print(json.dumps([used.ru_maxrss, used.ru_utime + used.ru_stime]))"


def main() -> None:
    args = _arguments()
    with tempfile.TemporaryDirectory(prefix="last-reconstruct-") as temporary:
        place = args.dir or Path(temporary)
        ckpt, file = place / "ckpt", place / "x.npz"
        if not ckpt.exists():
            _make(ckpt, args)
            x = np.random.default_rng(1).normal(size=(args.sequences, args.length, 7))
            np.savez(file, x=x.astype(np.float32))
        command = [sys.executable, "-m", "last_cli", "prune", str(ckpt), "--method", "reconstruct", "--ratio", "0.6"]
        command += [
            "--calibration",
            str(args.sequences),
            "--calibration-file",
            str(file),
            "-o",
            str(place / "out"),
            "--force",
            "--format",
            "json",
        ]
        environment = os.environ | {"LAST_CACHE_DIR": tempfile.mkdtemp(dir=temporary)}
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, *command], check=True, stdout=subprocess.PIPE, text=True, env=environment
        )
        seconds = time.perf_counter() - began
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory, busy = json.loads(done.stdout.splitlines()[-1])
    print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {cores} CPU cores")
    print(f"{seconds:.1f} s, CPU time {busy:.1f} s, {memory / 1e6:.1f} GB")


def _make(path: Path, args: argparse.Namespace) -> None:
    from random_layers import classifier, write

    arrays = classifier(blocks=args.layers, features=args.features, states=args.states)
    for key, array in arrays.items():
        if key[-1] in ("B", "C1", "C2"):  # else activations grow from layer to layer until they overflow
            array /= np.sqrt(args.features if key[-1] == "B" else args.states)
    write(path, arrays)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--states", type=int, default=192)
    parser.add_argument("--sequences", type=int, default=256)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--dir", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
