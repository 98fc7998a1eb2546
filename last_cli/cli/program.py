"""A command line from its arguments to its exit code."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import typer
from typer.main import get_command

from last_cli.base.errors import Interrupted, LastError, UsageError, spelling
from last_cli.base.signals import came
from last_cli.cli.app import COMMANDS, app
from last_cli.cli.flags import as_flags
from last_cli.display.escape import plain

_REPORT = "run it again with -v for the traceback, and report it"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code: 0 fine, 1 the answer is no, 2 an error, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    with spelling(as_flags):
        return _run(arguments)


def _run(arguments: Sequence[str]) -> int:
    try:
        code = int(_parser()(arguments, prog_name=_called(), standalone_mode=False) or 0)
        return _fail(Interrupted(KeyboardInterrupt()), arguments) if code == 130 else code
    except LastError as error:
        return _fail(error, arguments)
    except KeyboardInterrupt as stop:
        return _fail(Interrupted(stop), arguments)
    except typer.Exit as stop:
        return stop.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except typer.Abort:  # the parser's word for the end of a file
        return _fail(LastError("internal error: EOFError: a file ended before its end", _REPORT), arguments)
    except Exception as error:
        if not hasattr(error, "format_message"):
            kind = type(error).__name__
            message = f"internal error: {kind}: {str(error).splitlines()[0] if str(error) else 'no message'}"
            return _fail(LastError(message, _REPORT), arguments)
        message = _plainly(error.format_message())  # pyright: ignore[reportAttributeAccessIssue]
        if not message:  # no arguments at all: the help was shown
            return 2
        command = next((a for a in arguments if a in COMMANDS), "")
        return _fail(
            UsageError(message[:1].lower() + message[1:], f"last {command} --help".replace("  ", " ")), arguments
        )


def _plainly(said: str) -> str:
    """The parser's message on one line, in our words."""
    said = re.sub(r", unable to parse[^.]*", "", said.replace("\n", " ").replace("Value error, ", ""))
    return (
        said.replace("Input should be a valid", "expected a valid")
        .replace("Input should be", "expected a value")
        .removesuffix(".")
    )


def _called() -> str:
    """The program's name, by which a shell also asks for completions."""
    return "last-cli" if Path(sys.argv[0]).stem == "last-cli" else "last"


@cache
def _parser() -> Callable[..., Any]:
    """Made once: `last demo` runs several command lines."""
    return get_command(app)


def _fail(error: LastError, arguments: Sequence[str]) -> int:
    if came() and not isinstance(error, Interrupted):
        error = Interrupted(error)  # An import, or a callback, made an error of its own of it.
    if os.environ.get("LAST_DEBUG") == "1" or {"-v", "--verbose"} & set(arguments):
        sys.stderr.writelines(f"{plain(line)}\n" for line in traceback.format_exc().splitlines())
    sys.stderr.write(f"error: {plain(error.message)}\n")
    if error.hint:
        sys.stderr.write(f"hint: {plain(error.hint)}\n")
    return error.code
