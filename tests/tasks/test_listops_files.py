from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from last_cli.base.errors import DataError
from last_cli.tasks.listops import LISTOPS
from last_cli.tasks.task import Split

# As the published files have it: an operator takes its arguments one parenthesis at a time.
ROWS = {
    "train": [("( ( ( [MAX 2 ) 9 ) ] )", 9), ("( ( ( [SM 9 ) ( ( ( [MIN 2 ) 9 ) ] ) ) ] )", 1)],
    "val": [("( ( ( [MED 2 ) 9 ) ] )", 5)],
    "test": [("( ( ( [MAX 2 ) 9 ) ] )", 9), ("( ( ( [MIN 7 ) 2 ) ] )", 2)],
}
VOCABULARY = ("<pad>", "<unk>", "<eos>", "9", "2", "X", "[MAX", "[MIN", "[SM")


def write(folder: Path, rows: Mapping[str, list[tuple[str, int]]] = ROWS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for split, pairs in rows.items():
        lines = ["Source\tTarget", *(f"{source}\t{target}" for source, target in pairs)]
        (folder / f"basic_{split}.tsv").write_text("\r\n".join([*lines, ""]), newline="")
    return folder


def words(split: Split, row: int) -> str:
    assert split.vocabulary is not None and split.lengths is not None
    return " ".join(split.vocabulary[number] for number in split.x[row, : split.lengths[row]])


def test_published_files(tmp_path: Path) -> None:
    split = LISTOPS.load("train", data_dir=write(tmp_path))
    assert (split.source, split.classes, split.length) == ("files", 10, 2048)
    assert str(tmp_path / "basic_train.tsv") in split.note
    assert split.x.shape == (2, 2048) and split.x.dtype == split.y.dtype == np.int32
    assert [words(split, 0), words(split, 1)] == ["[MAX 2 9 X <eos>", "[SM 9 [MIN 2 9 X X <eos>"]
    assert split.y.tolist() == [9, 1]
    assert split.lengths is not None and split.lengths.tolist() == [5, 8]
    assert not split.x[0, 5:].any()


def test_vocabulary_is_by_frequency_then_by_token(tmp_path: Path) -> None:
    # 9 and X stand there three times, 2 twice and each operator once.
    split = LISTOPS.load(data_dir=write(tmp_path))
    assert split.vocabulary == ("<pad>", "<unk>", "<eos>", "9", "X", "2", "[MAX", "[MIN", "[SM")
    more = {**ROWS, "train": [*ROWS["train"], ("( ( ( [MIN 7 ) 7 ) ] )", 7), ("( ( ( [MIN 7 ) 7 ) ] )", 7)]}
    split = LISTOPS.load(data_dir=write(tmp_path, more))
    assert split.vocabulary == ("<pad>", "<unk>", "<eos>", "X", "7", "9", "[MIN", "2", "[MAX", "[SM")


def test_unknown_tokens_are_numbered_so(tmp_path: Path) -> None:
    split = LISTOPS.load(data_dir=write(tmp_path))
    assert words(split, 1) == "[MIN <unk> 2 X <eos>"
    assert split.note.endswith("tokens not in the vocabulary: 1")


def test_a_vocabulary_in_the_settings_needs_no_training_file(tmp_path: Path) -> None:
    write(tmp_path, {"test": ROWS["test"]})
    split = LISTOPS.load(data_dir=tmp_path, settings={"vocabulary": list(VOCABULARY)})
    assert split.vocabulary == VOCABULARY
    assert split.x[0, :6].tolist() == [6, 4, 3, 5, 2, 0]


def test_long_sequences_are_cut_before_the_vocabulary_is_counted(tmp_path: Path) -> None:
    split = LISTOPS.load("train", data_dir=write(tmp_path), settings={"length": 5})
    assert split.x.shape == (2, 5)
    assert words(split, 1) == "[SM 9 [MIN 2 <eos>"
    assert split.vocabulary == ("<pad>", "<unk>", "<eos>", "2", "9", "X", "[MAX", "[MIN", "[SM")
    assert "1 of 2 sequences are longer than 4 tokens and were cut there" in split.note
    split = LISTOPS.load("train", data_dir=tmp_path, settings={"length": 3})
    assert split.vocabulary == ("<pad>", "<unk>", "<eos>", "2", "9", "[MAX", "[SM")


@pytest.mark.parametrize("nested", ["listops-1000", "lra_release/listops-1000", "lra_release/lra_release/listops-1000"])
def test_usual_folders_are_found(tmp_path: Path, nested: str) -> None:
    write(tmp_path / nested)
    assert LISTOPS.load(data_dir=tmp_path).source == "files"


def test_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAST_DATA_DIR", str(tmp_path))
    assert LISTOPS.load(limit=1).source == "generated"
    write(tmp_path)
    assert LISTOPS.load(limit=1).source == "files"
    # A model of short sequences was not trained on these files: only an explicit folder overrules that.
    short = {"min_length": 16, "max_length": 64}
    assert LISTOPS.load(limit=1, settings=short).source == "generated"
    assert LISTOPS.load(limit=1, settings=short, data_dir=tmp_path).source == "files"


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        LISTOPS.load("val", data_dir=tmp_path)
    for path in ("basic_val.tsv", "lra_release/listops-1000/basic_val.tsv", "basic_train.tsv"):
        assert str(tmp_path / path) in caught.value.message
    assert "lra_release.gz" in caught.value.hint and "generated" in caught.value.hint


GOOD = "( ( ( [MAX 2 ) 9 ) ] )\t9\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected the columns 'Source' and 'Target', found ''"),
        ("Text\tLabel\n" + GOOD, r"line 1: expected the columns 'Source' and 'Target', found 'Text\\tLabel'"),
        ("Source\tTarget\n", "line 2: expected a row of data, found the end of the file"),
        ("Source\tTarget\n" + GOOD + "[MAX 2 9 ]\n", "line 3: expected 2 columns separated by a tab, found 1"),
        ("Source\tTarget\n" + GOOD + "[MAX 2 9 ]\t9\t9\n", "line 3: expected 2 columns .*, found 3"),
        ("Source\tTarget\n[MAX 2 9 ]\t10\n", "line 2: expected a label from 0 to 9, found '10'"),
        ("Source\tTarget\n[MAX 2 9 ]\tnine\n", "line 2: expected a label from 0 to 9, found 'nine'"),
        ("Source\tTarget\n( )\t9\n", "line 2: expected a ListOps expression, found an empty one"),
        ("Source\tTarget\n" + "9 " * 100_000 + "\t9\n", "cannot read .*field larger than field limit"),
    ],
)
def test_damaged_files(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path) / "basic_test.tsv"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        LISTOPS.load(data_dir=tmp_path)
    assert str(path) in caught.value.message


def test_a_file_of_another_encoding(tmp_path: Path) -> None:
    (write(tmp_path) / "basic_test.tsv").write_bytes(b"Source\tTarget\n\xff\xfe\t1\n")
    with pytest.raises(DataError, match=r"cannot read .*basic_test\.tsv"):
        LISTOPS.load(data_dir=tmp_path)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    assert LISTOPS.load(data_dir=write(tmp_path)).y.tolist() == [9, 2]
    write(tmp_path, {"test": [("( ( ( [MAX 2 ) 7 ) ] )", 7)]})
    assert LISTOPS.load(data_dir=tmp_path).y.tolist() == [7]


def test_progress_ends_at_the_size_of_the_file(tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    write(tmp_path, {**ROWS, "test": ROWS["test"] * 1500})
    LISTOPS.load(data_dir=tmp_path, progress=lambda *call: calls.append(call))
    size = (tmp_path / "basic_test.tsv").stat().st_size
    assert [total for _, _, total in calls][-4:] == [size] * 4
    assert calls[-1] == ("load listops", size, size)
    assert all(done <= total for _, done, total in calls)
