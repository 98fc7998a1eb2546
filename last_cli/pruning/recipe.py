"""How a checkpoint is pruned, all but the ratio: said once, checked once, and handed on as one object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from last_cli.base import registry
from last_cli.base.errors import UsageError
from last_cli.families.layer import Layer
from last_cli.families.network import shared_network
from last_cli.families.target import Target
from last_cli.pruning.criteria.criterion import Criterion
from last_cli.pruning.select import Rule, Scope, Shape
from last_cli.pruning.sparse.pattern import MODULES, check_modules, pattern_of

BY_CRITERION = "criterion"
REFIT = "+refit"
WEIGHTS = "weights"
BLOCKS = "blocks"
_HINTS = {
    WEIGHTS: "⟦criterion wanda⟧ and ⟦method sparsegpt⟧ prune ⟦target weights⟧",
    BLOCKS: "⟦criterion loss⟧ prunes ⟦target blocks⟧",
}
"""What are no units of layers, and what prunes them."""


@dataclass(frozen=True)
class Recipe:
    """How units are chosen, and what becomes of the others.

    Attributes:
        criterion: how units are scored: a name of the registry.
        method: what chooses, and what it changes in kept units: a name of the registry. "criterion" keeps every value;
            the others choose by themselves.
        target: what is removed; see Family.targets. None is the first that the layers have and the recipe can remove.
        scope: "global" ranks all layers together, "layer" removes the ratio in each. None is what the
            criterion or the target has.
        min_states: units that every layer keeps at least; with 0 a layer may lose all of them.
        seed: of random choices, and of inputs made without data.
        shape: "rectangular" keeps as many units in every group of a layer, such as the channels of S4D, so that arrays
            shrink by the whole ratio; "ragged" lets them differ. None is rectangular where layers have several groups,
            but for a criterion that reproduces published masks, which are ragged.
        refit: refit C after the criterion's choice.
        masked: keep every array's shape, and set B and C of removed states to zero.
        horizon: steps that the criterion `energy` looks ahead; None is the trained length.
        allow_unstable: go on with poles at or beyond the unit circle.
        multiple_of: round the number of units that each group keeps up to a multiple; None is what the target has.
        stock: store every layer as large as the largest, with zeros, so that classes with one size for all load it.
        pattern: of the target weights: N:M, at most N other than zero of every M in a row; None is any place.
        modules: of the target weights: which linear maps; None is in_proj.
        kind: the target itself, filled in by `on`.
        text: whether layers without a System are measured on text: always, or where some is given; filled in by `on`.

    Raises:
        UsageError: unknown names and values, or entries that do not go together.
    """

    criterion: str = "last"
    method: str = BY_CRITERION
    target: str | None = None
    scope: Scope | None = None
    min_states: int = 1
    seed: int = 0
    shape: Shape | None = None
    refit: bool = False
    masked: bool = False
    horizon: int | None = None
    allow_unstable: bool = False
    multiple_of: int | None = None
    stock: bool = False
    pattern: str | None = None
    modules: tuple[str, ...] | None = None
    kind: Target | None = None
    text: Literal["no", "where given", "always"] = "no"

    def __post_init__(self) -> None:
        if self.method == BY_CRITERION:
            registry.get("criteria", self.criterion)
        else:
            registry.get("methods", self.method)
        if self.allow_unstable and self.changes:
            raise UsageError(f"⟦allow_unstable⟧ does not go with {self.changes}", "leave one of them out")
        if self.method != BY_CRITERION and (self.refit or self.criterion != "last" or self.horizon is not None):
            raise UsageError(
                f"⟦method {self.method}⟧ chooses and refits by itself",
                "leave out ⟦criterion⟧, ⟦horizon⟧ and ⟦refit⟧, or the method",
            )
        measures = self.method == BY_CRITERION and self.scoring.measure  # as layers have them
        if self.target is not None and not measures and not self.removes(self.target):
            able = f"it {self._verb} {' and '.join(self.targets)}"
            raise UsageError(f"{self._chooser} no {self.target}", f"{able}; a file of ⟦keep FILE⟧ may list any")
        if self.horizon is not None and ("horizon" not in self.scoring.needs or self.horizon < 1):
            raise UsageError(
                f"⟨horizon⟩ is {self.horizon}, with the criterion {self.criterion}",
                "a horizon of 1 step or more goes with ⟦criterion energy⟧",
            )
        self._check_values()

    def _check_values(self) -> None:
        """The entries that go with all others."""
        for name, allowed in (("scope", get_args(Scope)), ("shape", get_args(Shape))):
            if (value := getattr(self, name)) is not None and value not in allowed:
                raise UsageError(
                    f"⟨{name}⟩ is {value!r}, expected {' or '.join(allowed)}", f"the default is {allowed[0]}"
                )
        if self.min_states < 0:
            raise UsageError(
                f"⟨min_states⟩ is {self.min_states}, expected 0 or more", "0 lets a layer lose all its states"
            )
        if self.multiple_of is not None and self.multiple_of < 1:
            raise UsageError(
                f"⟦multiple_of⟧ is {self.multiple_of}, expected 1 or more", "GPU kernels need a multiple of 8"
            )
        if (self.pattern is not None or self.modules is not None) and self.targets != (WEIGHTS,):
            said = "⟦pattern⟧" if self.modules is None else "⟦modules⟧"
            raise UsageError(f"{said} is given, but {self.label} removes no weights", _HINTS[WEIGHTS])
        if self.pattern is not None:
            pattern_of(self.pattern)
        if self.modules is not None:
            check_modules(self.modules)
        if self.seed < 0:
            raise UsageError(f"⟨seed⟩ is {self.seed}, expected 0 or more", "any other number will do")

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
        if self.method == BY_CRITERION:  # Scoring needs no method, and imports none.
            return "a refitted C" if self.refit else None
        return registry.get("methods", self.method).changes

    @property
    def targets(self) -> tuple[str, ...]:
        """What it can remove; empty where it can remove whatever a family declares. What changes is a System's."""
        if self.method == BY_CRITERION:
            return self.scoring.targets
        own = getattr(registry.get("methods", self.method), "targets", ())
        return own or (("states",) if self.changes else ())

    def removes(self, target: str) -> bool:
        """Whether it can remove such units."""
        return not self.targets or target in self.targets

    def on(self, layers: Sequence[Layer]) -> Recipe:
        """The recipe for these layers, with its target and scope filled in.

        Raises:
            UsageError: a layer has no such units, or all layers have none in common that the recipe can remove.
        """
        if around := next((name for name in _HINTS if name in (self.target, *self.targets)), None):
            return self._around(around, layers)
        if self.target is None:
            return replace(self, target=usual_target([self], layers)).on(layers)
        for layer in layers:
            if self.target not in layer.units:
                raise UsageError(
                    f"{layer.name}: a layer of the family '{layer.family.name}' has no {self.target}",
                    f"what can be removed from it: {', '.join(layer.units)}",
                )
        kind = layers[0].target(self.target)
        self._check_kind(kind, layers)
        found = replace(
            self,
            scope=self.scope or self.scoring.scope or kind.scope,
            shape=self.shape or self._usual_shape(kind, layers),
            kind=kind,
            text=self._text(layers),
        )
        if found.text != "no" and self.horizon is not None:
            raise UsageError(
                "⟦horizon⟧ is given, but the energies of such layers are those on text", "leave out ⟦horizon⟧"
            )
        return found

    def _check_kind(self, kind: Target, layers: Sequence[Layer]) -> None:
        """Raises UsageError where something is asked for that units of such a target, or such layers, do not allow."""
        if kind.merged and self.target not in self.targets:
            raise UsageError(
                f"{self.target} are merged, and {self.label} only leaves units out",
                "⟦criterion merge⟧ gives several in a row their mean",
            )
        if self.multiple_of is not None and kind.merged:
            raise UsageError(f"⟦multiple_of⟧: of {self.target} a divisor of their number stays", "leave it out")
        if self.multiple_of is not None and not kind.even:
            raise UsageError(
                f"⟦multiple_of⟧ is given, but groups of {self.target} may keep different numbers",
                "it goes with language models, of which every group of a layer keeps as many",
            )
        if self.refit and self.scoring.readouts:
            raise UsageError(f"⟦refit⟧ does not go with {self.criterion}, which pairs B and C anew", "leave one out")
        if self.scope == "global" and self.scoring.readouts:  # Over all layers a layer might keep fewer B than C.
            raise UsageError(
                f"⟦scope global⟧ does not go with {self.criterion}: B and C are ranked apart", "leave it out"
            )
        if self.refit and self.target != "states" and any(layer.family.system for layer in layers):
            raise UsageError(f"⟦refit⟧ removes no {self.target}", "it removes states, and refits C to the others")
        if self.stock and any(layer.family.resized is None for layer in layers):
            raise UsageError("⟦stock⟧ is for models with a configuration of one size for all layers", "leave it out")
        if self.masked and kind.inexact:
            raise UsageError(f"⟦masked⟧: {kind.inexact}", "zeros would count in the norm: leave ⟦masked⟧ out")

    def _around(self, target: str, layers: Sequence[Layer]) -> Recipe:
        """The same for what is no unit of layers: the network around them says what there is."""
        if self.targets != (target,):
            does = "scores nor removes weights one by one" if target == WEIGHTS else "scores nor removes whole blocks"
            raise UsageError(f"{self.label} neither {does}", _HINTS[target])
        given = {"masked": self.masked and target == WEIGHTS, "stock": self.stock}
        given |= {"min_states": self.min_states != 1 and target == WEIGHTS}
        given |= {"multiple_of": self.multiple_of is not None, "shape": self.shape == "rectangular"}
        given |= {"scope global": self.scope == "global" and target == WEIGHTS}
        given |= {"scope layer": self.scope == "layer" and target == BLOCKS}
        if said := [name for name, is_given in given.items() if is_given]:
            why = "arrays keep their shapes, and every row its share" if target == WEIGHTS else "whole blocks go"
            raise UsageError(f"⟦{said[0]}⟧ does not go with ⟦target {target}⟧: {why}", "leave it out")
        if any(layer.family.system is not None for layer in layers) or shared_network(layers).blockwise is None:
            raise UsageError(
                f"⟦target {target}⟧ is for language models, and {layers[0].name} is a layer of the family "
                f"'{layers[0].family.name}'",
                f"what can be removed from it: {', '.join(layers[0].units)}",
            )
        return replace(self, target=target, scope="layer" if target == WEIGHTS else "global", shape="ragged")

    def _usual_shape(self, kind: Target, layers: Sequence[Layer]) -> Shape:
        """See `shape`; of a target whose groups keep as many anyway it says nothing."""
        several = not kind.even and any(layer.units[kind.name].groups > 1 for layer in layers)
        reproduces = self.method == BY_CRITERION and self.scoring.ties is not None
        return "rectangular" if several and not reproduces else "ragged"

    def _text(self, layers: Sequence[Layer]) -> Literal["no", "where given", "always"]:
        """See `text`."""
        if self.method != BY_CRITERION:
            return "no"
        name, families = (self.scoring.measure or "", self.target or ""), [layer.family for layer in layers]
        if any(family.system is not None or name not in family.on_inputs for family in families):
            return "no"
        return "where given" if all(name in family.energies for family in families) else "always"

    @property
    def rule(self) -> Rule:
        """How scores decide, but for ties."""
        even, usual = (self.kind.even, self.kind.multiple) if self.kind else (False, 1)
        shape = self.shape or "ragged"
        return Rule(self.scope, self.min_states, shape, even=even, multiple=self.multiple_of, usual=usual)

    @property
    def needs_network(self) -> bool:
        """Whether it must be seen what the units do in the network."""
        return self.method == BY_CRITERION and "sensitivity" in self.scoring.needs

    @property
    def needs_inputs(self) -> bool:
        """Whether the units are observed on input sequences, which several ratios and recipes share."""
        if self.method == BY_CRITERION:
            return self.refit or self.needs_network or self.text == "always"
        return registry.get("methods", self.method).needs_inputs

    def takes_inputs(self, given: bool) -> bool:
        """The same where sequences are given, or are not."""
        return self.needs_inputs or (given and self.text == "where given")

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
            "shape": self.shape or "ragged",
            "allow_unstable": self.allow_unstable,
        }
        said |= {} if self.multiple_of is None else {"multiple_of": self.multiple_of}
        said |= {"stock": True} if self.stock else {}
        said |= self.sparsity
        said |= {} if self.horizon is None else {"horizon": self.horizon}
        return said | ({} if self.target in (None, "states") else {"target": self.target})

    @property
    def sparsity(self) -> dict[str, Any]:
        """For report and stamp: which weights may go, where it is them that go."""
        if self.target != WEIGHTS:
            return {}
        return {"modules": list(self.modules or MODULES[:1]), "pattern": self.pattern}

    @property
    def _verb(self) -> str:
        return "scores" if self.method == BY_CRITERION and not self.refit else "removes"

    @property
    def _chooser(self) -> str:
        """The start of a sentence on what it can remove."""
        if self.method != BY_CRITERION:
            return f"⟦method {self.method}⟧ removes"
        return "⟦refit⟧ removes" if self.refit else f"the criterion {self.criterion} scores"


def usual_target(recipes: Sequence[Recipe], layers: Sequence[Layer]) -> str:
    """The first target of the layers' families that all layers have and all recipes can remove.

    Raises:
        UsageError: there is none.
    """
    shared = [t.name for t in layers[0].family.targets if all(t.name in layer.units for layer in layers)]
    if not shared:
        raise UsageError("the layers have no units of one kind in common", "`last list families` says what they have")
    linear = any(layer.family.system for layer in layers)
    for target in shared:
        if all(used.removes(target) and not (used.refit and linear and target != "states") for used in recipes):
            return target
    used = next((r for r in recipes if not any(map(r.removes, shared))), recipes[0])
    able = [n for n in registry.names("criteria") if set(registry.get("criteria", n).targets or shared) & set(shared)]
    raise UsageError(
        f"{used._chooser} {' and '.join(used.targets or ('states',))}, and the layers have {' and '.join(shared)}",
        f"criteria that score these: {', '.join(able)}" if able else "another package may score these",
    )


def recipe(criterion: str = "last", method: str = BY_CRITERION, **entries: Any) -> Recipe:
    """The recipe of these entries of `Recipe`; a method that is named as the criterion is meant as one.

    Raises:
        UsageError: as `Recipe`.
    """
    if isinstance(entries.get("modules"), str):
        entries["modules"] = tuple(name.strip() for name in entries["modules"].split(","))
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
