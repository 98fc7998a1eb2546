"""Feeds damaged and made-up files to all that reads files; an input is known by its seed and number."""

from __future__ import annotations

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
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz_targets import Target, targets
from mutations import mutated, write_files

from last_cli.base.errors import LastError

MEMORY_DISK = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
DEADLINE, MEMORY = 20.0, 10**9  # seconds and bytes an input


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


def one(target: Target, rng: random.Random, folder: Path, verbose: bool) -> tuple[str, bool]:
    """What was wrong with what became of one input, if anything, and whether it was refused."""
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
