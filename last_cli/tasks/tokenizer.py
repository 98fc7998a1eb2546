"""Texts as the tokens of a model: by the tokenizer.json in its directory, which the package `tokenizers` reads."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from last_cli.base.annotations import Int
from last_cli.base.errors import DataError
from last_cli.base.files import regular

TOKENIZER = "tokenizer.json"
NUMBERS = ("config.json", "generation_config.json")
NAMES = ("tokenizer_config.json", "special_tokens_map.json")
USUAL = ("<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>")
_LARGEST = 2**31
SPACE = re.compile(r"(?<!\s)\s")
TOKENS_INSTEAD = "or give tokens of your own, FILE.npz with x (n, length)"


@dataclass(frozen=True, eq=False)
class Text:
    """A text and its tokens.

    Attributes:
        content: the text.
        tokens: its tokens behind the one that ends texts.
        ends: where each of them ends in the text, in characters.
        digest: SHA-256 of the file.
        tokenizer: likewise.
        by: the file of the tokenizer.
    """

    content: str
    tokens: Int[np.ndarray, " n"]
    ends: Int[np.ndarray, " n"]
    digest: str
    tokenizer: str
    by: Path

    def counts(self, places: Int[np.ndarray, " parts"]) -> dict[str, Int[np.ndarray, " parts"]]:
        """Words and bytes of the parts of the text that end with these tokens, as lm-eval counts them.

        Words are what is left between white space, the empty ones at both ends of the text too.
        """
        ends = np.where(places == len(self.tokens) - 1, len(self.content), self.ends[places])
        spans = list(zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True))
        words = [sum(1 for _ in SPACE.finditer(self.content, start, end)) for start, end in spans]
        words[0] += 1
        sizes = [len(self.content[start:end].encode()) for start, end in spans]
        return {"word": np.array(words), "byte": np.array(sizes)}


def read_text(path: Path, model: Path | None) -> Text:
    """A text file in the tokens of the model in a directory.

    Raises:
        DataError: the file is no text, the directory has no tokenizer, or `tokenizers` is not installed.
    """
    raw, content = _content(path)
    directory = model if model is None or model.is_dir() else model.parent
    file, described = _tokenizer(directory)
    tokenizer = _opened(file, described)
    encoded = tokenizer.encode(content, add_special_tokens=False)
    if not len(encoded.ids):
        raise DataError(f"{path}: {file} finds no token in it", "name another file")
    ends = np.maximum.accumulate([0, *(end for _, end in encoded.offsets)])
    tokens = np.array([_end_of_text(file, tokenizer), *encoded.ids], np.int32)
    return Text(content, tokens, ends, _digest(raw), _digest(described), file)


def tokenizer_digest(model: Path) -> str | None:
    """SHA-256 of the tokenizer of the model in a directory; None where it has none."""
    file = model / TOKENIZER
    return _digest(regular(file).read_bytes()) if file.is_file() else None


def _content(path: Path) -> tuple[bytes, str]:
    hint = f"name a text in UTF-8, {TOKENS_INSTEAD}"
    try:
        raw = regular(path).read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}", hint) from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error}", hint) from error
    if not raw:
        raise DataError(f"{path} is empty, expected a text", hint)
    try:
        return raw, raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: byte {error.start:,} is {raw[error.start]:#04x}, expected a text in UTF-8",
            f"iconv -t utf-8 converts it, {TOKENS_INSTEAD}",
        ) from error


def _tokenizer(directory: Path | None) -> tuple[Path, bytes]:
    hint = f"put the {TOKENIZER} that the model was trained with beside its config.json, {TOKENS_INSTEAD}"
    if directory is None:
        raise DataError("a text needs a model in a directory with its tokenizer, and none is given", hint)
    file = directory / TOKENIZER
    try:
        return file, regular(file).read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{directory} has no {TOKENIZER}, which a text needs", hint) from error
    except OSError as error:
        raise DataError(f"cannot read {file}: {error}", hint) from error


def _opened(file: Path, described: bytes) -> Any:
    try:
        from tokenizers import Tokenizer  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise DataError(
            "a text is read by the package `tokenizers`, which is not installed",
            f"pip install tokenizers, {TOKENS_INSTEAD}",
        ) from error
    try:
        tokenizer = Tokenizer.from_str(described.decode("utf-8"))
    except Exception as error:  # The package has no type for what is wrong with a file.
        raise DataError(
            f"{file}: no tokenizer that `tokenizers` reads: {str(error).partition(chr(10))[0]}",
            "take the file from where the model comes from",
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _end_of_text(file: Path, tokenizer: Any) -> int:
    """The token that ends texts: as the model's files say, else one of the usual ones."""
    for number in _said(file.parent, NUMBERS, "eos_token_id"):
        first = number[0] if isinstance(number, list) and number else number
        if isinstance(first, int) and not isinstance(first, bool) and 0 <= first < _LARGEST:
            return first
    said = [name.get("content") if isinstance(name, dict) else name for name in _said(file.parent, NAMES, "eos_token")]
    for name in (*said, *USUAL):
        number = tokenizer.token_to_id(name) if isinstance(name, str) else None
        if number is not None:
            return number
    raise DataError(
        f"{file}: nothing says which token ends texts, and none is called {' or '.join(USUAL)}",
        "say it as `eos_token_id` in config.json",
    )


def _said(directory: Path, files: Iterable[str], key: str) -> list[Any]:
    """What JSON files of a directory have under a key; those that cannot be read say nothing."""
    found = []
    for name in files:
        try:
            content = json.loads(regular(directory / name).read_bytes())
        except (OSError, ValueError, RecursionError):
            continue
        found += [content[key]] if isinstance(content, dict) and key in content else []
    return found


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
