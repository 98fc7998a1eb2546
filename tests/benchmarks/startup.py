"""Start-up times: `last --help` and `last score` on a sample, beside `import jax, orbax.checkpoint`, in one run.

    python tests/benchmarks/startup.py [--repeat 15]

Prints the median and the range of wall time in seconds of each, every command a new process.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

SAMPLE = Path(__file__).parents[2] / "sample_checkpoints" / "s5-listops"
COMMANDS = {
    "last --help": ["-m", "last_cli", "--help"],
    "last score": ["-m", "last_cli", "score", str(SAMPLE)],
    "last inspect": ["-m", "last_cli", "inspect", str(SAMPLE)],
    "import jax, orbax.checkpoint": ["-c", "import jax, orbax.checkpoint"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=15)
    repeat = parser.parse_args().repeat
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(repeat + 1):
        for name, arguments in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
            times[name].append(time.perf_counter() - began)
    machine = f"{platform.machine()}, {os.cpu_count()} CPU cores"
    print(f"{time.strftime('%Y-%m-%d')}, {machine}, Python {platform.python_version()}")
    for name, all_times in times.items():
        warm = all_times[1:]
        print(f"{name:30} {statistics.median(warm):6.2f} s   ({min(warm):.2f} to {max(warm):.2f})")


if __name__ == "__main__":
    main()
