"""A stamp holds digests of what was written; reading compares them where the stamp describes what is read."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import S5
from random_layers import classifier, write

import last_cli as last
from last_cli import formats
from last_cli.base.errors import CheckpointError
from last_cli.checkpoint.guess import guesses
from last_cli.formats.digests import array_digest, file_digest, name_of
from last_cli.formats.stamp import renewed

STAMP = {"schema": "last.stamp/1", "model": {"activation": "gelu"}}
BIAS = ("params", "decoder", "bias")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("whole") / "ckpt", classifier(blocks=1), STAMP)


@pytest.fixture
def ckpt(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "ckpt")


def stamp_of(path: Path) -> dict:
    return json.loads((path / "last.json").read_text())


def edit(path: Path, **entries: object) -> None:
    (path / "last.json").write_text(json.dumps(stamp_of(path) | entries))


def lie(path: Path, key: formats.Key = BIAS, place: str = "") -> None:
    """The stamp says another digest of a leaf, as if that leaf had changed."""
    written = stamp_of(path)["written"]
    written["arrays"][place][name_of(key)] = "sha256:" + "0" * 64
    edit(path, written=written)


def test_a_digest_is_of_what_an_array_holds() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    for same in (array.astype(">f4"), np.asfortranarray(array), array.copy()):
        assert array_digest(same) == array_digest(array)
    others = [array.astype(np.float64), array.reshape(3, 2), array + 1, array.view(np.int32)]
    assert len({array_digest(a) for a in (array, *others)}) == 5
    assert array_digest(3) == array_digest(np.int64(3)) != array_digest(3.0)
    assert len({name_of(key) for key in [("a", "b"), ("a/b",), ("a~1b",), ("a~b",)]}) == 4


def test_a_stamp_names_every_leaf_and_every_file(ckpt: Path) -> None:
    index = formats.index(ckpt)
    assert index.stamp == STAMP and index.written and index.written.intact and not index.warnings
    assert index.written.arrays.keys() == {""}
    assert {*index.written.arrays[""]} == {name_of(key) for key in index.leaves}
    assert {*index.written.files} == {"_METADATA", "_CHECKPOINT_METADATA", "commit_success.txt"}
    custom = json.loads((ckpt / "_CHECKPOINT_METADATA").read_text())["custom_metadata"]
    assert custom == {"last": STAMP}  # Which a trainer may carry on.


def test_a_changed_array_is_refused_where_it_is_read(ckpt: Path, tmp_path: Path) -> None:
    lie(ckpt)
    index = formats.index(ckpt)
    formats.read(index, [key for key in index.leaves if key != BIAS])
    with pytest.raises(CheckpointError, match=r"ckpt: leaf params/decoder/bias is not as `last` wrote it") as caught:
        formats.read(index)
    assert "copy it again" in caught.value.hint and "last.json" in caught.value.hint
    with pytest.raises(CheckpointError, match="leaf params/decoder/bias is not as"):
        formats.save(tmp_path / "out", source=index, changed={}, stamp=STAMP)
    assert [entry.name for entry in tmp_path.iterdir()] == ["ckpt"]
    formats.save(tmp_path / "out", source=index, changed={BIAS: np.zeros(5)}, stamp=STAMP)
    formats.read(formats.index(tmp_path / "out"))
    formats.read(formats.index(ckpt, checked=False))


def test_a_lost_leaf_is_refused_and_an_unknown_one_is_not(ckpt: Path) -> None:
    written = stamp_of(ckpt)["written"]
    known = dict(written["arrays"][""])
    del written["arrays"][""]["params/decoder/bias"]
    edit(ckpt, written=written)
    formats.read(formats.index(ckpt))
    edit(ckpt, written=written | {"arrays": {"": known | {"params/other": "sha256:0"}}})
    with pytest.raises(CheckpointError, match="leaf params/other, which `last` wrote, is not there"):
        formats.index(ckpt)


def test_digests_are_of_the_place_that_they_name(fixtures: Path, tmp_path: Path) -> None:
    """A step that a trainer saved later, or one that was copied away, is not refused for them."""
    source = formats.index(fixtures / "cur_manager_composite_qs5" / "ckpt")
    step, item, out = source.location.step, source.location.item, tmp_path / "out"
    formats.save(out, source=source, changed={}, stamp=STAMP)
    place = f"{step}/{item}"
    assert step is not None
    assert {*stamp_of(out)["written"]["arrays"]} == {f"{step}/{name}" for name in source.location.items}
    key = next(key for key, leaf in source.leaves.items() if leaf.kind == "array")
    lie(out, key, place)
    for path in (out, out / str(step), out / place):
        with pytest.raises(CheckpointError, match="is not as `last` wrote it"):
            formats.read(formats.index(path))
    shutil.copytree(out / str(step), out / str(step + 1))
    shutil.copytree(out / str(step), tmp_path / "alone")
    (out / str(step) / "last.json").write_text(json.dumps(stamp_of(out)))  # Where nothing lies at that place.
    for path in (out, tmp_path / "alone", out / str(step)):
        formats.read(formats.index(path))


def test_an_edited_stamp_is_a_warning_until_it_is_renewed(ckpt: Path) -> None:
    edit(ckpt, model={"activation": "full_glu"})
    index = formats.index(ckpt)
    assert index.stamp and index.stamp["model"] == {"activation": "full_glu"}
    assert index.written and not index.written.intact
    assert "last.json: is not as `last` wrote it" in index.warnings[0]
    (ckpt / "last.json").write_text(json.dumps(renewed(stamp_of(ckpt))))
    assert not formats.index(ckpt).warnings
    assert renewed(STAMP) == STAMP


def test_a_stamp_that_cannot_be_read_is_no_missing_one(ckpt: Path) -> None:
    file = ckpt / "last.json"
    content = file.read_text()
    file.write_text(content.replace('"model": {', '"model": ;'))
    with pytest.raises(CheckpointError, match=r"last.json: not valid JSON"):
        formats.index(ckpt)
    file.write_text("a file of somebody else")
    assert formats.index(ckpt).written is None


@pytest.mark.parametrize("place", ["../other", "/etc", "a\0b"])
def test_a_stamp_names_nothing_outside(ckpt: Path, place: str) -> None:
    edit(ckpt, written=stamp_of(ckpt)["written"] | {"files": {place: "sha256:0"}})
    with pytest.raises(CheckpointError, match="which is no path in the checkpoint"):
        formats.index(ckpt)


def test_a_stamp_without_digests_is_read_as_before(ckpt: Path, tmp_path: Path) -> None:
    old = {key: value for key, value in stamp_of(ckpt).items() if key != "written"}
    (ckpt / "last.json").write_text(json.dumps(old))
    index = formats.index(ckpt)
    assert (index.stamp, index.written, index.warnings) == (STAMP, None, ())
    formats.read(index)
    formats.save(tmp_path / "out", source=index, changed={}, stamp=STAMP)
    assert formats.index(tmp_path / "out").written
    formats.save(tmp_path / "bare", source=index, changed={}, stamp={})
    assert (tmp_path / "bare" / "last.json").read_text() == "{}"


def test_a_pipe_or_a_device_has_no_digest(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    for name in ("pipe", "device"):
        with pytest.raises(OSError, match="expected a file"):
            file_digest(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"a file of somebody else", None])
def test_a_stamp_whose_file_holds_nothing_is_not_passed_over_in_silence(tmp_path: Path, content: bytes | None) -> None:
    small = last.save(last.prune(S5, 0.5), tmp_path / "small")
    assert not last.load(small).index.warnings
    if content is None:
        (small / "last.json").unlink()
    else:
        (small / "last.json").write_bytes(content)
    found = last.load(small)
    assert found.index.stamp and found.index.written is None
    what = "is not there, though" if content is None else "holds no stamp"
    assert any(f"last.json: {what}" in line for line in last.score(found).warnings)
    for against in (None, S5):
        assert [c.name for c in last.verify(small, against).checks if not c.passed] == ["stamp as written"]
    with pytest.raises(last.UsageError, match="max_error would judge by a guess: discretization = "):
        last.prune(found, max_error=0.5)
    if content not in (None, b"{}"):  # `last config` writes over nothing that it cannot read.
        return
    last.config(small, activation=found.config.activation)
    assert last.load(small).index.lost is None and not guesses(last.load(small))
