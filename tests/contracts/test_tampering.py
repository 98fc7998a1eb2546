"""`last verify` sees one-bit changes of whatever `last` wrote, and reading refuses arrays that changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tampering import LAYOUTS, MODELS, WAYS, changes, flipped, pruned_model

import last_cli as last
from last_cli import formats
from last_cli.base.errors import CheckpointError, LastError

FLIPS = 3  # Of 200 that tests/support/tampering.py tries.

# The layouts that are written today, each with another way of pruning.
KINDS = [(name, [*WAYS][i % len(WAYS)]) for i, name in enumerate(LAYOUTS[:5])]


@pytest.mark.parametrize(("name", "way"), KINDS)
def test_verify_sees_one_changed_bit(fixtures: Path, tmp_path: Path, name: str, way: str) -> None:
    out = last.save(last.prune(fixtures / name / "ckpt", 0.4, **WAYS[way]), tmp_path / "out")
    report = last.verify(out)
    assert report.passed, report.checks
    assert (report.against, report.warnings) == (None, [])
    assert [change for change, seen in changes(out, FLIPS) if not seen] == []


@pytest.mark.parametrize("name", MODELS)
def test_verify_sees_one_changed_bit_of_a_model_directory(tmp_path: Path, name: str) -> None:
    out = pruned_model(name, tmp_path)
    assert last.verify(out).passed
    assert [change for change, seen in changes(out, 2 * FLIPS) if not seen] == []
    (out / "tokenizer.json").unlink()
    assert not last.verify(out).passed


@pytest.mark.parametrize("name", ["cur_pytree_noocdbt", "cur_msgpack_to_bytes_aire"])
def test_no_changed_array_is_read(fixtures: Path, tmp_path: Path, name: str) -> None:
    """Nor copied: what reads and prunes says no, naming a leaf or a file."""
    out = last.save(last.prune(fixtures / name / "ckpt", 0.4), tmp_path / "out")
    whole = _arrays(out)
    data = max((file for file in out.rglob("*") if file.is_file() and file.name != "last.json"), key=_size)
    rng, refused = np.random.default_rng(0), 0
    for bit in rng.integers(_size(data) * 8, size=6).tolist():
        with flipped(data, bit):
            try:
                found = formats.read(formats.index(out))
            except CheckpointError as error:
                assert str(out) in error.message and error.hint
                with pytest.raises(LastError):
                    index = formats.index(out)
                    formats.save(tmp_path / "again", source=index, changed={}, stamp=dict(index.stamp or {}))
                assert sorted(entry.name for entry in tmp_path.iterdir()) == ["out"]
                refused += 1
            else:
                assert {key: array.tobytes() for key, array in found.items()} == whole
                shutil.rmtree(tmp_path / "again", ignore_errors=True)
    assert refused


def _arrays(path: Path) -> dict[formats.Key, bytes]:
    return {key: array.tobytes() for key, array in formats.read(formats.index(path)).items()}


def _size(file: Path) -> int:
    return file.stat().st_size
