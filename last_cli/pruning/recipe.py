"""How a checkpoint is pruned, all but the ratio: said once, checked once, and handed on as one object."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from last_cli.base import registry
from last_cli.base.errors import UsageError
from last_cli.pruning.criteria.criterion import Criterion
from last_cli.pruning.select import Scope, Shape

BY_CRITERION = "criterion"
REFIT = "+refit"


@dataclass(frozen=True)
class Recipe:
    """How units are chosen, and what becomes of the others.

    Attributes:
        criterion: how units are scored: a name of the registry.
        method: what chooses, and what it changes in kept units: a name of the registry. "criterion" keeps every value;
            the others choose by themselves.
        target: what is removed; see Family.targets.
        scope: "global" ranks all layers together, "layer" removes the ratio in each.
        min_states: units that every layer keeps at least; with 0 a layer may lose all of them.
        seed: of random choices, and of inputs made without data.
        shape: "rectangular" keeps as many units in every group of a layer, such as the channels of S4D.
        refit: refit C after the criterion's choice.
        masked: keep every array's shape, and set B and C of removed states to zero.
        horizon: steps that the criterion `energy` looks ahead; None is the trained length.
        allow_unstable: go on with poles at or beyond the unit circle.

    Raises:
        UsageError: unknown names, or entries that do not go together.
    """

    criterion: str = "last"
    method: str = BY_CRITERION
    target: str = "states"
    scope: Scope = "global"
    min_states: int = 1
    seed: int = 0
    shape: Shape = "ragged"
    refit: bool = False
    masked: bool = False
    horizon: int | None = None
    allow_unstable: bool = False

    def __post_init__(self) -> None:
        if self.method != BY_CRITERION:
            registry.get("methods", self.method)
        if self.allow_unstable and self.changes:
            raise UsageError(f"⟦allow_unstable⟧ does not go with {self.changes}", "leave one of them out")
        if self.method != BY_CRITERION and (self.refit or self.criterion != "last" or self.horizon is not None):
            raise UsageError(
                f"⟦method {self.method}⟧ chooses and refits by itself",
                "leave out ⟦criterion⟧, ⟦horizon⟧ and ⟦refit⟧, or the method",
            )
        if self.target not in self.scoring.targets:
            raise UsageError(
                f"the criterion {self.criterion} scores no {self.target}",
                f"it scores {' and '.join(self.scoring.targets)}",
            )
        if self.horizon is not None and ("horizon" not in self.scoring.needs or self.horizon < 1):
            raise UsageError(
                f"horizon is {self.horizon}, with the criterion {self.criterion}",
                "a horizon of 1 step or more goes with ⟦criterion energy⟧",
            )
        if self.min_states < 0:
            raise UsageError(
                f"min-states is {self.min_states}, expected 0 or more", "0 lets a layer lose all its states"
            )
        if self.seed < 0:
            raise UsageError(f"seed is {self.seed}, expected 0 or more", "any other number will do")

    @property
    def scoring(self) -> Criterion:
        """The criterion itself."""
        return registry.get("criteria", self.criterion)

    @property
    def label(self) -> str:
        """What chose the units, for reports: the criterion, or a method that chooses by itself."""
        return self.criterion if self.method == BY_CRITERION else self.method

    @property
    def changes(self) -> str | None:
        """What is new in kept units, in words; None where their values stay."""
        return "a refitted C" if self.refit else registry.get("methods", self.method).changes

    @property
    def needs_network(self) -> bool:
        """Whether it must be seen what the units do in the network."""
        return self.method == BY_CRITERION and "sensitivity" in self.scoring.needs

    @property
    def needs_inputs(self) -> bool:
        """Whether the units are observed on input sequences, which several ratios and recipes share."""
        return self.refit or self.needs_network or registry.get("methods", self.method).needs_inputs

    @property
    def depends_on_seed(self) -> bool:
        """Whether another seed may choose other units: by chance, or by other inputs."""
        return self.needs_inputs or (self.method == BY_CRITERION and "rng" in self.scoring.needs)

    @property
    def settings(self) -> dict[str, Any]:
        """For the stamp: how the units were chosen, and the horizon where it counts."""
        said = {
            "criterion": self.label,
            "scope": self.scope,
            "min_states": self.min_states,
            "seed": self.seed,
            "shape": self.shape,
            "allow_unstable": self.allow_unstable,
        }
        said |= {} if self.horizon is None else {"horizon": self.horizon}
        return said | ({} if self.target == "states" else {"target": self.target})


def recipe(criterion: str = "last", method: str = BY_CRITERION, **entries: Any) -> Recipe:
    """The recipe of these entries of `Recipe`; a method that is named as the criterion is meant as one.

    Raises:
        UsageError: as `Recipe`.
    """
    if _is_method(criterion) and method in (BY_CRITERION, criterion):
        criterion, method = "last", criterion
    return Recipe(criterion, method, **entries)


def named(name: str, others: Recipe) -> Recipe:
    """The recipe called `name`, such as `aire`, `reconstruct` or `aire+refit`, with all else as in `others`.

    Raises:
        UsageError: there is none; the hint names the closest ones.
    """
    if _is_method(name):
        return replace(others, criterion="last", method=name, refit=False)
    criterion = name.removesuffix(REFIT)
    if _is_method(criterion):
        raise UsageError(f"'{name}': {criterion} chooses and refits by itself", f"leave out {REFIT}")
    try:
        return replace(others, criterion=criterion, method=BY_CRITERION, refit=criterion != name)
    except UsageError as error:
        message, hint = error.args
        methods = [method for method in registry.names("methods") if method != BY_CRITERION]
        raise UsageError(message, f"{hint}; also {', '.join(methods)}, and NAME{REFIT}") from error


def _is_method(name: str) -> bool:
    built_in = registry.BUILT_IN["criteria"]
    return name not in (BY_CRITERION, *built_in) and name in registry.names("methods")
