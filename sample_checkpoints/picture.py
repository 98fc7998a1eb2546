"""The picture in the README: what `last demo` prints in a terminal, as an SVG.

python sample_checkpoints/picture.py
"""

from __future__ import annotations

import io
import os
import pty
import struct
import sys
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

from rich.console import Console
from rich.text import Text

WIDTH = 100
OUT = Path(__file__).with_name("demo.svg")


def main() -> None:
    text = in_terminal([sys.executable, "-m", "last_cli", "demo"])
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(text.strip()))
    console.save_svg(str(OUT), title="last demo")


def in_terminal(command: list[str]) -> str:
    """All that a command prints in a terminal of WIDTH columns, with its colours and without its progress bars."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ |= {"TERM": "xterm-256color", "COLUMNS": str(WIDTH)}
        os.execvp(command[0], command)
    ioctl(terminal, TIOCSWINSZ, struct.pack("HHHH", 40, WIDTH, 0, 0))
    chunks = []
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:
            break
        if not chunk:
            break
        chunks.append(chunk)
    os.waitpid(pid, 0)
    text = b"".join(chunks).decode().replace("\r\n", "\n")
    return "\n".join(line for line in text.split("\n") if "━" not in line and "\r" not in line)


if __name__ == "__main__":
    main()
