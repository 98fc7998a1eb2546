"""S5 as in s5-pytorch (github.com/i404788/s5-pytorch): `Lambda`, `B`, `C`, `D`, `log_step` of a module `seq`.

    x[t+1] = Lambda_bar x[t] + B_bar u[t]        y[t] = Re(C x[t]) + D u[t]

Lambda (P,) complex, or (P, 2); B (P, H, 2); C (H, P) complex, or (H, P, 2), 2P columns when bidirectional; D (H,);
log_step (P,) or (P, 1). All P states are stored, no halves of conjugate pairs, and nothing is clipped.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from last_cli.base.annotations import Shaped
from last_cli.base.errors import CheckpointError
from last_cli.checkpoint.convert.layout import Arrays, Converted, Layout, Spec, as_pairs, as_stored


def to_leaves(names: Mapping[str, str], arrays: Arrays, options: Mapping[str, str]) -> Converted:
    """A layer of the family `s5`; see Layout.to_leaves."""
    pairs = {
        role: _pairs(names[role], arrays[role], ndim, form)
        for role, ndim, form in (("Lambda", 2, "(P,)"), ("B", 3, "(P, H)"), ("C", 3, "(H, P)"))
    }
    log_step = arrays["log_step"]
    if log_step.ndim not in (1, 2):
        raise CheckpointError(f"{names['log_step']} has shape {log_step.shape}, expected (P,) or (P, 1)")
    # Versions with a complex Lambda discretise by zero-order hold, those with pairs (P, 2) bilinearly, unless told.
    discretization = "zoh" if np.iscomplexobj(arrays["Lambda"]) else "bilinear"
    return Converted(
        leaves={
            "Lambda_re": pairs["Lambda"][..., 0],
            "Lambda_im": pairs["Lambda"][..., 1],
            "B": pairs["B"],
            "C": pairs["C"],
            "D": arrays["D"],
            "log_step": log_step[:, None] if log_step.ndim == 1 else log_step,
        },
        holds={"Lambda": ("Lambda_re", "Lambda_im"), **{role: (role,) for role in ("B", "C", "D", "log_step")}},
        notes={role: "complex as pairs" for role in ("B", "C") if np.iscomplexobj(arrays[role])},
        model={"conj_sym": False, "clip_eigs": False, "discretization": discretization},
        assumed={"discretization": discretization, "liquid": False, "degree": 1},
    )


def to_source(
    names: Mapping[str, str], leaves: Arrays, copies: Arrays, specs: Mapping[str, Spec], options: Mapping[str, str]
) -> tuple[dict[str, Shaped[np.ndarray, "..."]], dict[str, str]]:
    """The inverse; see Layout.to_source."""
    pairs = {
        "Lambda": np.stack([leaves["Lambda_re"], leaves["Lambda_im"]], axis=-1),
        "B": leaves["B"],
        "C": leaves["C"],
    }
    log_step = leaves["log_step"]
    arrays = {role: as_stored(array, specs[role]) for role, array in pairs.items()}
    arrays["D"] = leaves["D"]
    arrays["log_step"] = log_step[:, 0] if len(specs["log_step"].shape) == 1 else log_step
    return arrays, {}


def _pairs(name: str, array: Shaped[np.ndarray, "..."], ndim: int, form: str) -> Shaped[np.ndarray, "... 2"]:
    pairs = as_pairs(array)
    if pairs.ndim != ndim or pairs.shape[-1] != 2:
        raise CheckpointError(
            f"{name} has shape {array.shape} and dtype {array.dtype.name}, expected complex {form} or "
            f"{form[:-1].rstrip(',')}, 2)"
        )
    return pairs


S5_PYTORCH = Layout(
    name="s5-pytorch",
    roles={name: name for name in ("Lambda", "B", "C", "D", "log_step")},
    optional=frozenset(),
    to_leaves=to_leaves,
    to_source=to_source,
)
