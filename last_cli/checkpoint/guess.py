"""What a network would be run with though nothing says it, and what each such guess rests on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from last_cli.base.errors import CheckpointError, UsageError
from last_cli.checkpoint.checkpoint import Checkpoint
from last_cli.checkpoint.configuration import trained_states
from last_cli.checkpoint.network import follow_padding, network_of, spec_of
from last_cli.families.lti.config import CHOICES
from last_cli.families.lti.presets import Preset, presets_of_sizes

# What the training chose is never another factor than 1: it is for data of another rate.
NEVER = ("step_rescale",)
USUAL = "all published S5 runs have it"
TASK = "task"


@dataclass(frozen=True)
class Guess:
    """A value that changes the answers and that nothing says.

    Attributes:
        name: the configuration's key.
        basis: what the guess rests on.
    """

    name: str
    value: Any
    basis: str

    def __str__(self) -> str:
        return f"{self.said} is a guess: {self.basis}"

    @property
    def said(self) -> str:
        """Key and value."""
        return f"{self.name} = {str(self.value).lower()}"


def guesses(checkpoint: Checkpoint, *, padded: bool = False) -> list[Guess]:
    """What is guessed of a checkpoint's network and changes its answers.

    Args:
        checkpoint: as it will run.
        padded: whether the sequences are padded, so that the mean over time may leave the padding out.

    Raises:
        CheckpointError: there is no network around the layers.
    """
    if padded:
        checkpoint = follow_padding(checkpoint, padded)
    names = (*checkpoint.layer_options, *network_of(checkpoint).options)
    found = checkpoint.assumed(name for name in names if name not in NEVER and _matters(checkpoint, name, padded))
    earlier = (checkpoint.index.stamp or {}).get("assumed") or ()
    return [
        *(
            Guess(name, value, "an earlier pruning assumed it" if name in earlier else _basis(checkpoint, name))
            for name, value in found.items()
        ),
        *_unconfirmed(checkpoint, [name for name in names if name not in found]),
    ]


def _unconfirmed(checkpoint: Checkpoint, names: Sequence[str]) -> list[Guess]:
    """What only the copy of a lost stamp says, where anything may have been changed."""
    if (lost := checkpoint.index.lost) is None:
        return []
    said = checkpoint.index.stamp or {}
    copied = [name for name in names if checkpoint.origins[name] == "checkpoint" and name in said.get("model", {})]
    basis = f"a copy of the stamp says so, and {lost.name} with its digest is lost"
    return [Guess(name, getattr(checkpoint.config, name), basis) for name in copied]


def task_guesses(checkpoint: Checkpoint, task: str, source: str, length: int) -> list[Guess]:
    """What is guessed of the sequences of a task that makes its own: their lengths are the stamp's, else the usual.

    Args:
        checkpoint: the model.
        task: that made the sequences.
        source: where it has them from; what is read from files has the lengths that it has.
        length: of the sequences.
    """
    if source != "generated" or checkpoint.task.get("name") == task:
        return []
    return [Guess(TASK, task, f"its usual length of {length} steps, as nothing says the trained one")]


def told(checkpoint: Checkpoint, found: Sequence[Guess]) -> list[str]:
    """A warning for each guess, and where the sizes are those of a published network a line that offers it."""
    offer = offered(checkpoint)
    lines = [str(guess) for guess in found]
    return [*lines, f"these sizes are published ones: {offer}"] if lines and offer else lines


def refuse_guesses(checkpoint: Checkpoint, found: Sequence[Guess], judged: Iterable[str]) -> None:
    """Nothing is judged by an answer that a guess decides.

    Args:
        checkpoint: whose network.
        found: its guesses.
        judged: the options that judge.

    Raises:
        UsageError: there are guesses.
    """
    if not found:
        return
    judges = " and ".join(f"⟦{name}⟧" for name in judged)
    flags = " ".join(f"⟦{guess.name}⟧" for guess in found if guess.name in checkpoint.origins)
    named = "".join(f" with ⟦task {guess.value}⟧" for guess in found if guess.name == TASK)
    offer = offered(checkpoint)
    ways = [
        *([offer] if offer else []),
        f"say them with {flags}" if flags else "take them with ⟦config_from CKPT⟧",
        f"`last config CKPT`{named} writes them down once",
        "⟦assume⟧ judges all the same",
    ]
    raise UsageError(
        f"{checkpoint.source.path}: {judges} would judge by a guess: "
        f"{', '.join(guess.said for guess in found)}; nothing says so",
        "; or ".join(ways),
    )


def offered(checkpoint: Checkpoint) -> str:
    """The published configurations of a network of these sizes, as a text; empty where there are none."""
    names = [f"⟦preset {preset.name}⟧" for preset in presets_of(checkpoint)]
    return f"{sizes_in_words(checkpoint)}: {' or '.join(names)}" if names else ""


def presets_of(checkpoint: Checkpoint) -> list[Preset]:
    """The published configurations of a network of these sizes, that the tree around the layers allows."""
    sizes = _sizes(checkpoint)
    return [preset for preset in presets_of_sizes(*sizes) if _may_be(checkpoint, preset)] if sizes else []


def sizes_in_words(checkpoint: Checkpoint) -> str:
    """The sizes by which presets are told."""
    sizes = _sizes(checkpoint)
    return "{} layers x {} x {} states".format(*sizes) if sizes else ""


def refuse_contradictions(checkpoint: Checkpoint) -> None:
    """Raises CheckpointError where the tree does not allow the configuration; any, where it is no network of ours."""
    if checkpoint.contradictions:
        raise CheckpointError("; ".join(checkpoint.contradictions), "mend the configuration, or move it away")
    if all(_spec(checkpoint, activation=name) is None for name in CHOICES["activation"]):
        return
    spec = spec_of(checkpoint, checkpoint.config)
    for name in network_of(checkpoint).infer(checkpoint.leaves, checkpoint.layers):
        said, shown = getattr(checkpoint.config, name), getattr(spec.config, name)
        if said != shown:
            raise CheckpointError(f"{name} is {said}, but the tree has {shown}", f"leave ⟦{name}⟧ out")


def _sizes(checkpoint: Checkpoint) -> tuple[int, int, int] | None:
    """Layers, features, and states stored when it was trained; None where layers differ, or are not of S5."""
    features = {layer.sizes.features for layer in checkpoint.layers}
    states = trained_states(checkpoint.stamp, checkpoint.layers)
    if checkpoint.family != "s5" or len(features) != 1 or len(states) != 1:
        return None
    return len(checkpoint.layers), next(iter(features)), next(iter(states))


def _may_be(checkpoint: Checkpoint, preset: Preset) -> bool:
    """Whether the tree around the layers allows it; where it is no network of ours, the sizes are all there is."""
    spec = _spec(checkpoint, **preset.model)
    if spec is None:
        return all(_spec(checkpoint, activation=name) is None for name in CHOICES["activation"])
    return (spec.documents == 2) == (preset.task == "retrieval")


def _spec(checkpoint: Checkpoint, **values: Any) -> Any:
    """The network's spec with these values of its configuration, or None where the tree does not allow them."""
    config = replace(checkpoint.config, **values)
    try:
        return spec_of(checkpoint, config)
    except CheckpointError:
        return None


def _matters(checkpoint: Checkpoint, name: str, padded: bool) -> bool:
    if name == "padded":
        return padded and checkpoint.config.mode == "pool"
    if checkpoint.origins[name] != "assumed":
        return False
    layers = [layer for layer in checkpoint.layers if name in layer.family.options]
    tells: list[tuple[Any, Callable[[Any], Any]]] = [
        (layer.leaves[hint.leaf], hint.value)
        for layer in layers
        for hint in layer.family.matters
        if hint.option == name and hint.leaf in layer.leaves
    ]
    if not tells:
        return True
    arrays = checkpoint.read(key for key, _ in tells)
    return any(value(arrays[key].astype(np.float64).ravel()) for key, value in tells)


def _basis(checkpoint: Checkpoint, name: str) -> str:
    if name == "activation":
        allowed = [choice for choice in CHOICES[name] if _spec(checkpoint, **{name: choice})]
        return f"the tree allows {' or '.join(allowed) or 'none that is known'}"
    return {
        "conj_sym": "its poles do not come in pairs that are stored both",
        "clip_eigs": "some real parts of its poles lie above -1e-4, so clipping changes them",
        "padded": "the sequences are padded, and the S5 code then takes the mean over each one's own length",
    }.get(name, USUAL)
