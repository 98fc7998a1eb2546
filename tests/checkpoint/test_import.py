"""What cannot be imported rightly is refused, with the name of the tensor, and nothing is written."""

from __future__ import annotations

import builtins
import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from foreign import Tensors, full_s4d, minimal_s4d, s5_pytorch, write_safetensors

from last_cli.base.errors import CheckpointError, LastError, OutputError, UsageError
from last_cli.checkpoint.convert import import_weights

KERNEL = "model.layers.0.layer.layer.kernel."
MINIMAL = "s4_layers.0.kernel."
SEQ = "blocks.0.s5.seq."


def minimal(**changes: np.ndarray | None) -> Tensors:
    return changed(minimal_s4d(np.random.default_rng(0)), MINIMAL, changes)


def full(**changes: np.ndarray | None) -> Tensors:
    return changed(full_s4d(np.random.default_rng(0), 4), KERNEL, changes)


def s5(**changes: np.ndarray | None) -> Tensors:
    return changed(s5_pytorch(np.random.default_rng(0)), SEQ, changes)


def changed(tensors: Tensors, prefix: str, changes: dict) -> Tensors:
    """With other tensors of a module, or, where the change is None, without them."""
    tensors = tensors | {prefix + name: array for name, array in changes.items()}
    return {name: array for name, array in tensors.items() if array is not None}


def ones(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.ones(shape, dtype)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (lambda: full(P=ones(1, 4, 6, 2)), f"{KERNEL}P: no parameter .* low-rank term of S4"),
        (lambda: minimal(gamma=ones(4)), f"{MINIMAL}gamma: no parameter of a diagonal SSM layer"),
        (lambda: s5(BH=ones(4, 2), BP=ones(6, 2)), rf"{SEQ}BH \(and BP\): .* low rank"),
        (lambda: full(A_imag=None), "has A_real, B, C, inv_dt of an SSM layer, expected A_imag or w_imag too"),
        (lambda: s5(C=None), "blocks.0.s5.seq: has B, D, Lambda, log_step of an SSM layer, expected C too"),
        (lambda: full(log_dt=ones(4)), f"{KERNEL}log_dt means the same as {KERNEL}inv_dt"),
        (lambda: full(inv_dt=ones(4, 6)), r"inv_dt has shape \(4, 6\), expected \(4,\) or \(4, 1\)"),
        (lambda: full(A_real=ones(3, 6)), r"A_real has shape \(3, 6\), expected \(S, 6\) with S a divisor of the 4"),
        (lambda: full(B=ones(1, 4, 5, 2)), r"B has shape \(4, 5, 2\), expected \(S, 6, 2\)"),
        (lambda: full(C=ones(3, 4, 6, 2)), "a layer of 1 outputs per channel, expected one"),
        (lambda: full(C=ones(2, 4, 6, 2)) | {"model.layers.0.layer.layer.D": ones(2, 4)}, "a layer of 2 outputs"),
        (lambda: full(C=ones(4, 6)), r"C has shape \(4, 6\) and"),
        (
            lambda: s5(Lambda=ones(6)),
            rf"{SEQ}Lambda has shape \(6,\) and dtype float32, expected complex \(P,\) or \(P, 2\)",
        ),
        (lambda: s5(log_step=ones(6, 1, 1)), r"log_step has shape \(6, 1, 1\)"),
        (lambda: s5(D=ones(5)), "blocks/0/s5/seq: B has 4 features but D has 5"),
        (lambda: {"a.weight": ones(2)}, "no SSM layer found among 1 leaves"),
        (lambda: minimal() | {"s4_layers.0": ones(2)}, "params/s4_layers/0: is a tensor, and .* below it"),
    ],
)
def test_a_file_that_is_not_understood(tmp_path: Path, tensors: Callable[[], Tensors], message: str) -> None:
    src = write_safetensors(tmp_path / "m.safetensors", tensors())
    refused(src, CheckpointError, message)


def test_a_file_of_an_empty_tree(tmp_path: Path) -> None:
    src = tmp_path / "m.msgpack"
    src.write_bytes(b"\x80")
    refused(src, CheckpointError, "no SSM layer found")


def test_a_layer_without_its_d(tmp_path: Path) -> None:
    tensors = minimal()
    del tensors["s4_layers.0.D"]
    src = write_safetensors(tmp_path / "m.safetensors", tensors)
    refused(src, CheckpointError, "s4_layers.0.kernel: has .* expected s4_layers.0.D too")


def test_a_transform_that_the_numbers_contradict(tmp_path: Path) -> None:
    src = write_safetensors(tmp_path / "m.safetensors", full())
    refused(
        src, CheckpointError, "A_real: 24 numbers are not positive under the transform 'none'", real_transform="none"
    )
    refused(src, UsageError, "real_transform is 'tanh', expected one of exp, none", real_transform="tanh")


def test_an_output_that_exists(tmp_path: Path) -> None:
    src = write_safetensors(tmp_path / "m.safetensors", minimal())
    (tmp_path / "ckpt").mkdir()
    with pytest.raises(OutputError, match="exists already"):
        import_weights(src, tmp_path / "ckpt")
    import_weights(src, tmp_path / "ckpt", force=True)
    import_weights(src, tmp_path / "ckpt", force=True)


def test_a_missing_file_and_a_pickle(tmp_path: Path) -> None:
    refused(tmp_path / "none.safetensors", CheckpointError, "no such file or directory")
    (tmp_path / "m.pkl").write_bytes(pickle.dumps({"a": 1}))
    refused(tmp_path / "m.pkl", CheckpointError, "a pickle file; refused")


def test_a_pytorch_file_where_pytorch_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_torch(name: str, *args: object, **kwargs: object) -> object:
        if name == "torch":
            raise ImportError(name)
        return real(name, *args, **kwargs)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(builtins, "__import__", without_torch)
    (tmp_path / "m.pt").write_bytes(b"PK")
    refused(tmp_path / "m.pt", UsageError, "PyTorch is not installed here", "pip install torch")


def test_a_pytorch_whose_weights_only_is_no_promise_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(__version__="2.5.1+cu121"))  # pyright: ignore[reportArgumentType]
    (tmp_path / "m.pt").write_bytes(b"PK")
    refused(tmp_path / "m.pt", UsageError, r"PyTorch 2\.5\.1\+cu121 runs code of a file .* expected 2\.6 or later")


def refused(src: Path, error: type[LastError], message: str, hint: str = ".", **options: str) -> None:
    """The error names the file where there is one to name, has a hint, and nothing was written."""
    before = sorted(src.parent.iterdir())
    with pytest.raises(error, match=message) as caught:
        import_weights(src, src.parent / "ckpt", **options)  # pyright: ignore[reportArgumentType]
    assert options.get("real_transform") == "tanh" or str(src) in caught.value.message
    assert re.search(hint, caught.value.hint)
    assert sorted(src.parent.iterdir()) == before
