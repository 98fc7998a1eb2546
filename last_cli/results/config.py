"""What `last config` shows and writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from last_cli.base.record import Result
from last_cli.results.source import Place


@dataclass(frozen=True)
class ConfigValue:
    """One value of a configuration.

    Attributes:
        origin: flag, preset, checkpoint, tree or assumed; or the path of the file or checkpoint that says it.
        guess: where it is assumed and changes what the network answers, what that rests on; else empty.
    """

    name: str
    value: object
    origin: str
    guess: str = ""


@dataclass(frozen=True, repr=False)
class ConfigReport(Result):
    """What is known of a checkpoint's model besides its arrays.

    Attributes:
        path, step, item, layout: where it lies and in which format.
        task: what it was trained on, its name and settings; empty where nothing says it.
        presets: published configurations of networks of these sizes.
        sizes: these sizes in words; empty where there are no such configurations.
        written: the file that now says it; null where nothing was written.
        warnings: what is odd about it.
    """

    command = "config"
    headline = ("checkpoint", "task", "written")
    json_keys = ("checkpoint", "config", "sources", "guesses", "task", "presets", "written", "warnings")

    path: str
    step: int | None
    item: str | None
    layout: str
    values: Sequence[ConfigValue]
    task: Mapping[str, object]
    presets: Sequence[str] = ()
    sizes: str = ""
    written: str | None = None
    warnings: Sequence[str] = ()

    @property
    def checkpoint(self) -> Place:
        """Where it lies."""
        return Place(self.path, self.step, self.item, self.layout)

    @property
    def config(self) -> dict[str, Any]:
        """The values by name."""
        return {value.name: value.value for value in self.values}

    @property
    def sources(self) -> dict[str, str]:
        """The origin of each: flag, preset, checkpoint, tree or assumed; or the path of what says it."""
        return {value.name: value.origin for value in self.values}

    @property
    def guesses(self) -> dict[str, str]:
        """Of those that are assumed and change what the network answers: what that rests on."""
        return {value.name: value.guess for value in self.values if value.guess}
