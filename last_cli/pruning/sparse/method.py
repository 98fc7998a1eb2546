"""Methods `wanda`, `reference-wanda` and `sparsegpt`: zeros among the weights of a language model's linear maps.

The model is pruned block by block, and what a linear map reads is what the pruned model up to it makes of the
calibration sequences, with the residual stream. Arrays keep their shapes.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from last_cli.base.errors import CheckpointError, UsageError
from last_cli.base.progress import Progress
from last_cli.base.version import __version__
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.families.network import Linear
from last_cli.families.target import ROLES
from last_cli.pruning.calibration.observe import Observation, on_text
from last_cli.pruning.method import Plan, Pruned
from last_cli.pruning.recipe import Recipe
from last_cli.pruning.report import report_of
from last_cli.pruning.select import check_ratio
from last_cli.pruning.sparse.pattern import Sparsity
from last_cli.pruning.sparse.result import Counted, Sparse, counted
from last_cli.results.prune import LayerPrune


@dataclass(frozen=True)
class SparseMethod:
    """See the module; a method.Method.

    Attributes:
        targets: see Recipe.targets.
        refits: kept weights change.
        reference: the calibration sequences go on as in the paper's code.
    """

    name: str
    summary: str
    changes: str | None = None
    needs_inputs: bool = True
    targets: tuple[str, ...] = ("weights",)
    refits: bool = False
    reference: bool = False

    def prepare(
        self, checkpoint: Checkpoint, recipe: Recipe, observation: Observation | None, progress: Progress | None = None
    ) -> Plan:
        """Nothing is measured before the ratio is known: what a block reads depends on it."""
        recipe = recipe.on(checkpoint.layers)
        text = on_text(observation, f"{self.name} measures the inputs of the weights")
        return SparsePlan(self, checkpoint, recipe, text, progress)


WANDA = SparseMethod(
    "wanda", "method of pruning weights: zeros where |W| times the norm of the inputs is smallest in a row"
)
REFERENCE_WANDA = SparseMethod(
    "reference-wanda",
    "the same, selecting as the paper's code does: mamba_ssm's residual stream is lost between layers",
    reference=True,
)
SPARSEGPT = SparseMethod(
    "sparsegpt",
    "method of pruning weights: optimal brain surgery; kept weights compensate for the zeros",
    changes="new values of kept weights",
    refits=True,
)


@dataclass(frozen=True, eq=False)
class SparsePlan:
    """A checkpoint and its calibration sequences."""

    method: SparseMethod
    checkpoint: Checkpoint
    recipe: Recipe
    observation: Observation
    progress: Progress | None = None

    def at(self, ratio: float, *, draft: bool = False) -> Pruned:
        """See method.Plan."""
        check_ratio(ratio)
        sparsity = Sparsity(ratio, _pattern(self.recipe, ratio))
        changed, layers, found = Sparse(self.checkpoint.read), [], []
        for layer, tensors in self._pruned(sparsity, changed):
            layers, found = [*layers, layer], [*found, *tensors]
        if not found:
            missing = " and no ".join(self.recipe.sparsity["modules"])
            raise UsageError(f"the model has no {missing}", "⟦modules⟧ names what there is")
        needed = {"calibration": dict(self.observation.source)}
        zeros = {**self.recipe.sparsity, "weights": [one.as_json() for one in found]}
        small = replace(
            self.checkpoint,
            changed=ChainMap(changed, self.checkpoint.changed),  # pyright: ignore[reportArgumentType]
            stamp=_stamp(self.checkpoint, {"ratio": ratio, **self.recipe.settings, **needed, **zeros}, self.method),
        )
        report = report_of(self.checkpoint, small, self.recipe, ratio, layers)
        return Pruned(small, replace(report, needed=needed, method=self._reported, zeros=zeros))

    @property
    def _reported(self) -> str:
        return self.method.name if self.method.refits else "criterion"

    def _pruned(self, sparsity: Sparsity, changed: Sparse) -> Iterator[tuple[LayerPrune, list[Counted]]]:
        """Each block that has such linear maps, once they are pruned."""
        from last_cli.pruning.sparse.stream import blocks

        assert self.observation.inputs is not None
        modules = self.recipe.sparsity["modules"]
        total = sum(1 for _ in self.checkpoint.layers)
        for done, block in enumerate(blocks(self.checkpoint, self.observation.inputs)):
            linears = [one for one in block.part.linears if one.module in modules and one.tensor in block.keys]
            found, least = [], []
            for place in dict.fromkeys(one.place for one in linears):
                measured = block.gram(place) if self.method.refits else block.squares(place)
                for linear in (one for one in linears if one.place == place):
                    one, score = self._one(block, linear, measured, sparsity, changed)
                    found.append(one)
                    least += [] if score is None else [score]
            block.forward(stream=block.part.stream or not self.method.reference)
            if self.progress:
                self.progress("prune", min(done + 1, total), total)
            if found:
                yield _layer(block.part.prefix, found, min(least, default=None)), found

    def _one(
        self, block: Any, linear: Linear, measured: Any, sparsity: Sparsity, changed: Sparse
    ) -> tuple[Counted, float | None]:
        """Prune one linear map of a block, there and in the checkpoint."""
        from last_cli.pruning.sparse.sparsegpt import sparsegpt
        from last_cli.pruning.sparse.wanda import wanda

        key = block.keys[linear.tensor]
        stored = self.checkpoint.read([key])[key]
        if (width := sparsity.width(1)) and stored.shape[1] % width:
            raise UsageError(
                f"{'/'.join(key)} has rows of {stored.shape[1]}, which ⟦pattern {self.recipe.pattern}⟧ does not divide",
                "leave ⟦pattern⟧ out, or choose other ⟦modules⟧",
            )
        if not np.isfinite(block.tensors[linear.tensor]).all():
            raise CheckpointError(f"{'/'.join(key)}: weights that are not finite", "`last inspect` shows what is there")
        chosen = (sparsegpt if self.method.refits else wanda)(block.tensors[linear.tensor], measured, sparsity)
        new = changed.add(key, stored, chosen)
        block.tensors[linear.tensor] = new.astype(block.tensors[linear.tensor].dtype)
        return counted(key, new), chosen.least


def _pattern(recipe: Recipe, ratio: float) -> Any:
    """The recipe's pattern; raises UsageError where it is of another ratio."""
    from last_cli.pruning.sparse.pattern import pattern_of

    if recipe.pattern is None:
        return None
    found = pattern_of(recipe.pattern)
    if abs(found.ratio - ratio) > 1e-9:
        raise UsageError(
            f"⟦pattern {recipe.pattern}⟧ zeroes {found.ratio:.4g} of the weights, and the ratio is {ratio:.4g}",
            f"give ⟦ratio {found.ratio:.4g}⟧, or leave ⟦pattern⟧ out",
        )
    return found


def _layer(prefix: str, found: list[Counted], least: float | None) -> LayerPrune:
    weights, zeros = sum(one.weights for one in found), sum(one.zeros for one in found)
    return LayerPrune(prefix.replace(".", "/"), weights, weights - zeros, weights, 1, None, None, least)


def _stamp(checkpoint: Checkpoint, settings: Mapping[str, Any], method: SparseMethod) -> dict[str, Any]:
    source = checkpoint.source
    step = {
        "last": __version__,
        **settings,
        **({"method": method.name, "changes": list(ROLES)} if method.refits else {}),
        "source": {"path": source.path, "digest": source.digest, "step": source.step},
        **({"dropped": list(checkpoint.drops)} if checkpoint.drops else {}),
        "layers": [],
    }
    return checkpoint.chained(step)
