"""What a network is: its spec as a tree shows it, a forward pass, taps at its layers, and a loss.

A family names the network that its layers stand in, and the rooms above run any network by these functions alone.
Nothing here imports JAX, and a network does so only where it runs: a spec is read from names and shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

import numpy as np

from last_cli.base.annotations import Float, Int
from last_cli.base.errors import CheckpointError, UsageError
from last_cli.families.find import Layer
from last_cli.families.lti.config import ModelConfig
from last_cli.families.lti.system import System
from last_cli.formats import Key, Leaf
from last_cli.formats.format import Settings
from last_cli.tasks.task import Answers

Observe = Callable[[Any, Any, Any, Any, Any], tuple[Mapping[str, Mapping[str, Any]], Any]]
"""A spec, parameters of `Network.fold`, sequences, their lengths, and how many of the first steps of each do not count
-> quantities of every layer (sequences, ...), by the layer's name and their own, and how much each sequence weighs: the
means are their sums over these weights. To be traced by JAX."""

PRECISIONS = ("float32", "bfloat16")
HINT = "`last score` and `last prune` need the SSM layers alone, unless they are to measure them in the network"

Variables = Mapping[str, Any]
"""A network's arrays, nested as its module has them."""

Systems = Mapping[str, System]
"""A discretised System in numpy float64 for every layer, by the layer's name."""


@runtime_checkable
class Spec(Protocol):
    """What other rooms read of a network's spec. It can be hashed, and its repr tells it from all others."""

    @property
    def d_input(self) -> int:
        """How many features a step has, or how many tokens the vocabulary."""
        ...

    @property
    def d_output(self) -> int:
        """How many numbers an answer has."""
        ...

    @property
    def documents(self) -> int:
        """How many sequences a sample has."""
        ...


@dataclass(frozen=True)
class Watch:
    """A network with a tap at every layer. All but `variables` can be traced by JAX.

    Attributes:
        variables: the network's variables, its layers' systems and the length of the sequences -> variables for the
            others: the systems, prepared for that length, take the place of the layers' own parameters.
        logits: variables, sequences and their lengths -> (samples, d_output).
        perturbations: sequences -> zeros by layer name, one for each number that the layer puts out: (sequences,
            length, features), where a sample of two documents is two sequences.
        taps: variables, sequences, their lengths and perturbations -> logits with the perturbations added to the
            layers' outputs, and the layers' inputs (sequences, length, features) by name.
        states: a system and its layer's inputs -> the coordinates f of all states, (sequences, length, G, d), of which
            the layer's outputs are W f with W of pruning.moments.readout_matrix; padding is zero.
    """

    variables: Callable[[Variables, Systems, int], Variables]
    logits: Callable[[Variables, Any, Any], Any]
    perturbations: Callable[[Any], dict[str, Any]]
    taps: Callable[[Variables, Any, Any, Mapping[str, Any]], tuple[Any, dict[str, Any]]]
    states: Callable[[System, Any], Any]


@dataclass(frozen=True)
class Linear:
    """A linear map of a block: a matrix (outputs, inputs).

    Attributes:
        tensor: its name below the block's prefix.
        module: what people call it: in_proj, out_proj or mlp.
        place: where in the block it stands: what it reads is seen by this name.
    """

    tensor: str
    module: str
    place: str


@dataclass(frozen=True)
class Part:
    """A block of a network that runs block by block.

    Attributes:
        prefix: of its tensors, parts of names joined by dots.
        spec: alike for blocks alike, so that they share a compiled program; it can be hashed.
        linears: in the order in which they read what the ones before made.
        kind: what it has; of each kind that there is, the classes of some models need one.
        writers: tensors, by their names below the prefix, as far as there are any: with zeros in all of them the stream
            goes through as it is.
        stream: whether the original code of WANDA hands on the whole stream behind it, as it should, or loses the
            residual stream.
    """

    prefix: str
    spec: Any
    linears: tuple[Linear, ...]
    kind: str = "block"
    writers: tuple[str, ...] = ()
    stream: bool = True


@dataclass(frozen=True)
class Blockwise:
    """A network block by block, of which no more than one need be there at a time.

    Attributes:
        parts: spec -> its blocks in order.
        enter: spec, a function from a tensor's name to its array, and tokens (n, T) -> what the first block reads
            (n, T, d), in single precision.
        run: a block's spec, its tensors by their names below its prefix, what it reads -> what it puts out, and what
            its linear maps read, by their places; there "residual" is what the last branch is added to. To be traced by
            JAX.
        leave: spec, the tensors that are in no block by name, what the last block put out, and tokens -> -log p in nats
            (n, T - 1) of every token but the first. To be traced by JAX.
        shortened: spec, configuration files, and the numbers of the blocks that stay -> what changes in the files.
            Raises UsageError where they cannot say it.
    """

    parts: Callable[[Any], Sequence[Part]]
    enter: Callable[[Any, Callable[[str], np.ndarray], Int[np.ndarray, "n T"]], Float[np.ndarray, "n T d"]]
    run: Callable[[Any, Mapping[str, Any], Any], tuple[Any, Mapping[str, Any]]]
    leave: Callable[[Any, Mapping[str, Any], Any, Any], Any]
    shortened: Callable[[Any, Mapping[str, Any], Sequence[int]], Settings]


@dataclass(frozen=True)
class Network:
    """A kind of model around the layers.

    Attributes:
        name: what errors call it.
        options: names of ModelConfig that it depends on, besides those of its layers' families.
        infer: leaves and layers -> entries of ModelConfig that the tree shows.
        spec: leaves, layers, configuration, and the files of configuration as Index.config has them -> the model's
            spec. Raises CheckpointError where the tree is not one of this network.
        variables: leaves and layers -> the leaves that are the network's own, by their path in its module.
        module: spec -> a trainable module of Flax.
        fold: spec, variables, systems, length and precision (one of PRECISIONS) -> parameters for `forward`: a tree of
            numpy arrays, of equal shapes for checkpoints of equal shapes.
        forward: spec, parameters, sequences, their lengths and the platform that it is compiled for -> outputs
            (samples, outputs), to be traced by JAX.
        watch: spec -> the network with a tap at every layer.
        loss: outputs of `forward` (n, outputs) and labels -> the loss of each sample in nats.
        statistics: spec -> paths of the variables that remember the training's inputs: kernel (d_input, d_model) and
            bias of the encoder, running mean and variance of what it makes of them; None where there are none.
        outputs: spec and length of the sequences -> how many numbers `forward` gives for each.
        answers: what these say: the class of a sequence, or each of its tokens.
        precisions: those that `fold` takes.
        observed: what is measured for energies of units without a System, by the name of these and by target; see
            Family.on_inputs.
        apart: those of these names whose quantities stay apart: instead of means a row for each sequence, in order.
        change: spec, parameters of `fold`, others of the same shapes, and the rest as in Observe -> (sequences, 2):
            squares of the change of the centred logits, and of these, summed. To be traced by JAX. None where `watch`
            has logits, and few enough to be kept.
        blockwise: the network block by block; None where it does not run so.
        refit: spec, the tensors by name, read when asked for, and the same with zeros for removed units, sequences,
            their lengths, how many of the first steps do not count, and what is called with the progress -> leaves
            refitted to what is left, by the layer's name and their own. None where layers are Systems, or nothing can
            be refitted.
    """

    name: str
    options: tuple[str, ...]
    infer: Callable[[Mapping[Key, Leaf], Sequence[Layer]], dict[str, Any]]
    spec: Callable[[Mapping[Key, Leaf], Sequence[Layer], ModelConfig, Mapping[str, Any]], Any]
    variables: Callable[[Mapping[Key, Any], Sequence[Layer]], dict[Key, Any]]
    module: Callable[[Any], Any]
    fold: Callable[[Any, Variables, Systems, int, str], Any]
    forward: Callable[[Any, Any, Any, Any, str], Any]
    watch: Callable[[Any], Watch]
    loss: Callable[[Float[np.ndarray, "n outputs"], Int[np.ndarray, " n"]], Float[np.ndarray, " n"]]
    statistics: Callable[[Any], tuple[Key, Key, Key, Key] | None] = lambda spec: None
    outputs: Callable[[Any, int], int] = lambda spec, length: spec.d_output
    answers: Answers = "classes"
    precisions: tuple[str, ...] = PRECISIONS
    observed: Mapping[tuple[str, str], Observe] = field(default_factory=dict, hash=False)
    apart: frozenset[tuple[str, str]] = frozenset()
    change: Callable[[Any, Any, Any, Any, Any, Any], Any] | None = None
    blockwise: Blockwise | None = None
    refit: Callable[..., dict[str, dict[str, np.ndarray]]] | None = None


def shared_network(layers: Sequence[Layer]) -> Network:
    """The network that all these layers stand in.

    Raises:
        CheckpointError: a layer's family has none, or they have different ones.
    """
    for layer in layers:
        if layer.family.network is None:
            raise CheckpointError(
                f"{layer.name}: the family '{layer.family.name}' has no network, so no model can be built", HINT
            )
    first, *others = layers
    for layer in others:
        if layer.family.network != first.family.network:
            raise CheckpointError(
                f"{first.name} is a layer of the network '{_network(first).name}' but {layer.name} one of "
                f"'{_network(layer).name}', so no model can be built",
                HINT,
            )
    return _network(first)


def check_precision(name: str, precisions: tuple[str, ...] = PRECISIONS) -> None:
    """Raises UsageError unless it is one of these."""
    if name not in precisions:
        raise UsageError(f"⟨precision⟩ is '{name}', expected {' or '.join(precisions)}", "the default is float32")


def _network(layer: Layer) -> Network:
    assert layer.family.network is not None
    module, attribute = layer.family.network.split(":")
    return getattr(import_module(module), attribute)
