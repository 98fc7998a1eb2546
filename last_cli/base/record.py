"""Data whose attributes are the keys of its JSON object, and results, which a notebook shows as their command does."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from last_cli.base import registry
from last_cli.base.errors import UsageError, spelled
from last_cli.base.version import __version__

if TYPE_CHECKING:
    from pandas import DataFrame

DIGITS = 4


class Sizes(NamedTuple):
    """A number before and after."""

    before: int
    after: int


class Change(NamedTuple):
    """What was measured before and after."""

    before: float
    after: float


class Spread(NamedTuple):
    """Minimum, median and maximum."""

    min: float
    median: float
    max: float


class Record:
    """A frozen dataclass whose JSON object is made of its attributes.

    Attributes:
        json_keys: the keys in their order; every field, where a class names none.
        json_optional: those of them that are left out where there is nothing to say: None, or empty.
        json_open: mappings among the attributes whose entries are keys, and attributes, as well.
    """

    json_keys: ClassVar[tuple[str, ...]] = ()
    json_optional: ClassVar[tuple[str, ...]] = ()
    json_open: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def keys_of(cls) -> tuple[str, ...]:
        """The keys that its JSON object may have."""
        return cls.json_keys or tuple(field.name for field in fields(cls))  # pyright: ignore[reportArgumentType]

    def as_json(self) -> dict[str, Any]:
        """Its JSON object, numbers as they are."""
        left_out = self._left_out()
        found = {key: getattr(self, key) for key in self.keys_of() if key not in left_out}
        for name in self.json_open:
            found |= {key: value for key, value in getattr(self, name).items() if key not in found}
        return {key: _plain(value) for key, value in found.items()}

    def _left_out(self) -> Collection[str]:
        """The keys that this one has not."""
        return {key for key in self.json_optional if _nothing(getattr(self, key))}

    if not TYPE_CHECKING:  # an attribute that is misspelled stays an error

        def __getattr__(self, name: str) -> Any:
            for opened in type(self).json_open:
                if name != opened and name in (entries := getattr(self, opened)):
                    return entries[name]
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}", name=name, obj=self)

    def __repr__(self) -> str:
        said = {key: getattr(self, key) for key in self.keys_of()}
        return _line(type(self).__name__, {key: v for key, v in said.items() if isinstance(v, str | int | float)})


class Result(Record):
    """What a command finds out.

    Attributes:
        command: the command's name, which that of its schema is made of.
        headline: the attributes that a line about it shows.
    """

    command: ClassVar[str]
    headline: ClassVar[tuple[str, ...]] = ()

    @property
    def schema(self) -> str:
        """Name and number of the schema; a number never changes its meaning."""
        return f"last.{self.command}/1"

    @property
    def last(self) -> str:
        """The version that wrote it."""
        return __version__

    @classmethod
    def keys_of(cls) -> tuple[str, ...]:
        """The keys that its JSON object may have."""
        return ("schema", "last", *super().keys_of())

    def to_dict(self) -> dict[str, Any]:
        """The object that the command prints as JSON: infinities are None."""
        return as_read(self.as_json())

    def to_pandas(self) -> DataFrame:
        """The rows that the command prints as CSV.

        Raises:
            UsageError: pandas is not installed.
        """
        if find_spec("pandas") is None:
            raise UsageError("to_pandas() needs pandas, which is not installed", "pip install pandas")
        import pandas

        return pandas.DataFrame(registry.notebook().rows(self))

    def plot(self, path: str | Path | None = None) -> Drawing:
        """The figure that the command draws; a notebook shows it.

        Args:
            path: a file to write it into: .svg, .png or .pdf.

        Raises:
            UsageError: the command draws none, or not of this; or matplotlib is not installed.
            OutputError: the file cannot be written.
        """
        return Drawing(registry.notebook().drawn(self, path))

    def _repr_html_(self) -> str:
        return registry.notebook().tables(self)

    def __repr__(self) -> str:
        said = {name: getattr(self, name) for name in self.headline}
        return _line(type(self).__name__, {name: value for name, value in said.items() if value is not None})


@dataclass(frozen=True)
class Drawing:
    """A figure, as a notebook shows it."""

    svg: str

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"Drawing({len(self.svg):,} characters of SVG)"


def as_read(value: Any) -> Any:
    """JSON has no infinity and no NaN: they become None. Texts have their options spelled."""
    if isinstance(value, dict):
        return {key: as_read(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_read(item) for item in value]
    if isinstance(value, str):
        return spelled(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(value: Any) -> Any:
    """As JSON has it; named tuples are objects there."""
    if isinstance(value, Record):
        return value.as_json()
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return value._asdict()  # pyright: ignore[reportAttributeAccessIssue]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return getattr(value, "tolist", lambda: value)()


def _nothing(value: Any) -> bool:
    return value is None or (isinstance(value, Mapping | Sequence) and not value)


def _line(name: str, said: Mapping[str, Any]) -> str:
    """One line about some data."""
    return f"{name}({', '.join(f'{key}={_short(value)}' for key, value in said.items())})"


def _short(value: Any) -> str:
    """A number with few digits; of a checkpoint its path, of a task its name."""
    if isinstance(value, float):
        return f"{value:.{DIGITS}g}"
    if isinstance(value, Mapping) and "name" in value:
        return repr(value["name"])
    return repr(getattr(value, "path", value))
