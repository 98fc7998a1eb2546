import numpy as np
import pytest

from last_cli.base.errors import UsageError
from last_cli.tasks import listops
from last_cli.tasks.find import find
from last_cli.tasks.listops import GENERATED_VOCABULARY, LISTOPS
from last_cli.tasks.task import Split

SHORT = {"name": "listops", "min_length": 16, "max_length": 64, "length": 65, "seed": 0}
VOCABULARY = ["<pad>", "<unk>", "<eos>", *"9876543210", "X", "[SM", "[MIN", "[MED", "[MAX"]


def rows(split: Split) -> set[bytes]:
    return {row.tobytes() for row in split.x}


def test_registered() -> None:
    assert find("listops") is LISTOPS


def test_generated_split() -> None:
    split = LISTOPS.load(settings=SHORT)
    assert split.lengths is not None
    assert split.x.shape == (2000, 65) and split.x.dtype == np.int32
    assert split.y.dtype == split.lengths.dtype == np.int32
    assert set(split.y.tolist()) == set(range(10))
    assert (split.lengths.min(), split.lengths.max()) == (17, 65)
    assert (split.source, split.classes, split.length) == ("generated", 10, 65)
    assert split.note.startswith("this split is generated (seed 0, 16 to 64 tokens), not the published one")
    assert split.vocabulary is not None and split.vocabulary == GENERATED_VOCABULARY
    assert [split.vocabulary[n] for n in split.x[0, :4]] == ["[SM", "2", "[MAX", "4"]
    for x, length in zip(split.x, split.lengths, strict=True):
        assert x[length - 1] == 2 and not x[length:].any() and x[: length - 1].min() > 2


def test_long_range_arena_is_the_default() -> None:
    split = LISTOPS.load(limit=20)
    assert split.lengths is not None
    assert split.x.shape == (20, 2048)
    assert split.lengths.min() > 501 and split.lengths.max() <= 2000
    assert "seed 0, 501 to 1999 tokens" in split.note


def test_splits_are_disjoint_and_do_not_depend_on_how_much_is_taken() -> None:
    settings = {**SHORT, "train_size": 5000}
    test, val, train = (LISTOPS.load(name, settings=settings) for name in ("test", "val", "train"))
    assert [len(split.y) for split in (test, val, train)] == [2000, 2000, 5000]
    assert len(rows(test) | rows(val) | rows(train)) == 9000
    fewer = LISTOPS.load("train", settings={**SHORT, "train_size": 100})
    np.testing.assert_array_equal(fewer.x, train.x[:100])


def test_limit_takes_the_first_and_says_so() -> None:
    whole, part = LISTOPS.load(settings=SHORT), LISTOPS.load(settings=SHORT, limit=7)
    assert part.lengths is not None and whole.lengths is not None
    np.testing.assert_array_equal(part.x, whole.x[:7])
    np.testing.assert_array_equal(part.y, whole.y[:7])
    np.testing.assert_array_equal(part.lengths, whole.lengths[:7])
    assert part.note.endswith("only the first 7 of 2,000 sequences are used")
    assert "only the first" not in LISTOPS.load(settings=SHORT, limit=2000).note


def test_a_vocabulary_in_the_settings_numbers_the_tokens() -> None:
    own = LISTOPS.load(settings=SHORT)
    other = LISTOPS.load(settings={**SHORT, "vocabulary": VOCABULARY})
    assert own.vocabulary is not None and other.vocabulary == tuple(VOCABULARY)
    renumbered = np.array([VOCABULARY.index(token) for token in own.vocabulary])
    np.testing.assert_array_equal(other.x, renumbered[own.x])
    assert "names no vocabulary" in own.note and "vocabulary" not in other.note


def test_the_seed_and_the_lengths_choose_the_split() -> None:
    base = LISTOPS.load(settings=SHORT)
    assert not rows(LISTOPS.load(settings={**SHORT, "seed": 1})) & rows(base)
    assert LISTOPS.load(settings={"max_length": 600}).length == 601


def test_a_shorter_length_cuts_and_says_so() -> None:
    split = LISTOPS.load(settings={**SHORT, "length": 33})
    assert split.lengths is not None and split.lengths.max() == 33
    assert "sequences are longer than 32 tokens and were cut there" in split.note


def test_the_own_vocabulary_is_in_order_of_frequency() -> None:
    split = LISTOPS.load(settings=SHORT)
    counts = np.bincount(split.x[:][split.x[:] > 2], minlength=len(GENERATED_VOCABULARY))[3:]
    close, digits, operators = counts[:1], counts[1:11], counts[11:]
    assert close.min() > digits.max() and digits.min() > operators.max()
    assert list(GENERATED_VOCABULARY[4:14]) == sorted(GENERATED_VOCABULARY[4:14])
    assert list(GENERATED_VOCABULARY[14:]) == sorted(GENERATED_VOCABULARY[14:])


def test_progress_counts_up_to_the_total() -> None:
    calls: list[tuple[str, int, int]] = []
    LISTOPS.load("val", settings=SHORT, progress=lambda *call: calls.append(call))
    assert calls == sorted(calls) and calls[-1] == ("load listops", 4000, 4000)


def test_the_cache_spares_generating(monkeypatch: pytest.MonkeyPatch) -> None:
    before = LISTOPS.load(settings=SHORT)
    monkeypatch.delattr(listops, "generate")
    np.testing.assert_array_equal(LISTOPS.load(settings=SHORT).x, before.x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "dev"}, "task listops has no split 'dev'"),
        ({"limit": 0}, "limit is 0"),
        ({"settings": {"min_length": "16"}}, "task setting 'min_length' is '16', expected a whole number"),
        ({"settings": {"min_length": 65, "max_length": 64}}, "'max_length' is 64, expected .* at least 65"),
        ({"settings": {"seed": -1}}, "'seed' is -1"),
        ({"settings": {"seed": True}}, "'seed' is True"),
        ({"settings": {"length": 1.5}}, "'length' is 1.5"),
        ({"settings": {"vocabulary": []}}, "'vocabulary' is"),
        ({"settings": {"vocabulary": 20}}, "'vocabulary' is 20, expected <pad> first"),
        ({"settings": {"vocabulary": ["<pad>", "<unk>", "0"]}}, "'vocabulary' is"),
        ({"settings": {"min_length": 1, "max_length": 4}}, "found only 410 different ListOps expressions"),
    ],
)
def test_errors(arguments: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        LISTOPS.load(**arguments)
    assert caught.value.hint


def test_unknown_split_lists_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        LISTOPS.load("testing")
    assert caught.value.hint == "the splits are: test, val, train"
