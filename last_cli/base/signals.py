"""Signals that end the program: with two lines, whenever they come.

This is imported before all else, and so imports next to nothing itself. In the program it counts from there on.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # What `signal` adds to it takes longer to import than all else here.

INTERRUPT = int(signal.SIGINT)
ENDS: dict[int, str] = {
    INTERRUPT: "interrupted",
    signal.SIGTERM: "ended by SIGTERM",
    signal.SIGHUP: "ended by SIGHUP",
}
"""What is said of each."""

AGAIN = "nothing is left half-written: run it again"

_PROGRAMS = ("last", "last-cli")
_came: list[int] = []


class Interrupt(KeyboardInterrupt):
    """Ctrl-C. With a plain KeyboardInterrupt Python may end by the signal instead of by our exit code."""


class Ended(SystemExit):
    """Another signal: what is open is removed on the way out."""


def came() -> int | None:
    """The number of the signal that ends this program, where one came."""
    return _came[0] if _came else None


def is_program() -> bool:
    """Whether this process is the program, and does not only import the package."""
    name = os.path.basename((getattr(sys, "argv", None) or [""])[0])  # noqa: PTH119
    return name in _PROGRAMS or (name == "-m" and "last_cli" in sys.orig_argv)


def at_once() -> None:
    """Signals end this process on the spot: nothing is open yet, and an import would lose an exception."""
    _handle(_leave)


def in_order() -> None:
    """Signals are exceptions from now on, so that what is open is closed or removed."""
    _handle(_stop)
    signal.signal(signal.SIGALRM, lambda *_: _stop(_came[0]))
    sys.unraisablehook = _unheard


def ignore() -> None:
    """All is done."""
    for number in (*ENDS, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)


def leave(code: int) -> None:
    """Ends this process without taking Python down: beside threads of JAX that still compute, that may crash it."""
    from contextlib import suppress

    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _handle(handler: signal._HANDLER) -> None:
    for number in ENDS:
        if signal.getsignal(number) != signal.SIG_IGN:  # As `nohup` has it.
            signal.signal(number, handler)


def _leave(number: int, _: object = None) -> None:
    try:
        os.write(2, f"error: {ENDS[number]}\nhint: {AGAIN}\n".encode())
    finally:
        os._exit(128 + number)


def _stop(number: int, _: object = None) -> None:
    _came.append(number)
    raise Interrupt if number == INTERRUPT else Ended(128 + number)


def _unheard(found: sys.UnraisableHookArgs) -> None:
    """What Python raises in a callback of its own goes nowhere: a signal's exception is raised again a moment later."""
    if isinstance(found.exc_value, Interrupt | Ended):
        signal.setitimer(signal.ITIMER_REAL, 0.001)
    else:
        sys.__unraisablehook__(found)


if is_program():
    at_once()
