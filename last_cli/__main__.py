"""`last`, `last-cli` and `python -m last_cli` are one program; a signal ends it in order, with two lines."""

import contextlib
import signal
import sys
from types import FrameType
from typing import NoReturn

from last_cli.base.errors import Interrupted, spelling

_ENDS = {signal.SIGTERM: "ended by SIGTERM", signal.SIGHUP: "ended by SIGHUP"}


class Ended(SystemExit):
    """A signal ends the program: what is open is removed on the way out."""


def run() -> int:
    """Runs the command line of this process, and returns its exit code: of a signal, 128 and its number."""
    for number in _ENDS:
        if signal.getsignal(number) != signal.SIG_IGN:  # As `nohup` has it.
            signal.signal(number, _end)
    try:
        from last_cli.cli import main

        code = main()
    except KeyboardInterrupt as stop:
        code = _tell(Interrupted(stop))
    except Ended as stop:
        number = signal.Signals(int(stop.code or 0) - 128)
        code = _tell(Interrupted(stop, _ENDS[number], 128 + number))
    for number in (signal.SIGINT, *_ENDS):
        signal.signal(number, signal.SIG_IGN)  # All is done.
    return code


def _end(number: int, _: FrameType | None) -> NoReturn:
    raise Ended(128 + number)


def _tell(end: Interrupted) -> int:
    flags = sys.modules.get("last_cli.cli.flags")  # Of an early end there is nothing to spell.
    with spelling(flags.as_flags) if flags else contextlib.nullcontext():
        sys.stderr.write(f"error: {end.message}\nhint: {end.hint}\n")
    return end.code


if __name__ == "__main__":
    sys.exit(run())
