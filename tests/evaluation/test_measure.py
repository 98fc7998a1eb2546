"""The answers to a split, whatever the devices, the processes and the interruptions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from cases import SAMPLES

import last_cli as last
from last_cli.evaluation.evaluate import Request, follow_task, measure
from last_cli.tasks.find import find

ON_SOME_DEVICES = """
import sys
import numpy as np
import last_cli as last
from last_cli.evaluation import devices
from last_cli.evaluation import measure as measuring
from last_cli.tasks.find import find
from last_cli.evaluation.evaluate import Request, follow_task, measure

sample, task, limit, out = sys.argv[1:]
everything = devices.start_devices("cpu")
assert len(everything) == 8
ck = last.load(sample)
data = find(task).load("test", settings=dict(ck.stamp["task"]), limit=int(limit))
found = {}
for count in (1, 2, 3, 8):
    measuring.start_devices = lambda device: everything[:count]
    result = measure(follow_task(ck, data), data, Request(task, device="cpu"))
    assert f"({count} devices)" in result.device or count == 1
    found |= {f"predicted{count}": result.predicted, f"losses{count}": result.losses}
np.savez(out, **found)
"""


@pytest.mark.parametrize(("sample", "task", "limit"), [("s5-listops", "listops", 301), ("s5-digits", "digits", 5)])
def test_the_number_of_devices_changes_no_bit(tmp_path: Path, sample: str, task: str, limit: int) -> None:
    arguments = [
        sys.executable,
        "-c",
        ON_SOME_DEVICES,
        str(SAMPLES / sample),
        task,
        str(limit),
        str(tmp_path / "x.npz"),
    ]
    subprocess.run(arguments, check=True, env=os.environ | {"JAX_NUM_CPU_DEVICES": "8", "XLA_FLAGS": ""})
    with np.load(tmp_path / "x.npz") as found:
        assert found["losses1"].shape == (limit,) and len(set(found["losses1"])) > limit / 2
        for count in (2, 3, 8):
            np.testing.assert_array_equal(found[f"predicted{count}"], found["predicted1"])
            np.testing.assert_array_equal(found[f"losses{count}"], found["losses1"])


def test_uneven_batches_agree_with_the_model_itself() -> None:
    ck = last.load(SAMPLES / "s5-listops")
    data = find("listops").load("test", settings=dict(ck.stamp["task"]), limit=37)
    model, variables = last.build_model(follow_task(ck, data))
    logits = np.asarray(jax.jit(model.apply)(variables, data.x[:], data.lengths))
    for size in (1, 5, 64):
        found = measure(follow_task(ck, data), data, Request("listops", batch_size=size))
        np.testing.assert_array_equal(found.predicted, logits.argmax(axis=-1))
        np.testing.assert_allclose(found.losses, -logits[np.arange(37), data.y], rtol=1e-4, atol=1e-5)
