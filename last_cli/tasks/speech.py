"""Task `speech35`: one of 35 words in a second of sound (Speech Commands, version 0.02).

Samples, splits and normalisation are those of the S5 code (s5/dataloaders/sc.py), as it comes out rather than as it may
have been meant: the sound is divided by 32,768 twice, and each of the 16,000 moments has a mean and a deviation of its
own, over the training data.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from last_cli.base.cache import Arrays, cached
from last_cli.base.errors import UsageError
from last_cli.base.rows import Rows
from last_cli.tasks import speech_files as files
from last_cli.tasks.folder import find_folder
from last_cli.tasks.task import Advance, Query, Split, Task, take_turns, whole_number

VERSION = 1
SCALE = np.float32(2**15)
EPSILON = np.float32(1e-5)


def read(default_sr: int, query: Query) -> Split:
    """The recordings that the archive's two lists name for test and val, or the others (train), the words in turns.

    Settings: `sr`, 1 for all 16,000 samples a second or 2 for every second one. A model that was trained on all of them
    then takes steps twice as long: `step_rescale` 2.

    Raises:
        UsageError: a setting that makes no sense.
        DataError: the files are missing or damaged.
    """
    sr = whole_number(query.settings, "sr", default_sr, minimum=1)
    if sr > files.LENGTH:
        raise UsageError(f"task setting 'sr' is {sr}, expected at most {files.LENGTH}", "the paper's are 1 and 2")
    folder = find_folder(query, files.NESTED, tuple(files.LISTS.values()), files.HINT)
    found = files.recordings(folder, query.split)
    key = {"task": "speech35", "version": VERSION, "files": files.fingerprint(folder)}
    moments = cached("speech35-moments", key, lambda: _moments(files.recordings(folder, "train"), query.advance))
    labels = np.array([recording.label for recording in found], np.int32)
    order = take_turns(labels)
    mean, deviation = moments["mean"][::sr], moments["deviation"][::sr]

    def sounds(rows: np.ndarray) -> np.ndarray:
        # Normalised as they are read: what a cache would hold takes as long to read.
        scaled = [_scaled(files.read_sound(found[i].path)[::sr]) for i in order[rows]]
        return ((np.stack(scaled) - mean) / deviation)[..., None]

    return Split(
        x=Rows(sounds, (len(order), len(mean), 1), np.dtype(np.float32)),
        y=labels[order],
        lengths=None,
        source="files",
        classes=len(files.WORDS),
        length=len(mean),
        vocabulary=None,
        note=f"this split was read from {folder}, {files.LENGTH // sr:,} samples per second",
    )


SPEECH35 = Task(
    name="speech35",
    version=VERSION,
    summary="35 spoken words, a second of 16,000 samples (Speech Commands 0.02), 35 classes; reads its wav files",
    read=partial(read, 1),
)

SPEECH35_8K = Task(
    name="speech35-8khz",
    version=VERSION,
    summary="speech35 with every second sample left out: evaluate with ⟦step_rescale 2⟧; reads its wav files",
    read=partial(read, 2),
)


def _scaled(sound: np.ndarray) -> np.ndarray:
    """From int16 as torchaudio and then the S5 code scale it: twice by a power of two, so without rounding."""
    return sound.astype(np.float32) / SCALE / SCALE


def _moments(recordings: list[files.Recording], advance: Advance) -> Arrays:
    """Of each moment over all training data, `mean` and `deviation`, epsilon included, as they normalise.

    Sums of whole numbers are exact, where PyTorch's single precision rounds in the seventh digit.
    """
    total = np.zeros(files.LENGTH, np.int64)
    squares = np.zeros(files.LENGTH, np.int64)
    for done, recording in enumerate(recordings, 1):
        sound = files.read_sound(recording.path).astype(np.int64)
        total += sound
        squares += sound * sound
        if done % 1000 == 0 or done == len(recordings):
            advance(done, len(recordings))
    n = len(recordings)
    mean = total / n
    variance = (squares - total * mean) / max(n - 1, 1)
    deviation = np.sqrt(np.maximum(variance, 0)) / 2.0**30
    return {
        "mean": (mean / 2.0**30).astype(np.float32),
        "deviation": deviation.astype(np.float32) + EPSILON,
    }
