"""Damaged checkpoints: an error in words, whatever was done to the files; never a crash, never half an output."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from last_cli import checkpoint
from last_cli.errors import LastError

NAMES = [
    "cur_flax_orbax_lobs5pred",
    "cur_manager_composite_qs5",
    "cur_msgpack_to_bytes_aire",
    "cur_pytree_noocdbt",
    "cur_pytree_zarr3",
    "cur_standard_params",
    "cur_v1_save_pytree",
    "o01125_manager_composite_qs5",
    "o01125_rich_types",
    "o027_pytree_default",
    "o048_flax_trainstate",
    "o048_standard",
]
VALUES = [None, 0, -1, 1e308, 10**12, "", "x", "../../etc", [], {}, [1], {"a": 1}, True, [10**9, 10**9]]


@settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data(), name=st.sampled_from(NAMES))
def test_damage_is_an_error_in_words_or_harmless(fixtures: Path, data: st.DataObject, name: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = shutil.copytree(fixtures / name / "ckpt", Path(directory) / "ckpt")
        files = sorted(file for file in path.rglob("*") if file.is_file())
        damage(data, data.draw(st.sampled_from(files)))
        out = Path(directory) / "out"
        try:
            source = checkpoint.index(path)
            arrays = checkpoint.read(source)
            changed = arrays if data.draw(st.booleans()) else {}
            checkpoint.save(out, source=source, changed=changed, stamp={})
        except LastError as error:
            assert error.message
            assert not out.exists()
        else:
            again = checkpoint.read(checkpoint.index(out))
            assert {key: array.tobytes() for key, array in again.items()} == {
                key: array.tobytes() for key, array in arrays.items()
            }
        assert not list(Path(directory).glob(".*"))


def damage(data: st.DataObject, file: Path) -> None:
    """Changes `file` as disks, copies and editors do."""
    content = file.read_bytes()
    ways = ["remove", "cut", "flip", "grow"] + ["edit"] * 3 * _is_json(content)
    match data.draw(st.sampled_from(ways)):
        case "remove":
            file.unlink()
        case "cut":
            file.write_bytes(content[: data.draw(st.integers(0, max(0, len(content) - 1)))])
        case "grow":
            file.write_bytes(content + data.draw(st.binary(min_size=1, max_size=8)))
        case "flip" if content:
            position = data.draw(st.integers(0, len(content) - 1))
            flipped = content[position] ^ data.draw(st.integers(1, 255))
            file.write_bytes(content[:position] + bytes([flipped]) + content[position + 1 :])
        case "edit":
            file.write_text(json.dumps(_edit(data, json.loads(content))))


def _edit(data: st.DataObject, node: Any) -> Any:
    """Removes or replaces one value somewhere in `node`."""
    if isinstance(node, (dict, list)) and node:
        keys = sorted(node) if isinstance(node, dict) else range(len(node))
        key = data.draw(st.sampled_from(keys))
        way = data.draw(st.sampled_from(["deeper", "deeper", "deeper", "remove", "replace"]))
        if way == "deeper":
            node[key] = _edit(data, node[key])
        elif way == "remove":
            del node[key]
        else:
            node[key] = data.draw(st.sampled_from(VALUES))
        return node
    return data.draw(st.sampled_from(VALUES))


def _is_json(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content), dict)
    except ValueError:
        return False
