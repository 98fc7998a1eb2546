"""`last`, `last-cli` and `python -m last_cli` are one program; a signal ends it in order, with two lines."""

import signal
import sys
from types import FrameType
from typing import NoReturn

_ENDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "ended by SIGTERM", signal.SIGHUP: "ended by SIGHUP"}
_HINT = "nothing is left half-written: run it again"


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
    except Ended as end:
        code = int(end.code or 0)
        sys.stderr.write(f"error: {_ENDS[signal.Signals(code - 128)]}\nhint: {_HINT}\n")
    for number in _ENDS:
        signal.signal(number, signal.SIG_IGN)  # All is done.
    return code


def _end(number: int, _: FrameType | None) -> NoReturn:
    raise Ended(128 + number)


if __name__ == "__main__":
    sys.exit(run())
