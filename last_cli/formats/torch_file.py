"""Files of `torch.save`: read with `weights_only=True` and never otherwise. PyTorch is imported when it is needed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from last_cli.base.errors import CheckpointError, UsageError
from last_cli.base.files import EXPANDED, regular
from last_cli.formats.sniff import is_equinox, is_npz, refuse_equinox, refuse_npz

# Where training scripts keep the weights beside other things: Lightning, Hugging Face and the S4 example do.
WRAPPERS = ("state_dict", "model_state_dict", "model", "module")

# The first version in which weights_only=True keeps its word.
OLDEST = (2, 6)

SAVE_WEIGHTS = (
    "save the weights alone where you trust the file: torch.save(model.state_dict(), 'weights.pt'), "
    "or safetensors.torch.save_file(model.state_dict(), 'weights.safetensors'); a file of Lightning has them in "
    "torch.load(FILE, weights_only=False)['state_dict']"
)

LONGEST = 160  # of a sentence of PyTorch's that is passed on

# What numpy holds through ml_dtypes, by the name that PyTorch has for it.
_EXTENDED = {
    "bfloat16": (ml_dtypes.bfloat16, "int16"),
    "float8_e4m3fn": (ml_dtypes.float8_e4m3fn, "uint8"),
    "float8_e5m2": (ml_dtypes.float8_e5m2, "uint8"),
}


@dataclass(frozen=True)
class StateDict:
    """Tensors by name; the key of the dictionary around them, if there is one; what else was beside them."""

    tensors: Mapping[str, np.ndarray]
    wrapper: str | None
    left_out: tuple[str, ...]


def read(path: Path) -> StateDict:
    """The state dict in a file, on the CPU.

    Raises:
        CheckpointError: the file needs code to be run (a pickle, a whole module), or holds no state dict.
        UsageError: PyTorch is not installed.
    """
    if is_equinox(path):
        refuse_equinox(path)
    if is_npz(path):
        refuse_npz(path)
    torch = _torch(path)
    try:
        content = torch.load(regular(path), map_location="cpu", weights_only=True)
    except Exception as error:  # Its own errors are of many kinds; whatever is no clean load is refused.
        raise CheckpointError(
            f"{path}: PyTorch cannot load it with weights_only=True, and loading it otherwise would run its code "
            f"({reason_of(error)})",
            SAVE_WEIGHTS,
        ) from error
    wrapper, found = _find(torch, content)
    if found is None:
        what = f"a {type(content).__name__}"
        if isinstance(content, Mapping):
            what += f" of {', '.join(map(str, list(content)[:6])) or 'nothing'}"
        raise CheckpointError(f"{path}: holds {what}, expected a state dict of tensors", SAVE_WEIGHTS)
    tensors = {str(name): _to_numpy(torch, path, str(name), value) for name, value in found.items()}
    beside = tuple(str(name) for name in content if name != wrapper) if wrapper else ()
    return StateDict(tensors, wrapper, beside)


def write(file: BinaryIO, path: Path, tensors: Mapping[str, np.ndarray], wrapper: str | None) -> None:
    """Writes a state dict.

    Args:
        file: open for writing.
        path: of the file, for the error.
        tensors: in the order that the file will have.
        wrapper: the key of a dictionary around them, if there is to be one.

    Raises:
        UsageError: PyTorch is not installed.
    """
    torch = _torch(path)
    state = {name: _from_numpy(torch, array) for name, array in tensors.items()}
    torch.save({wrapper: state} if wrapper else state, file)


def reason_of(error: Exception) -> str:
    """Why PyTorch does not load a file: the names of the code that it asks for, else the first whole sentence."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    if named := dict.fromkeys(re.findall(r"GLOBAL ([\w.]+)", text)):
        return f"it asks for {', '.join(named)}"
    said = re.sub(r"^\[enforce fail at [^]]*\] ?\. ?", "", " ".join(text.split()))
    sentence = re.split(r"(?<=[.!?])(?<!\b[ie]\.[eg]\.) (?=[A-Z])", said, maxsplit=1)[0]
    return sentence if 0 < len(sentence) <= LONGEST else type(error).__name__


def _torch(path: Path) -> Any:
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UsageError(
            f"{path}: a PyTorch file, and PyTorch is not installed here",
            "pip install torch, or use a .safetensors file, which needs no PyTorch",
        ) from error
    version = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if version < OLDEST:
        raise UsageError(
            f"{path}: PyTorch {torch.__version__} runs code of a file even with weights_only=True (CVE-2025-32434), "
            f"expected {OLDEST[0]}.{OLDEST[1]} or later",
            "pip install -U torch, or use a .safetensors file, which needs no PyTorch",
        )
    return torch


def _find(torch: Any, content: Any) -> tuple[str | None, Mapping[str, Any] | None]:
    if not isinstance(content, Mapping):
        return None, None
    if content and all(torch.is_tensor(value) for value in content.values()):
        return None, content
    for name in WRAPPERS:
        inside = content.get(name)
        if isinstance(inside, Mapping) and any(torch.is_tensor(value) for value in inside.values()):
            return name, inside
    return (None, content) if any(torch.is_tensor(value) for value in content.values()) else (None, None)


def _to_numpy(torch: Any, path: Path, name: str, value: Any) -> np.ndarray:
    if not torch.is_tensor(value) or value.layout is not torch.strided or value.is_quantized:
        what = value.layout if torch.is_tensor(value) else type(value).__name__
        raise CheckpointError(f"{path}: {name} is {what}, expected a dense tensor", SAVE_WEIGHTS)
    claimed, held = value.numel() * value.element_size(), value.untyped_storage().nbytes()
    if claimed > max(EXPANDED, held):
        raise CheckpointError(f"{path}: {name} has a shape of {claimed:,} bytes, and holds {held:,}", SAVE_WEIGHTS)
    value = value.detach().resolve_conj().resolve_neg().contiguous()
    kind = str(value.dtype).removeprefix("torch.")
    if kind in _EXTENDED:
        dtype, stored = _EXTENDED[kind]
        return value.view(getattr(torch, stored)).numpy().view(dtype)
    try:
        return value.numpy()
    except (TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: {name} has the dtype {kind}, which numpy cannot hold", SAVE_WEIGHTS) from error


def _from_numpy(torch: Any, array: np.ndarray) -> Any:
    array = np.array(array)  # A copy, because PyTorch wants to own what it may write to.
    if array.dtype.name in _EXTENDED:
        stored = array.view(_EXTENDED[array.dtype.name][1])
        return torch.from_numpy(stored).view(getattr(torch, array.dtype.name))
    return torch.from_numpy(array)
