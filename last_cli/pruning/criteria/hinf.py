"""H-infinity norms compared as they are: the LAST paper's Global and, with scope layer, Uniform baselines."""

from last_cli.families.lti.system import hinf_norm
from last_cli.pruning.criteria.criterion import Criterion

HINF = Criterion(
    name="hinf",
    summary="squared H-infinity norm, not normalised: the paper's Global (or, ⟦scope layer⟧, Uniform) baseline",
    energy=lambda system: hinf_norm(system) ** 2,
    measure="hinf",
)
