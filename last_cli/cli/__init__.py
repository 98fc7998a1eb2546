"""The commands: parse, one call of the API, show."""

from last_cli.cli.app import app
from last_cli.cli.program import main

# Each registers its command, in the order of the help page.
from last_cli.cli import score, prune, tune, eval, sweep, compare, bench, inspect, config, verify  # noqa: F401  # isort: skip
from last_cli.cli import diff, list, explain, schema, doctor, cache, demo, import_, export  # noqa: F401  # isort: skip

__all__ = ["app", "main"]
