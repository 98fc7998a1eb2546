"""Random scores: the baseline that every criterion has to beat."""

from last_cli.pruning.criteria.criterion import Criterion

RANDOM = Criterion(
    name="random",
    summary="uniformly random, fixed by ⟦seed⟧",
    energy=lambda rng, live: rng.random(live.shape),
    needs=("rng", "live"),
    targets=(),
)
