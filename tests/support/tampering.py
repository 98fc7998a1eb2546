"""One-bit changes of checkpoints that `last` wrote, and whether `last verify` sees them.

    python tests/support/tampering.py [--flips 200] [--only NAME]

Prunes a fixture of every layout by every method, and language models, and prints for each how many of the changes were
seen. A change counts where it alters an array, the tree or the configuration of any item, or any file that holds no
arrays, or makes one unreadable.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from archives import unpacked
from checkpoint_fixtures import DATA
from language_models import directories

import last_cli as last
from last_cli import formats
from last_cli.base.errors import LastError

# With optimizer moments, in all layouts, with other items in the step.
LAYOUTS = [
    "cur_trainstate_adam_chain",
    "cur_pytree_noocdbt",
    "cur_pytree_zarr3",
    "cur_msgpack_to_bytes_aire",
    "cur_manager_composite_qs5",
    "shard8_zarr3_chunked",
    "o048_flax_trainstate",
    "o027_pytree_default",
]
WAYS: dict[str, dict[str, Any]] = {
    "last": {},
    "masked": {"masked": True},
    "reconstruct": {"method": "reconstruct"},
    "balanced": {"method": "balanced"},
}

MODELS: dict[str, dict[str, Any]] = {
    "hf_groups": {},
    "hf_bf16_sharded": {"masked": True},
    "ssm_bf16": {"scope": "global", "multiple_of": 1},
    "mil_base": {},
}
"""Model directories, each with a way of pruning."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=200)
    parser.add_argument("--only", help="one layout or model")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="last-tampering-") as directory:
        unpacked(DATA / "fixtures.tar.xz", Path(directory))
        for name in (name for name in LAYOUTS if args.only in (None, name)):
            for way, options in WAYS.items():
                out = Path(directory) / "out"
                last.save(last.prune(Path(directory) / name / "ckpt", 0.4, **options), out, force=True)
                missed = [change for change, seen in changes(out, args.flips) if not seen]
                print(f"{name} {way}: {args.flips - len(missed)} of {args.flips} seen", *missed, flush=True)
        for name in (name for name in MODELS if args.only in (None, name)):
            missed = [change for change, seen in changes(pruned_model(name, Path(directory)), args.flips) if not seen]
            print(f"{name}: {args.flips - len(missed)} of {args.flips} seen", *missed, flush=True)


def pruned_model(name: str, directory: Path) -> Path:
    """What `last prune` makes of a language model with a tokenizer and a card beside it."""
    source = shutil.copytree(directories() / name / "checkpoint", directory / f"{name}-source")
    (source / "tokenizer.json").write_text('{"model": {"vocab": {"a": 0}}}')
    (source / "README.md").write_text("# A model\n")
    return last.save(last.prune(source, 0.5, **MODELS[name]), directory / name)


def changes(out: Path, count: int, seed: int = 0) -> Iterator[tuple[str, bool]]:
    """So many one-bit changes of a checkpoint, one after the other: where, and whether `last.verify` saw it."""
    rng = np.random.default_rng(seed)
    files = sorted(file for file in out.rglob("*") if file.is_file() and file.stat().st_size)
    sizes = np.array([file.stat().st_size for file in files], float)
    whole = content(out)
    while count:
        # As often in any file as in any byte, so that small files have their turn.
        file = files[rng.choice(len(files), p=sizes / sizes.sum() if rng.integers(2) else None)]
        bit = int(rng.integers(file.stat().st_size * 8))
        with flipped(file, bit):
            if content(out) != whole:
                count -= 1
                yield f"{file.relative_to(out)} bit {bit}", is_seen(out)


@contextmanager
def flipped(file: Path, bit: int) -> Iterator[None]:
    """The file with one bit changed, while the block runs."""
    whole = file.read_bytes()
    changed = bytearray(whole)
    changed[bit // 8] ^= 1 << bit % 8
    file.write_bytes(changed)
    try:
        yield
    finally:
        file.write_bytes(whole)


def content(out: Path) -> list[Any] | None:
    """All that a checkpoint holds, whatever its stamp says of it; None where it cannot be read."""
    try:
        first = formats.index(out, checked=False)
        items = [item for item in first.location.items if item != first.location.item]
        others = [formats.index(out, first.location.step, item, checked=False) for item in items]
        files = first.written.files if first.written else {}
        told = [(first.location.root / name).read_bytes() for name in files if name]
        return [first.config, first.stamp, told, [_content(index) for index in (first, *others)]]
    except (LastError, OSError):
        return None


def is_seen(out: Path) -> bool:
    """Whether `last verify` fails, or refuses to read it at all."""
    try:
        return not last.verify(out).passed
    except LastError:
        return True


def _content(index: formats.Index) -> list[Any]:
    arrays = {key: (array.dtype, array.shape, array.tobytes()) for key, array in formats.read(index).items()}
    told = {key: repr(value) for key, value in index.tree.inline.items() if key not in arrays}
    return [arrays, told, {key: leaf.kind for key, leaf in index.leaves.items()}]


if __name__ == "__main__":
    main()
