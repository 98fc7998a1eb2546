"""Layers that share leaves with S5, S4D and LRU and are none of them: what tells them, and why they are none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from last_cli.families.family import Relative
from last_cli.families.target import Shapes

POLES = re.compile(r"Lambda(_re|_im)?|(log_|inv_)?(A|w)_(re|im|real|imag)|A_re|A_im|log_dt|inv_dt|log_step")
STEP = re.compile(
    r"(step|dt|delta|timestep)(_?(proj|net|mlp|dense|linear|layer|head|rank|kernel|bias).*)?", re.IGNORECASE
)


def _has(shapes: Shapes, names: Iterable[str]) -> bool:
    return not set(names).isdisjoint(shapes)


def _has_poles(shapes: Shapes) -> bool:
    return any(POLES.fullmatch(name) for name in shapes)


def _low_rank(shapes: Shapes) -> bool:
    return _has(shapes, ("P", "Q", "p", "q")) and _has_poles(shapes)


def _convolutions(shapes: Shapes) -> bool:
    return len(shapes.get("C", ())) >= 5 or any(path.startswith("C_D_conv/") for path in shapes)


def _step_of_the_input(shapes: Shapes) -> bool:
    """A module makes the step, or a matrix of its own: `Delta/kernel`, `step_proj`."""
    matches = [(STEP.fullmatch(part), rest) for path in shapes for part, rest in _parts(path)]
    return any(match and (rest or match[2]) for match, rest in matches)


def _parts(path: str) -> Iterator[tuple[str, bool]]:
    """The parts of a path, and whether more follows."""
    *above, last = path.split("/")
    yield from ((part, True) for part in above)
    yield last, False


def _dense(shapes: Shapes) -> bool:
    """A of as many rows as columns, beside B and C."""
    A = shapes.get("A", ())
    return len(A) >= 2 and A[-1] == A[-2] > 1 and {"B", "C"} <= shapes.keys()


def _step_beside_decay(shapes: Shapes) -> bool:
    """A_log, and below it the projections that a Mamba-1 layer alone has."""
    return "A_log" in shapes and any(re.match(r"(x|dt)_proj\b", path) for path in shapes)


def _damped(shapes: Shapes) -> bool:
    """Averages as Mega has them: a factor each of damping and decay, of three axes."""
    return any(
        len(shapes.get(one, ())) == len(shapes.get(other, ())) == 3
        for one, other in (("alpha", "delta"), ("damping_factor", "decay_factor"))
    )


NPLR = Relative(
    "S4 with a low-rank term (NPLR, DPLR)",
    "P or Q is added to its diagonal, so that its state matrix is not diagonal and its states are not apart",
    _low_rank,
    alone=True,
)
DSS = Relative(
    "DSS",
    "W stands for B and C together and its kernel is normalised over the whole length",
    lambda shapes: "W" in shapes and _has_poles(shapes),
    alone=True,
)
CONV_S5 = Relative("ConvS5", "B and C are convolutions, and D is one beside them", _convolutions)
S7 = Relative(
    "S7 or another selective layer", "its step comes from the input, and log_step does not decide", _step_of_the_input
)
DENSE = Relative("S4 with a dense state matrix", "A is not diagonal", _dense)
MAMBA = Relative("a Mamba layer", "its step, B and C come from the input", lambda shapes: "A_log" in shapes)
MAMBA_1 = Relative(
    "a Mamba-1 layer with other leaves", "its step, B and C come from the input", _step_beside_decay, alone=True
)
MEGA = Relative(
    "a moving average of Mega",
    "its poles are made of factors of damping and decay, and its states have no matrices B and C",
    _damped,
    alone=True,
)
RG_LRU = Relative(
    "RG-LRU (Griffin)",
    "its poles come from the input",
    lambda shapes: _has(shapes, ("a_param", "a_real_param")),
    alone=True,
)
LRU_OTHERWISE = Relative(
    "an LRU with other leaves",
    "its poles or matrices are stored otherwise than minimal-LRU has them",
    lambda shapes: "params_log" in shapes or {"nu", "theta"} <= shapes.keys() or {"nu_log", "B"} <= shapes.keys(),
    alone=True,
)
LRU_TWO_WAYS = Relative(
    "an LRU of two directions",
    "it has a second set of poles or matrices",
    lambda shapes: any(re.fullmatch(r"(B|C)_?2_(re|im)|(B|C)_(re|im)_?2|(nu|theta|gamma)_log_?2", n) for n in shapes),
)
