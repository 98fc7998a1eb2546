"""S4D as in the annotated S4D: one SISO system a channel (Gu et al., NeurIPS 2022; github.com/srush/annotated-s4).

Leaves: A_re, A_im (N, H); B_re, B_im (N, H), stored but ignored by its kernel; C (N, H, 2); D (1, H); log_step (1, H).
Real parts are clipped at -1e-4, and all N states are summed as they are (no conjugate pairs).
"""

from __future__ import annotations

from collections.abc import Mapping

from last_cli.families.family import Family, Sizes, agree, expect_ndim, expect_pairs
from last_cli.families.lti.config import ModelConfig
from last_cli.families.lti.discretise import as_complex, as_pair, clip_real, zoh, zoh_poles
from last_cli.families.lti.network import CLASSIFIER
from last_cli.families.lti.relatives import DENSE, DSS, NPLR, S7
from last_cli.families.lti.system import AnyArray, System
from last_cli.families.target import Segment, Segments, Shapes, Target


def system(leaves: Mapping[str, AnyArray], config: ModelConfig) -> System:
    """The layer as H systems of N states, one input and one output each."""
    xp = leaves["C"].__array_namespace__()
    A = xp.permute_dims(clip_real(leaves["A_re"]) + 1j * leaves["A_im"], (1, 0))
    dt = config.step_rescale * xp.exp(xp.reshape(leaves["log_step"], (-1, 1)))
    lam, factor = zoh(A, dt)
    return System(
        lam=lam,
        B=factor[:, :, None],
        C=xp.permute_dims(as_complex(leaves["C"]), (1, 0))[None, :, None, :],
        D=xp.reshape(leaves["D"], (-1,)),
        gain=1.0,
    )


def with_readouts(leaves: Mapping[str, AnyArray], C: AnyArray) -> dict[str, AnyArray]:
    """C as a leaf; see Family.with_readouts."""
    return {"C": as_pair(C.__array_namespace__().permute_dims(C[0, :, 0, :], (1, 0)))}


def with_system(leaves: Mapping[str, AnyArray], system: System, config: ModelConfig) -> dict[str, AnyArray]:
    """Poles as leaves, and C with B in it, as the kernel has a B of its own; see Family.with_system."""
    xp = leaves["C"].__array_namespace__()
    dt = config.step_rescale * xp.exp(xp.reshape(leaves["log_step"], (-1, 1)))
    A = zoh_poles(system.lam, dt)
    A_re, A_im = clip_real(xp.real(A)), xp.imag(A)
    _, factor = zoh(A_re + 1j * A_im, dt)
    C = system.C * (system.B[:, :, 0] / factor)[None, :, None, :]
    return {
        "A_re": xp.permute_dims(A_re, (1, 0)),
        "A_im": xp.permute_dims(A_im, (1, 0)),
        **with_readouts(leaves, C),
    }


def sizes(shapes: Shapes) -> Sizes:
    """Sizes of the layer; see Family.sizes."""
    stateful = [n for n in ("A_re", "A_im", "B_re", "B_im") if n in shapes]
    for name in stateful:
        expect_ndim(shapes, name, "(N, H)", (2,))
    for name in ("D", "log_step"):
        expect_ndim(shapes, name, "(1, H)", (1, 2))
    expect_pairs(shapes, "C", "(N, H, 2)", (3,))
    states = agree("states", {n: shapes[n][0] for n in [*stateful, "C"]})
    features = agree(
        "channels", {n: shapes[n][1] for n in [*stateful, "C"]} | {n: shapes[n][-1] for n in ("D", "log_step")}
    )
    return Sizes(states, features, features, 1)


SEGMENTS: Segments = {
    "A_re": (Segment(-2, group_axis=-1),),
    "A_im": (Segment(-2, group_axis=-1),),
    "B_re": (Segment(-2, group_axis=-1, role="input"),),
    "B_im": (Segment(-2, group_axis=-1, role="input"),),
    "C": (Segment(-3, group_axis=-2, role="readout"),),
}

S4D = Family(
    name="s4d",
    kind="s4d",
    summary="one SISO system per channel, annotated-s4 leaves; A_re, A_im, C, D, log_step",
    required=frozenset({"A_re", "A_im", "C", "D", "log_step"}),
    optional=frozenset({"B_re", "B_im"}),
    sizes=sizes,
    targets=(Target("states", lambda shapes: (shapes["A_re"][1], shapes["A_re"][0]), lambda shapes: SEGMENTS),),
    system=system,
    with_readouts=with_readouts,
    with_system=with_system,
    network=CLASSIFIER,
    relatives=(NPLR, DSS, S7, DENSE),
)
