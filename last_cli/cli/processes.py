"""Several processes that evaluate together, each its share."""

# No `from __future__ import annotations` here: see options.
from functools import partial
from typing import Annotated

import typer

from last_cli.cli.expand import options
from last_cli.cli.options import PROCESSES

process_option = partial(typer.Option, rich_help_panel=PROCESSES)


@options
class Processes:
    """The other processes, where there are any."""

    coordinator: Annotated[
        str | None,
        process_option(metavar="HOST:PORT", help="Address of process 0."),
    ] = None
    processes: Annotated[int | None, process_option(help="Number of processes.", show_default="1")] = None
    process_id: Annotated[int | None, process_option(help="Index of this process, from 0.", show_default="0")] = None
    distributed: Annotated[
        bool, process_option("--distributed", help="Take the process layout from SLURM or Open MPI.")
    ] = False
    connect_timeout: Annotated[float, process_option(help="Seconds to wait for the other processes.")] = 120


def join(others: Processes, device: str | None) -> bool:
    """Join the other processes, where there are any; returns whether this one reports."""
    if not others.distributed and (others.coordinator, others.processes, others.process_id) == (None, None, None):
        return True
    from last_cli.evaluation import processes as hosts

    return hosts.connect(
        others.coordinator, others.processes, others.process_id, device=device, timeout=others.connect_timeout
    )
