"""Writers that are killed at random moments; what is there then must be the old or the new, and nothing else later.

    python tests/support/kills.py [KILLS]    # a hundred by default, with and without force; exit 1 where one left more

Each writer is forked from a process that has all imported, and writes a checkpoint of few files, so that most are
killed while they write or swap.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgpack

from last_cli.formats import stage, swap

FILES = 8


def kill_while_writing(directory: Path, kills: int, *, force: bool, swaps: bool = True) -> dict[str, Any]:
    """How often the old, the new, neither, or a part was there, and what is left after one more writer.

    Args:
        directory: an empty one.
        kills: how many writers are killed.
        force: whether each replaces what the one before wrote.
        swaps: whether the system can swap two directories at once.
    """
    out, chance = directory / "out", random.Random(0)
    known = swap._renamed
    try:
        if not swaps:
            swap._renamed = lambda *_: False
        start = time.perf_counter()
        os.waitpid(_forked(out, 0, force), 0)
        took = time.perf_counter() - start
        seen = {"old": 0, "new": 0, "none": 0, "partial": 0}
        before = _whole(out)
        for number in range(1, kills + 1):
            if not force:
                shutil.rmtree(out, ignore_errors=True)
                before = None
            child = _forked(out, number, force)
            time.sleep(chance.uniform(0, 1.2 * took))
            finished = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            took *= 0.95 if finished else 1.05  # How long it takes depends on what else the machine does.
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            # Where nothing swaps at once, the next writer brings the old one back.
            now = _whole(out) if out.exists() else None if swaps or not force else before
            seen["none" if now is None else "new" if now == number else "old" if now == before else "partial"] += 1
            if force and now is None:
                seen["partial"] += 1
            before = now
        if not force:
            shutil.rmtree(out, ignore_errors=True)
        status = os.waitpid(_forked(out, 0, force), 0)[1]
        return {**seen, "status": status, "left": sorted(entry.name for entry in directory.iterdir())}
    finally:
        swap._renamed = known


def _forked(out: Path, number: int, force: bool) -> int:
    child = os.fork()
    if child:
        return child
    try:
        with stage.staged(out, source=None, force=force) as new:
            _write(new, number)
        os._exit(0)
    except BaseException as error:
        os.write(2, f"{error!r}\n".encode())
        os._exit(1)


def _write(new: Path, number: int) -> None:
    """A tree of arrays in msgpack files, which an older Orbax would have written."""
    array = msgpack.ExtType(1, msgpack.packb(((1,), "int64", number.to_bytes(8, "little")), use_bin_type=True))
    (new / "checkpoint").write_bytes(msgpack.packb({"a": array}) or b"")
    (new / "array_metadatas").mkdir()
    for i in range(FILES):
        (new / "array_metadatas" / f"process_{i}").write_text(str(number))


def _whole(out: Path) -> int:
    """The number of the writer; -1 where not all of what it wrote is there."""
    numbers = {file.read_text() for file in (out / "array_metadatas").glob("process_*")}
    whole = len(numbers) == 1 and len(list((out / "array_metadatas").iterdir())) == FILES
    return int(numbers.pop()) if whole and (out / "checkpoint").is_file() else -1


if __name__ == "__main__":
    bad = False
    for force in (False, True):
        for swaps in (True, False):
            with tempfile.TemporaryDirectory() as folder:
                found = kill_while_writing(
                    Path(folder), int(sys.argv[1]) if sys.argv[1:] else 100, force=force, swaps=swaps
                )
            bad |= bool(found["partial"] or found["status"] or found["left"] != ["out"])
            sys.stdout.write(f"force {force}, swaps {swaps}: {found}\n")
    sys.exit(bad)
