"""The options of commands that run a model: where, how precisely, in how many processes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

PROCESSES = "Several processes"

DeviceOption = Annotated[
    Literal["cpu", "gpu", "tpu"] | None, typer.Option("--device", help="Where to run.", show_default="JAX's choice")
]
TaskOption = Annotated[
    str,
    typer.Option(
        "--task", help="The task: `last list tasks`, or FILE.npz of arrays x, y, lengths.", show_default=False
    ),
]
Limit = Annotated[int | None, typer.Option("--limit", help="Only the first so many sequences.", show_default="all")]
TaskData = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Where the task's files are.", show_default="$LAST_DATA_DIR, else generated"),
]
BatchSize = Annotated[
    int | None,
    typer.Option("--batch-size", min=1, help="Sequences a device takes at a time.", show_default="1 on a CPU, 64 else"),
]
Precision = Annotated[
    Literal["float32", "bfloat16"],
    typer.Option("--precision", help="Of products and activations; the states stay float32."),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on where an interrupted run of this stopped.", show_default="no")
]
Coordinator = Annotated[
    str | None,
    typer.Option(
        "--coordinator",
        metavar="HOST:PORT",
        help="Where the first of several processes is.",
        show_default="no others",
        rich_help_panel=PROCESSES,
    ),
]
Processes = Annotated[
    int | None, typer.Option("--processes", help="How many processes.", show_default="1", rich_help_panel=PROCESSES)
]
ProcessId = Annotated[
    int | None,
    typer.Option("--process-id", help="Which one this is, from 0.", show_default="0", rich_help_panel=PROCESSES),
]
Distributed = Annotated[
    bool,
    typer.Option(
        "--distributed", help="As SLURM or Open MPI started them.", show_default="no", rich_help_panel=PROCESSES
    ),
]
ConnectTimeout = Annotated[
    float, typer.Option("--connect-timeout", help="Seconds to wait for all of them.", rich_help_panel=PROCESSES)
]


def join(
    coordinator: str | None,
    processes: int | None,
    process_id: int | None,
    distributed: bool,
    timeout: float,
    device: str | None,
) -> bool:
    """Join the other processes, where there are any; returns whether this one reports."""
    if not distributed and (coordinator, processes, process_id) == (None, None, None):
        return True
    from last_cli.evaluation import processes as hosts

    return hosts.connect(coordinator, processes, process_id, device=device, timeout=timeout)
