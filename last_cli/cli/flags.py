"""Options that errors and hints name, as the command line spells them."""

from __future__ import annotations

import re

from last_cli.base.errors import EITHER, OPTION, WORD

SHORT = {"output": "-o"}


def as_flags(text: str) -> str:
    """The text with its options as flags: with two dashes, and the value after a space; as words with dashes within."""

    def flag(match: re.Match[str]) -> str:
        name = SHORT.get(match[1], f"--{match[1].replace('_', '-')}")
        return name if match[2] is None else f"{name} {match[2]}"

    return OPTION.sub(flag, WORD.sub(lambda match: match[1].replace("_", "-"), EITHER.sub(r"\1", text)))
