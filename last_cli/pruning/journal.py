"""A file of JSON lines that grows a line at a time, and that a later run with the same header goes on with."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from last_cli.base.errors import OutputError, UsageError
from last_cli.base.files import regular
from last_cli.base.unbroken import unbroken

Record = dict[str, Any]


def resume(path: Path, header: Mapping[str, Any]) -> list[Record]:
    """The records after the header; a new file has none. A line that a killed run left half-written is cut off.

    Raises:
        UsageError: the file has another header; names the first entry that differs.
        OutputError: it cannot be written.
    """
    header = json.loads(json.dumps(header))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = regular(path).read_bytes() if path.exists() else b""
        whole = text[: text.rfind(b"\n") + 1]
        if not whole:
            with unbroken():
                path.write_text(json.dumps(header) + "\n", encoding="utf-8")
            return []
        found, *records = _parsed(path, whole)
        _check(path, found, header)
        if whole != text:
            os.truncate(path, len(whole))
    except OSError as error:
        raise _unwritable(path, error) from error
    return records


def append(path: Path, record: Mapping[str, Any]) -> None:
    """One more line, on disk when this returns."""
    try:
        with unbroken(), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _unwritable(path, error) from error


def _parsed(path: Path, text: bytes) -> list[Any]:
    try:
        return [json.loads(line) for line in text.decode().splitlines()]
    except ValueError as error:
        raise UsageError(f"{path}: not a file of JSON lines: {error}", "choose another ⟦out⟧, or delete it") from error


def _check(path: Path, found: Any, header: Mapping[str, Any]) -> None:
    found = found if isinstance(found, dict) else {}
    for name in [*header, *found]:
        if name not in found or name not in header or found[name] != header[name]:
            raise UsageError(
                f"{path}: what was measured there has {name} {_short(found.get(name))}, "
                f"and this run {_short(header.get(name))}",
                "choose another ⟦out⟧ for this run, or delete that file to start anew",
            )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 60 else f"{text[:56]} ..."


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(f"{path}: cannot be written: {error.strerror}", "choose another ⟦out⟧")
