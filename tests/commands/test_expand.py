"""Dataclasses of options become flags, and come back filled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer
from typer.testing import CliRunner

from last_cli.cli.expand import expand


@dataclass(frozen=True)
class Amount:
    count: Annotated[int, typer.Option("--count", "-c", min=1, help="How many go.")] = 3
    way: Annotated[Literal["fast", "exact"], typer.Option(help="In which way.")] = "fast"
    limit: Annotated[float | None, typer.Option(help="At most.", show_default="no limit")] = None


@dataclass(frozen=True)
class Switches:
    before: Annotated[bool | None, typer.Option("--before/--after", help="Where it stands.")] = None
    strict: Annotated[bool, typer.Option("--strict", help="Hold it.")] = False


@dataclass(frozen=True)
class Where(Switches):
    """With a required field of its own kind, a list, and a field without Typer's words."""

    strict: Annotated[bool, typer.Option("--severe", help="Hold it harder.")] = False
    paths: Annotated[list[Path], typer.Option("--path", help="Where.")] = field(default_factory=list)
    plain: str = "plain"


@dataclass(frozen=True)
class Task:
    task: Annotated[str, typer.Option(help="The task.", show_default=False)]


def work(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Which.")],
    amount: Amount,
    *,
    loud: Annotated[bool, typer.Option("--loud", "-l", help="Say more.")] = False,
    task: Task,
    where: Where,
) -> None:
    """Do the work."""
    seen.append((names, amount, loud, task, where))


seen: list[tuple[Any, ...]] = []

Answer = tuple[int, str, tuple[Any, ...] | None]


@pytest.fixture
def call() -> Callable[..., Answer]:
    """Runs a command line; returns exit code, output, and what the command was called with."""
    app = typer.Typer()
    app.command(epilog="Example:  work a")(expand(work))

    def run(*arguments: str) -> Answer:
        seen.clear()
        result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})
        return result.exit_code, result.output, seen[0] if seen else None

    return run


def test_without_flags_the_dataclasses_have_their_defaults(call: Callable[..., Answer]) -> None:
    code, _, called = call("a", "--task", "t")
    assert code == 0
    assert called == (["a"], Amount(), False, Task("t"), Where())


def test_flags_reach_the_dataclass_that_has_the_field(call: Callable[..., Answer]) -> None:
    flags = ["--count", "5", "--way", "exact", "--limit", "0.5", "--after", "--severe", "--path", "x", "--path", "y/z"]
    code, _, called = call("a", "b", *flags, "-l", "--plain", "other", "--task", "t")
    assert code == 0
    where = Where(before=False, strict=True, paths=[Path("x"), Path("y/z")], plain="other")
    assert called == (["a", "b"], Amount(5, "exact", 0.5), True, Task("t"), where)
    assert call("-c", "7", "--before", "a", "--task", "t")[2] == (
        ["a"],
        Amount(7),
        False,
        Task("t"),
        Where(before=True),
    )


def test_a_list_is_made_anew_for_each_call(call: Callable[..., Answer]) -> None:
    for path in "xy":
        _, _, called = call("a", "--task", "t", "--path", path)
        assert called is not None
        assert called[-1].paths == [Path(path)]


def test_the_help_says_of_each_field_what_its_option_says(call: Callable[..., Answer]) -> None:
    code, page, _ = call("--help")
    assert code == 0
    assert "Do the work." in page
    rows = [" ".join(line.strip("│* ").split()) for line in page.splitlines() if line.startswith("│")]
    shown = {row.split()[0].split(",")[0]: row for row in rows}
    assert "-c" in shown["--count"]
    assert "[x>=1] How many go. [default: 3]" in shown["--count"]
    assert "<fast|exact> In which way. [default: fast]" in shown["--way"]
    assert "At most. [default: (no limit)]" in shown["--limit"]
    assert "--after" in shown["--before"]
    assert "Hold it harder." in shown["--severe"]
    assert "--strict" not in page
    assert "[default: plain]" in shown["--plain"]
    assert "The task. [required]" in shown["--task"]
    assert "Which. [required]" in shown["NAME..."]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "t"], "Missing argument"),
        (["a"], "Missing option '--task'"),
        (["a", "--task", "t", "--count", "0"], "'--count'"),
        (["a", "--task", "t", "--way", "slow"], "'slow' is not one of 'fast', 'exact'"),
        (["a", "--task", "t", "--limit", "x"], "'--limit'"),
        (["a", "--task", "t", "--severest"], "No such option"),
    ],
)
def test_errors_name_the_flag(call: Callable[..., Answer], arguments: list[str], message: str) -> None:
    code, page, called = call(*arguments)
    assert code == 2
    assert called is None
    assert message in page


def test_two_options_of_one_name_are_refused() -> None:
    def twice(amount: Amount, count: int = 1) -> None: ...

    with pytest.raises(ValueError, match="duplicate parameter name: 'count'"):
        expand(twice)
    with pytest.raises(ValueError, match="duplicate parameter name: 'before'"):
        expand(_both)


def _both(one: Switches, other: Where) -> None: ...


def test_the_command_itself_stays_as_it_is() -> None:
    made = expand(work)
    assert (made.__name__, made.__doc__) == ("work", "Do the work.")
    seen.clear()
    work(["a"], Amount(2), task=Task("t"), where=Where())
    made(names=["a"], loud=False, task="t", **vars(Amount(2)), **vars(Where()))
    assert seen[0] == seen[1]
