"""LRU: one MIMO system a layer (Orvieto et al., ICML 2023), with the leaves of the public JAX code (minimal-LRU).

Leaves: nu_log, theta_log, gamma_log (N,); B_re, B_im (N, H); C_re, C_im (K, N); D (H,). The poles are discrete already,
lam = exp(-exp(nu_log) + i exp(theta_log)), B is scaled by exp(gamma_log), and y = Re(C x) + D u.
"""

from __future__ import annotations

from collections.abc import Mapping

from last_cli.families.family import Family, Sizes, agree, expect_ndim
from last_cli.families.lti.config import ModelConfig
from last_cli.families.lti.network import CLASSIFIER
from last_cli.families.lti.relatives import LRU_OTHERWISE, LRU_TWO_WAYS, RG_LRU, S7
from last_cli.families.lti.system import AnyArray, System, feedthrough
from last_cli.families.target import Segment, Segments, Shapes, Target

TURN = 6.283185307179586  # 2 pi


def system(leaves: Mapping[str, AnyArray], config: ModelConfig) -> System:
    """The layer as one system of N states, H inputs and K outputs."""
    xp = leaves["B_re"].__array_namespace__()
    B = (leaves["B_re"] + 1j * leaves["B_im"]) * xp.exp(leaves["gamma_log"])[:, None]
    C = leaves["C_re"] + 1j * leaves["C_im"]
    return System(
        lam=xp.exp(-xp.exp(leaves["nu_log"]) + 1j * xp.exp(leaves["theta_log"]))[None],
        B=B[None],
        C=C[None, None],
        D=feedthrough(leaves, C),
        gain=1.0,
    )


def with_readouts(leaves: Mapping[str, AnyArray], C: AnyArray) -> dict[str, AnyArray]:
    """The output matrix as leaves; see Family.with_readouts."""
    xp = C.__array_namespace__()
    return {"C_re": xp.real(C[0, 0]), "C_im": xp.imag(C[0, 0])}


def with_system(leaves: Mapping[str, AnyArray], system: System, config: ModelConfig) -> dict[str, AnyArray]:
    """Poles, input and output matrices as leaves, gamma_log as it is; see Family.with_system."""
    xp = leaves["B_re"].__array_namespace__()
    lam, B = system.lam[0], system.B[0] / xp.exp(leaves["gamma_log"])[:, None]
    angle = xp.atan2(xp.imag(lam), xp.real(lam))
    return {
        "nu_log": xp.log(-xp.log(xp.abs(lam))),
        "theta_log": xp.log(
            xp.where(angle > 0, angle, angle + TURN)
        ),  # exp(theta_log) is above 0: a real pole turns once
        "B_re": xp.real(B),
        "B_im": xp.imag(B),
        **with_readouts(leaves, system.C),
    }


def sizes(shapes: Shapes) -> Sizes:
    """Sizes of the layer; see Family.sizes."""
    vectors, matrices = ("nu_log", "theta_log", "gamma_log"), ("B_re", "B_im", "C_re", "C_im")
    for name in vectors:
        expect_ndim(shapes, name, "(N,)", (1,))
    for name in matrices:
        expect_ndim(shapes, name, "(.., ..)", (2,))
    states = agree(
        "states", {n: shapes[n][0] for n in (*vectors, "B_re", "B_im")} | {n: shapes[n][1] for n in matrices[2:]}
    )
    features = agree("features", {n: shapes[n][1] for n in matrices[:2]})
    outputs = agree(
        "outputs", {n: shapes[n][0] for n in matrices[2:]} | {n: shapes[n][-1] for n in ("D",) if n in shapes}
    )
    return Sizes(states, 1, features, 1, None if outputs == features else outputs)


SEGMENTS: Segments = {
    "nu_log": (Segment(-1),),
    "theta_log": (Segment(-1),),
    "gamma_log": (Segment(-1),),
    "B_re": (Segment(-2, role="input"),),
    "B_im": (Segment(-2, role="input"),),
    "C_re": (Segment(-1, role="readout"),),
    "C_im": (Segment(-1, role="readout"),),
}

LRU = Family(
    name="lru",
    kind="lru",
    summary="one MIMO system per layer, poles in polar form; nu_log, theta_log, gamma_log, B_re, B_im, C_re, C_im, D",
    required=frozenset({"nu_log", "theta_log", "gamma_log", "B_re", "B_im", "C_re", "C_im"}),
    optional=frozenset({"D"}),
    options=(),
    sizes=sizes,
    targets=(Target("states", lambda shapes: (1, shapes["nu_log"][0]), lambda shapes: SEGMENTS),),
    system=system,
    with_readouts=with_readouts,
    with_system=with_system,
    network=CLASSIFIER,
    relatives=(LRU_TWO_WAYS, LRU_OTHERWISE, S7, RG_LRU),
)
