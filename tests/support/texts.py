"""Texts and tokenizers for tests: a stand-in of the package `tokenizers`, which tests do not need."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

TEXT = "In the beginning God created the heaven and the earth.\n\nAnd the earth was without form, and void; très bien "
"""Words, lines, two bytes in one character, and white space at the end."""


@dataclass
class Words:
    """Takes words with the white space before them as tokens, numbered as they come; 0 ends texts.

    A file with a space behind `words` numbers them from `first` on.
    """

    first: ClassVar[int] = 5
    numbers: dict[str, int] = field(default_factory=lambda: {"<|endoftext|>": 0})

    @classmethod
    def from_str(cls, content: str) -> Words:
        if content.strip() != "words":
            raise ValueError("expected `words`\nwhat else it says")
        spare = cls.first if content.endswith(" ") else 0
        return cls({"<|endoftext|>": 0, **{f"spare {i}": 1 + i for i in range(spare)}})

    def no_truncation(self) -> None: ...

    def no_padding(self) -> None: ...

    def token_to_id(self, token: str) -> int | None:
        return self.numbers.get(token)

    def encode(self, text: str, add_special_tokens: bool) -> Any:
        assert not add_special_tokens
        found = list(re.finditer(r"\s*\S+", text))
        ids = [self.numbers.setdefault(match[0].strip(), len(self.numbers)) for match in found]
        return SimpleNamespace(ids=ids, offsets=[match.span() for match in found])


def with_words(monkeypatch: pytest.MonkeyPatch, directory: Path) -> Path:
    """The stand-in in the place of the package, and its tokenizer.json in a directory."""
    monkeypatch.setitem(sys.modules, "tokenizers", SimpleNamespace(Tokenizer=Words))
    (directory / "tokenizer.json").write_text("words")
    return directory
