"""One SSM layer of a tree: where its leaves are, and what can be removed from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from last_cli.families.family import Family, Sizes
from last_cli.families.target import Shapes, Target, Units
from last_cli.formats import Key


@dataclass(frozen=True)
class Layer:
    """One SSM layer: where it is in the tree and what it is.

    Attributes:
        name: the path below the parameters, joined by "/".
        leaves: the family's leaf names -> full keys.
        sizes: of its arrays.
        units: what can be removed from it, by target.
    """

    name: str
    family: Family
    leaves: Mapping[str, Key]
    sizes: Sizes
    units: Mapping[str, Units]

    def carries(self, leaf: str) -> bool:
        """Whether units of any target own entries of this leaf."""
        return any(leaf in units.segments for units in self.units.values())

    def target(self, name: str | None = None) -> Target:
        """The kind of unit of this name; by default the usual one.

        Raises:
            KeyError: the family has none of this name.
        """
        found = next((t for t in self.family.targets if name in (None, t.name)), None)
        if found is None:
            raise KeyError(name)
        return found


def layer_of(name: str, family: Family, leaves: Mapping[str, Key], shapes: Shapes) -> Layer:
    """The layer of these leaves.

    Raises:
        CheckpointError: the shapes disagree; without the layer's name.
    """
    sizes = family.sizes(shapes)
    units = {
        target.name: Units(
            *target.units(shapes), {leaf: s for leaf, s in target.segments(shapes).items() if leaf in leaves}
        )
        for target in (family.targets if sizes.states else ())
    }
    return Layer(name, family, leaves, sizes, units)
