"""The answers to a split, whatever the devices, the processes and the interruptions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
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

sample, out = sys.argv[1:]
everything = devices.start_devices("cpu")
assert len(everything) == 8
ck = last.load(sample)
found = {}
for count in (1, 3, 8):
    measuring.start_devices = lambda device: everything[:count]
    for limit in (301, 5):
        data = find("listops").load("test", settings=dict(ck.stamp["task"]), limit=limit)
        result = measure(follow_task(ck, data), data, Request("listops", device="cpu"))
        assert f"({count} devices)" in result.device or count == 1
        found |= {f"predicted{count}-{limit}": result.predicted, f"losses{count}-{limit}": result.losses}
np.savez(out, **found)
"""


def test_the_number_of_devices_changes_no_bit(tmp_path: Path) -> None:
    """With many sequences for each device, and with fewer sequences than devices."""
    arguments = [sys.executable, "-c", ON_SOME_DEVICES, str(SAMPLES / "s5-listops"), str(tmp_path / "x.npz")]
    subprocess.run(arguments, check=True, env=os.environ | {"JAX_NUM_CPU_DEVICES": "8", "XLA_FLAGS": ""})
    with np.load(tmp_path / "x.npz") as found:
        for limit in (301, 5):
            one = found[f"losses1-{limit}"]
            assert one.shape == (limit,) and len(set(one)) > limit / 2
            for count in (3, 8):
                np.testing.assert_array_equal(found[f"predicted{count}-{limit}"], found[f"predicted1-{limit}"])
                np.testing.assert_array_equal(found[f"losses{count}-{limit}"], one)


def test_uneven_batches_agree_with_the_model_itself() -> None:
    ck = last.load(SAMPLES / "s5-listops")
    data = find("listops").load("test", settings=dict(ck.stamp["task"]), limit=37)
    model, variables = last.build_model(follow_task(ck, data))
    logits = np.asarray(jax.jit(model.apply)(variables, data.x[:], data.lengths))
    for size in (1, 5, 64):
        found = measure(follow_task(ck, data), data, Request("listops", batch_size=size))
        np.testing.assert_array_equal(found.predicted, logits.argmax(axis=-1))
        np.testing.assert_allclose(found.losses, -logits[np.arange(37), data.y], rtol=1e-4, atol=1e-5)
