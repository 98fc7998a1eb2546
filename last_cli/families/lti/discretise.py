"""Discretisation of diagonal continuous-time systems, for any array library."""

from __future__ import annotations

from collections.abc import Callable

from last_cli.families.lti.system import AnyArray


def zoh(A: AnyArray, dt: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Zero-order hold of poles A with steps dt: lam = exp(A dt), and the factor (lam - 1) / A on B."""
    xp = A.__array_namespace__()
    z = A * dt
    zero = A == 0
    factor = xp.where(zero, dt + 0 * A, xp.expm1(z) / xp.where(zero, xp.ones_like(A), A))
    return xp.exp(z), factor


def bilinear(A: AnyArray, dt: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Bilinear transform of poles A with steps dt: lam = (1 + A dt/2) / (1 - A dt/2), factor dt / (1 - A dt/2) on B."""
    half = A * dt / 2
    return (1 + half) / (1 - half), dt / (1 - half)


def dirac(A: AnyArray, dt: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Inputs that arrive as impulses: lam = exp(A dt) and B as it is (Schöne et al., Event-SSM, 2024)."""
    xp = A.__array_namespace__()
    return xp.exp(A * dt), xp.ones_like(A)


def zoh_poles(lam: AnyArray, dt: AnyArray) -> AnyArray:
    """The poles A that `zoh` discretises to lam, with imaginary parts of A dt in (-pi, pi]."""
    return lam.__array_namespace__().log(lam) / dt


def bilinear_poles(lam: AnyArray, dt: AnyArray) -> AnyArray:
    """The poles A that `bilinear` discretises to lam."""
    return 2 * (lam - 1) / (dt * (lam + 1))


POLES: dict[str, Callable[[AnyArray, AnyArray], AnyArray]] = {
    "zoh": zoh_poles,
    "bilinear": bilinear_poles,
    "dirac": zoh_poles,
}
METHODS: dict[str, Callable[[AnyArray, AnyArray], tuple[AnyArray, AnyArray]]] = {
    "zoh": zoh,
    "bilinear": bilinear,
    "dirac": dirac,
}


def clip_real(A_re: AnyArray) -> AnyArray:
    """Real parts clipped at -1e-4, as the S5 and annotated S4D codes do in training."""
    return A_re.__array_namespace__().clip(A_re, None, -1e-4)


def as_complex(pair: AnyArray) -> AnyArray:
    """(..., 2) real and imaginary parts -> (...) complex."""
    return pair[..., 0] + 1j * pair[..., 1]


def as_pair(z: AnyArray) -> AnyArray:
    """(...) complex -> (..., 2) real and imaginary parts."""
    xp = z.__array_namespace__()
    return xp.stack([xp.real(z), xp.imag(z)], axis=-1)
