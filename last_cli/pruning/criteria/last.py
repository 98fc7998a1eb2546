"""LAST: squared H-infinity norms, normalised by each layer's tail share (Gwak et al., NeurIPS 2024)."""

from last_cli.families.lti.system import hinf_norm
from last_cli.pruning.criteria.criterion import Criterion, tail_share

LAST = Criterion(
    name="last",
    summary="squared H-infinity norm over the layer's tail sum: the paper's LAST score, float64 (default)",
    energy=lambda system: hinf_norm(system) ** 2,
    measure="hinf",
    normalise=tail_share,
    min_states=1,  # the largest of a layer scores 1, which no ratio is to remove
)
