"""The checkpoints in tests/data/checkpoints: 112 as libraries of many versions wrote them, whole, edited and broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).parents[1] / "data" / "checkpoints"
MANIFEST: dict[str, Any] = {
    entry["name"]: entry for entry in json.loads((DATA / "manifest.json").read_text())["fixtures"]
}

# What cannot be read, and what the error must say about it.
UNREADABLE = {
    "bad_empty_dir": "empty directory",
    "bad_garbage_metadata_json": "_METADATA: not valid JSON",
    "bad_legacy_aggregate_truncated": "checkpoint_2/checkpoint: the msgpack file is truncated",
    "bad_missing_manifest": r"manifest.ocdbt\) is missing.*ocdbt.process_0/manifest.ocdbt exists: recoverable",
    "bad_missing_manifest_all": r"manifest.ocdbt\) is missing",
    "bad_missing_path": "no such file or directory",
    "bad_missing_zarr_chunk": r"leaf params.encoder.layers_1.seq.B: chunk .* is missing; it would be read as zeros",
    "bad_not_a_checkpoint": "nor an Orbax or Flax checkpoint: no _METADATA, manifest.ocdbt, checkpoint, step",
    "bad_only_tmp_step": "no committed step; found only the uncommitted 3.orbax-checkpoint-tmp-1700000000",
    "bad_pickle_file": "a pickle file; refused, because loading it runs code",
    "bad_truncated_data_file": r": d/\w+ is truncated \(4682 bytes, 9365 expected\)",
    "bad_truncated_msgpack": "best_state.msgpack: the msgpack file is truncated",
}
# What is recovered, with a warning.
RECOVERED = ["bad_missing_metadata"]
READABLE = [name for name in MANIFEST if name not in UNREADABLE and name not in RECOVERED]


def paths_of(names: list[str]) -> list[tuple[str, str]]:
    """Each fixture with each of the paths by which a user may name it."""
    return [(name, path) for name in names for path in MANIFEST[name]["user_paths"]]


def whole_ones(names: list[str]) -> list[tuple[str, str]]:
    """Each fixture by its first path, and of one run every path: others lead to a part in the same way."""
    first = {name: MANIFEST[name]["user_paths"][0] for name in names}
    run = "cur_manager_composite_qs5"
    return [(name, path) for name, path in paths_of(names) if name == run or path == first[name]]


def expected(fixture: Path) -> dict[str, np.ndarray]:
    """The arrays that were written, by path joined with `/`, in the dtypes that were written."""
    with np.load(fixture / "expected.npz") as stored:
        dtypes = json.loads(str(stored["__dtypes__"]))
        arrays = {name: stored[name] for name in stored.files if not name.startswith("__")}
    return {name: _restore(array, dtypes.get(name, array.dtype.name)) for name, array in arrays.items()}


def expected_others(fixture: Path) -> dict[str, Any]:
    """The leaves that numpy does not hold: strings and None."""
    with np.load(fixture / "expected.npz") as stored:
        return json.loads(str(stored["__other__"]))


def _restore(array: np.ndarray, dtype: str) -> np.ndarray:
    """numpy files hold bfloat16 as raw bytes."""
    if array.dtype.name == dtype:
        return array
    return array.view(dtype) if array.dtype.itemsize == np.dtype(dtype).itemsize else array.astype(dtype)
