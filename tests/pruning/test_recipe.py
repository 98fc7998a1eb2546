"""A recipe is checked once, when it is made, by whoever makes it."""

from __future__ import annotations

from typing import Any

import pytest
from commands import S5, Run

from last_cli.base.errors import UsageError
from last_cli.pruning.recipe import Recipe


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scope": "foo"}, "scope is 'foo', expected global or layer"),
        ({"shape": "square"}, "shape is 'square', expected rectangular or ragged"),
        ({"method": "reconstrukt"}, "unknown method 'reconstrukt'"),
    ],
)
def test_values_that_no_recipe_has_are_refused(options: dict[str, Any], message: str) -> None:
    recipe = Recipe()
    for name, value in options.items():  # What the tests' type checks would refuse to be handed over.
        object.__setattr__(recipe, name, value)
    with pytest.raises(UsageError) as caught:
        recipe.__post_init__()
    assert caught.value.message.startswith(message) and caught.value.options == tuple(options)


def test_the_command_line_asks_the_registry_for_a_method(run: Run) -> None:
    code, _, err = run("prune", S5, "--ratio", "0.3", "--method", "reconstrukt", "-n")
    assert code == 2 and "unknown method 'reconstrukt'" in err and "reconstruct" in err
