"""Magnitude: the size of a state's parameters, without regard to its dynamics."""

import numpy as np

from last_cli.families.lti.system import input_norm, output_norm
from last_cli.pruning.criteria.criterion import Criterion

MAGNITUDE = Criterion(
    name="magnitude",
    summary="product of the magnitudes |lam| |B| |C| of a state's discretised parameters",
    energy=lambda system: np.abs(system.lam) * input_norm(system) * output_norm(system),
    measure="magnitude",
)

REFERENCE_MAGNITUDE = Criterion(
    name="reference-magnitude",
    summary="language models: |B|^2 and |C|^2 of states ranked apart, as the paper's code does: B may go without C",
    energy=lambda measured: measured,
    needs=("measured",),
    targets=("states",),
    measure="reference-magnitude",
    readouts="reference-magnitude readouts",
)
