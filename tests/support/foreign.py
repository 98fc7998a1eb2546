"""Files of other code, made by hand: tensors as that code names them, and the kernels that its formulas give."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

Tensors = dict[str, np.ndarray]
Rng = np.random.Generator

CODES = {"float32": "F32", "float64": "F64", "int64": "I64", "complex64": "C64", "bool": "BOOL", "bfloat16": "BF16"}


def write_safetensors(path: Path, tensors: Tensors, metadata: dict[str, str] | None = None) -> Path:
    """The format as its documentation has it, written without the code under test."""
    header: dict = {"__metadata__": metadata} if metadata else {}
    data = b""
    for name, array in tensors.items():
        entry = {"dtype": CODES[array.dtype.name], "shape": list(array.shape)}
        header[name] = entry | {"data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def read_safetensors(path: Path) -> Tensors:
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__", None)
    dtypes = {code: name for name, code in CODES.items()}
    found = {}
    for name, entry in header.items():
        begin, end = (8 + length + n for n in entry["data_offsets"])
        found[name] = np.frombuffer(raw[begin:end], dtypes[entry["dtype"]]).reshape(entry["shape"])
    return found


def minimal_s4d(rng: Rng, layers: int = 2, channels: int = 4, pairs: int = 6) -> Tensors:
    """A classifier around models/s4/s4d.py, as the repository's example.py builds it."""
    tensors = around(rng, channels)
    for i in range(layers):
        layer = {
            "D": rng.normal(size=channels),
            "kernel.C": rng.normal(size=(channels, pairs, 2)),
            "kernel.log_dt": np.log(rng.uniform(0.001, 0.1, channels)),
            "kernel.log_A_real": np.log(rng.uniform(0.1, 1, (channels, pairs))),
            "kernel.A_imag": rng.uniform(0, 20, (channels, pairs)),
            "output_linear.0.weight": rng.normal(size=(2 * channels, channels, 1)),
            "output_linear.0.bias": rng.normal(size=2 * channels),
        }
        tensors |= {f"s4_layers.{i}.{name}": single(array) for name, array in layer.items()}
    return tensors


def full_s4d(
    rng: Rng, version: int, directions: int = 1, copies: int = 4, channels: int = 4, pairs: int = 6, ones: bool = False
) -> Tensors:
    """One layer of the full repository in diagonal mode: version 3 or 4, B trained unless it is `ones`."""
    B = rng.normal(size=(copies, pairs, 2))
    if ones:
        B[:] = [1, 0]
    real, imag = np.log(rng.uniform(0.1, 1, (copies, pairs))), rng.uniform(0, 20, (copies, pairs))
    dt = np.log(rng.uniform(0.001, 0.1, (channels, 1)))
    C = rng.normal(size=(directions, channels, pairs, 2))
    if version == 3:
        owner, kernel = "model.layers.0.layer.", "kernel.kernel."
        layer = {"log_dt": dt[:, 0], "inv_A_real": real, "A_imag": imag, "B": B, "C": C}
    else:
        owner, kernel = "model.layers.0.layer.layer.", "kernel."
        layer = {"inv_dt": dt, "A_real": real, "A_imag": imag, "B": B[None], "C": C}
    tensors = {owner + kernel + name: single(array) for name, array in layer.items()}
    return tensors | {owner + "D": single(rng.normal(size=(1, channels)))} | around(rng, channels)


def s5_pytorch(rng: Rng, directions: int = 1, pairs: bool = False, states: int = 6, features: int = 4) -> Tensors:
    """A block of s5-pytorch: complex Lambda and C, or, as in later code, pairs."""
    Lambda = -rng.uniform(0.1, 1, states) + 1j * rng.uniform(-20, 20, states)
    C = rng.normal(size=(features, directions * states, 2)) @ np.array([1, 1j])
    layer = {
        "Lambda": Lambda.astype(np.complex64),
        "B": single(rng.normal(size=(states, features, 2))),
        "C": C.astype(np.complex64),
        "D": single(rng.normal(size=features)),
        "log_step": single(np.log(rng.uniform(0.01, 0.2, (states, 1) if pairs else states))),
    }
    if pairs:
        layer |= {name: np.stack([layer[name].real, layer[name].imag], axis=-1) for name in ("Lambda", "C")}
    return {f"blocks.0.s5.seq.{name}": array for name, array in layer.items()} | around(rng, features)


def around(rng: Rng, features: int) -> Tensors:
    """What stands around SSM layers, in types of many kinds."""
    return {
        "encoder.weight": single(rng.normal(size=(features, 3))),
        "norms.0.running_mean": rng.normal(size=features),
        "norms.0.num_batches_tracked": np.array(7),
        "mask": np.array([True, False]),
    }


def single(array: np.ndarray) -> np.ndarray:
    return np.asarray(array, np.float32)


def complex_of(pairs: np.ndarray) -> np.ndarray:
    return pairs.astype(np.float64) @ np.array([1, 1j])


def full_kernel(tensors: Tensors, version: int, length: int, real: str = "exp", dt: str = "exp") -> np.ndarray:
    """Convolution kernels (directions, H, length) of `full_s4d` in float64, as its forward pass has them (ZOH)."""
    functions = {"exp": np.exp, "none": np.array, "softplus": lambda x: np.log1p(np.exp(x))}
    short = {name.rsplit(".", 1)[-1]: array.astype(np.float64) for name, array in tensors.items() if "kernel" in name}
    B, C = complex_of(short["B"]).reshape(-1, short["B"].shape[-2]), complex_of(short["C"])
    imag = short["A_imag"] if version == 3 else -short["A_imag"]
    A = -functions[real](short["inv_A_real" if version == 3 else "A_real"]) + 1j * imag
    step = functions[dt](short["log_dt" if version == 3 else "inv_dt"]).reshape(-1, 1)
    repeats = C.shape[1] // len(A)
    A, B = np.tile(A, (repeats, 1)), np.tile(B, (repeats, 1))
    weights = B * C * (np.exp(A * step) - 1) / A
    return 2 * np.einsum("chn,hnl->chl", weights, np.exp((A * step)[..., None] * np.arange(length))).real


def assert_same(found: Tensors, expected: Tensors) -> None:
    """Names, order, types, shapes and bits."""
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        assert found[name].tobytes() == array.tobytes(), name
