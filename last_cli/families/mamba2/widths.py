"""The sizes of mixers as configurations spell them, before and after a pruning, and what follows for the gate's norm.

The norm takes its mean over fewer channels afterwards. Without the zeros of what is gone the mean of squares is 1/r
times as large, r = channels left/channels of one norm group: weight / sqrt(r) and epsilon / r put that right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from last_cli.families.layer import Layer
from last_cli.families.mamba2.dialect import Settings, settings
from last_cli.families.mamba2.targets import IN_BIAS, NORM, OUT, OUT_BIAS
from last_cli.families.resizing import Rescale, Shrinking
from last_cli.formats.types import Key, dtype_of


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
            return replace(self, **{{"channels": "head_dim"}.get(target, target): count})
        heads = self.unit_groups * count
        norm_groups = heads if self.norm_groups == self.heads else self.norm_groups
        return replace(self, heads=heads, groups=heads if self.own_groups else self.groups, norm_groups=norm_groups)


def widths(layer: Layer, said: Settings) -> Widths:
    """The sizes of a layer, as its units show them."""
    heads, states = layer.units["heads"], layer.units["states"]
    (columns,) = heads.segments[OUT]
    count = heads.groups * heads.count
    norm_groups = count if said.norm_by_head else said.norm_groups or states.groups
    return Widths(count, columns.block, states.groups, states.count, columns.start, norm_groups, heads.groups)


@dataclass(frozen=True)
class Change:
    """A pruning of Mamba-2 mixers.

    Attributes:
        pruning: as it is asked for.
        said: of the model as it is.
        before, after: the sizes of all mixers in order.
    """

    pruning: Shrinking
    said: Settings
    before: tuple[Widths, ...]
    after: tuple[Widths, ...]

    @property
    def alike(self) -> bool:
        """Whether all mixers have the same sizes afterwards."""
        return len(set(self.after)) == 1

    @property
    def biased(self) -> bool:
        """Whether out_proj has a bias and in_proj, which shares its key in most configurations, has none."""
        return any(OUT_BIAS in layer.leaves and IN_BIAS not in layer.leaves for layer in self.pruning.layers)

    @property
    def merged(self) -> bool:
        """Whether the gate's norm then has more groups than B and C."""
        by_group = self.said.norm is not None and not self.said.norm_by_head
        return by_group and any(one.norm_groups != one.groups for one in self.after)

    @property
    def width(self) -> int:
        """Of the model."""
        return self.pruning.layers[0].sizes.features

    @property
    def ratios(self) -> list[float]:
        """1/r of each mixer's norm."""
        return [old.norm_width / new.norm_width for old, new in zip(self.before, self.after, strict=True)]

    @property
    def eps(self) -> list[float]:
        """The epsilon of each mixer's norm as it is to be."""
        layers = self.pruning.layers
        return [self.said.eps_of(i, layer.name) * self.ratios[i] for i, layer in enumerate(layers)]

    def norms(self, *, single: bool) -> dict[Key, Rescale]:
        """What becomes of the weights of the gate's norms; in single precision at least, if asked for."""
        found: dict[Key, Rescale] = {}
        for layer, ratio in zip(self.pruning.layers, self.ratios, strict=True):
            if NORM in layer.leaves and ratio != 1:
                key = layer.leaves[NORM]
                short = dtype_of(self.pruning.leaves[key].dtype).itemsize < 4
                found[key] = Rescale(math.sqrt(ratio), "float32" if single and short else None)
        return found


def change_of(pruning: Shrinking) -> Change:
    """The change of the mixers that a pruning is."""
    said = settings(pruning.files)
    for number, layer in enumerate(pruning.layers):
        said.eps_of(number, layer.name)  # Lists with too few entries make models that do not run.
    before = tuple(widths(layer, said) for layer in pruning.layers)
    after = [one.keeping(pruning.target, count) for one, count in zip(before, pruning.counts, strict=True)]
    return Change(pruning, said, before, tuple(after))
