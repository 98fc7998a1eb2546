"""Types are checked in every call under pytest; the shapes of arrays only where a function has any.

jaxtyping's import hook wraps every function so that the letters of its shapes can be compared, at thirty times the
cost of beartype alone. Importing this, before `last_cli`, leaves that to the functions whose annotations have shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass
from functools import partial
from inspect import isclass, isfunction
from typing import Any, get_args, get_type_hints

import jaxtyping

with_shapes = jaxtyping.jaxtyped


def checked(function: Any = None, *, typechecker: Callable[..., Any]) -> Any:
    """The decorator that the hook puts on functions and classes."""
    if function is None:
        return partial(checked, typechecker=typechecker)
    if isclass(function) and is_dataclass(function) and isfunction(function.__init__):
        function.__init__ = checked(function.__init__, typechecker=typechecker)
        return function
    if not isfunction(function):
        return with_shapes(function, typechecker=typechecker)
    hints = {name: resolved(hint, function.__globals__) for name, hint in function.__annotations__.items()}
    if any(map(has_shape, hints.values())):
        return with_shapes(function, typechecker=typechecker)
    function.__annotations__ = hints
    return typechecker(function)


def resolved(annotation: object, names: dict[str, Any]) -> Any:
    """What a string stands for; anything, where a name is known to static checks alone."""

    def one() -> None: ...

    one.__annotations__ = {"it": annotation}
    try:
        return get_type_hints(one, names, include_extras=True)["it"]
    except (AttributeError, NameError):
        return Any


def has_shape(hint: object) -> bool:
    return (isclass(hint) and issubclass(hint, jaxtyping.AbstractArray)) or any(map(has_shape, get_args(hint)))


jaxtyping.jaxtyped = checked
