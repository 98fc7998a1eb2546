"""An output appears whole or not at all: killed, interrupted, out of space, or replaced."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from last_cli import formats
from last_cli.base.errors import OutputError
from last_cli.formats import stage

# Each run is forked from a process that has everything imported, so that it is killed while it works. That process
# itself must not touch a store: tensorstore forbids forking afterwards.
KILLS = """
import os, random, shutil, signal, sys, time
from pathlib import Path
import tensorstore
from last_cli import formats

path, directory, kills = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])

def save(out, force):
    source = formats.index(path)
    formats.save(out, source=source, changed=formats.read(source), stamp={"whole": 1}, force=force)

def verify(out):
    found = formats.index(out)
    assert len(formats.read(found)) == len(found.leaves) and found.stamp == {"whole": 1}

def forked(function, *arguments):
    child = os.fork()
    if not child:
        try:
            function(*arguments)
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
    return child

def succeeds(function, *arguments):
    return os.waitpid(forked(function, *arguments), 0)[1] == 0

start = time.perf_counter()
assert succeeds(save, directory / "warm", False)
duration = time.perf_counter() - start
random.seed(0)
whole = partial = 0
for number in range(kills):
    force = number % 2 == 1
    out = directory / ("replaced" if force else "new")
    child = forked(save, out, force)
    time.sleep(random.uniform(0, 1.5 * duration))
    finished = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    duration *= 0.9 if finished else 1.1  # How long it takes depends on what else the machine does.
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if out.exists():
        complete = succeeds(verify, out)
        whole, partial = whole + complete, partial + (not complete)
        if not force:
            shutil.rmtree(out)
for name in ("new", "replaced"):
    assert succeeds(save, directory / name, True)
print(whole, partial, sorted(entry.name for entry in directory.iterdir()))
"""


def test_a_hundred_kills_leave_nothing_partial(fixtures: Path, tmp_path: Path) -> None:
    path = fixtures / "cur_pytree_zarr3" / "ckpt"
    command = [sys.executable, "-c", KILLS, path, tmp_path, "100"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    whole, partial, left = done.stdout.split(" ", 2)
    assert int(whole) > 5
    assert int(partial) == 0
    assert left.strip() == "['new', 'replaced', 'warm']"


def test_an_interrupt_leaves_nothing(fixtures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: Path) -> None:
        raise KeyboardInterrupt

    source = formats.index(fixtures / "cur_pytree_ocdbt" / "ckpt")
    monkeypatch.setattr(stage, "_sync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        formats.save(tmp_path / "out", source=source, changed={}, stamp={})
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore")  # Of the event loop that Orbax leaves when it fails.
@pytest.mark.parametrize("name", ["cur_pytree_ocdbt", "cur_pytree_noocdbt", "o048_flax_orbax_ckptr_aggregate", None])
def test_a_file_that_grows_too_large_leaves_nothing(fixtures: Path, tmp_path: Path, name: str | None) -> None:
    source = formats.index(fixtures / (name or "cur_pytree_ocdbt") / "ckpt")
    arrays = formats.read(source)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))
    try:
        with pytest.raises(OutputError, match="cannot be written: a file would be larger than is allowed here"):
            formats.save(tmp_path / "out", source=source if name else None, changed=arrays, stamp={})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EACCES, "permission denied"),
        (errno.EROFS, "the file system is read-only"),
    ],
)
def test_says_why_it_cannot_write(
    fixtures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    def failing(_: Path) -> None:
        raise OSError(code, os.strerror(code))

    source = formats.index(fixtures / "cur_pytree_ocdbt" / "ckpt")
    monkeypatch.setattr(stage, "_sync", failing)
    with pytest.raises(OutputError, match=f"out: cannot be written: {words}") as caught:
        formats.save(tmp_path / "out", source=source, changed={}, stamp={})
    assert caught.value.hint
    assert not list(tmp_path.iterdir())


def test_what_was_there_stays_when_replacing_fails(
    fixtures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = formats.index(fixtures / "cur_pytree_ocdbt" / "ckpt")
    formats.save(tmp_path / "out", source=source, changed={}, stamp={"first": 1})

    def failing(self: Path, target: Path) -> Path:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OutputError):
        formats.save(tmp_path / "out", source=source, changed={}, stamp={"second": 2}, force=True)
    assert formats.index(tmp_path / "out").stamp == {"first": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_clears_what_dead_runs_left_and_nothing_else(fixtures: Path, tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name in (
        f".out.last-stage-{dead.pid}-0a",
        f".out.last-stage-{os.getpid()}-0b",
        f".other.last-stage-{dead.pid}-0c",
    ):
        (tmp_path / name).mkdir()
    source = formats.index(fixtures / "cur_pytree_ocdbt" / "ckpt")
    formats.save(tmp_path / "out", source=source, changed={}, stamp={})
    left = sorted(entry.name for entry in tmp_path.iterdir())
    assert left == [f".other.last-stage-{dead.pid}-0c", f".out.last-stage-{os.getpid()}-0b", "out"]


def test_brings_back_what_a_killed_run_had_moved_aside(fixtures: Path, tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    source = formats.index(fixtures / "cur_pytree_ocdbt" / "ckpt")
    formats.save(tmp_path / "out", source=source, changed={}, stamp={"first": 1})
    (tmp_path / "out").rename(tmp_path / f".out.last-old-{dead.pid}-0a")
    with pytest.raises(OutputError, match="exists already"):
        formats.save(tmp_path / "out", source=source, changed={}, stamp={"second": 2})
    assert formats.index(tmp_path / "out").stamp == {"first": 1}


def test_a_file_appears_by_the_same_rule(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f".out.last-stage-{dead.pid}-0a").write_text("half of a file")
    with pytest.raises(KeyboardInterrupt), stage.staged_file(tmp_path / "out", force=False) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
    for content in (b"one", b"two"):
        with stage.staged_file(tmp_path / "out", force=content == b"two") as file:
            file.write(content)
            assert (tmp_path / "out").exists() == (content == b"two")
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out").read_bytes() == b"two"
