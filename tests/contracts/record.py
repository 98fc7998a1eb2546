"""Record what commands answer: exit code, stdout, stderr, and the arrays and stamp of what they write.

    python tests/contracts/record.py before.json [--checkout DIR]
    python tests/contracts/record.py after.json --compare before.json

Every command runs in a process of its own, in a directory with copies of the samples, an empty cache and no network.
What depends on the clock or the machine's load is left out; all else is compared to the last bit.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
CLOCK = {
    "seconds", "sequences_per_second", "compile_seconds", "latency", "program_bytes", "peak_bytes", "ratios",
}  # fmt: skip
ARRAYS = """
import hashlib, json, sys
import numpy as np
import last_cli as last
found = {}
def walk(node, path):
    for name in sorted(node, key=str):
        if isinstance(node[name], dict):
            walk(node[name], [*path, str(name)])
        else:
            a = np.ascontiguousarray(node[name])
            digest = hashlib.sha256(a.tobytes()).hexdigest()[:16]
            found["/".join([*path, str(name)])] = f"{a.dtype}{list(a.shape)} {digest}"
walk(last.load(sys.argv[1]).tree, [])
print(json.dumps(found))
"""

COMMANDS = """
--version
--help
score s5 --format json
score s5 --per-state --ratio 0.33 --format json
score s4d --per-state --ratio 0.5 --format json
score s5
score s4d --ratio 0.3 --shape ragged --format json
score s5 --criterion aire --format json
score s5 --criterion hinf --scope layer --ratio 0.4 --format csv
score s5 --criterion magnitude --format md
score s5 --criterion random --seed 3 --ratio 0.3 --format json
score s5 --criterion last-reference --ratio 0.33 --format json
score s5 --criterion energy --horizon 100 --format json
score s4d --criterion energy --format json
score digits --criterion gn --calibration 8 --format json
score uni --discretization bilinear --format json
score clip --format json
score unstable
score unstable --allow-unstable --format json
score unstable --clip-eigs --format json
score s5 --layer '*layers_1*' --per-state --format csv
score s5 --layer nothing
score s5 --ratio 33
score s5 --criterion lst
score s5 --criterion reconstruct
score s5 --calibration 8
score s5 --horizon 8
score nowhere
score s5 --min-states -1
prune s5 --ratio 0.33 -o out --format json
prune s5 --ratio 0.33 -o out
prune s5 --ratio 0.5 -o out --force --criterion aire --format json
prune s4d --ratio 0.5 -o s4d-ragged --shape ragged --format json
prune s4d --ratio 0.5 -o s4d-rect --format json
prune s4d --ratio 0.5 -o s4d-masked --masked --format json
prune s5 --ratio 0.9 -o emptied --criterion hinf --min-states 0 --format json
prune s5 --ratio 0.4 -o masked --masked --format json
prune s5 --ratio 0.4 -o by-layer --scope layer --format json
prune out --ratio 0.3 -o twice --format json
prune digits --ratio 0.4 --criterion gn --calibration 8 -o gn --format json
prune digits --ratio 0.4 --criterion random --seed 2 -n --format json
prune digits --ratio 0.4 --criterion last-reference -o reference --format json
prune digits --ratio 0.5 --method reconstruct --calibration 16 -o reconstructed --format json
prune digits --ratio 0.6 --method reconstruct --calibration 16 -o reconstructed-masked --masked --format json
prune digits --ratio 0.5 --criterion aire --refit --calibration 16 -o refitted --format json
prune s4d --ratio 0.5 --method reconstruct --calibration 8 -o s4d-reconstructed --format json
prune digits --ratio 0.5 --method balanced -o balanced --format json
prune s4d --ratio 0.5 --method balanced -o s4d-balanced --format json
prune digits --ratio 0.5 --criterion balanced -o balanced-masked --masked
prune digits --max-error 0.02 --calibration 16 -o budget --format json
prune digits --max-drop 2 --task digits --criterion last -o drop --format json
prune image --ratio 0.3 --method reconstruct -o white --format json
prune s5 -o never
prune s5 --ratio 0.3 --max-drop 1 -o never
prune s5 --ratio 1.5 -o never
prune s5 --ratio 0.3 --method reconstruct --criterion aire -o never
prune s5 --ratio 0.3 --refit --allow-unstable -o never
prune s5 --ratio 0.3 --calibration 8 -o never
prune s5 --ratio 0.3 --method reconstruct --calibration-file nothing.npz -o never
prune s5 --ratio 0.3 --method reconstruct --calibration-file x.npz --task listops -o never
prune s5 --ratio 0.3 -o s5
prune s5 --ratio 0.3 --method balance -o never
prune digits --max-error 0.0000001 --calibration 8 -o never --strict
prune digits --ratio 0.3 -o out-of-step --step 7
eval digits --task digits --format json
eval digits --task digits --limit 50 --baseline digits --max-drop 0.5 --format json
eval out --task listops --limit 64 --baseline s5 --format json
eval s4d-rect --task listops --limit 64 --baseline s4d --max-drop 0 --format json
eval digits --task digits --min-accuracy 99.9 --limit 200
eval digits --task digits --limit 20 --precision bfloat16 --format json
eval digits --task dgits
eval digits --task image
eval digits --task digits --split nothing
eval uni --task listops
sweep digits --task digits --split val --limit 40 --ratios 0.3,0.6 --criteria random,aire+refit --seeds 2 --format json
sweep digits --task digits --limit 40 --ratios 0.5 --criteria gn,reconstruct --calibration 8 --seeds 1 --format json
sweep digits --task digits --limit 40 --ratios 0.5 --criteria last,balanced --format csv
sweep digits --task digits --criteria nothing
sweep digits --task digits --ratios 0.5:0.1:-1
bench digits gn --repeat 2 --batch 4 --format json
inspect s5 --format json
inspect s4d
inspect out --tree --format md
inspect nowhere
verify out --against s5 --format json
verify s4d-ragged --against s4d --format json
verify masked --against s5 --format json
verify reconstructed --against digits --format json
verify balanced --against digits --format json
verify out --against digits --format json
diff s5 out --format json
diff s5 s5 --format json
diff s5 s4d
list criteria --format json
list families --format json
list tasks
list presets --format json
export s5 -o s5.msgpack --format json
import s5.msgpack -o imported --format json
import nothing.pt -o imported2
export s5 -o s5.safetensors
demo --ratio 0.3
score --help
prune --help
eval --help
sweep --help
frobnicate
score
score s5 --frobnicate
""".strip().splitlines()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", type=Path)
    parser.add_argument("--checkout", type=Path, default=ROOT, help="the package that runs")
    parser.add_argument("--compare", type=Path, help="an earlier result")
    parser.add_argument("--only", default="", help="commands that hold this text")
    asked = parser.parse_args()
    found = record(asked.checkout.resolve(), asked.only)
    asked.result.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    if asked.compare is None:
        return 0
    before = json.loads(asked.compare.read_text())
    differing = [c for c in found if found[c] != before.get(c)]
    for command in differing:
        sys.stdout.write(f"differs: {command}\n{differences(before.get(command), found[command])}")
    sys.stdout.write(f"{len(found) - len(differing)} of {len(found)} commands answer the same\n")
    return bool(differing)


def record(checkout: Path, only: str = "") -> dict[str, Any]:
    """What every command answers, by command line."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        for short, path in (("s5", "s5-listops"), ("s4d", "s4d-listops"), ("digits", "s5-digits")):
            shutil.copytree(ROOT / "sample_checkpoints" / path, place / short)
        for short, path in (("image", "s5_02_image_like_clip"), ("clip", "s5_09_uni_zoh_noconj_clip_postnorm_bn"),
                            ("uni", "s5_05_uni_fullglu"), ("unstable", "s5_14_uni_unstable_state")):  # fmt: skip
            shutil.copytree(ROOT / "tests/data/oracle" / path / "ckpt", place / short)
        np.savez(place / "x.npz", x=np.zeros((4, 8), np.int32))
        found = {}
        for command in COMMANDS:
            if only in command:
                found[command] = answer(command, place, checkout)
                sys.stderr.write(f"{found[command]['code']} {command}\n")
        return found


def answer(command: str, place: Path, checkout: Path) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": str(checkout), "JAX_PLATFORMS": "cpu", "OPENBLAS_NUM_THREADS": "1",
                   "LAST_CACHE_DIR": str(place / "cache"), "COLUMNS": "200", "PYTHONSAFEPATH": "1",
                   "JAX_COMPILATION_CACHE_DIR": str(place / "compiled")}  # fmt: skip
    before = {path.name for path in place.iterdir()}
    arguments = shlex.split(command)
    run = subprocess.run([sys.executable, "-m", "last_cli", *arguments], cwd=place, env=environment,
                         capture_output=True, text=True, stdin=subprocess.DEVNULL)  # fmt: skip
    written = sorted({p.name for p in place.iterdir()} - before - {"cache", "compiled"})
    if "--force" in arguments:
        written.append(arguments[arguments.index("-o") + 1])
    return {
        "code": run.returncode,
        "stdout": output(run.stdout, place),
        "stderr": [plain(line, place) for line in run.stderr.splitlines()],
        "written": {name: contents(place / name, environment, place) for name in written},
    }


def contents(path: Path, environment: dict[str, str], place: Path) -> Any:
    if path.is_file():
        return path.stat().st_size
    arrays = subprocess.run([sys.executable, "-c", ARRAYS, str(path)], env=environment, capture_output=True, text=True)
    stamp = path / "last.json"
    return {
        "arrays": json.loads(arrays.stdout) if arrays.returncode == 0 else arrays.stderr[-300:],
        "stamp": steady(json.loads(plain(stamp.read_text(), place))) if stamp.exists() else None,
    }


def output(text: str, place: Path) -> Any:
    try:
        return steady(json.loads(plain(text, place)))
    except ValueError:
        return [plain(line, place) for line in text.splitlines()]


def steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: steady(inner) for name, inner in value.items() if name not in CLOCK}
    return [steady(inner) for inner in value] if isinstance(value, list) else value


def plain(text: str, place: Path) -> str:
    text = text.replace(str(place), "PLACE")
    text = re.sub(r"/tmp/[\w./-]+", "TEMPORARY", text)
    text = re.sub(r"^(.*% ± .*?) +[\d,]+ *$", r"\1 N", text, flags=re.M)  # the table of eval: sequences/s
    return re.sub(r"[\d.,]+ (sequences/s|ms|s\b|MB|x\b)", r"N \1", text)


def differences(before: Any, after: Any, path: str = "") -> str:
    if before == after:
        return ""
    if isinstance(before, dict) and isinstance(after, dict):
        names = [*before, *(name for name in after if name not in before)]
        return "".join(differences(before.get(n), after.get(n), f"{path}/{n}") for n in names)
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return "".join(differences(b, a, f"{path}[{i}]") for i, (b, a) in enumerate(zip(before, after, strict=True)))
    return f"  {path}: {json.dumps(before)[:400]} -> {json.dumps(after)[:400]}\n"


if __name__ == "__main__":
    raise SystemExit(main())
