"""`last inspect`, `last verify`, `last diff`, `last list` and `last demo`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from last_cli.cli.app import app
from last_cli.cli.options import Ckpt, FormatOption, Item, Quiet, Step, Verbose
from last_cli.cli.shared import load, tell, tell_all


@app.command(epilog="Example:  last inspect ckpt/\n\nExample:  last inspect ckpt/ --tree")
def inspect(
    ckpt: Ckpt,
    tree: Annotated[bool, typer.Option("--tree", help="List every leaf.", show_default="no")] = False,
    step: Step = None,
    item: Item = None,
    form: FormatOption = "table",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """What is in a checkpoint, from its metadata alone."""
    from last_cli.checkpoint.inspect import inspect as look
    from last_cli.display.inspect import show_inspect

    found = look(ckpt, step=step, item=item)
    show_inspect(found, form, tree)
    tell_all(found.notes, "warning")


@app.command(
    epilog="Example:  last verify pruned/ --against ckpt/\n\n"
    "Example:  last verify pruned/ --against ckpt/ --format md >> summary.md"
)
def verify(
    pruned: Annotated[Path, typer.Argument(metavar="PRUNED", help="What `last prune` wrote.", show_default=False)],
    against: Annotated[
        Path, typer.Option(metavar="CKPT", help="The checkpoint that it was made from.", show_default=False)
    ],
    form: FormatOption = "table",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Check a pruned checkpoint against its source; exit 1 if anything is not as its stamp says."""
    from last_cli.display.compare import show_verify
    from last_cli.pruning.verify import verify as check

    result = check(load(pruned, None, None, None, quiet), load(against, None, None, None, quiet))
    show_verify(result, form)
    tell("PASS" if result.passed else "FAIL", quiet, "ok" if result.passed else "error")
    raise typer.Exit(0 if result.passed else 1)


@app.command(epilog="Example:  last diff ckpt/ pruned/\n\nExample:  last diff runs/3 runs/4 --format json")
def diff(
    one: Annotated[Path, typer.Argument(metavar="A", help="A checkpoint.", show_default=False)],
    other: Annotated[Path, typer.Argument(metavar="B", help="Another.", show_default=False)],
    form: FormatOption = "table",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """States, norms, parameters and configuration of two checkpoints; exit 1 if they differ."""
    from last_cli.checkpoint.diff import diff as compare
    from last_cli.display.compare import diff_lines, show_diff

    result = compare(load(one, None, None, None, quiet), load(other, None, None, None, quiet))
    show_diff(result, form)
    for line in diff_lines(result):
        tell(line, quiet)
    raise typer.Exit(0 if result.same else 1)


@app.command("list", epilog="Example:  last list criteria\n\nExample:  last list tasks --format json")
def list_(
    kind: Annotated[
        Literal["criteria", "families", "tasks", "presets"],
        typer.Argument(metavar="KIND", help="criteria, families, tasks or presets.", show_default=False),
    ],
    form: FormatOption = "table",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Criteria, families, tasks or presets, each with a line about it."""
    from last_cli.display.inspect import show_list

    show_list(kind, form)


@app.command(epilog="Example:  last demo\n\nExample:  last demo --ratio 0.5")
def demo(
    ratio: Annotated[float, typer.Option(help="Share of all states to remove.")] = 0.33,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Score, prune and evaluate a bundled checkpoint, in a temporary directory."""
    from last_cli.cli import main
    from last_cli.cli.demo import run

    raise typer.Exit(run(ratio, quiet, main))
