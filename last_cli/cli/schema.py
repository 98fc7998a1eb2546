"""`last schema`."""

import sys
from typing import Annotated

import typer

from last_cli.cli.app import command
from last_cli.cli.options import General


def _names(incomplete: str) -> list[str]:
    """What a shell offers."""
    from last_cli.base.registry import RESULTS

    return [name for name in RESULTS if name.startswith(incomplete)]


@command("last schema eval", "last schema sweep > sweep.schema.json")
def schema(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A command's name.", show_default=False, autocompletion=_names)
    ],
    *,
    general: General,
) -> None:
    """Print the JSON Schema of what a command writes with --format json."""
    import json

    from last_cli.base import registry
    from last_cli.base.json_schema import json_schema

    sys.stdout.write(json.dumps(json_schema(registry.result_of(name)), indent=2, ensure_ascii=False) + "\n")
