"""AIRE: impulse-response energies, normalised by each layer's tail share (Padhy et al., ICLR 2026)."""

from last_cli.families.lti.system import impulse_energy
from last_cli.pruning.criteria.criterion import Criterion, tail_share

AIRE = Criterion(
    name="aire",
    summary="impulse-response energy over the layer's tail sum: AIRE-Prune, float64",
    energy=lambda system: impulse_energy(system),
    normalise=tail_share,
)
