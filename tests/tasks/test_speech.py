import struct
from pathlib import Path

import numpy as np
import pytest
from data_files import speech, wav
from recorded import arrays

from last_cli.base.errors import DataError, UsageError
from last_cli.tasks import speech_files as files
from last_cli.tasks.speech import SPEECH35, SPEECH35_8K


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return speech(tmp_path_factory.mktemp("speech") / "SpeechCommands")


def raw(folder: Path, split: str) -> np.ndarray:
    """The sound of a split in the order of its files, scaled twice as in the S5 code."""
    return np.stack([files.read_sound(r.path) for r in files.recordings(folder, split)]).astype(np.float32) / 2.0**30


def test_splits_follow_the_lists(folder: Path) -> None:
    assert len(files.WORDS) == 35 and files.WORDS[:2] == ("bed", "cat") and files.WORDS[-1] == "zero"
    names = {split: {r.path.name[0] for r in files.recordings(folder, split)} for split in ("train", "val", "test")}
    assert names == {"train": {"1", "3"}, "val": {"0"}, "test": {"2"}}
    train = SPEECH35.load("train", data_dir=folder.parent)
    assert (train.y[:35] == np.arange(35)).all() and (train.y[35:] == np.arange(35)).all()
    assert (train.source, train.classes, train.length, train.lengths) == ("files", 35, 16_000, None)
    assert train.x.shape == (70, 16_000, 1) and train.x.dtype == np.float32


def test_each_moment_is_normalised_over_the_training_data(folder: Path) -> None:
    train = raw(folder, "train").astype(np.float64)
    mean, std = train.mean(axis=0), train.std(axis=0, ddof=1)
    for split in ("val", "test"):
        found = SPEECH35.load(split, data_dir=folder)
        assert found.y.tolist() == list(range(35))
        np.testing.assert_allclose(found.x[..., 0], (raw(folder, split) - mean) / (std + 1e-5), rtol=1e-4, atol=1e-6)


def test_what_torch_makes_of_it(tmp_path: Path) -> None:
    """Recorded at 16 moments; all others are silent."""
    recorded = arrays("speech")
    speech(tmp_path)
    for split in ("train", "test"):
        for recording, moments in zip(files.recordings(tmp_path, split), recorded[split], strict=True):
            sound = np.zeros(16_000, np.int16)
            sound[::1000] = moments
            wav(recording.path, sound)
    found = SPEECH35.load(data_dir=tmp_path).x[:, ::1000, 0]
    np.testing.assert_allclose(found, recorded["test_x"], rtol=1e-4, atol=1e-6)


def test_8_khz_is_every_second_sample(folder: Path) -> None:
    whole = SPEECH35.load(data_dir=folder)
    for half in (SPEECH35.load(data_dir=folder, settings={"sr": 2}), SPEECH35_8K.load(data_dir=folder)):
        np.testing.assert_array_equal(half.x, whole.x[:, ::2])
        assert half.length == 8000 and "8,000 samples per second" in half.note
    with pytest.raises(UsageError, match="'sr' is 0"):
        SPEECH35.load(data_dir=folder, settings={"sr": 0})
    with pytest.raises(UsageError, match="'sr' is 16001"):
        SPEECH35.load(data_dir=folder, settings={"sr": 16_001})


def test_short_sounds_are_filled_up_and_long_ones_cut(tmp_path: Path) -> None:
    sound = np.arange(-10, 20_000).astype(np.int16)
    assert files.read_sound(wav(tmp_path / "a.wav", sound[:7])).tolist() == [*range(-10, -3), *[0] * 15_993]
    assert files.read_sound(wav(tmp_path / "a.wav", sound)).tolist() == list(range(-10, 15_990))


def test_limit_reads_no_more_than_it_needs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, read = SPEECH35.load(data_dir=folder), []
    original = files.read_sound
    monkeypatch.setattr(files, "read_sound", lambda path: read.append(path) or original(path))
    part = SPEECH35.load(data_dir=folder, limit=3)
    assert part.x[:].shape == (3, 16_000, 1)
    assert len(read) == 3
    np.testing.assert_array_equal(part.x, whole.x[:3])
    assert part.note.endswith("only the first 3 of 35 sequences are used")


GOOD = b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a wav file, found something else"),
        (b"RIFX" + GOOD[4:], "expected a wav file"),
        (GOOD, "expected a wav file, found something else or a part of one"),
        (GOOD + b"data" + struct.pack("<I", 100) + b"12", "expected a wav file, found something else or a part of one"),
        (GOOD + b"data" + struct.pack("<I", 0), "expected sound, found none"),
        (GOOD.replace(struct.pack("<HH", 2, 16), struct.pack("<HH", 1, 8)) + b"data\0\0\0\0", "found 1 of 8 bits"),
    ],
)
def test_damaged_sound(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        files.read_sound(tmp_path / "a.wav")
    assert "a.wav" in caught.value.message and "speech_commands_v0.02.tar.gz" in caught.value.hint


def test_other_sound(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found 2 of 16 bits at 8000 Hz"):
        files.read_sound(wav(tmp_path / "a.wav", np.zeros(100), rate=8000, channels=2))
    with pytest.raises(DataError, match="cannot read"):
        files.read_sound(tmp_path / "b.wav")


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        SPEECH35.load(data_dir=tmp_path)
    assert str(tmp_path / "speech_commands_v0.02/validation_list.txt") in caught.value.message
    for name in files.LISTS.values():
        (tmp_path / name).write_text("")
    with pytest.raises(DataError, match=f"found no {tmp_path}/bed, {tmp_path}/cat"):
        SPEECH35.load(data_dir=tmp_path)
    for word in files.WORDS:
        (tmp_path / word).mkdir()
    with pytest.raises(DataError, match="expected recordings for test, found none"):
        SPEECH35.load(data_dir=tmp_path)
