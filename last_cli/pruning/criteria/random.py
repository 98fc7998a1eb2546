"""Random scores: the baseline that every criterion has to beat."""

from last_cli.pruning.criteria.criterion import Criterion

RANDOM = Criterion(
    name="random",
    summary="uniformly random, fixed by ⟦seed⟧",
    energy=lambda system, rng: rng.random(system.lam.shape),
)
