"""`last config`."""

from typing import Annotated, Any

import last_cli as last
from last_cli.base.errors import UsageError
from last_cli.cli.app import command
from last_cli.cli.completion import tasks
from last_cli.cli.options import Ckpt, Model, Reported, Step, model_option
from last_cli.cli.shared import show, tell


@command(
    "last config ckpt/",
    "last config ckpt/ --preset s5-lra-listops",
    "last config ckpt/ --activation half_glu2 --task listops",
)
def config(
    ckpt: Ckpt,
    *,
    model: Model,
    task: Annotated[
        str | None,
        model_option(help="Task that it was trained on.", show_default="from the checkpoint", autocompletion=tasks),
    ] = None,
    task_settings: Annotated[
        str | None,
        model_option(metavar="K=V,...", help="Settings of that task.", show_default="the task's own"),
    ] = None,
    step: Step,
    general: Reported,
) -> None:
    """Show a checkpoint's configuration and where each value comes from; model settings given are recorded."""
    from last_cli.display.config import config_hints, config_view

    settings = None if task_settings is None else _settings(task_settings)
    result = last.config(ckpt, **vars(step), **vars(model), task=task, task_settings=settings)
    show(config_view(result), general, result.warnings)
    for hint in config_hints(result):
        tell(hint, general.quiet, "hint")
    if result.written is not None:
        tell(f"wrote {result.written}", general.quiet, "ok")


def _settings(text: str) -> dict[str, Any]:
    """`min_length=16,max_length=64` as a dictionary, whole numbers as such."""
    found: dict[str, Any] = {}
    for part in text.split(","):
        name, sign, value = part.strip().partition("=")
        if not (name and sign and value):
            raise UsageError(
                f"⟦task_settings⟧ '{text}': expected NAME=VALUE, found '{part}'", "min_length=16,length=65"
            )
        found[name] = int(value) if value.lstrip("-").isdigit() else value
    return found
