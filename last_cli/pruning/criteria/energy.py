"""Finite-horizon energy: AIRE's energies over as many steps as a sequence has, not over an infinite time.

Of language models it is the energy that a state puts out on text, as it is: no tail share.
"""

from last_cli.families.lti.system import finite_energy
from last_cli.pruning.criteria.criterion import Criterion, as_is, tail_share

ENERGY = Criterion(
    name="energy",
    summary="impulse-response energy over a finite ⟦horizon⟧, by the layer's tail sum; language models: on text",
    energy=lambda system, horizon: finite_energy(system, horizon),
    normalise=tail_share,
    needs=("system", "horizon"),
    measure="energy",
    normalise_measured=as_is,
)
