"""Which sequences something was measured on, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from last_cli.tasks.task import FILE

STATISTICS = {"first batch norm": "from the first batch norm", "uniform": "uniform", "normal": "from N(0, 1)"}


def in_words(said: Mapping[str, Any]) -> str:
    """For example "256 synthetic sequences (length 65, token frequencies from the first batch norm, seed 0)"."""
    rest = {name: value for name, value in said.items() if not name.startswith("digest") and value != FILE}
    count = rest.pop("sequences", None)
    some = "sequences" if count is None else f"{count:,} sequences"
    if kind := rest.pop("random", None):
        some = f"{'' if count is None else f'{count:,} '}synthetic sequences"
        if how := rest.pop("statistics", None):
            of = "token frequencies" if kind == "tokens" else "features"
            rest = {name: value for name, value in rest.items() if name != "seed"} | {
                of: STATISTICS.get(how, how),
                **({"seed": rest["seed"]} if "seed" in rest else {}),
            }
    elif task := rest.pop("task", None):
        some += f" of {task}"
        some += f", {rest.pop('split')} split" if "split" in rest else ""
    elif file := rest.pop("file", None):
        some += f" of {file}"
    more = ", ".join(f"{name.replace('_', ' ')} {_value(value)}" for name, value in rest.items())
    return f"{some} ({more})" if more else some


def _value(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
