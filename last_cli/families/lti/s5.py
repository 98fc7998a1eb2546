"""S5: one MIMO system a layer (Smith et al., ICLR 2023; github.com/lindermanlab/S5).

Leaves: Lambda_re, Lambda_im (P,); B (P, H, 2); C1 and C2, or C (K, P, 2), or, with C_init=complex_normal and two
directions, C (K, 2P, 2); D (K,) or (K, H), if there is one; log_step (P, 1) or (P,). Event-based models may have other
numbers of outputs K than inputs H.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from last_cli.base.errors import CheckpointError
from last_cli.families.family import Family, Hint, Sizes, agree, expect_ndim, expect_pairs
from last_cli.families.lti.config import ModelConfig
from last_cli.families.lti.discretise import METHODS, POLES, as_complex, as_pair, clip_real
from last_cli.families.lti.network import CLASSIFIER
from last_cli.families.lti.relatives import CONV_S5, DSS, MAMBA, MAMBA_1, MEGA, NPLR, S7
from last_cli.families.lti.system import AnyArray, System, feedthrough
from last_cli.families.target import Segment, Segments, Shapes, Target

FEW = 0.25


def system(leaves: Mapping[str, AnyArray], config: ModelConfig) -> System:
    """The layer as one system of P states, H inputs and K outputs."""
    xp = leaves["B"].__array_namespace__()
    A_re, A_im = leaves["Lambda_re"], leaves["Lambda_im"]
    A = (clip_real(A_re) if config.clip_eigs else A_re) + 1j * A_im
    dt = config.step_rescale * xp.exp(xp.reshape(leaves["log_step"], (-1,)))
    lam, factor = METHODS[config.discretization](A, dt)
    if "C" in leaves:
        C = as_complex(leaves["C"])
        readouts = [C[:, i : i + A.shape[0]] for i in range(0, C.shape[1], A.shape[0])]
    else:
        readouts = [as_complex(leaves["C1"]), as_complex(leaves["C2"])]
    return System(
        lam=lam[None],
        B=(factor[:, None] * as_complex(leaves["B"]))[None],
        C=xp.stack(readouts)[:, None],
        D=feedthrough(leaves, readouts[0]),
        gain=2.0 if config.conj_sym else 1.0,
    )


def with_readouts(leaves: Mapping[str, AnyArray], C: AnyArray) -> dict[str, AnyArray]:
    """The output matrices as leaves; see Family.with_readouts."""
    readouts = [as_pair(c[0]) for c in C]
    if "C" in leaves:
        return {"C": C.__array_namespace__().concat(readouts, axis=1)}
    return dict(zip(("C1", "C2"), readouts, strict=True))


def with_system(leaves: Mapping[str, AnyArray], system: System, config: ModelConfig) -> dict[str, AnyArray]:
    """Poles, input and output matrices as leaves; see Family.with_system."""
    xp = leaves["B"].__array_namespace__()
    dt = config.step_rescale * xp.exp(xp.reshape(leaves["log_step"], (-1,)))
    A = POLES[config.discretization](system.lam[0], dt)
    A_re, A_im = clip_real(xp.real(A)) if config.clip_eigs else xp.real(A), xp.imag(A)
    _, factor = METHODS[config.discretization](A_re + 1j * A_im, dt)
    B = as_pair(system.B[0] / factor[:, None])
    return {"Lambda_re": A_re, "Lambda_im": A_im, "B": B, **with_readouts(leaves, system.C)}


def sizes(shapes: Shapes) -> Sizes:
    """Sizes of the layer; see Family.sizes."""
    if "C" not in shapes and not {"C1", "C2"} <= set(shapes):
        raise CheckpointError("output matrix missing: expected C, or C1 and C2")
    expect_ndim(shapes, "Lambda_re", "(P,)", (1,))
    expect_ndim(shapes, "Lambda_im", "(P,)", (1,))
    expect_ndim(shapes, "log_step", "(P, 1) or (P,)", (1, 2))
    matrices = ["B", "C"] if "C" in shapes else ["B", "C1", "C2"]
    for name in matrices:
        expect_pairs(shapes, name, "(.., .., 2)", (3,))
    states = agree("states", {n: shapes[n][0] for n in ("Lambda_re", "Lambda_im", "B", "log_step")})
    features, rows = shapes["B"][1], {n: shapes[n][0] for n in matrices[1:]}
    if "D" in shapes:
        expect_ndim(shapes, "D", "(H,), or (K, H) of other outputs than inputs", (1, 2))
        agree("features", {"B": features, "D": shapes["D"][-1]} | (rows if len(shapes["D"]) == 1 else {}))
    outputs = agree("outputs", rows | ({"D": shapes["D"][0]} if len(shapes.get("D", ())) == 2 else {}))
    other = None if outputs == features else outputs
    if "C" not in shapes:
        agree("states", {"Lambda_re": states, "C1": shapes["C1"][1], "C2": shapes["C2"][1]})
        return Sizes(states, 1, features, 2, other)
    columns = shapes["C"][1]
    if columns not in (states, 2 * states):
        raise CheckpointError(
            f"Lambda_re has {states} states but C has {columns} columns, expected one or two per state"
        )
    if "C" in shapes and not {"C1", "C2"}.isdisjoint(shapes):
        raise CheckpointError("has C and another output matrix: expected C, or C1 and C2")
    return Sizes(states, 1, features, columns // states if states else 1, other)


def segments(shapes: Shapes) -> Segments:
    """Where the leaves hold the states; a C of both directions holds them twice."""
    states = shapes["Lambda_re"][0]
    runs = shapes["C"][1] // states if "C" in shapes else 1
    return {
        "Lambda_re": (Segment(-1),),
        "Lambda_im": (Segment(-1),),
        "log_step": (Segment(-len(shapes["log_step"])),),
        "B": (Segment(-3, role="input"),),
        "C": (Segment(-2, repeat=runs, role="readout"),),
        "C1": (Segment(-2, role="readout"),),
        "C2": (Segment(-2, role="readout"),),
    }


def pairs(A_im: np.ndarray) -> bool | None:
    """False where poles of both signs of the imaginary part are stored, so that they cannot each stand for a pair.

    The S5 code stores the half of the pairs with negative imaginary parts; training moves few of them across zero.
    """
    both = min((A_im > 0).mean(), (A_im < 0).mean()) > FEW
    return False if both else None


S5 = Family(
    name="s5",
    kind="s5",
    summary="one MIMO system per layer; Lambda_re, Lambda_im, B, C or C1 and C2, D, log_step",
    required=frozenset({"Lambda_re", "Lambda_im", "B", "log_step"}),
    optional=frozenset({"C", "C1", "C2", "D"}),
    options=("discretization", "conj_sym", "clip_eigs", "step_rescale"),
    sizes=sizes,
    targets=(Target("states", lambda shapes: (1, shapes["Lambda_re"][0]), segments, flat=True),),
    hints=(Hint("conj_sym", "Lambda_im", pairs),),
    matters=(Hint("clip_eigs", "Lambda_re", lambda A_re: bool((clip_real(A_re) != A_re).any())),),
    system=system,
    with_readouts=with_readouts,
    with_system=with_system,
    network=CLASSIFIER,
    relatives=(NPLR, DSS, CONV_S5, MAMBA, MAMBA_1, MEGA, S7),
)
