"""The sizes of a mixer as configurations spell them, before and after a pruning."""

from __future__ import annotations

from dataclasses import dataclass, replace

from last_cli.families.layer import Layer
from last_cli.families.mamba2.targets import OUT


@dataclass(frozen=True)
class Widths:
    """Sizes of one mixer.

    Attributes:
        heads, head_dim, groups, states, beside: see Mixer; groups are those that share B and C.
        norm_groups: into how many parts the gate's norm divides the channels.
        unit_groups: of how many groups of heads each keeps as many.
    """

    heads: int
    head_dim: int
    groups: int
    states: int
    beside: int
    norm_groups: int
    unit_groups: int

    @property
    def inner(self) -> int:
        """Channels of all heads."""
        return self.heads * self.head_dim

    @property
    def outer(self) -> int:
        """Columns of out_proj: those of a gated MLP beside, too."""
        return self.beside + self.inner

    @property
    def conv(self) -> int:
        """Channels of the convolution."""
        return self.inner + 2 * self.groups * self.states

    @property
    def rows(self) -> int:
        """Rows of in_proj."""
        return 2 * self.outer + 2 * self.groups * self.states + self.heads

    @property
    def own_groups(self) -> bool:
        """Whether each head has a B and C of its own, which go with it."""
        return self.unit_groups < self.groups == self.heads

    @property
    def norm_width(self) -> int:
        """Channels that one mean of the gate's norm is taken over."""
        return self.inner // self.norm_groups

    def keeping(self, target: str, count: int) -> Widths:
        """The sizes when every group keeps so many units."""
        if target != "heads":
            return replace(self, **{{"states": "states", "channels": "head_dim"}[target]: count})
        heads = self.unit_groups * count
        norm_groups = heads if self.norm_groups == self.heads else self.norm_groups
        return replace(self, heads=heads, groups=heads if self.own_groups else self.groups, norm_groups=norm_groups)


def widths(layer: Layer, norm_by_head: bool) -> Widths:
    """The sizes of a layer, as its units show them."""
    heads, states = layer.units["heads"], layer.units["states"]
    (columns,) = heads.segments[OUT]
    count = heads.groups * heads.count
    norm_groups = count if norm_by_head else states.groups
    return Widths(count, columns.block, states.groups, states.count, columns.start, norm_groups, heads.groups)
