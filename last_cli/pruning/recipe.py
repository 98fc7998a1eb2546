"""Ways to prune, each by one name: a criterion, a method, or a criterion with C refitted after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from last_cli.base import registry
from last_cli.base.errors import UsageError
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.pruning import prune as reducing

if TYPE_CHECKING:
    from last_cli.pruning.reconstruct.plan import Plan

REFIT = "+refit"


@dataclass(frozen=True)
class Recipe:
    """How states are chosen, and whether C is refitted; as in `reducing.prune`."""

    criterion: str = "last"
    method: reducing.Method = "criterion"
    refit: bool = False

    @property
    def needs_plan(self) -> bool:
        """Whether the states are measured on inputs, which a plan shares between ratios."""
        return self.refit or self.method == "reconstruct" or (self.method == "criterion" and self.runs_network)

    @property
    def runs_network(self) -> bool:
        """Whether the criterion must see what the states do in the network."""
        return reducing.runs_network(self.criterion)

    @property
    def depends_on_seed(self) -> bool:
        """Whether another seed may choose other states: by chance, or by other inputs."""
        return self.needs_plan or self.criterion == "random"

    def at_any_ratio(self, checkpoint: Checkpoint, plan: Plan | None, **options: Any) -> Callable[..., Checkpoint]:
        """`reducing.prune` for this checkpoint: it takes the ratio, and what else may vary, such as `masked`.

        `plan` is what `reducing.plan_for` prepared, where the recipe needs one.
        """
        return partial(
            reducing.prune,
            checkpoint,
            criterion=self.criterion,
            method=self.method,
            refit=self.refit,
            plan=plan,
            **options,
        )


def recipe(name: str) -> Recipe:
    """The recipe called `name`: `aire`, `reconstruct`, `aire+refit`.

    Raises:
        UsageError: there is none; the hint names the closest ones.
    """
    if name in registry.METHODS:
        return Recipe(method=name)  # pyright: ignore[reportArgumentType]
    criterion = name.removesuffix(REFIT)
    if criterion in registry.METHODS:
        raise UsageError(f"'{name}': {criterion} chooses and refits by itself", f"leave out {REFIT}")
    try:
        registry.get("criteria", criterion)
    except UsageError as error:
        raise UsageError(
            error.args[0], f"{error.args[1]}; also {', '.join(registry.METHODS)}, and NAME{REFIT}"
        ) from error
    return Recipe(criterion, refit=criterion != name)
