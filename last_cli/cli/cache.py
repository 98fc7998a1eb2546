"""`last cache`."""

import sys
from typing import Annotated, Literal

import typer

from last_cli.cli.app import command
from last_cli.cli.options import Reported
from last_cli.cli.shared import show, tell


@command("last cache list", 'du -sh "$(last cache dir)"', "last cache clear")
def cache(
    action: Annotated[
        Literal["list", "clear", "dir"],
        typer.Argument(
            metavar="ACTION", help="list the entries, clear them, or print the directory (dir).", show_default=False
        ),
    ],
    *,
    general: Reported,
) -> None:
    """List or clear the measurements and data sets kept for later runs."""
    from last_cli.base import cache as kept
    from last_cli.base.errors import UsageError
    from last_cli.display.doctor import cache_view
    from last_cli.results.doctor import CacheEntry, CacheReport

    try:
        directory = str(kept.cache_dir())
    except RuntimeError as error:
        raise UsageError("there is no home directory, so nothing is kept", "set LAST_CACHE_DIR") from error
    if action == "dir" and general.form == "table":
        sys.stdout.write(f"{directory}\n")
        return
    found = kept.clear() if action == "clear" else kept.entries() if action == "list" else {}
    report = CacheReport(directory, [CacheEntry(path.name, size) for path, size in found.items()], action == "clear")
    show(cache_view(report), general)
    if action == "clear":
        tell(f"removed {len(found):,} entries from {directory}", general.quiet, "ok")
