"""The documentation: every page is shown, and speaks of commands, options and files that exist."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from commands import Run, fails

from last_cli.base.json_schema import json_schema
from last_cli.base.registry import RESULTS, result_of
from last_cli.cli.app import COMMANDS, built
from last_cli.display.explain import topics

ROOT = Path(__file__).parents[2]
PAGES = {topic: ROOT / "last_cli" / "explain" / f"{topic}.md" for topic in topics()}
TEXTS = {**PAGES, "README": ROOT / "README.md"}
# Also those of scripts that the pages name.
OTHERS = {"--help", "--start", "--steps", "--out", "--runs", "--repeat", "--minutes", "--part", "--weights"}


def options() -> set[str]:
    """Every option of every command."""
    return {
        name for command in COMMANDS for param in built(command).params for name in (*param.opts, *param.secondary_opts)
    }


@pytest.mark.parametrize("topic", PAGES)
def test_a_page_is_shown_as_it_is_where_nobody_reads_along(run: Run, topic: str) -> None:
    assert run("explain", topic)[:2] == (0, PAGES[topic].read_text())
    assert json.loads(run("explain", topic, "--format", "json")[1])["text"] == PAGES[topic].read_text()


def test_the_topics_are_listed(run: Run) -> None:
    code, out, _ = run("explain")
    assert code == 0 and all(
        re.search(rf"^ {topic} +{re.escape(title)}", out, re.M) for topic, title in topics().items()
    )


def test_a_misspelt_topic_gets_a_suggestion(run: Run) -> None:
    lines = fails(run, "explain", "metods")
    assert lines == [
        "error: no page about 'metods'",
        f"hint: did you mean 'methods'? the topics are {', '.join(PAGES)}",
    ]


@pytest.mark.parametrize("name", TEXTS)
def test_what_a_page_names_is_there(name: str) -> None:
    text = TEXTS[name].read_text()
    used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
    assert used - options() - OTHERS == set()
    assert set(re.findall(r"`last ([a-z]+)", text)) <= {*COMMANDS}
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("http")]
    assert [link for link in links if not (TEXTS[name].parent / link.partition("#")[0]).exists()] == []


LINES = {
    f"{name}: {line}": line
    for name, path in TEXTS.items()
    for block in re.findall(r"^ *```(?:sh|yaml|text)\n(.*?)^ *```", path.read_text(), re.M | re.S)
    for line in re.findall(r"^(?:[ $-]|run:)*last ([^#\n>|]+)", block, re.M)
} | {
    f"{name} --help: {line}": line
    for name, (_, examples) in COMMANDS.items()
    for line in re.findall(r"^Example:  last ([^#\n>|]+)", examples, re.M)
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_every_command_line_is_parsed_as_written(line: str) -> None:
    command, *arguments = shlex.split(line)
    assert built(command).make_context(command, arguments)


@pytest.mark.parametrize("command", RESULTS)
def test_the_page_about_json_names_every_key(command: str) -> None:
    rows = [line.split("|") for line in TEXTS["json"].read_text().splitlines() if line.startswith("| `last.")]
    (row,) = (keys for _, names, keys, _ in rows if f"`last.{command}/1`" in names)
    row += "".join(keys for _, names, keys, _ in rows if (other := names.strip()) and other in row)
    schema = json_schema(result_of(command))
    keys = {key for one in (schema, *schema["$defs"].values()) for key in one["properties"]}
    everywhere = {"schema", "last", "checkpoint", "path", "digest", "step", "layout", "item"}
    assert keys - everywhere <= set(re.findall(r"`(\w+)(?:\[\])?`", row))


def test_the_readme_is_read_in_one_sitting() -> None:
    assert len(TEXTS["README"].read_text().splitlines()) <= 200
