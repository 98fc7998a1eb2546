"""A checkpoint's variables folded for inference, once and in float64 on the host: what `forward.forward` runs.

Inference's batch norm is an affine map a * u + b of each feature. Before an SSM it goes into the SSM's own matrices:

    B (a * u + b) = (B a) u + B b        D (a * u + b) = (D a) u + D b

so that no pass over the activations is left of it; B b drives the states at every step, padding included, as it did.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from last_cli.families.lti.network import convolve, scan
from last_cli.families.lti.network.spec import BATCH_NORM_EPSILON, BlockSpec, ModelSpec
from last_cli.families.lti.system import System

WEIGHTS = ("kernel", "drive", "readout")

Params = dict[str, Any]


def fold(
    spec: ModelSpec,
    variables: Mapping[str, Any],
    systems: Mapping[str, System],
    length: int,
    precision: str = "float32",
) -> Params:
    """What `forward` takes besides the sequences: a tree of arrays, of equal shapes for checkpoints of equal shapes.

    Args:
        spec: of the classifier.
        variables: the classifier's `params` and `batch_stats`.
        systems: each block's discretised System in numpy float64, by the block's name.
        length: of the sequences, padding included.
        precision: "float32", or "bfloat16" for the activations and the weights of all products but the decoder's; the
            states' recurrence, the convolution and the logits stay in float32.
    """
    params, stats = variables["params"], variables.get("batch_stats", {})
    if spec.nested:
        tower, stats = params["encoder"], stats.get("encoder", {})
    else:
        tower = params
    blocks = tuple(
        _block(spec, block, tower[block.name], stats.get(block.name, {}), systems[block.name], length)
        for block in spec.blocks
    )
    weights = np.dtype(getattr(ml_dtypes, precision, precision))
    return {
        **_cast({"encoder": tower["encoder"], "blocks": blocks}, weights),
        "decoder": _cast(params["decoder"], np.float32),
    }


def _block(
    spec: ModelSpec,
    block: BlockSpec,
    params: Mapping[str, Any],
    stats: Mapping[str, Any],
    system: System,
    length: int,
) -> Params:
    scale, bias = _affine(block, params[block.norm_name], stats.get(block.norm_name, {}))
    folded: Params = {}
    if spec.config.prenorm:
        folded["ssm"] = _system(system, scale, bias, length)
    else:
        folded["ssm"] = _system(system, np.ones_like(scale), np.zeros_like(bias), length)
        folded["norm"] = {"scale": scale, "bias": bias}
    if block.glu:
        folded["glu"] = _glu(block, params)
        if "parts" in folded["ssm"]:  # features come first there: see forward
            folded["glu"]["kernel"] = np.ascontiguousarray(folded["glu"]["kernel"].T)
    return folded


def _affine(block: BlockSpec, norm: Mapping[str, Any], stats: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Scale and bias of the norm: all of batch norm, and what follows layer norm's own centring."""
    scale, bias = _double(norm["scale"]), _double(norm["bias"])
    if block.norm == "layer":
        return scale, bias
    scale = scale / np.sqrt(_double(stats["var"]) + BATCH_NORM_EPSILON)
    return scale, bias - scale * _double(stats["mean"])


def _system(system: System, scale: np.ndarray, bias: np.ndarray, length: int) -> Params:
    if system.B.shape[-1] == system.C.shape[-2] == 1:
        # The response to a constant depends on the step here: the map is cheaper than an array of all steps.
        return {"parts": convolve.split(system, length, scale, bias)}
    prepared = scan.prepare(system, length)
    B, D = prepared["B"], _double(prepared["D"])
    return {
        "lam": prepared["lam"],
        "drive": scale[:, None] * B,
        "constant": bias @ B,
        "readout": prepared["C"],
        "D": scale * D,
        "offset": bias * D,
    }


def _glu(block: BlockSpec, params: Mapping[str, Any]) -> Params:
    """The GLU's products side by side; half of the gate's, since it is 0.5 + 0.5 tanh(z / 2)."""
    *values, gate = [{name: _double(array) for name, array in params[name].items()} for name in block.glu]
    gate = {name: 0.5 * array for name, array in gate.items()}
    return {name: np.concatenate([part[name] for part in (*values, gate)], axis=-1) for name in ("kernel", "bias")}


def _cast(tree: Any, weights: Any, name: str = "") -> Any:
    """Single precision, and the products' weights as they are wanted."""
    if isinstance(tree, Mapping):
        return {key: _cast(part, weights, key) for key, part in tree.items()}
    if isinstance(tree, tuple):
        return tuple(_cast(part, weights) for part in tree)
    if np.iscomplexobj(tree):
        return np.asarray(tree, np.complex64)
    if np.issubdtype(tree.dtype, np.integer):
        return np.asarray(tree, np.int32)
    return np.asarray(tree, weights if name in WEIGHTS else np.float32)


def _double(array: Any) -> np.ndarray:
    return np.asarray(array, np.float64)
