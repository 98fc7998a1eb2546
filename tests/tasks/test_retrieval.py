import csv
from pathlib import Path

import numpy as np
import pandas
import pytest
from data_files import PAIRS, pairs

import last_cli as last
from last_cli.base.errors import DataError, UsageError
from last_cli.tasks import retrieval
from last_cli.tasks.retrieval import RETRIEVAL
from last_cli.tasks.retrieval_files import read_rows
from last_cli.tasks.task import Split

# In training a and b stand there four times, c once.
VOCABULARY = ("<pad>", "<unk>", "<eos>", "a", "b", "c")


def texts(split: Split) -> list[list[str]]:
    assert split.vocabulary is not None and split.lengths is not None
    shown = {"<unk>": "?", "<eos>": "$"}
    words = [shown.get(word, word) for word in split.vocabulary]
    samples = zip(split.x, split.lengths, strict=True)
    return [["".join(words[i] for i in x[:n]) for x, n in zip(*sample, strict=True)] for sample in samples]


def test_pairs(tmp_path: Path) -> None:
    split = RETRIEVAL.load(data_dir=pairs(tmp_path))
    assert split.x.shape == (3, 2, 4000) and split.lengths is not None and split.lengths.shape == (3, 2)
    assert (split.tokens, split.documents, split.length, split.classes) == (True, 2, 4000, 2)
    assert split.vocabulary == VOCABULARY
    assert texts(split) == [["abc$", "b$"], ["?$", "cab$"], ["a$", "b$"]]
    assert split.y.tolist() == [0, 1, 1] and split.y.dtype == np.int32
    assert not split.x[0, 0, 4:].any()
    assert split.source == "files" and "tokens not in the vocabulary: 1" in split.note


def test_splits_are_the_files(tmp_path: Path) -> None:
    assert texts(RETRIEVAL.load("val", data_dir=pairs(tmp_path))) == [["ac$", "ca$"]]
    assert texts(RETRIEVAL.load("train", data_dir=tmp_path)) == [["aab$", "bba$"], ["cb$", "a$"]]


def test_limit(tmp_path: Path) -> None:
    part, whole = (RETRIEVAL.load(data_dir=pairs(tmp_path), limit=limit) for limit in (2, None))
    np.testing.assert_array_equal(part.x, whole.x[:2])
    np.testing.assert_array_equal(part.lengths, whole.lengths[:2] if whole.lengths is not None else None)
    assert part.note.endswith("only the first 2 of 3 sequences are used")


def test_long_texts_are_cut_before_the_vocabulary_is_counted(tmp_path: Path) -> None:
    split = RETRIEVAL.load("train", data_dir=pairs(tmp_path), settings={"length": 3})
    assert texts(split) == [["aa$", "bb$"], ["cb$", "a$"]]
    assert split.vocabulary == ("<pad>", "<unk>", "<eos>", "a", "b", "c")
    assert "2 of 4 sequences are longer than 2 tokens and were cut there" in split.note
    assert "z" not in "".join(RETRIEVAL.load(data_dir=tmp_path, settings={"length": 3}).vocabulary or ())


def test_a_vocabulary_in_the_settings_needs_no_training_file(tmp_path: Path) -> None:
    vocabulary = ["<pad>", "<unk>", "<eos>", "z", "a"]
    split = RETRIEVAL.load(data_dir=pairs(tmp_path, {"test": PAIRS["test"]}), settings={"vocabulary": vocabulary})
    assert texts(split)[1] == ["z$", "?a?$"]
    with pytest.raises(UsageError):
        RETRIEVAL.load(data_dir=tmp_path, settings={"vocabulary": 3})


def test_the_cache_spares_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = RETRIEVAL.load(data_dir=pairs(tmp_path))
    with monkeypatch.context() as patch:
        patch.delattr(retrieval.files, "read_rows")
        np.testing.assert_array_equal(RETRIEVAL.load(data_dir=tmp_path).x, before.x)
    pairs(tmp_path, {"test": ["1\tA\tB\tcc\ta"]})
    assert texts(RETRIEVAL.load(data_dir=tmp_path)) == [["cc$", "a$"]]


def test_fields_longer_than_the_csv_module_allows(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    pairs(tmp_path, {**PAIRS, "test": [f"1.0\tA\tB\t{'a' * 200_000}\tb"]})
    assert RETRIEVAL.load(data_dir=tmp_path).lengths.tolist() == [[4000, 2]]  # pyright: ignore[reportOptionalMemberAccess]
    assert csv.field_size_limit() == before


TRICKY = [
    '1.0\tA\tB\t"a ""quoted"" text\twith a tab"\tb "in the middle" c',
    '0.0\tA\tB\t"two\nlines"\t"closed" and more',
    "",
    "1\tA\tB\t\u00e9\u4e2d\U0001f600\t'single' \\ \\n",
    '0.0\tA\tB\t a \t5"',
]


def test_quotes_are_those_of_pandas(tmp_path: Path) -> None:
    path = pairs(tmp_path, {"test": TRICKY}) / "tsv_data/new_aan_pairs.test.tsv"
    found = list(read_rows(path, lambda done, total: None))
    assert found[:2] == [
        (1, 'a "quoted" text\twith a tab', 'b "in the middle" c'),
        (0, "two\nlines", "closed and more"),
    ]
    table = pandas.read_csv(path, delimiter="\t", names=["label", "a", "b", "one", "two"])
    assert found == list(zip(table.label.astype(int), table.one, table.two, strict=True))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"test\.tsv: expected rows of data, found none"),
        ("1.0\tA\tB\ttext\n", "line 1: expected 5 columns separated by a tab, found 4"),
        ("1.0\tA\tB\ta\tb\n2.0\tA\tB\ta\tb\n", r"line 2: expected a label of 0 or 1, found '2\.0'"),
        ("label\tA\tB\ta\tb\n", "line 1: expected a label of 0 or 1, found 'label'"),
        ("1.0\tA\tB\t\tb\n", "line 1: expected two texts, found an empty one"),
        ("1.0\tA\tB\ta\t\udcff\n", r"cannot read .*new_aan_pairs\.test\.tsv"),
    ],
)
def test_damaged_files(tmp_path: Path, text: str, message: str) -> None:
    path = pairs(tmp_path) / "tsv_data/new_aan_pairs.test.tsv"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DataError, match=message) as caught:
        RETRIEVAL.load(data_dir=tmp_path)
    assert str(path) in caught.value.message and "lra_release.gz" in caught.value.hint


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        RETRIEVAL.load("val", data_dir=pairs(tmp_path, {"eval": PAIRS["eval"]}))
    for name in ("tsv_data/new_aan_pairs.train.tsv", "lra_release/tsv_data/new_aan_pairs.eval.tsv"):
        assert str(tmp_path / name) in caught.value.message


def test_a_model_of_one_sequence_is_refused(tmp_path: Path) -> None:
    sample = last.load(Path(__file__).parents[2] / "sample_checkpoints" / "s5-listops")
    with pytest.raises(DataError, match="the model takes one sequence a sample but the task has 2"):
        last.evaluate(sample, "retrieval", data_dir=pairs(tmp_path))
