"""Writers that are killed at random moments; what is there then must be the old or the new, and nothing else later.

    python tests/support/kills.py [KILLS]    # a hundred by default, with and without force; exit 1 where one left more

A command takes so much longer that a quarter as many are killed.

Each writer is forked from a process that has all imported, and writes a checkpoint of few files, so that most are
killed while they write or swap; or it is `last prune` of a small language model.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
from language_models import directories

import last_cli as last
from last_cli.checkpoint.checkpoint import load
from last_cli.cli import main
from last_cli.formats import stage, swap

FILES = 8


@dataclass(frozen=True)
class Writer:
    """What is killed.

    Attributes:
        write: output, number of the writer, and whether it replaces what is there.
        whole: output -> the number of the writer; -1 where not all of what it wrote is there.
    """

    write: Callable[[Path, int, bool], None]
    whole: Callable[[Path], int]


def kill_while_writing(
    writer: Writer, directory: Path, kills: int, *, force: bool, swaps: bool = True
) -> dict[str, Any]:
    """How often the old, the new, neither, or a part was there, and what is left after one more writer.

    Args:
        writer: what is killed.
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
        os.waitpid(_forked(writer, out, 0, force), 0)
        took = time.perf_counter() - start
        seen = {"old": 0, "new": 0, "none": 0, "partial": 0}
        before = writer.whole(out)
        for number in range(1, kills + 1):
            if not force:
                shutil.rmtree(out, ignore_errors=True)
                before = None
            child = _forked(writer, out, number, force)
            time.sleep(chance.uniform(0, 1.2 * took))
            finished = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            took *= 0.95 if finished else 1.05  # How long it takes depends on what else the machine does.
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            # Where nothing swaps at once, the next writer brings the old one back.
            now = writer.whole(out) if out.exists() else None if swaps or not force else before
            seen["none" if now is None else "new" if now == number else "old" if now == before else "partial"] += 1
            if force and now is None:
                seen["partial"] += 1
            before = now
        if not force:
            shutil.rmtree(out, ignore_errors=True)
        status = os.waitpid(_forked(writer, out, 0, force), 0)[1]
        return {**seen, "status": status, "left": sorted(entry.name for entry in directory.iterdir())}
    finally:
        swap._renamed = known


def _forked(writer: Writer, out: Path, number: int, force: bool) -> int:
    child = os.fork()
    if child:
        return child
    try:
        writer.write(out, number, force)
        os._exit(0)
    except BaseException as error:
        os.write(2, f"{error!r}\n".encode())
        os._exit(1)


def _write(out: Path, number: int, force: bool) -> None:
    """A tree of arrays in msgpack files, which an older Orbax would have written."""
    array = msgpack.ExtType(1, msgpack.packb(((1,), "int64", number.to_bytes(8, "little")), use_bin_type=True))
    with stage.staged(out, source=None, force=force) as new:
        (new / "checkpoint").write_bytes(msgpack.packb({"a": array}) or b"")
        (new / "array_metadatas").mkdir()
        for i in range(FILES):
            (new / "array_metadatas" / f"process_{i}").write_text(str(number))


def _whole(out: Path) -> int:
    numbers = {file.read_text() for file in (out / "array_metadatas").glob("process_*")}
    whole = len(numbers) == 1 and len(list((out / "array_metadatas").iterdir())) == FILES
    return int(numbers.pop()) if whole and (out / "checkpoint").is_file() else -1


def _prune(out: Path, number: int, force: bool) -> None:
    """`last prune` of a language model in four shards, its choice drawn by the writer's number."""
    source = directories() / "hf_bf16_sharded" / "checkpoint"
    chosen = ["--ratio", "0.5", "--criterion", "random", "--seed", str(number)]
    with contextlib.redirect_stdout(io.StringIO()):
        code = main(["prune", str(source), *chosen, "-o", str(out), "-q", *["--force"] * force])
    if code:
        raise SystemExit(code)


def _pruned(out: Path) -> int:
    try:
        found = load(out, checked=False)
        return found.stamp["pruned"][-1]["seed"] if last.verify(found).passed else -1
    except last.LastError:
        return -1


WRITERS = {"tree": Writer(_write, _whole), "last prune": Writer(_prune, _pruned)}


if __name__ == "__main__":
    bad, kills = False, int(sys.argv[1]) if sys.argv[1:] else 100
    with tempfile.TemporaryDirectory() as folder:
        _prune(Path(folder) / "out", 0, force=False)  # Imports what a fork would.
    for name, force, swaps in itertools.product(WRITERS, (False, True), (True, False)):
        with tempfile.TemporaryDirectory() as folder:
            many = kills if name == "tree" else -(-kills // 4)
            found = kill_while_writing(WRITERS[name], Path(folder), many, force=force, swaps=swaps)
        bad |= bool(found["partial"] or found["status"] or found["left"] != ["out"])
        sys.stdout.write(f"{name}, force {force}, swaps {swaps}: {found}\n")
    sys.exit(bad)
