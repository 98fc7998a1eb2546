"""LAST as the released code computes it (github.com/msgwak/LAST, s5/ssm.py), for parity with published masks.

It differs from the paper in three ways. In bidirectional layers the mean of the two readout norms enters unsquared
and halved again, because `(a + b)/2 **2` is (a + b)/4. An epsilon of 1e-8 stands in the denominator. All is float32.
"""

import numpy as np

from last_cli.base.annotations import Float
from last_cli.families.lti.system import System, input_norm, readout_norms
from last_cli.pruning.criteria.criterion import Criterion, tail_share

EPSILON = 1e-8


def _energy(system: System) -> Float[np.ndarray, "G N"]:
    readouts = readout_norms(system)
    output = readouts[0] ** 2 if len(readouts) == 1 else readouts.sum(axis=0) / 4
    return output * input_norm(system) ** 2 / ((1 - np.abs(system.lam)) ** 2 + np.float32(EPSILON))


LAST_REFERENCE = Criterion(
    name="last-reference",
    summary="LAST as its released code has it: float32, epsilon 1e-8, C unsquared when bidirectional, ties kept",
    energy=_energy,
    normalise=tail_share,
    dtype=np.float32,
    ties="stay",
    min_states=1,
)
