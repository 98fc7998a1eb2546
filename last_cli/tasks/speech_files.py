"""Speech Commands 0.02: a folder of wav files a word, and two lists of those that are for validation and test."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from last_cli.base import cache
from last_cli.base.annotations import Int16
from last_cli.base.errors import DataError
from last_cli.base.files import regular

# In the order of the S5 code, which numbers the classes.
WORDS = (
    *("bed", "cat", "down", "five", "forward", "go", "house", "left", "marvin", "no", "on", "right"),
    *("sheila", "tree", "up", "visual", "yes", "backward", "bird", "dog", "eight", "follow", "four", "happy"),
    *("learn", "nine", "off", "one", "seven", "six", "stop", "three", "two", "wow", "zero"),
)
LISTS = {"val": "validation_list.txt", "test": "testing_list.txt"}
LENGTH = RATE = 16_000
NESTED = (
    ".",
    "SpeechCommands",
    "speech_commands_v0.02",
    "SpeechCommands/speech_commands_v0.02",
    "speech_commands/0.0.2/SpeechCommands",
)
HINT = "unpack http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz (tar -xf) in a folder of its own"
PCM, EXTENSIBLE = 1, 0xFFFE


@dataclass(frozen=True)
class Recording:
    """A wav file, and its label: the place of the word in WORDS."""

    path: Path
    label: int


def recordings(folder: Path, split: str) -> list[Recording]:
    """All recordings of a split, by word and then by name. Those that neither list names are for training.

    Raises:
        DataError: a list cannot be read, a word has no folder, or the split is empty.
    """
    missing = [str(folder / word) for word in WORDS if not (folder / word).is_dir()]
    if missing:
        raise DataError(f"expected a folder for each of {len(WORDS)} words, found no {', '.join(missing)}", HINT)
    named = {name: _read_list(folder / path) for name, path in LISTS.items()}
    found = [
        Recording(path, label)
        for label, word in enumerate(WORDS)
        for path in sorted((folder / word).glob("*.wav"))
        if _split_of(f"{word}/{path.name}", named) == split
    ]
    if not found:
        raise DataError(f"{folder}: expected recordings for {split}, found none", HINT)
    return found


def fingerprint(folder: Path) -> list[list[str | int]]:
    """Of the lists and of the folders of words, whose times tell of files that came or went."""
    lists = [cache.fingerprint(folder / path) for path in LISTS.values()]
    return [*lists, *([word, (folder / word).stat().st_mtime_ns] for word in WORDS)]


def read_sound(path: Path) -> Int16[np.ndarray, " 16000"]:
    """A second of sound: shorter recordings are filled up with silence, longer ones cut.

    Raises:
        DataError: it cannot be read, or is no wav file of 16 bits, one channel and 16 kHz.
    """
    try:
        content = regular(path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error}", HINT) from error
    parts = dict(_parts(content))
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE" or len(parts.get(b"fmt ", b"")) < 16 or b"data" not in parts:
        raise DataError(f"{path}: expected a wav file, found something else or a part of one", HINT)
    kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", parts[b"fmt "])
    if kind not in (PCM, EXTENSIBLE) or (channels, rate, bits) != (1, RATE, 16):
        raise DataError(
            f"{path}: expected 1 channel of 16 bits at {RATE} Hz, found {channels} of {bits} bits at {rate} Hz", HINT
        )
    data = parts[b"data"][: 2 * LENGTH]
    if len(data) < 2:
        raise DataError(f"{path}: expected sound, found none", HINT)
    sound = np.zeros(LENGTH, np.int16)
    sound[: len(data) // 2] = np.frombuffer(data[: len(data) // 2 * 2], "<i2")
    return sound


def _read_list(path: Path) -> set[str]:
    try:
        return {line.rstrip() for line in regular(path).read_text(encoding="utf-8").splitlines()}
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}", HINT) from error


def _split_of(name: str, named: dict[str, set[str]]) -> str:
    return next((split for split in ("val", "test") if name in named[split]), "train")


def _parts(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The parts of a wav file; one that the file ends within is left out."""
    at = 12
    while at + 8 <= len(content):
        kind, size = struct.unpack_from("<4sI", content, at)
        if at + 8 + size > len(content):
            return
        yield kind, content[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
