"""S4D as in the state-spaces code: one SISO system a channel, in conjugate pairs (github.com/state-spaces/s4).

Leaves: log_dt (H,); log_A_real, A_imag (H, N/2); C (H, N/2, 2), or (2, H, N/2, 2) for two directions, the second one
starting one step later; D (H,). A = -exp(log_A_real) + i A_imag, each state standing for a conjugate pair.
"""

from __future__ import annotations

from collections.abc import Mapping

from last_cli.base.errors import CheckpointError
from last_cli.families.family import Family, Sizes, agree, expect_ndim, expect_pairs
from last_cli.families.lti.config import ModelConfig
from last_cli.families.lti.discretise import as_complex, as_pair, zoh, zoh_poles
from last_cli.families.lti.network import CLASSIFIER
from last_cli.families.lti.relatives import DSS, NPLR, S7
from last_cli.families.lti.system import AnyArray, System
from last_cli.families.target import Segment, Segments, Shapes, Target


def system(leaves: Mapping[str, AnyArray], config: ModelConfig) -> System:
    """The layer as H systems of N/2 pairs, one input and one output each."""
    xp = leaves["C"].__array_namespace__()
    A = -xp.exp(leaves["log_A_real"]) + 1j * leaves["A_imag"]
    dt = config.step_rescale * xp.exp(xp.reshape(leaves["log_dt"], (-1, 1)))
    lam, factor = zoh(A, dt)
    C = as_complex(leaves["C"])
    return System(
        lam=lam,
        B=factor[:, :, None],
        C=xp.reshape(C, (-1, *A.shape))[:, :, None, :],
        D=xp.reshape(leaves["D"], (-1,)),
        gain=2.0,
        backward_lag=1,
    )


def with_readouts(leaves: Mapping[str, AnyArray], C: AnyArray) -> dict[str, AnyArray]:
    """C as a leaf; see Family.with_readouts."""
    return {"C": C.__array_namespace__().reshape(as_pair(C[:, :, 0, :]), leaves["C"].shape)}


def with_system(leaves: Mapping[str, AnyArray], system: System, config: ModelConfig) -> dict[str, AnyArray]:
    """Poles as leaves, and C with B in it, as the kernel has a B of its own; see Family.with_system."""
    xp = leaves["C"].__array_namespace__()
    dt = config.step_rescale * xp.exp(xp.reshape(leaves["log_dt"], (-1, 1)))
    A = zoh_poles(system.lam, dt)
    C = system.C * (system.B[:, :, 0] / zoh(A, dt)[1])[None, :, None, :]
    return {"log_A_real": xp.log(-xp.real(A)), "A_imag": xp.imag(A), **with_readouts(leaves, C)}


def sizes(shapes: Shapes) -> Sizes:
    """Sizes of the layer; see Family.sizes."""
    expect_ndim(shapes, "log_A_real", "(H, N/2)", (2,))
    expect_ndim(shapes, "A_imag", "(H, N/2)", (2,))
    for name in ("D", "log_dt"):
        expect_ndim(shapes, name, "(H,)", (1, 2))
    expect_pairs(shapes, "C", "(H, N/2, 2) or (directions, H, N/2, 2)", (3, 4))
    directions = shapes["C"][0] if len(shapes["C"]) == 4 else 1
    if directions not in (1, 2):
        raise CheckpointError(f"C has shape {shapes['C']}, expected (H, N/2, 2) or (directions, H, N/2, 2)")
    states = agree(
        "states", {"log_A_real": shapes["log_A_real"][1], "A_imag": shapes["A_imag"][1], "C": shapes["C"][-2]}
    )
    features = agree(
        "channels",
        {"log_A_real": shapes["log_A_real"][0], "A_imag": shapes["A_imag"][0], "C": shapes["C"][-3]}
        | {n: shapes[n][-1] for n in ("log_dt", "D")},
    )
    return Sizes(states, features, features, directions)


SEGMENTS: Segments = {
    "log_A_real": (Segment(-1, group_axis=-2),),
    "A_imag": (Segment(-1, group_axis=-2),),
    "C": (Segment(-2, group_axis=-3, role="readout"),),
}

S4D_PAIRS = Family(
    name="s4d-pairs",
    kind="s4d",
    summary="one SISO system per channel in conjugate pairs, state-spaces leaves; log_dt, log_A_real, A_imag, C, D",
    required=frozenset({"log_dt", "log_A_real", "A_imag", "C", "D"}),
    sizes=sizes,
    targets=(Target("states", lambda shapes: (shapes["A_imag"][0], shapes["A_imag"][1]), lambda shapes: SEGMENTS),),
    system=system,
    with_readouts=with_readouts,
    with_system=with_system,
    network=CLASSIFIER,
    relatives=(NPLR, DSS, S7),
)
