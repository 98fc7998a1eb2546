"""Feeds damaged and made-up files to all that reads files: `python tests/contracts/fuzz.py --inputs 100000 --seed 1`.

Whatever comes in, what comes out is an answer or a LastError, soon, and within a gigabyte. An input is known by its
seed and number: `--only NUMBER -v` shows what happens to one of them.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.append(str(Path(__file__).parents[1] / "support"))

from fuzzing import Summary, run

CHUNK = 200  # inputs a task of a worker


def main() -> int:
    """Feeds as many inputs as are asked for to worker processes, and says what became of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--only", type=int)
    parser.add_argument("-v", "--verbose", action="store_true")
    asked = parser.parse_args()
    started = time.monotonic()
    if asked.only is not None:
        total = run([asked.only], asked.seed, asked.verbose)
    else:
        numbers = range(asked.start, asked.start + asked.inputs)
        total = by_workers([numbers[i : i + CHUNK] for i in range(0, len(numbers), CHUNK)], asked.seed, asked.workers)
    print("\n".join(total.faults))
    seconds, number, name = total.slowest
    print(
        f"{total.inputs} inputs of seed {asked.seed}: {len(total.faults)} internal errors, {total.refused} refused, "
        f"{time.monotonic() - started:.0f} s, slowest {seconds:.1f} s (input {number}, {name}), "
        f"peak {total.peak / 1e6:.0f} MB"
    )
    return 1 if total.faults else 0


def by_workers(parts: list[range], seed: int, workers: int) -> Summary:
    """The same, side by side."""
    total, dead = Summary(), []
    with ProcessPoolExecutor(workers) as pool:
        for part, future in [(part, pool.submit(run, part, seed)) for part in parts]:
            try:
                total.add(found := future.result())
                sys.stderr.writelines(f"\n{fault}" for fault in found.faults)
            except BrokenProcessPool:  # one part's fault, and the end of all that had not begun
                dead.append(part)
            sys.stderr.write(f"\r{total.inputs} inputs, {len(total.faults)} faults")
    for part in dead:
        total.add(by_itself(part, seed))
    return total


def by_itself(part: range, seed: int) -> Summary:
    """The same in a process of its own; one that dies is a fault of its input."""
    try:
        with ProcessPoolExecutor(1) as pool:
            return pool.submit(run, part, seed).result()
    except BrokenProcessPool:
        if len(part) == 1:
            return Summary(1, 0, [f"input {part[0]}: the process died"])
        both = by_itself(part[: len(part) // 2], seed)
        both.add(by_itself(part[len(part) // 2 :], seed))
        return both


if __name__ == "__main__":
    sys.exit(main())
