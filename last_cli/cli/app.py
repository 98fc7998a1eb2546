"""The program itself: its name, its root options, and how a command becomes part of it."""

import inspect
import sys
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from last_cli.base.errors import Interrupted
from last_cli.base.version import __version__
from last_cli.cli.expand import expand
from last_cli.cli.options import GENERAL, GROUPS

Function = TypeVar("Function", bound=Callable[..., None])

COMMANDS: dict[str, tuple[Callable[..., None], str]] = {}
"""By name: what it runs, and the end of its help page."""


class Program(TyperGroup):
    """Makes the options of the one command that is called: the help page and suggestions need names and docstrings."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The root's own options."""
        return _without_types_of_flags(super().get_params(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command's name, the command, and the arguments that are left."""
        name, found, rest = super().resolve_command(ctx, args)
        return name, found and built(found.name), rest

    def invoke(self, ctx: Any) -> Any:
        """Runs the command; what an interrupt says of how to go on would be lost in the parser."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            raise Interrupted(stop) from stop


class GroupedCommand(TyperCommand):
    """A command whose help page shows its options in groups, in the order of GROUPS; what is in none is general."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The arguments, then the options group by group."""
        params = _without_types_of_flags(super().get_params(ctx))
        for param in params:
            if param.param_type_name == "option":
                param.rich_help_panel = param.rich_help_panel or GENERAL  # pyright: ignore[reportAttributeAccessIssue]
            elif param.nargs != 1:
                param.display_type_rich = _no_type  # of a list, Python's name
        return sorted(params, key=_place)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """What is required stands bare, as in manuals; braces would announce a choice."""
        return [piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)]


app = typer.Typer(
    name="last",
    cls=Program,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    help="Score, prune and evaluate trained state-space models: S5, S4D, Mamba-1 and Mamba-2.",
    epilog="Example:  last score ckpt/\n\nExample:  last prune ckpt/ --ratio 0.33\n\n"
    "Example:  last eval pruned/ --task listops --baseline ckpt/",
)


def command(*examples: str, name: str | None = None) -> Callable[[Function], Function]:
    """Make a function a command: its parameters, and the fields of those that are dataclasses, are its flags.

    Args:
        examples: command lines that the help page ends with.
        name: what it is called; by default as the function is.
    """

    def register(function: Function) -> Function:
        called = name or function.__name__
        COMMANDS[called] = function, "\n\n".join(f"Example:  {example}" for example in examples)
        app.command(called, help=inspect.getdoc(function))(_listed)
        return function

    return register


@cache
def built(name: str) -> Any:
    """The command of that name with all its options."""
    function, epilog = COMMANDS[name]
    alone = typer.Typer(add_completion=False)
    alone.command(name, cls=GroupedCommand, epilog=epilog)(expand(function))
    return get_command(alone)


def _listed() -> None:
    """Stands for a command where only its name and help are asked for."""


def _without_types_of_flags(params: list[Any]) -> list[Any]:
    """A flag takes no value: its help names no type."""
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""
    return params


def _no_type(ctx: Any) -> None:
    """Shows a name without a type."""


def _place(param: Any) -> int:
    return GROUPS.index(param.rich_help_panel) if param.param_type_name == "option" else -1


def _version(shown: bool) -> bool:
    if shown:
        sys.stdout.write(f"last {__version__}\n")
        raise typer.Exit
    return shown


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Score, prune and evaluate trained state-space models: S5, S4D, Mamba-1 and Mamba-2."""
