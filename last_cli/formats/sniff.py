"""What a single file is, from its first bytes; nothing is ever unpickled."""

from pathlib import Path
from typing import NoReturn

from last_cli.base.errors import CheckpointError

FOREIGN = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".safetensors")
"""Suffixes of files of weights that are no checkpoint of ours: `refuse_file` says what to do with them."""

_NUMPY, _LINE = b"\x93NUMPY", 2**20
_MEMBER = 30 + 256  # of a zip file: the head of its first member, and that one's name

_PICKLE_TO_ORBAX = (
    "Convert it where you trust it: `tree = pickle.load(open(FILE, 'rb'))`, then "
    "`import orbax.checkpoint as ocp`, then `ocp.PyTreeCheckpointer().save(ABSOLUTE_PATH, tree)`."
)


def is_msgpack(path: Path) -> bool:
    """Whether `path` is a file that starts with a msgpack map, as each tree of flax does."""
    head = _head(path)
    if _is_safetensors(path, head):  # The length of its header may look like one.
        return False
    return bool(head) and (0x80 <= head[0] <= 0x8F or head[0] in (0xDE, 0xDF)) and not _is_pickle(head)


def is_equinox(path: Path) -> bool:
    """Whether a file is one of equinox.tree_serialise_leaves: numpy arrays one after the other, maybe below a line."""
    head = _head(path)
    if head.startswith(_NUMPY):
        return path.suffix != ".npy"
    if head[:1] not in (b"{", b"["):
        return False
    with path.open("rb") as file:
        return file.readline(_LINE)[-1:] == b"\n" and file.read(len(_NUMPY)) == _NUMPY


def refuse_equinox(path: Path) -> NoReturn:
    """Says what such a file is; raises CheckpointError always."""
    raise CheckpointError(
        f"{path}: an Equinox file: arrays one after the other, without their names",
        "load it into its model (eqx.tree_deserialise_leaves) and save the arrays by name: "
        "ocp.PyTreeCheckpointer().save(ABSOLUTE_PATH, {'params': {...}})",
    )


def is_npz(path: Path) -> bool:
    """Whether a file is one of numpy.savez: a zip file whose first member is an array."""
    with path.open("rb") as file:
        head = file.read(_MEMBER)
    return head.startswith(b"PK") and (path.suffix == ".npz" or b".npy" in head[30:])


def refuse_npz(path: Path) -> NoReturn:
    """Says what such a file is; raises CheckpointError always."""
    raise CheckpointError(
        f"{path}: an .npz file of numpy: arrays by name, and no checkpoint",
        "save its arrays as a tree: `ocp.PyTreeCheckpointer().save(ABSOLUTE_PATH, flax.traverse_util.unflatten_dict("
        "dict(np.load(FILE)), sep='/'))`; a task or calibration data is given by ⟦task⟧ or ⟦calibration_file⟧",
    )


def refuse_file(path: Path) -> NoReturn:
    """Says what a file is that is no checkpoint, and what to do about it.

    Raises:
        CheckpointError: always.
    """
    head = _head(path)
    if not head:
        raise CheckpointError(f"{path}: empty file", "name a checkpoint directory or a msgpack file")
    if _is_pickle(head):
        raise CheckpointError(f"{path}: a pickle file; refused, because loading it runs code", _PICKLE_TO_ORBAX)
    if is_equinox(path):
        refuse_equinox(path)
    if is_npz(path):
        refuse_npz(path)
    if head.startswith(b"PK"):
        raise CheckpointError(
            f"{path}: a zip file, as torch.save writes it, not an Orbax or Flax checkpoint",
            "a state-spaces S4D or s5-pytorch model: convert it with `last import`",
        )
    if path.suffix == ".safetensors" or _is_safetensors(path, head):
        raise CheckpointError(
            f"{path}: a safetensors file",
            "convert it with `last import`; a language model is a directory that has config.json beside it, and "
            "model.safetensors.index.json where there are several files",
        )
    raise CheckpointError(
        f"{path}: not an Orbax or Flax checkpoint",
        "name a checkpoint directory or a msgpack file; `last import` also takes .safetensors, .pt and .pth",
    )


def _head(path: Path) -> bytes:
    if not path.is_file():
        return b""
    try:
        with path.open("rb") as file:
            return file.read(16)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error


def _is_safetensors(path: Path, head: bytes) -> bool:
    """Whether a file starts with the length of a header that fits into it, and a header in JSON."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size


def _is_pickle(head: bytes) -> bool:
    # Protocol 2 and later: the PROTO opcode and its number. Older ones are text and start with an opcode such as `(`.
    return head[:1] == b"\x80" and 2 <= (head[1] if len(head) > 1 else 0) <= 5
