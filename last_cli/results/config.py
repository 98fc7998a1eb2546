"""What `last config` shows and writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from last_cli.base.version import __version__
from last_cli.results.source import Json


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


@dataclass(frozen=True)
class ConfigReport:
    """What is known of a checkpoint's model besides its arrays.

    Attributes:
        path, step, item, layout: where it lies and in which format.
        task: what it was trained on; empty where nothing says it.
        presets: published configurations of networks of these sizes.
        sizes: these sizes in words; empty where there are no such configurations.
        written: the file that now says it; None where nothing was written.
    """

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

    def as_json(self) -> Json:
        """last.config/1."""
        return {
            "schema": "last.config/1",
            "last": __version__,
            "checkpoint": {"path": self.path, "step": self.step, "item": self.item, "layout": self.layout},
            "config": {value.name: value.value for value in self.values},
            "sources": {value.name: value.origin for value in self.values},
            "guesses": {value.name: value.guess for value in self.values if value.guess},
            "task": dict(self.task),
            "presets": list(self.presets),
            "written": self.written,
            "warnings": list(self.warnings),
        }
