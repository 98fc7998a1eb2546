"""Damaged checkpoints: an error in words, whatever was done to the files; never a crash, never half an output."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from language_models import directories
from random_layers import classifier, write

import last_cli as last
from last_cli import formats
from last_cli.base.errors import LastError
from last_cli.cli import main
from last_cli.formats import STAMP_FILE

NAMES = [
    "bad_missing_metadata",
    "cur_flax_orbax_lobs5pred",
    "cur_flax_orbax_trainstate",
    "cur_manager_composite_qs5",
    "cur_msgpack_to_bytes_aire",
    "cur_pytree_noocdbt",
    "cur_pytree_zarr3",
    "cur_nnx_pure_dict",
    "cur_standard_params",
    "cur_trainstate_adam_chain",
    "cur_v1_save_checkpointables",
    "cur_v1_save_pytree",
    "o01125_manager_composite_qs5",
    "o01125_rich_types",
    "o027_pytree_default",
    "o048_flax_trainstate",
    "o048_standard",
    "o064_flax_trainstate",
    "shard8_zarr3_chunked",
]
MODELS = ["hf_bf16_sharded", "ssm_bf16", "mil_base"]
"""Model directories."""

VALUES = [None, 0, -1, 1e308, 10**12, "", "x", "../../etc", [], {}, [1], {"a": 1}, True, [10**9, 10**9]]


slow = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
found = [Phase.explicit, Phase.generate]
"""The first case tells all: to look for the smallest file takes minutes."""


@pytest.mark.parametrize("names", [NAMES, MODELS], ids=["trees", "models"])
@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=slow, phases=found)
@given(data=st.data())
def test_damage_is_an_error_in_words_or_harmless(fixtures: Path, data: st.DataObject, names: list[str]) -> None:
    name = data.draw(st.sampled_from(names))
    with damaged(fixtures, data, name) as (path, ways):
        out = path.with_name("out")
        try:
            source = formats.index(path)
            arrays = formats.read(source)
            changed = arrays if data.draw(st.booleans()) else {}
            formats.save(out, source=source, changed=changed, stamp={})
        except LastError as error:
            assert error.message
            assert not out.exists()
        else:
            assert encoded(formats.read(formats.index(out))) == encoded(arrays)
            if "flip" not in ways:  # Data have no checksum everywhere.
                assert source.warnings or encoded(arrays) == encoded(whole(fixtures, name))
        assert not list(path.parent.glob(".*"))


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=slow, phases=found)
@given(data=st.data(), name=st.sampled_from(NAMES))
def test_commands_say_so_in_two_lines_and_leave_nothing(fixtures: Path, data: st.DataObject, name: str) -> None:
    expect_words(fixtures, data, name)


@settings(max_examples=5, deadline=None, derandomize=True, suppress_health_check=slow, phases=found)
@given(data=st.data(), name=st.sampled_from(MODELS))
def test_so_they_do_of_a_model_directory(fixtures: Path, data: st.DataObject, name: str) -> None:
    expect_words(fixtures, data, name)


def expect_words(fixtures: Path, data: st.DataObject, name: str) -> None:
    with damaged(fixtures, data, name) as (path, _):
        for command in (["inspect"], ["score"], ["prune", "--ratio", "0.3", "-q", "-o", str(path.with_name("out"))]):
            err, out = io.StringIO(), io.StringIO()
            with contextlib.redirect_stderr(err), contextlib.redirect_stdout(out):
                code = main([*command, str(path)])
            assert "Traceback" not in err.getvalue() and "internal error" not in err.getvalue()
            if code:
                *_, error, hint = err.getvalue().splitlines()
                assert (code, error[:7], hint[:6]) == (2, "error: ", "hint: ")
                assert not out.getvalue()
            if command[0] == "prune":
                left = sorted(entry.name for entry in path.parent.iterdir())
                assert left == (["ckpt"] if code else ["ckpt", "out"])


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=slow, phases=found)
@given(data=st.data())
def test_an_edited_stamp_is_an_error_in_two_lines_or_harmless(stamped: Path, run: Run, data: st.DataObject) -> None:
    file = stamped / STAMP_FILE
    whole = file.read_bytes()
    try:
        file.write_text(json.dumps(_edit(data, json.loads(whole))))
        for command in (
            ["inspect"],
            ["score"],
            ["prune", "--ratio", "0.3", "-n"],
            ["verify", "--against", stamped.with_name("ckpt")],
        ):
            code, _, err = run(*command, stamped, "-q")
            assert "Traceback" not in err and "internal error" not in err
            assert code in (0, 1, 2)
    finally:
        file.write_bytes(whole)


@pytest.fixture(scope="module")
def stamped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pruned checkpoint: its stamp knows a task, a training and a pruning."""
    path = tmp_path_factory.mktemp("stamped")
    stamp = {
        "task": {"name": "digits", "vocabulary": ["a"]},
        "training": {"steps": 3, "recipe": "x", "accuracy": {"test": 0.5}},
    }
    write(path / "ckpt", classifier(blocks=1), stamp)
    last.save(last.prune(last.load(path / "ckpt"), 0.5), path / "pruned")
    return path / "pruned"


@contextlib.contextmanager
def damaged(fixtures: Path, data: st.DataObject, name: str) -> Iterator[tuple[Path, list[str]]]:
    """A copy of a fixture with one or two of its files changed, and how."""
    with tempfile.TemporaryDirectory() as directory:
        path = shutil.copytree(undamaged(fixtures, name), Path(directory) / "ckpt")
        ways = []
        for _ in range(data.draw(st.sampled_from([1, 1, 1, 2]))):
            if files := sorted(file for file in path.rglob("*") if file.is_file()):
                ways.append(damage(data, data.draw(st.sampled_from(files))))
        yield path, ways


@cache
def whole(fixtures: Path, name: str) -> dict[formats.Key, np.ndarray]:
    return formats.read(formats.index(undamaged(fixtures, name)))


def undamaged(fixtures: Path, name: str) -> Path:
    return directories() / name / "checkpoint" if name in MODELS else fixtures / name / "ckpt"


def encoded(arrays: Mapping[formats.Key, np.ndarray]) -> dict[formats.Key, tuple[str, tuple[int, ...], bytes]]:
    return {key: (array.dtype.name, array.shape, array.tobytes()) for key, array in arrays.items()}


def damage(data: st.DataObject, file: Path) -> str:
    """Changes `file` as disks, copies and editors do, and says how."""
    content = file.read_bytes()
    ways = ["remove", "cut", "flip", "grow"] + ["edit"] * 3 * _is_json(content)
    way = data.draw(st.sampled_from(ways))
    match way:
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
    return way


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
