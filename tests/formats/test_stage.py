"""An output appears whole or not at all: killed, interrupted, out of space, raced, or replaced."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import kills
import pytest

from last_cli import formats
from last_cli.base import locks, unbroken
from last_cli.base.errors import OutputError
from last_cli.formats import stage, swap, workplace

PLACE = ".out.last-stage-0a"


def test_kills_leave_the_old_or_the_new() -> None:
    """In a process of its own: to fork one with the threads of JAX may lock up."""
    done = subprocess.run([sys.executable, kills.__file__, "12"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_interrupt_leaves_nothing(fixtures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: Path) -> None:
        raise KeyboardInterrupt

    source = formats.index(fixtures / "cur_pytree_ocdbt" / "ckpt")
    monkeypatch.setattr(stage, "sync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        formats.save(tmp_path / "out", source=source, changed={}, stamp={})
    assert not list(tmp_path.iterdir())


class Stopped(BaseException):
    """What the handler of a signal raises."""


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[], None], int], bool]]:
    """Runs a function, with a signal at the n-th line of what makes outputs appear; returns whether it has so many."""
    watched, monitored = {module.__file__ for module in (stage, workplace, swap, unbroken)}, sys.gettrace()
    for name in ("sync", "sync_one", "check_replaceable"):
        monkeypatch.setattr(stage, name, lambda _: None)

    def stop(*_: object) -> None:
        raise Stopped

    def run(function: Callable[[], None], line: int) -> bool:
        left = line

        def local(_: FrameType, event: str, __: object) -> Callable[..., Any]:
            nonlocal left
            left -= event == "line"
            if left == 0 and event == "line":
                signal.raise_signal(signal.SIGTERM)
            return local

        sys.settrace(lambda frame, *_: local if frame.f_code.co_filename in watched else None)
        try:
            function()
        except Stopped:
            return True
        else:
            return left <= 0
        finally:
            sys.settrace(monitored)

    before = signal.signal(signal.SIGTERM, stop)
    yield run
    signal.signal(signal.SIGTERM, before)


def new_directory(out: Path) -> None:
    with stage.staged(out, source=None, force=True) as made:
        (made / "a").write_text("new")


def new_file(out: Path) -> None:
    with stage.staged_file(out, force=True, stale=out.with_name("out.last.json")) as made:
        made.write(b"new")


def new_with_stamp(out: Path) -> None:
    with stage.staged_with_stamp(out, source=None, force=True, exported=True) as made:
        (made / "out").write_text("new")
        (made / "out.last.json").write_text("new")


@pytest.mark.parametrize(("write", "swaps"), [(new_directory, False), (new_file, True), (new_with_stamp, False)])
def test_a_signal_at_any_line_leaves_the_old_or_the_new(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stopping: Callable[[Callable[[], None], int], bool],
    write: Callable[[Path], None],
    swaps: bool,
) -> None:
    if not swaps:
        monkeypatch.setattr(swap, "_renamed", lambda *_: False)

    def there(line: int) -> dict[str, str]:
        folder = tmp_path / str(line)
        return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}

    found, line, old = [], 0, {}
    while not found or found[-1][1]:
        line += 1
        out = tmp_path / str(line) / "out"
        out.parent.mkdir()
        if write is new_directory:
            out.mkdir()
        for file in (out / "a",) if write is new_directory else (out, out.with_name("out.last.json")):
            file.write_text("old")
        old = there(line)
        stopped = stopping(partial(write, out), line)
        found.append((there(line), stopped))
        assert not [name for name in out.parent.iterdir() if name.name.startswith(".")], line
    new = there(line)
    assert [(number, each) for number, (each, _) in enumerate(found, 1) if each not in (old, new)] == []
    assert (found[0][0], set(new.values()), line > 50) == (old, {"new"}, True)


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
def test_says_why_it_cannot_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str) -> None:
    def failing(_: Path) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(stage, "sync", failing)
    with (
        pytest.raises(OutputError, match=f"out: cannot be written: {words}") as caught,
        stage.staged(tmp_path / "out", source=None, force=False),
    ):
        pass
    assert caught.value.hint
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("swaps", [True, False])
def test_what_was_there_stays_when_replacing_fails(
    fixtures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swaps: bool
) -> None:
    out = shutil.copytree(fixtures / "cur_pytree_ocdbt" / "ckpt", tmp_path / "out")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(self, target)

    def broken(new: Path, *_: object) -> bool:
        if swaps and new.name == "new" and out.exists():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return False

    monkeypatch.setattr(Path, "rename", failing)
    monkeypatch.setattr(swap, "_renamed", broken)
    with pytest.raises(OutputError), stage.staged(out, source=None, force=True) as new:
        (new / "half").write_text("")
    assert formats.read(formats.index(out))
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("swaps", [True, False])
def test_of_many_at_once_one_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swaps: bool) -> None:
    if not swaps:
        monkeypatch.setattr(swap, "_renamed", lambda *_: False)
    with contextlib.ExitStack() as all_of_them:
        first, *others = [stage.staged(tmp_path / "out", source=None, force=False) for _ in range(4)]
        (all_of_them.enter_context(first) / "whose").write_text("first")
        for other in others:
            (other.__enter__() / "whose").write_text("other")
    for other in others:
        with pytest.raises(OutputError, match="exists already"):
            other.__exit__(None, None, None)
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "whose").read_text() == "first"


@pytest.mark.parametrize("links", [True, False])
def test_of_two_files_at_once_one_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    if links:
        monkeypatch.setattr(swap, "_renamed", lambda *_: False)
    with pytest.raises(OutputError, match="exists already"), stage.staged_file(tmp_path / "out", force=False) as file:
        file.write(b"second")
        with stage.staged_file(tmp_path / "out", force=False) as other:
            other.write(b"first")
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out").read_bytes() == b"first"


def test_notes_that_came_while_it_was_written_are_not_replaced(fixtures: Path, tmp_path: Path) -> None:
    out = shutil.copytree(fixtures / "cur_pytree_ocdbt" / "ckpt", tmp_path / "out")
    with (
        pytest.raises(OutputError, match=r"holds more than a checkpoint \(notes.txt\)"),
        stage.staged(out, source=None, force=True) as new,
    ):
        (new / "whole").write_text("")
        (out / "notes.txt").write_text("years of work")
    assert (out / "notes.txt").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_the_place_of_a_living_writer_is_left_alone(tmp_path: Path) -> None:
    """Whatever its process id is here: in another container it is another."""
    with stage.staged(tmp_path / "out", source=None, force=False) as new:
        workplace.clear_left(tmp_path / "out")
        assert new.exists()


def test_what_dead_writers_left_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    for name in (PLACE, ".other.last-stage-0a"):
        left(tmp_path / name)
    workplace.clear_left(tmp_path / "out")
    assert [entry.name for entry in tmp_path.iterdir()] == [".other.last-stage-0a"]


@pytest.mark.parametrize(("age", "cleared"), [(0.0, False), (2 * locks.STALE, True)])
@pytest.mark.parametrize("why", ["no locks", "another host", "no lock file"])
def test_where_locks_do_not_reach_age_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str, age: float, cleared: bool
) -> None:
    left(tmp_path / PLACE)
    if why == "another host":
        (tmp_path / PLACE / "lock").write_text("other")
    elif why == "no lock file":
        (tmp_path / PLACE / "lock").unlink()
    else:
        monkeypatch.setattr(fcntl, "flock", without_locks)
    for path in (*(tmp_path / PLACE).rglob("*"), tmp_path / PLACE):
        then = path.stat().st_mtime - age
        os.utime(path, (then, then))
    workplace.clear_left(tmp_path / "out")
    assert (tmp_path / PLACE).exists() != cleared


def test_without_locks_it_is_written_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", without_locks)
    with stage.staged(tmp_path / "out", source=None, force=False) as new:
        (new / "whole").write_text("")
        workplace.clear_left(tmp_path / "out")
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_brings_back_what_a_killed_run_had_moved_aside(tmp_path: Path) -> None:
    left(tmp_path / PLACE)
    (tmp_path / PLACE / workplace.ASIDE).mkdir()
    (tmp_path / PLACE / workplace.ASIDE / "first").write_text("")
    workplace.clear_left(tmp_path / "out")
    assert [entry.name for entry in tmp_path.rglob("*")] == ["out", "first"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_read_only_output_is_replaced(fixtures: Path, tmp_path: Path) -> None:
    out = shutil.copytree(fixtures / "cur_pytree_ocdbt" / "ckpt", tmp_path / "out")
    for directory in (*(entry for entry in out.rglob("*") if entry.is_dir()), out):
        directory.chmod(0o555)
    with stage.staged(out, source=None, force=True) as new:
        (new / "whole").write_text("")
    assert [entry.name for entry in out.iterdir()] == ["whole"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_a_file_appears_by_the_same_rule(tmp_path: Path) -> None:
    left(tmp_path / PLACE)
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


def left(place: Path) -> None:
    """What a writer left that was killed while it wrote."""
    place.mkdir()
    (place / "lock").write_bytes(workplace._kernel())
    (place / "new").mkdir()
    (place / "new" / "half").write_text("")


def without_locks(*_: object) -> None:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
