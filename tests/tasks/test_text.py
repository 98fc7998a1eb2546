from collections import Counter
from pathlib import Path

import jax
import numpy as np
import pyarrow
import pytest
from data_files import imdb
from pyarrow import parquet

import last_cli as last
from last_cli.base.errors import DataError, UsageError
from last_cli.tasks import text_files
from last_cli.tasks.task import Split
from last_cli.tasks.text import TEXT

SAMPLE = Path(__file__).parents[2] / "sample_checkpoints" / "s5-listops"

# Characters that stand there 15 times or more in training are in the vocabulary: neither x (14) nor z is.
REVIEWS = {
    "train/neg": ["b" * 15, "a" * 16 + "c" * 10],
    "train/pos": ["c" * 5 + "x" * 14, "\u00e9\r\n" * 20],
    "test/neg": ["abz", "c" * 9],
    "test/pos": ["<br />\u00e9", "a\r\nb"],
}
VOCABULARY = ("<pad>", "<unk>", "<eos>", "\n", "\r", "\u00e9", "a", "b", "c")


def rows(split: Split) -> list[str]:
    assert split.vocabulary is not None and split.lengths is not None
    shown = {"<unk>": "?", "<eos>": "$"}
    words = [shown.get(word, word) for word in split.vocabulary]
    return ["".join(words[i] for i in x[:n]) for x, n in zip(split.x, split.lengths, strict=True)]


def test_reviews_and_vocabulary(tmp_path: Path) -> None:
    split = TEXT.load(data_dir=imdb(tmp_path, REVIEWS))
    assert split.vocabulary == VOCABULARY  # by falling frequency, ties by character
    assert rows(split) == ["ab?$", "?b????\u00e9$", "ccccccccc$", "a\r\nb$"]
    assert split.y.tolist() == [0, 1, 0, 1]
    assert split.x.shape == (4, 4096) and split.x.dtype == np.int16 and split.y.dtype == np.int32
    assert (split.source, split.classes, split.length) == ("files", 2, 4096)
    assert not split.x[0, 4:].any()
    assert "tokens not in the vocabulary: 6" in split.note


def test_validation_is_the_test_data(tmp_path: Path) -> None:
    val, test = (TEXT.load(name, data_dir=imdb(tmp_path, REVIEWS)) for name in ("val", "test"))
    np.testing.assert_array_equal(val.x, test.x)
    assert "the test data, as the S5 code validates on it" in val.note
    assert rows(TEXT.load("train", data_dir=tmp_path))[0] == "b" * 15 + "$"


def test_files_are_in_string_order_and_classes_take_turns(tmp_path: Path) -> None:
    imdb(tmp_path, {**REVIEWS, "test/neg": [str(i) for i in range(12)]})
    vocabulary = [*VOCABULARY, *"0123456789"]
    split = TEXT.load(data_dir=tmp_path, settings={"vocabulary": vocabulary})
    assert [row for row, y in zip(rows(split), split.y, strict=True) if y == 0] == [
        *("0$", "10$", "11$", "1$", "2$", "3$", "4$", "5$", "6$", "7$", "8$", "9$")
    ]
    assert split.y.tolist() == [0, 1, 0, 1, *[0] * 10]
    assert TEXT.load(data_dir=tmp_path, limit=2).y.tolist() == [0, 1]


def test_long_reviews_are_cut_before_the_vocabulary_is_counted(tmp_path: Path) -> None:
    imdb(tmp_path, {**REVIEWS, "train/neg": ["b" * 15 + "a" * 20], "train/pos": ["b"], "test/neg": ["b" * 15]})
    split = TEXT.load(data_dir=tmp_path, settings={"length": 16})
    assert split.vocabulary == ("<pad>", "<unk>", "<eos>", "b")
    assert split.x.shape == (3, 16) and rows(split)[0] == "b" * 15 + "$"
    assert "were cut" not in split.note
    assert (
        "1 of 2 sequences are longer than 15 tokens and were cut there"
        in TEXT.load("train", data_dir=tmp_path, settings={"length": 16}).note
    )


def test_a_vocabulary_in_the_settings_needs_no_training_data(tmp_path: Path) -> None:
    imdb(tmp_path, {where: texts for where, texts in REVIEWS.items() if where.startswith("test")})
    split = TEXT.load(data_dir=tmp_path, settings={"vocabulary": ["<pad>", "<eos>", "<unk>", "z", "b"]})
    assert split.x[0, :4].tolist() == [2, 4, 3, 1]
    with pytest.raises(UsageError, match="'vocabulary' is"):
        TEXT.load(data_dir=tmp_path, settings={"vocabulary": ["a"]})


def test_the_cache_notices_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = TEXT.load(data_dir=imdb(tmp_path, REVIEWS))
    with monkeypatch.context() as patch:
        patch.delattr(text_files, "_read_tree")
        np.testing.assert_array_equal(TEXT.load(data_dir=tmp_path).x, before.x)
    imdb(tmp_path, {"test/neg": ["cab"]})
    assert rows(TEXT.load(data_dir=tmp_path))[0] == "cab$"


@pytest.mark.parametrize(
    "name", ["plain_text/{}-00000-of-00001.parquet", "{}/data-00000-of-00001.arrow", "imdb-{}.arrow"]
)
def test_tables_give_the_same_as_the_tree(tmp_path: Path, name: str) -> None:
    imdb(tmp_path / "tree", REVIEWS)
    for split in ("train", "test"):
        found = [(t, i) for i, k in enumerate(("neg", "pos")) for t in REVIEWS[f"{split}/{k}"]]
        table = pyarrow.table({"text": [t for t, _ in found], "label": [i for _, i in found]})
        path = tmp_path / "tables" / name.format(split)
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("parquet"):
            parquet.write_table(table, path)
        else:
            with pyarrow.ipc.new_stream(path, table.schema) as stream:
                stream.write_table(table)
    tree, tables = (TEXT.load(data_dir=tmp_path / kind) for kind in ("tree", "tables"))
    np.testing.assert_array_equal(tables.x, tree.x)
    np.testing.assert_array_equal(tables.y, tree.y)
    assert tables.vocabulary == tree.vocabulary
    path = tmp_path / "tables" / name.format("test")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match="cannot read"):
        TEXT.load(data_dir=tmp_path / "tables")


def test_tables_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    for split in ("train", "test"):
        (tmp_path / f"{split}-00000-of-00001.parquet").write_bytes(b"")
    with pytest.raises(DataError, match="needs pyarrow"):
        TEXT.load(data_dir=tmp_path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        TEXT.load(data_dir=tmp_path)
    assert str(tmp_path / "aclImdb/train/pos") in caught.value.message
    assert "aclImdb_v1.tar.gz" in caught.value.hint


def test_damaged_files(tmp_path: Path) -> None:
    imdb(tmp_path, {**REVIEWS, "test/neg": [], "test/pos": []})
    with pytest.raises(DataError, match="aclImdb/test: expected reviews, found none"):
        TEXT.load(data_dir=tmp_path)
    (tmp_path / "aclImdb/test/neg/0_1.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"cannot read .*0_1\.txt"):
        TEXT.load(data_dir=tmp_path)


def test_the_vocabulary_is_that_of_torchtext(tmp_path: Path) -> None:
    text = "".join(
        chr(i) * int(n) for i, n in zip(range(32, 500), np.random.default_rng(0).integers(1, 60, 468), strict=True)
    )
    imdb(tmp_path, {**REVIEWS, "train/neg": [text[:4000], text[4000:8000], text[8000:]], "train/pos": [""]})
    kept = Counter(text[:8000] + text[8000:][:4095])
    pairs = sorted(kept.items(), key=lambda pair: (-pair[1], pair[0]))  # torchtext.vocab.build_vocab_from_iterator
    wanted = ("<pad>", "<unk>", "<eos>", *(token for token, n in pairs if n >= 15))
    assert TEXT.load(data_dir=tmp_path).vocabulary == wanted


def test_tokens_of_two_bytes_are_looked_up_like_others(tmp_path: Path) -> None:
    model, variables = last.build_model(last.load(SAMPLE))
    split = TEXT.load(data_dir=imdb(tmp_path, REVIEWS), settings={"length": 24})
    assert split.x.dtype == np.int16
    run = jax.jit(model.apply)
    short, long = (run(variables, split.x[:].astype(t), split.lengths) for t in (np.int16, np.int32))
    np.testing.assert_array_equal(short, long)
