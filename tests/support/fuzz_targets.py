"""What reads files that come from elsewhere, each with good files to start from: every layout and every parser."""

from __future__ import annotations

import contextlib
import io
import random
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import data_files
import foreign
import language_models
import numpy as np
import random_layers
from checkpoint_fixtures import DATA
from mutations import Files

import last_cli as last
from last_cli import formats
from last_cli.checkpoint.convert.import_ import import_weights
from last_cli.cli import main
from last_cli.families.mamba2.network.spec import language_spec
from last_cli.pruning.calibration.request import from_file
from last_cli.tasks.find import find
from last_cli.tasks.speech_files import read_sound

LAYOUTS = (
    "cur_msgpack_to_bytes_aire",
    "cur_nnx_pure_dict",
    "cur_pytree_custom_metadata",
    "cur_pytree_zarr3",
    "cur_standard_s4d_params",
    "cur_v1_save_checkpointables",
    "cur_v1_save_pytree",
    "o01125_pytree_default",
    "o027_lobs5pred_strings",
    "o027_flax_trainstate",
    "o048_flax_trainstate",
    "o048_pytree_default",
    "o080_pytree_default",
    "shape_zero_states",
)
MODELS = (
    "hf_base",
    "hf_bf16_sharded",
    "ssm_bf16",
    "ssm_mlp",
    "phi_mva",
    "llamba_base",
    "mil_base",
    "bamba",
    "granite_dense",
)


class InternalErrorSaidError(Exception):
    """A command said that something unforeseen has happened."""


@dataclass(frozen=True)
class Target:
    """A reader. `read` is given the folder that the files of `start` lie in."""

    name: str
    start: Files
    read: Callable[[Path, random.Random], Any]
    weight: int = 1


@cache
def targets() -> list[Target]:
    """All readers."""
    found = [Target(name, files, checkpoint, 4) for name, files in layouts().items()]
    found += [Target("pruned", pruned(), checkpoint, 8)]
    found += [Target(name, files, checkpoint, 3) for name, files in models().items()]
    found += [Target("network", files, network, 3) for files in models().values()]
    found += [Target(f"import{suffix}", {f"a{suffix}": content}, imported, 4) for suffix, content in weights().items()]
    arrays = npz(x=np.arange(12).reshape(3, 4), lengths=np.array([4, 2, 3]), y=np.array([0, 1, 2]))
    features = npz(x=np.ones((2, 3, 4), np.float32), y=np.array([0, 1]))
    for file in (arrays, features):
        found.append(Target("calibration", {"a.npz": file}, lambda root, _: from_file(root / "a.npz"), 4))
        found.append(Target("arrays", {"a.npz": file}, partial(split, "a.npz"), 4))
    found += [Target(name, files, partial(split, name.partition("-")[0]), 2) for name, files in data().items()]
    return [*found, Target("sound", sound(), lambda root, _: read_sound(root / "a.wav"), 2)]


def checkpoint(root: Path, rng: random.Random) -> None:
    """What the commands do with a checkpoint: most often reading, sometimes all of a command."""
    way = rng.random()
    if way < 0.45:
        formats.read(formats.index(root))
    elif way < 0.75:
        last.score(last.load(root), ratio=0.3).as_json(True)
    elif way < 0.9:
        last.save(last.prune(last.load(root), 0.3), root.with_name("out"))
    else:
        out = root.with_name("out")
        command(
            rng.choice(
                [
                    ["inspect", root, "--tree"],
                    ["score", root, "--per-state", "--format", rng.choice(["table", "json", "csv", "md"])],
                    ["verify", root],
                    ["config", root],
                    ["diff", root, root],
                    ["export", root, "-o", out / "a.safetensors"],
                ]
            )
        )


def command(arguments: list[Any]) -> None:
    """Runs a command line; raises InternalErrorSaidError where it ends otherwise than it should."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(out):
        code = main([str(a) for a in arguments])
    if code not in (0, 1, 2) or "internal error" in err.getvalue() or "Traceback" in err.getvalue():
        raise InternalErrorSaidError(f"{arguments[0]} ends with {code}: {err.getvalue()[-400:]}")


def imported(root: Path, rng: random.Random) -> None:
    """A file of weights becomes a checkpoint."""
    if files := sorted(root.iterdir()):
        import_weights(files[0], root.with_name("out"))


def split(name: str, root: Path, rng: random.Random) -> None:
    """A task's data, and some of its sequences."""
    if name.endswith(".npz"):
        found = find(str(root / name)).load()
    else:
        found = find(name).load(rng.choice(["test", "val"]), data_dir=root)
    np.asarray(found.x[:2])


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
    return file.getvalue()


def layouts() -> dict[str, Files]:
    """Checkpoints of several libraries and their versions, from the archive of fixtures."""
    found: dict[str, Files] = {name: {} for name in LAYOUTS}
    with tarfile.open(DATA / "fixtures.tar.xz") as archive:
        for member in archive:
            name, _, path = member.name.removeprefix("./").partition("/ckpt/")
            if name in found and path and (file := archive.extractfile(member)):
                found[name][path] = file.read()
    return found


def models() -> dict[str, Files]:
    """Directories of language models, each dialect of a configuration and each form of tensors."""
    return {name: files_of(language_models.directories() / name / "checkpoint") for name in MODELS}


def network(root: Path, _: random.Random) -> None:
    """The network of a language model, as far as it is made without a task."""
    index = formats.index(root)
    shapes = {".".join(key): leaf.shape for key, leaf in index.leaves.items()}
    language_spec(shapes, index.config)


def pruned() -> Files:
    """A checkpoint that `last` has written, with its stamp."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        stamp = {"task": {"name": "digits", "vocabulary": ["a"]}, "model": {"activation": "half_glu1"}}
        random_layers.write(path / "ckpt", random_layers.classifier(blocks=1, states=4), stamp)
        last.save(last.prune(last.load(path / "ckpt"), 0.5), path / "pruned")
        return files_of(path / "pruned")


def weights() -> Files:
    """Files of weights, by their suffix."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        foreign.write_safetensors(path / "s4.safetensors", foreign.minimal_s4d(rng, layers=1), {"format": "pt"})
        foreign.write_safetensors(path / "s5.safetensors", foreign.s5_pytorch(rng))
        found = {f"-{file.stem}{file.suffix}": file.read_bytes() for file in sorted(path.iterdir())}
    if find_spec("torch"):
        import torch  # pyright: ignore[reportMissingImports]

        file = io.BytesIO()
        torch.save({name: torch.from_numpy(a) for name, a in foreign.minimal_s4d(rng, layers=1).items()}, file)
        found[".pt"] = file.getvalue()
    return found


def data() -> dict[str, Files]:
    """Small data sets in their true formats."""
    found = {}
    writers = {"image": partial(data_files.cifar, rows=2), "smnist": partial(data_files.mnist, rows=10)}
    writers |= {"retrieval": data_files.pairs, "text": data_files.imdb}
    writers |= {"pathfinder": partial(data_files.pathfinder, side=32, files=2, lines=5)}
    writers |= {"listops": listops}
    for name, write in writers.items():
        with tempfile.TemporaryDirectory() as directory:
            write(Path(directory))
            found[name] = files_of(Path(directory))
    found |= {"text-tables": tables()} if find_spec("pyarrow") else {}
    return found


def listops(folder: Path) -> None:
    for name in ("train", "val", "test"):
        (folder / f"basic_{name}.tsv").write_text("Source\tTarget\n( ( [MAX 2 ) 9 ] )\t9\n( [MIN 1 ] )\t1\n")


def tables() -> Files:
    """The reviews as the hub has them: one split in Parquet, the other in Arrow."""
    import pyarrow
    from pyarrow import parquet

    table, file = pyarrow.table({"text": ["a good film", "a bad one"], "label": [1, 0]}), io.BytesIO()
    parquet.write_table(table, file)
    return {f"{split}-00000-of-00001.parquet": file.getvalue() for split in ("train", "test")}


def sound() -> Files:
    with tempfile.TemporaryDirectory() as directory:
        return {"a.wav": data_files.wav(Path(directory) / "a.wav", np.arange(100)).read_bytes()}


def files_of(root: Path) -> Files:
    return {str(file.relative_to(root)): file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()}
