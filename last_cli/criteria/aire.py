"""AIRE: impulse-response energies, normalised by each layer's tail share (Padhy et al., ICLR 2026)."""

from last_cli.criteria.criterion import Criterion, tail_share
from last_cli.system import impulse_energy

AIRE = Criterion(
    name="aire",
    summary="impulse-response energy over the layer's tail sum: AIRE-Prune, float64",
    energy=lambda system, rng: impulse_energy(system),
    normalise=tail_share,
)
