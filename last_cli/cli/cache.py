"""`last cache`."""

import sys
from typing import Annotated, Literal

import typer

from last_cli.cli.app import command
from last_cli.cli.options import General
from last_cli.cli.shared import tell


@command("last cache list", "last cache clear", 'du -sh "$(last cache dir)"')
def cache(
    action: Annotated[
        Literal["list", "clear", "dir"],
        typer.Argument(metavar="ACTION", help="list, clear, or dir for its path alone.", show_default=False),
    ],
    *,
    general: General,
) -> None:
    """Measurements and data sets that are kept for later runs: what is there, and clearing it."""
    from last_cli.base import cache as kept
    from last_cli.base.errors import UsageError
    from last_cli.display.doctor import show_cache
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
    show_cache(report, general.form)
    if action == "clear":
        tell(f"removed {len(found):,} entries from {directory}", general.quiet, "ok")
