"""`last schema` describes what the commands print; `commands.data` holds every object that tests read against it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import S5, Run, data, fails
from schemas import schema_of, violations

from last_cli.base.registry import RESULTS
from last_cli.cli.app import COMMANDS

WITHOUT = {"demo", "schema"}  # they print no result
QUICK = [
    ["score", S5, "--ratio", "0.3", "--per-state"],
    ["prune", S5, "--ratio", "0.3", "--dry-run"],
    ["inspect", S5],
    ["config", S5],
    ["list"],
    ["list", "tasks"],
    ["explain"],
    ["explain", "json"],
    ["cache", "list"],
]


def test_every_command_has_a_schema() -> None:
    assert RESULTS.keys() == COMMANDS.keys() - WITHOUT


@pytest.mark.parametrize("command", RESULTS)
def test_a_schema_says_what_every_key_is(run: Run, command: str) -> None:
    code, out, _ = run("schema", command)
    schema = json.loads(out)
    assert code == 0 and schema == schema_of(f"last.{command}/1")
    assert schema["title"] == f"last.{command}/1" and {"schema", "last"} <= set(schema["required"])
    assert [key for key, said in schema["properties"].items() if not said.get("description")] == []


@pytest.mark.parametrize("arguments", QUICK, ids=" ".join)
def test_outputs_are_as_their_schema_says(run: Run, arguments: list[str]) -> None:
    assert data(run, *arguments)["schema"] == f"last.{arguments[0]}/1"


def test_what_was_written_is_verified_and_compared_as_the_schemas_say(run: Run, tmp_path: Path) -> None:
    small = tmp_path / "small"
    assert data(run, "prune", S5, "--ratio", "0.3", "-o", small)["output"] == str(small)
    assert data(run, "verify", small, "--against", S5)["passed"]
    assert not data(run, "diff", S5, small, code=1)["same"]


def test_what_a_schema_does_not_allow_is_seen(run: Run) -> None:
    found = data(run, "cache", "list")
    assert violations({**found, "bytes": "8"}) == ["last.cache/1.bytes is '8', expected integer"]
    assert violations({**found, "more": 1}) == ["last.cache/1.more is not in the schema"]
    assert violations({key: found[key] for key in found if key != "path"}) == ["last.cache/1.path is missing"]


def test_a_misspelt_command_gets_a_suggestion(run: Run) -> None:
    lines = fails(run, "schema", "evla")
    assert lines[0] == "error: the output of 'evla' has no schema" and "did you mean 'eval'?" in lines[1]
