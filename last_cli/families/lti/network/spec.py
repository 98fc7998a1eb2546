"""The model around the SSM layers, as the tree's names and shapes show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from last_cli.base.errors import CheckpointError
from last_cli.base.words import some
from last_cli.families.find import Layer
from last_cli.families.lti.config import ModelConfig
from last_cli.families.variables import Collections
from last_cli.formats import Key, Leaf

BATCH_NORM_EPSILON, LAYER_NORM_EPSILON = 1e-5, 1e-6

# What the products of a GLU are called, and which activations they allow.
GLU = {
    (): ("gelu",),
    ("out2",): ("half_glu1", "half_glu2"),
    ("out1", "out2"): ("full_glu",),
    ("out", "out2"): ("full_glu",),
}
# What codes call a block's norm: S5 and S4D, and minimal-LRU.
NORMS = ("norm", "normalization")
PAIRED: dict[str, Any] = {"mode": "pool", "padded": True}
HINT = (
    "`last score` and `last prune` need the SSM layers alone; `last eval` builds the S5 and annotated S4D classifiers"
)


@dataclass(frozen=True)
class BlockSpec:
    """One block.

    Attributes:
        name: of its node.
        family: the SSM's registry name.
        leaves: names and shapes of the SSM's leaves.
        norm: "batch" or "layer".
        glu: names of its GLU's products.
        norm_name: of the norm's node.
    """

    name: str
    family: str
    leaves: tuple[tuple[str, tuple[int, ...]], ...]
    norm: str
    glu: tuple[str, ...]
    norm_name: str = "norm"


@dataclass(frozen=True)
class ModelSpec:
    """A classifier as the tree shows it.

    Attributes:
        blocks: the SSM blocks in order.
        nested: encoder and blocks stand below a node `encoder`, as in S5.
        d_input, d_model, d_output: widths of the input, the blocks and the output.
        config: what the tree does not show.
        documents: sequences a sample. Of two, the head compares what the same encoder and blocks made of each, pooled
            over its own length (Tay et al., Long Range Arena, ICLR 2021, section 2.2.3, with the S5 code's features).
    """

    blocks: tuple[BlockSpec, ...]
    nested: bool
    d_input: int
    d_model: int
    d_output: int
    config: ModelConfig
    documents: int = 1

    @property
    def layers(self) -> tuple[str, ...]:
        """The SSM layers' names, in order."""
        return tuple(f"{'encoder/' if self.nested else ''}{block.name}/seq" for block in self.blocks)


def infer(leaves: Mapping[Key, Leaf], layers: Sequence[Layer]) -> dict[str, Any]:
    """What the tree shows of a ModelConfig.

    The activation, where the GLU's products leave no choice; and a head that compares two documents takes the mean of
    each over its own length.
    """
    variables = Collections.of(layers).variables(leaves)
    options = GLU.get(_glu(variables, _block(layers[0])), ())
    found = {"activation": options[0]} if len(options) == 1 else {}
    return found | (dict(PAIRED) if _pairs(variables) else {})


def read_spec(leaves: Mapping[Key, Leaf], layers: Sequence[Layer], config: ModelConfig) -> ModelSpec:
    """The classifier that a checkpoint holds.

    Raises:
        CheckpointError: its tree is not one of an S5 or annotated S4D classifier; says what is missing.
    """
    collections = Collections.of(layers)
    variables = collections.variables(leaves)
    nested = layers[0].name.startswith("encoder/")
    encoder = ("params", *(["encoder"] if nested else []), "encoder", "kernel")
    pairs = _pairs(variables)
    decoder = ("params", "decoder", *(["layer2"] if pairs else []), "kernel")
    for key in (encoder, decoder):
        if key not in variables or len(variables[key].shape) != 2:
            raise CheckpointError(f"the tree has no {'/'.join(key)} of two axes, so no classifier can be built", HINT)
    blocks = tuple(_block_spec(variables, layer, nested, config) for layer in layers)
    d_input, d_model = variables[encoder].shape
    if pairs:
        config = replace(config, **PAIRED)
        found = variables[("params", "decoder", "layer1", "kernel")].shape
        if found != (4 * d_model, d_model):
            raise CheckpointError(
                f"decoder/layer1 has shape {found}, expected {(4 * d_model, d_model)}: four features of two documents",
                HINT,
            )
    around = (encoder[:-1], decoder[:-1], *([("params", "decoder", "layer1")] if pairs else []))
    _check_whole(variables, blocks, around, bare=not collections.params)
    return ModelSpec(blocks, nested, d_input, d_model, variables[decoder].shape[1], config, documents=2 if pairs else 1)


def _check_whole(
    variables: Mapping[Key, Leaf], blocks: Sequence[BlockSpec], around: Sequence[Key], *, bare: bool
) -> None:
    """Refuses a tree that lacks an array of the classifier, or has parameters that it would run without.

    Args:
        variables: the tree's.
        blocks: of the classifier.
        around: nodes of the encoder and of the head.
        bare: the parameters stand below no `params`.
    """
    above = around[0][1:-1]
    own = {(*node, name) for node in around for name in ("kernel", "bias")}
    for block in blocks:
        node = ("params", *above, block.name)
        own |= {(*node, "seq", name) for name, _ in block.leaves}
        own |= {(*node, product, name) for product in block.glu for name in ("kernel", "bias")}
        own |= {(*node, block.norm_name, name) for name in ("scale", "bias")}
        if any(other.norm == "batch" for other in blocks):
            own |= {("batch_stats", *above, block.name, block.norm_name, name) for name in ("mean", "var")}
    if lost := sorted("/".join(key) for key in own - variables.keys()):
        raise CheckpointError(f"the tree has no {some(lost)}, so no classifier can be built", HINT)
    tops = {key[1] for key in own}  # Beside them in a tree without `params` stand optimizer states and counters, too.
    arrays = (key for key in variables.keys() - own if key[0] == "params" and variables[key].kind == "array")
    if more := sorted("/".join(key[1:]) for key in arrays if not bare or key[1] in tops):
        raise CheckpointError(f"the tree has parameters that no S5 or S4D classifier has: {some(more)}", HINT)


def _block_spec(variables: Mapping[Key, Leaf], layer: Layer, nested: bool, config: ModelConfig) -> BlockSpec:
    block = _block(layer)
    expected = ("encoder", block[-1]) if nested else (block[-1],)
    if block != expected or layer.name.split("/")[-1] != "seq":
        raise CheckpointError(f"{layer.name}: expected {'/'.join((*expected, 'seq'))} in an S5 or S4D classifier", HINT)
    glu = _glu(variables, block)
    if config.activation not in GLU.get(glu, ()):
        allowed = " or ".join(GLU.get(glu, ())) or "none that is known"
        raise CheckpointError(
            f"{layer.name}: activation is '{config.activation}' but the tree has the products {list(glu)}, "
            f"which means {allowed}",
            "give ⟦activation⟧, or mend the configuration beside the checkpoint",
        )
    if layer.sizes.outputs is not None:
        raise CheckpointError(
            f"{layer.name}: it has {layer.sizes.features} inputs and {layer.sizes.outputs} outputs, "
            "and a block adds its inputs to its outputs",
            HINT,
        )
    D = variables[("params", *block, "seq", "D")].shape if "D" in layer.leaves else ()
    if layer.family.name == "s5" and len(D) == 2:
        raise CheckpointError(f"{layer.name}: D has shape {D}, and a block has one number for each feature", HINT)
    norm = next((name for name in NORMS if ("params", *block, name, "scale") in variables), None)
    if norm is None:
        raise CheckpointError(f"{'/'.join(block)}: the tree has no norm/scale", HINT)
    return BlockSpec(
        name=block[-1],
        family=layer.family.name,
        leaves=tuple((name, tuple(variables[("params", *block, "seq", name)].shape)) for name in layer.leaves),
        norm="batch" if ("batch_stats", *block, norm, "mean") in variables else "layer",
        glu=glu,
        norm_name=norm,
    )


def statistics(spec: ModelSpec) -> tuple[Key, Key, Key, Key] | None:
    """Where the encoder's kernel and bias are, and the running mean and variance of what it makes of the inputs.

    None where no batch norm stands right behind the encoder.
    """
    first = spec.blocks[0]
    if not spec.config.prenorm or first.norm != "batch":
        return None
    above = ("encoder",) if spec.nested else ()
    encoder, norm = ("params", *above, "encoder"), ("batch_stats", *above, first.name, first.norm_name)
    return (*encoder, "kernel"), (*encoder, "bias"), (*norm, "mean"), (*norm, "var")


def block_of(name: str) -> str:
    """The name of the block that an SSM layer of this name is in."""
    return name.split("/")[-2]


def _pairs(variables: Mapping[Key, Any]) -> bool:
    """Whether the head compares two documents."""
    return ("params", "decoder", "layer1", "kernel") in variables


def _block(layer: Layer) -> Key:
    return tuple(layer.name.split("/")[:-1])


def _glu(variables: Mapping[Key, Any], block: Key) -> tuple[str, ...]:
    return tuple(n for n in ("out", "out1", "out2") if ("params", *block, n, "kernel") in variables)
