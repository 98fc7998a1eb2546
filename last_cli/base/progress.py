"""How far long work has come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

Tell = Callable[[str, Literal["", "hint"]], None]
"""Called with a line for the user, and its kind."""
