"""`last`, `last-cli` and `python -m last_cli` are one program; a signal ends it in order, with two lines."""

import sys

import last_cli.base.signals as signals


def run() -> int:
    """Runs the command line of this process, and returns its exit code: of a signal, 128 and its number."""
    signals.at_once()
    from last_cli.cli import main

    try:
        signals.in_order()
        code = main()
    except (KeyboardInterrupt, signals.Ended) as stop:
        code = _tell(stop)
    signals.ignore()
    if signals.came():
        signals.leave(code)
    return code


def _tell(stop: BaseException) -> int:
    from last_cli.base.errors import Interrupted, spelling
    from last_cli.cli.flags import as_flags

    end = Interrupted(stop)
    with spelling(as_flags):
        sys.stderr.write(f"error: {end.message}\nhint: {end.hint}\n")
    return end.code


if __name__ == "__main__":
    sys.exit(run())
