"""Feeds damaged and made-up files to all that reads files: `python tests/contracts/fuzz.py --inputs 100000 --seed 1`.

Whatever comes in, what comes out is an answer or a LastError, soon, and within a gigabyte. An input is known by its
seed and number: `--only NUMBER -v` shows what happens to one of them.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.append(str(Path(__file__).parents[1] / "support"))

MEMORY_DISK = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
DEADLINE, MEMORY, CHUNK = 20.0, 10**9, 200  # seconds and bytes an input; inputs a task of a worker


class HangError(BaseException):
    """The time for one input is over. No `except Exception` takes it."""


@dataclass
class Summary:
    """What became of some inputs; `slowest` is (seconds, number, target), `refused` those that ended in a LastError."""

    inputs: int = 0
    refused: int = 0
    faults: list[str] = field(default_factory=list)
    slowest: tuple[float, int, str] = (0.0, -1, "")
    peak: int = 0

    def add(self, other: Summary) -> None:
        self.inputs, self.refused = self.inputs + other.inputs, self.refused + other.refused
        self.faults += other.faults
        self.slowest, self.peak = max(self.slowest, other.slowest), max(self.peak, other.peak)


def run(numbers: Iterable[int], seed: int = 0, verbose: bool = False) -> Summary:
    """Feeds these inputs, in this process."""
    from fuzz_targets import targets

    found = targets()
    weights, summary = [target.weight for target in found], Summary()
    with quiet(), tempfile.TemporaryDirectory(prefix="fuzz", dir=MEMORY_DISK) as directory:
        for number in numbers:
            rng, before = random.Random(f"{seed}/{number}"), peak()
            target = rng.choices(found, weights)[0]
            started = time.monotonic()
            fault, refused = one(target, rng, Path(directory) / str(number), verbose)
            seconds = time.monotonic() - started
            if peak() - before > MEMORY:
                fault = f"{(peak() - before) / 1e9:.1f} GB"
            summary.add(Summary(1, refused, [], (seconds, number, target.name), peak()))
            if fault:
                summary.faults.append(f"input {number} ({target.name}): {fault}")
    return summary


def one(target: Any, rng: random.Random, folder: Path, verbose: bool) -> tuple[str, bool]:
    """What was wrong with what became of one input, if anything, and whether it was refused."""
    from mutations import mutated, write_files

    from last_cli.base.errors import LastError

    files = mutated(rng, target.start)
    if verbose:
        changed = {name: content for name, content in files.items() if target.start.get(name) != content}
        sys.stdout.write(f"{sorted(target.start.keys() - files.keys())} are gone; changed:\n")
        sys.stdout.writelines(f"  {name}: {content[:600]!r}\n" for name, content in changed.items())
    (folder / "in").mkdir(parents=True)
    write_files(folder / "in", files)
    try:
        with deadline():
            target.read(folder / "in", rng)
    except LastError as error:
        if verbose:
            traceback.print_exc()
        return ("" if error.message else "no message"), True
    except HangError:
        return f"not ready after {DEADLINE:g} s", False
    except BaseException as error:
        if verbose:
            traceback.print_exc()
        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {str(error)[:300]!r} at {Path(last.filename).name}:{last.lineno}", False
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return "", False


@contextmanager
def deadline() -> Iterator[None]:
    """Raises HangError within the block when the time is over."""

    def over(*_: Any) -> None:
        raise HangError

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, DEADLINE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings, and no cache that would keep what was made up."""
    before = os.environ.get("LAST_CACHE_DIR")
    os.environ["LAST_CACHE_DIR"] = f"{os.devnull}/none"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.environ.pop("LAST_CACHE_DIR")
        if before is not None:
            os.environ["LAST_CACHE_DIR"] = before


def peak() -> int:
    """The most bytes that this process has had in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


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
                total.add(future.result())
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
