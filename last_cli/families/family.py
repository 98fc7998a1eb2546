"""What a family of layers is: its leaves, what can be removed from them, and one function to a `System`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from last_cli.base.errors import CheckpointError, UsageError
from last_cli.families.lti.config import ModelConfig
from last_cli.families.lti.system import AnyArray, System
from last_cli.families.resizing import Resizing, Shrinking
from last_cli.families.stock import Stock
from last_cli.families.target import Shapes, Target
from last_cli.formats import Key
from last_cli.formats.format import Files


@dataclass(frozen=True)
class Sizes:
    """Sizes of one layer: `states` stored per system, `groups` of independent systems, features, directions.

    `features` are the inputs of all groups together; `outputs` are as many where nothing is said.
    """

    states: int
    groups: int
    features: int
    directions: int
    outputs: int | None = None


@dataclass(frozen=True)
class Hint:
    """What a leaf's numbers tell of a ModelConfig where nothing else decides.

    Attributes:
        option: a name of ModelConfig.
        leaf: the leaf that tells.
        value: numbers of that leaf, of several layers, (n,) in float64 -> the option's value, or None.
    """

    option: str
    leaf: str
    value: Callable[[Any], Any]


@dataclass(frozen=True)
class Relative:
    """A kind of layer that has leaves of a family and is none of it.

    Attributes:
        name: what it is called, with an article where it takes one.
        why: why it is no layer of the family.
        fits: shapes of all arrays below a node, by their path there -> whether the node is such a layer.
        alone: whether these tell it wherever it stands, also where it has no leaf of the family.
    """

    name: str
    why: str
    fits: Callable[[Shapes], bool]
    alone: bool = False


@dataclass(frozen=True)
class Loader:
    """What loads a model other than `last`.

    Attributes:
        said: behind "loads": "in the stock class".
        files: that it needs of ours beside the tree, by name; None where one of that name is no longer needed.
    """

    said: str
    files: Files = field(default_factory=dict)


@dataclass(frozen=True)
class Family:
    """A kind of layer.

    Attributes:
        name: its name in the registry.
        kind: what reports call it; parameterisations of one kind of layer share it.
        summary: one line for `last list families`.
        required: leaf names that together say that a node of the tree is such a layer.
        sizes: leaf shapes -> sizes. Raises CheckpointError where they disagree (the caller adds the layer's name).
        targets: what can be removed, the usual target first. Pruning cuts their segments and nothing else.
        system: leaves and configuration -> System, in the leaves' own array library and precision. None where a layer
            is no System: then it has no norms.
        with_readouts: leaves and another C as the System has it, complex (R, G, K, N) -> the leaves that it changes, by
            name: the inverse of how C enters `system`. None where the family has no such inverse.
        with_system: leaves and another System of the same sizes -> the leaves that it changes, by name: the inverse of
            `system` in poles, B and C, with the step sizes of the leaves. Poles too slow for a clip are clipped.
        optional: leaf names that a layer may have besides.
        options: names of ModelConfig that its `system` depends on.
        hints: what the leaves' numbers tell of these.
        matters: whether an option changes anything, as the leaves' numbers tell: True or False.
        network: the Network that its layers stand in, "module:attribute", imported when a model is built; None where
            none is known.
        relatives: layers that are told from its own by what they are.
        absent: leaf names that no layer of it has: those of another family with the same ones besides.
        beside: leaf names of what stands next to a layer, such as the norm in front of it: the layer has those that are
            there as "../NAME".
        copied: trees of it may hold moments and other copies of the parameters, which are cut with them.
        bound: configuration files by name, as in Index.config -> the family as it is in that model, where sizes and
            targets depend on what they say; None where leaves tell all. Raises CheckpointError.
        energies: energies of units without a System, by the name that criteria know (see Criterion.measure) and by
            target: leaves -> (G, N).
        respond: leaves and inputs (T, features) -> outputs (T, outputs) in float64, of layers that are no System; None
            where nothing but the network says them.
        on_inputs: the same from what the network measures on sequences for it: leaves and the means of the layer's
            quantities, by their names -> (G, N). See Network.observed.
        made_up: leaves, the same means, and which units stay (G, N) -> leaves that make up for the mean of the others,
            by name and in their own types; a layer may not have them yet. See Criterion.makes_up.
        resized: a pruning -> what changes with the arrays that it cuts. Raises UsageError where what loads the model
            cannot be told of its sizes. None where no file says sizes.
        loader: configuration files -> what loads the model; None where nothing is known to.
        stock: configuration files, layers and shapes of all leaves -> the model in a class of transformers that
            computes the same; None where none is known. Raises UsageError: says what the class computes otherwise.
        group: what one of several independent systems, or of several sets of units, is called.
        memory: leaf shapes -> how many numbers a layer remembers from step to step of a sequence, where that is more
            than its states.

    Raises:
        UsageError: no target, or an option that ModelConfig does not have.
    """

    name: str
    kind: str
    summary: str
    required: frozenset[str]
    sizes: Callable[[Shapes], Sizes]
    targets: tuple[Target, ...]
    system: Callable[[Mapping[str, Any], ModelConfig], System] | None = None
    with_readouts: Callable[[Mapping[str, Any], AnyArray], dict[str, AnyArray]] | None = None
    with_system: Callable[[Mapping[str, Any], System, ModelConfig], dict[str, AnyArray]] | None = None
    optional: frozenset[str] = frozenset()
    options: tuple[str, ...] = ("step_rescale",)
    hints: tuple[Hint, ...] = ()
    matters: tuple[Hint, ...] = ()
    network: str | None = None
    relatives: tuple[Relative, ...] = ()
    absent: frozenset[str] = frozenset()
    beside: tuple[str, ...] = ()
    copied: bool = True
    bound: Callable[[Mapping[str, Any]], Family] | None = None
    energies: Mapping[tuple[str, str], Callable[[Mapping[str, Any]], Any]] = field(default_factory=dict)
    respond: Callable[[Mapping[str, Any], Any], Any] | None = None
    on_inputs: Mapping[tuple[str, str], Callable[[Mapping[str, Any], Mapping[str, Any]], Any]] = field(
        default_factory=dict
    )
    made_up: Mapping[tuple[str, str], Callable[[Mapping[str, Any], Mapping[str, Any], Any], Mapping[str, Any]]] = field(
        default_factory=dict
    )
    resized: Callable[[Shrinking], Resizing] | None = None
    loader: Callable[[Mapping[str, Any]], Loader | None] = lambda files: None
    stock: Callable[[Mapping[str, Any], Sequence[Any], Mapping[Key, tuple[int, ...]]], Stock] | None = None
    group: str = "channel"
    memory: Callable[[Shapes], int] | None = None

    def __post_init__(self) -> None:
        if not self.targets:
            raise UsageError(f"family '{self.name}': no targets, expected one or more", "pruning removes their units")
        known = {entry.name for entry in fields(ModelConfig)}
        for option in (*self.options, *(hint.option for hint in (*self.hints, *self.matters))):
            if option not in known:
                raise UsageError(
                    f"family '{self.name}': the option '{option}' is no entry of ModelConfig",
                    f"its entries are: {', '.join(sorted(known))}; what else a layer depends on belongs in its leaves",
                )

    def matches(self, leaves: Mapping[str, Any] | set[str]) -> bool:
        """Whether a node with these leaf names is a layer of this family."""
        return self.required <= set(leaves) and self.absent.isdisjoint(leaves)


def agree(what: str, sizes: Mapping[str, int]) -> int:
    """The one size that all leaves have.

    Raises:
        CheckpointError: they differ; names the first two that do.
    """
    (first, size), *others = sizes.items()
    for name, other in others:
        if other != size:
            raise CheckpointError(f"{first} has {size} {what} but {name} has {other}")
    return size


def expect_ndim(shapes: Shapes, name: str, form: str, allowed: tuple[int, ...]) -> None:
    """Raises CheckpointError unless the leaf has an allowed number of axes."""
    if len(shapes[name]) not in allowed:
        raise CheckpointError(f"{name} has shape {shapes[name]}, expected {form}")


def expect_pairs(shapes: Shapes, name: str, form: str, allowed: tuple[int, ...]) -> None:
    """Raises CheckpointError unless the leaf also has a last axis of 2: real and imaginary part."""
    expect_ndim(shapes, name, form, allowed)
    if shapes[name][-1] != 2:
        raise CheckpointError(f"{name} has shape {shapes[name]}, expected {form}: real and imaginary part last")
