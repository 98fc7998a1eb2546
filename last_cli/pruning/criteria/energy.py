"""Finite-horizon energy: AIRE's energies over as many steps as a sequence has, not over an infinite time."""

from last_cli.families.lti.system import finite_energy
from last_cli.pruning.criteria.criterion import Criterion, tail_share

ENERGY = Criterion(
    name="energy",
    summary="impulse-response energy over a finite ⟦horizon⟧, by the layer's tail sum; aire where it is infinite",
    energy=lambda system, horizon: finite_energy(system, horizon),
    normalise=tail_share,
    needs=("system", "horizon"),
)
