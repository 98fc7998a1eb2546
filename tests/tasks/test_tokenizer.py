"""Texts by the tokenizer in the model's directory; without it, or for what is no text, a clear word."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from texts import TEXT, with_words

from last_cli.base.errors import DataError
from last_cli.tasks.find import find
from last_cli.tasks.tokenizer import read_text

DEEP = "[" * 100_000 + "]" * 100_000


@pytest.fixture
def text(tmp_path: Path) -> Path:
    (tmp_path / "corpus.txt").write_bytes(TEXT.encode())
    return tmp_path / "corpus.txt"


def test_a_text_is_one_sequence_behind_the_token_that_ends_texts(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = with_words(monkeypatch, tmp_path)
    split = find(str(text)).load(settings={"window": 6}, model=model)
    tokens = [0, 1, 2, 3, 4, 5, 2, 6, 7, 2, 8, 9, 2, 10, 11, 12, 13, 7, 14, 15, 16]
    assert split.x[0].tolist() == tokens[:7] and split.x[-1].tolist() == tokens[-7:]
    assert split.weights is not None and split.weights.tolist() == [6, 6, 6, 2]
    digests = split.said["digests"]
    assert digests["text"] == f"sha256:{hashlib.sha256(TEXT.encode()).hexdigest()}"
    assert digests["tokenizer"] == f"sha256:{hashlib.sha256(b'words').hexdigest()}"
    assert "tokenizer.json" in split.note and "corpus.txt" in split.note


def test_words_and_bytes_are_those_of_lm_eval(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = with_words(monkeypatch, tmp_path)
    for window in (1, 6, 2048):
        split = find(str(text)).load(settings={"window": window}, model=model)
        assert split.text["word"].sum() == len(re.split(r"\s+", TEXT))
        assert split.text["byte"].sum() == len(TEXT.encode())
    first = find(str(text)).load(settings={"window": 6}, limit=1, model=model)
    assert first.text["byte"].tolist() == [len("In the beginning God created the")]
    assert first.text["word"].tolist() == [6]


@pytest.mark.parametrize(
    ("files", "number"),
    [
        ({}, 0),
        ({"config.json": {"eos_token_id": 7}}, 7),
        ({"config.json": {"eos_token_id": [5, 7]}}, 5),
        ({"config.json": {}, "generation_config.json": {"eos_token_id": 3}}, 3),
        ({"config.json": {"eos_token_id": None}, "tokenizer_config.json": {"eos_token": {"content": "God"}}}, 4),
        ({"tokenizer_config.json": {"eos_token": "the"}}, 2),
        ({"config.json": {"eos_token_id": 2**31}}, 0),
        ({"generation_config.json": DEEP}, 0),
    ],
)
def test_the_token_that_ends_texts_is_what_the_files_say(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, object], number: int
) -> None:
    model = with_words(monkeypatch, tmp_path)
    for name, content in files.items():
        (model / name).write_text(content if isinstance(content, str) else json.dumps(content))
    assert read_text(text, model).tokens[0] == number


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"caf\xe9", r"corpus\.txt: byte 3 is 0xe9, expected a text in UTF-8"),
        (b"", r"corpus\.txt is empty, expected a text"),
        (b" \n", r"corpus\.txt: .*tokenizer\.json finds no token in it"),
    ],
)
def test_what_is_no_text_is_refused(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, message: str
) -> None:
    model = with_words(monkeypatch, tmp_path)
    text.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_text(text, model)


def test_what_is_missing_is_named_with_what_to_do(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="there is no file"):
        read_text(tmp_path / "no.txt", tmp_path)
    with pytest.raises(DataError, match=r"has no tokenizer\.json") as caught:
        read_text(text, tmp_path)
    assert "FILE.npz" in caught.value.hint
    with pytest.raises(DataError, match="needs a model in a directory"):
        read_text(text, None)
    model = with_words(monkeypatch, tmp_path)
    (model / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match=r"tokenizer\.json: no tokenizer that `tokenizers` reads: expected `words`$"):
        read_text(text, model)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(DataError, match="`tokenizers`, which is not installed") as caught:
        read_text(text, model)
    assert "pip install tokenizers" in caught.value.hint and "FILE.npz" in caught.value.hint


def test_the_package_itself_reads_a_tokenizer(text: Path, tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = made.pre_tokenizer.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=280, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator([TEXT], trainer)
    made.enable_truncation(4)
    made.save(str(tmp_path / "tokenizer.json"))
    found = read_text(text, tmp_path)
    made.no_truncation()
    assert found.tokens.tolist() == [0, *made.encode(TEXT).ids]
    places = np.arange(1, len(found.tokens))
    counts = found.counts(places)
    assert counts["byte"].sum() == len(TEXT.encode()) and counts["word"].sum() == len(re.split(r"\s+", TEXT))
