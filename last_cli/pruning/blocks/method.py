"""Method `loss`: whole blocks go, one after the other, each time the one that the loss on text misses least.

The idea is that of Mamba-Shedder (Munoz et al., NAACL 2025). The search is greedy: after each removal the loss without
each of the others is measured anew. A block is what stands at one place of the residual stream: the mixer or the
attention and what belongs to it. Of hybrids, which cannot run without any, one of each kind stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from last_cli.base.progress import Progress
from last_cli.base.version import __version__
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.families.network import Part
from last_cli.pruning.blocks.shorten import parts_of, shortened, silenced
from last_cli.pruning.calibration.observe import Observation, on_text
from last_cli.pruning.method import Plan, Pruned
from last_cli.pruning.recipe import BLOCKS, Recipe
from last_cli.pruning.report import report_of
from last_cli.pruning.select import check_ratio, kept_count
from last_cli.results.prune import LayerPrune


@dataclass(frozen=True)
class Loss:
    """See the module; a method.Method.

    Attributes:
        targets: see Recipe.targets.
    """

    name: str = "loss"
    summary: str = "method of pruning blocks: greedily, each time the one whose removal raises the loss on text least"
    changes: str | None = None
    needs_inputs: bool = True
    targets: tuple[str, ...] = (BLOCKS,)

    def prepare(
        self, checkpoint: Checkpoint, recipe: Recipe, observation: Observation | None, progress: Progress | None = None
    ) -> Plan:
        """Nothing is measured before it is known how many go."""
        recipe = recipe.on(checkpoint.layers)
        text = on_text(observation, f"{self.name} measures the loss")
        return LossPlan(checkpoint, recipe, text, parts_of(checkpoint), progress)


LOSS = Loss()


@dataclass(frozen=True)
class Round:
    """One look at a model: its blocks, its loss, and the loss without each of them in turn."""

    blocks: list[int]
    loss: float
    without: list[float]


@dataclass(frozen=True, eq=False)
class LossPlan:
    """A checkpoint, its calibration sequences, and what was measured so far.

    Attributes:
        parts: the blocks.
        rounds: of the greedy search, one for each block that went.
    """

    checkpoint: Checkpoint
    recipe: Recipe
    observation: Observation
    parts: Sequence[Part]
    progress: Progress | None = None
    rounds: list[Round] = field(default_factory=list)

    def at(self, ratio: float, *, draft: bool = False) -> Pruned:
        """See method.Plan; masked, what the blocks write is zero, and they stay where they are."""
        check_ratio(ratio)
        recipe, count = replace(self.recipe, masked=self.recipe.masked or draft), len(self.parts)
        kinds = len({part.kind for part in self.parts})
        stay = max(kept_count(count, ratio), min(recipe.min_states, count), kinds)
        removed = self._removed(count - stay)
        kept = [i for i in range(count) if i not in removed]
        small = silenced(self.checkpoint, kept) if recipe.masked else shortened(self.checkpoint, kept)
        said = {"calibration": dict(self.observation.source), "blocks": self._said(removed, kept)}
        settings = {"ratio": ratio, **recipe.settings, "masked": recipe.masked, **said}
        small = replace(small, stamp=_stamp(self.checkpoint, settings))
        report = report_of(self.checkpoint, small, recipe, ratio, self._layers(kept))
        return Pruned(small, replace(report, needed=said))

    def _removed(self, count: int) -> list[int]:
        """The numbers of the blocks that go, in the order in which they do."""
        from last_cli.pruning.blocks.loss import losses, model

        assert self.observation.inputs is not None
        found, measured = [self._least(one) for one in self.rounds[:count]], None
        while len(found) < count:
            measured = measured or model(self.checkpoint, self.observation.inputs)
            blocks = [i for i in range(len(self.parts)) if i not in found]
            loss, without = losses(measured, blocks)
            self.rounds.append(Round(blocks, loss, without.tolist()))
            found.append(self._least(self.rounds[-1]))
            if self.progress:
                self.progress("remove", len(found), count)
        return found

    def _least(self, one: Round) -> int:
        """The block whose removal gives the smallest loss; never the last one of its kind."""
        kinds = [self.parts[i].kind for i in one.blocks]
        may = [place for place, kind in enumerate(kinds) if kinds.count(kind) > 1]
        return one.blocks[min(may, key=lambda place: one.without[place])]

    def _said(self, removed: Sequence[int], kept: Sequence[int]) -> dict[str, Any]:
        """For report and stamp: what went, in which order, and the loss behind each step."""
        each = [
            {"block": _name(self.parts[i]), "loss": one.without[one.blocks.index(i)]}
            for i, one in zip(removed, self.rounds, strict=False)
        ]
        before = {"loss": self.rounds[0].loss} if each else {}
        return {"search": "greedy", "before": len(self.parts), "kept": list(kept), **before, "removed": each}

    def _layers(self, kept: Sequence[int]) -> list[LayerPrune]:
        """A row for each block, with the increase of the loss if one more went, as it was before the last one did."""
        last = self.rounds[len(self.parts) - len(kept) - 1] if len(kept) < len(self.parts) else None
        rise = dict(zip(last.blocks, np.array(last.without) - last.loss, strict=True)) if last else {}
        return [
            LayerPrune(_name(part), 1, int(i in kept), int(i in kept), 1, None, None, _number(rise.get(i), i in kept))
            for i, part in enumerate(self.parts)
        ]


def _number(rise: float | None, kept: bool) -> float | None:
    return float(rise) if kept and rise is not None else None


def _name(part: Part) -> str:
    return part.prefix.replace(".", "/")


def _stamp(checkpoint: Checkpoint, settings: Mapping[str, Any]) -> dict[str, Any]:
    source = checkpoint.source
    step = {
        "last": __version__,
        **settings,
        "source": {"path": source.path, "digest": source.digest, "step": source.step},
        **({"dropped": list(checkpoint.drops)} if checkpoint.drops else {}),
        "layers": [],
    }
    return checkpoint.chained(step)
