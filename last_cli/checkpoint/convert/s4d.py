"""S4D as in the state-spaces code (github.com/state-spaces/s4), in all the names that it has had.

Minimal (models/s4/s4d.py):  log_dt (H,), log_A_real, A_imag (H, N), C (H, N, 2), D (H,);
Full, version 3:             log_dt (H,) or (H, 1), inv_A_real or inv_w_real, A_imag or w_imag (S, N), B (S, N, 2),
                             C (channels, H, N, 2), D (channels, H); A = -f(inv_A_real) + i A_imag;
Full, version 4:             inv_dt (H, 1), A_real, A_imag (S, N), B (1, S, N, 2), C, D as before;
                             A = -f(A_real) - i A_imag.

N counts conjugate pairs, S copies of (A, B) are shared by the H channels in turn, and two channels of C beside one of D
are the two directions. The kernel sees B and C only as their product, so B is folded into C.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from last_cli.base.annotations import Bool, Shaped
from last_cli.base.errors import CheckpointError
from last_cli.checkpoint.convert.layout import Arrays, Converted, Layout, Spec, as_pairs, as_stored, real_dtype
from last_cli.checkpoint.convert.transforms import log_of, unlog

# The names of a real part whose imaginary part is stored with its sign turned: version 4 asks for positive numbers.
_NEGATED = ("A_real",)


def to_leaves(names: Mapping[str, str], arrays: Arrays, options: Mapping[str, str]) -> Converted:
    """A layer of the family `s4d-pairs`; see Layout.to_leaves."""
    C, D = as_pairs(arrays["C"]), arrays["D"]
    _check_channels(names, C, D)
    channels, states = C.shape[-3:-1]
    notes: dict[str, str] = {}
    wide = {role: _tiled(names, role, _flat(arrays, role), channels, states, notes) for role in ("real", "imag")}
    dt = _dt(names["dt"], arrays["dt"], channels)
    leaves = {
        "log_dt": log_of(dt, options["dt_transform"], names["dt"]),
        "log_A_real": log_of(wide["real"], options["real_transform"], names["real"]),
        "A_imag": -wide["imag"] if _negated(names) else wide["imag"],
        "C": C,
        "D": D,
    }
    copies: dict[str, tuple[str, np.ndarray]] = {}
    for role, leaf, original in (("dt", "log_dt", dt), ("real", "log_A_real", wide["real"])):
        if (transform := options[f"{role}_transform"]) != "exp":
            copies[role] = (leaf, original)
            notes[role] = f"log of {transform}(x)"
    if _negated(names):
        notes["imag"] = f"sign turned{'; ' + notes['imag'] if 'imag' in notes else ''}"
    if "B" in arrays:
        B = _tiled(names, "B", _flat(arrays, "B"), channels, states, notes)
        if _is_one(B):
            notes["B"] = "all ones, so C is unchanged"
        else:
            leaves["C"] = fold(B, C)
            copies |= {"C": ("C", C), "B_re": ("A_imag", B[..., 0]), "B_im": ("A_imag", B[..., 1])}
            notes |= {"B": "folded into C", "C": "multiplied by B; the kernel sees their product alone"}
    holds = {"dt": ("log_dt",), "real": ("log_A_real",), "imag": ("A_imag",), "C": ("C",), "D": ("D",), "B": ("C",)}
    return Converted(leaves, {role: holds[role] for role in names}, copies, notes, assumed=_assumed(names, options))


def to_source(
    names: Mapping[str, str], leaves: Arrays, copies: Arrays, specs: Mapping[str, Spec], options: Mapping[str, str]
) -> tuple[dict[str, Shaped[np.ndarray, "..."]], dict[str, str]]:
    """The inverse; see Layout.to_source.

    Originals are given back where what was computed of them is still what the checkpoint holds, which pruning keeps.
    """
    notes: dict[str, str] = {}
    C = leaves["C"]
    padding = _padding(leaves)
    wide = {
        "real": unlog(leaves["log_A_real"], copies.get("real"), options["real_transform"], padding),
        "imag": -leaves["A_imag"] if _negated(names) else leaves["A_imag"],
    }
    if "B" in specs:
        B = np.stack([np.ones_like(leaves["A_imag"]), np.zeros_like(leaves["A_imag"])], axis=-1)
        if "C" in copies:
            kept = np.stack([copies["B_re"], copies["B_im"]], axis=-1)
            if np.array_equal(fold(kept, copies["C"]), C):
                B, C = kept, copies["C"]
            else:
                notes |= {"C": "changed since the import: the product of B and C", "B": "ones, as C holds the product"}
        wide["B"] = B.astype(real_dtype(specs["B"].dtype), copy=False)
    tied = all(_repeats(array, _copies(specs[role], role)) for role, array in wide.items())
    for role, array in wide.items():
        if (copies_of := _copies(specs[role], role)) < len(array):
            if tied:
                wide[role] = array[:copies_of]
            else:
                notes[role] = f"one for each of {len(array)} channels, as they differ now (n_ssm was {copies_of})"
    arrays = {"C": as_stored(C, specs["C"]), "D": leaves["D"], "real": wide["real"], "imag": wide["imag"]}
    dt = unlog(leaves["log_dt"], copies.get("dt"), options["dt_transform"])
    arrays["dt"] = dt[:, None] if len(specs["dt"].shape) == 2 else dt
    if "B" in specs:
        B = as_stored(wide["B"], specs["B"])
        arrays["B"] = B[None] if len(specs["B"].shape) == 4 - specs["B"].is_complex else B
    return arrays, notes


def fold(B: Shaped[np.ndarray, "H N 2"], C: Shaped[np.ndarray, "... H N 2"]) -> Shaped[np.ndarray, "... H N 2"]:
    """The complex product of pairs, computed in float64 and rounded once to the type of C."""
    b, c = B.astype(np.float64), C.astype(np.float64)
    real = b[..., 0] * c[..., 0] - b[..., 1] * c[..., 1]
    imag = b[..., 0] * c[..., 1] + b[..., 1] * c[..., 0]
    return np.stack([real, imag], axis=-1).astype(C.dtype)


def _check_channels(names: Mapping[str, str], C: np.ndarray, D: np.ndarray) -> None:
    if C.ndim not in (3, 4) or C.shape[-1] != 2 or D.ndim not in (1, 2):
        raise CheckpointError(
            f"{names['C']} has shape {C.shape} and {names['D']} has {D.shape}, expected (H, N, 2) or "
            "(channels, H, N, 2), and (H,) or (channels, H)"
        )
    outputs = D.shape[0] if D.ndim == 2 else 1
    readouts = C.shape[0] if C.ndim == 4 else 1
    if outputs != 1 or readouts not in (1, 2) or D.shape[-1] != C.shape[-3]:
        raise CheckpointError(
            f"{names['C']} has shape {C.shape} and {names['D']} has {D.shape}: a layer of {outputs} outputs per "
            "channel, expected one (C of 1 channel, or of 2 when bidirectional, and D of 1)",
            "layers with channels > 1, or with a GLU inside the convolution, are not supported",
        )


def _dt(name: str, dt: np.ndarray, channels: int) -> np.ndarray:
    if dt.shape not in ((channels,), (channels, 1)):
        raise CheckpointError(
            f"{name} has shape {dt.shape}, expected ({channels},) or ({channels}, 1)",
            "steps that differ between the states of a channel (dt_tie=False) are not supported",
        )
    return dt.reshape(channels)


def _flat(arrays: Arrays, role: str) -> np.ndarray:
    """B as pairs without its leading axis of 1; the others as they are."""
    array = arrays[role]
    if role != "B":
        return array
    array = as_pairs(array)
    return array[0] if array.ndim == 4 and len(array) == 1 else array


def _tiled(
    names: Mapping[str, str], role: str, array: np.ndarray, channels: int, states: int, notes: dict[str, str]
) -> np.ndarray:
    """(S, N, ...) repeated to (H, N, ...), channel h using copy h modulo S."""
    expected = (states, 2) if role == "B" else (states,)
    if array.shape[1:] != expected or not len(array) or channels % len(array):
        raise CheckpointError(
            f"{names[role]} has shape {array.shape}, expected (S, {', '.join(map(str, expected))}) with S a divisor of "
            f"the {channels} channels of {names['C']}"
        )
    if len(array) < channels:
        notes[role] = f"{len(array)} shared by {channels} channels, repeated"
    return np.tile(array, (channels // len(array), *[1] * (array.ndim - 1)))


def _repeats(array: np.ndarray, copies: int) -> bool:
    return np.array_equal(array, np.tile(array[:copies], (len(array) // copies, *[1] * (array.ndim - 1))))


def _copies(spec: Spec, role: str) -> int:
    """S, as the file had it."""
    batched = role == "B" and len(spec.shape) == 4 - spec.is_complex
    return spec.shape[1] if batched else spec.shape[0]


def _padding(leaves: Arrays) -> Bool[np.ndarray, "H N"]:
    """States that pruning added to a channel to make it as wide as the widest: all zeros."""
    C = leaves["C"]
    empty = ~(C != 0).any(axis=-1)
    empty = empty.all(axis=0) if empty.ndim == 3 else empty
    return empty & (leaves["log_A_real"] == 0) & (leaves["A_imag"] == 0)


def _is_one(B: np.ndarray) -> bool:
    return bool((B[..., 0] == 1).all() and (B[..., 1] == 0).all() and not np.signbit(B[..., 1]).any())


def _negated(names: Mapping[str, str]) -> bool:
    return names["real"].rsplit(".", 1)[-1] in _NEGATED


def _assumed(names: Mapping[str, str], options: Mapping[str, str]) -> dict[str, str | None]:
    """What the full repository could have been told to do otherwise; the minimal code has no such choices."""
    if names["real"].rsplit(".", 1)[-1] == "log_A_real" and "B" not in names:
        return {}
    return {"discretization": "zoh", **{f"{r}_transform": options[f"{r}_transform"] for r in ("real", "dt")}} | {
        "imag_transform": "none",
        "bandlimit": None,
    }


S4D_STATE_SPACES = Layout(
    name="s4d-state-spaces",
    roles={
        **dict.fromkeys(("log_dt", "inv_dt"), "dt"),
        **dict.fromkeys(("log_A_real", "inv_A_real", "A_real", "inv_w_real", "log_w_real"), "real"),
        **dict.fromkeys(("A_imag", "w_imag"), "imag"),
        "B": "B",
        "C": "C",
    },
    optional=frozenset({"B"}),
    to_leaves=to_leaves,
    to_source=to_source,
)
