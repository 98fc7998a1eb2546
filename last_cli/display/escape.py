"""Names of other people's making, made harmless for whatever shows them; JSON alone has them as they are.

The leaves, layers and files of a checkpoint may be called anything: by what moves a terminal's cursor, turns the
direction of writing, ends a line, is a command to GitHub, a formula to a spreadsheet or a link in a summary. What would
not be shown as it is written is spelled out as Python does it: an escape character becomes `\\x1b`.
"""

from __future__ import annotations

import re

# Control characters, line ends, what has no width or turns the direction of writing, and halves of characters.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
    "\ud800-\udfff]"
)
_COMMAND = re.compile(r":(?=:)|#(?=#\[)")
_MARKDOWN = re.compile(r"[\\|`*<>\[\]&~]|(?<![^\W_])_|_(?![^\W_])|^#|:(?=//)|(?<=www)\.")
_FORMULA = re.compile(r"[=+\-@]")


def plain(text: str) -> str:
    """A text as one line of a terminal or of a log, in which nothing is hidden and nothing is a command."""
    return _COMMAND.sub(_spelled_out, _HIDDEN.sub(_spelled_out, text))


def markdown(text: str) -> str:
    """A text in a cell of a Markdown table: nothing of it is markup or a link."""
    return _MARKDOWN.sub(lambda match: f"\\{match[0]}", plain(text))


def spreadsheet(value: object) -> object:
    """A cell of a CSV file; a text that a spreadsheet would compute is quoted by an apostrophe, numbers are not."""
    if not isinstance(value, str):
        return value
    text = plain(value)
    return f"'{text}" if _FORMULA.match(text) and not _is_number(text) else text


def annotation(text: str) -> str:
    """The message of a GitHub workflow command."""
    return plain(text).replace("%", "%25")


def label(text: str) -> str:
    """A text in a figure, where dollars begin formulas."""
    return plain(text).replace("$", r"\$")


def json_text(text: str) -> str:
    """A JSON document that can be written: halves of characters, which no encoding has, as JSON spells them."""
    return re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text)


def _spelled_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    short = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}.get(match[0])
    return short or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
