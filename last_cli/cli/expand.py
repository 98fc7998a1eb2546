"""Dataclasses of options as parameters of a command: Typer sees their fields, the command gets the dataclasses."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import wraps
from typing import Any, TypeVar, dataclass_transform, get_type_hints

T = TypeVar("T")


@dataclass_transform()
def options(kind: type[T]) -> type[T]:
    """A dataclass of options, without what dataclasses have besides: making that would slow every start."""
    return dataclass(eq=False, repr=False)(kind)


def expand(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command with each parameter whose type is a dataclass replaced by its fields.

    A field becomes a parameter of the same name, annotation (its `typer.Option` kept) and default. A call collects the
    values into the dataclasses again.

    Args:
        command: a function with annotated parameters; of each dataclass at most one.

    Returns:
        A function of the same name and docstring, all of whose parameters are given by name.

    Raises:
        ValueError: two parameters have one name.
    """
    hints = get_type_hints(command, include_extras=True)
    groups = {name: hints[name] for name in inspect.signature(command).parameters if is_dataclass(hints[name])}

    @wraps(command)
    def expanded(**values: Any) -> Any:
        made = {name: kind(**{f.name: values.pop(f.name) for f in fields(kind)}) for name, kind in groups.items()}
        return command(**values, **made)

    parameters = list(_parameters(command, hints, groups))
    expanded.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportAttributeAccessIssue]
    expanded.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return expanded


def _parameters(
    command: Callable[..., Any], hints: dict[str, Any], groups: dict[str, Any]
) -> Iterator[inspect.Parameter]:
    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            types = get_type_hints(groups[name], include_extras=True)
            for field in fields(groups[name]):
                yield _parameter(field.name, types[field.name], _default(field))
        else:
            yield _parameter(name, hints[name], parameter.default)


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    # By name alone, so that those without a default may stand after those with one.
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _default(field: Any) -> Any:
    if field.default is not MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not MISSING else inspect.Parameter.empty
