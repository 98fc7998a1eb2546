"""What a checkpoint says of its model: its stamp, the configuration in it, and the files that lie beside its run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from last_cli.base.errors import UsageError
from last_cli.families.find import Layer
from last_cli.families.lti.config import known, unknown
from last_cli.families.variables import Collections
from last_cli.formats import Index
from last_cli.formats.config_files import HYDRA, WANDB, read_config

DEEPEST, MOST = 6, 5000
FILE = "file:"
# Groups of a configuration that are not about the model, though they have entries of the same names (`mode`).
OTHER_GROUPS = {
    *("hydra", "wandb", "_wandb", "logger", "logging", "log", "trainer", "training", "train", "launcher", "sweep"),
    *("optimizer", "optimiser", "optim", "scheduler", "data", "dataset", "dataloader", "loader", "callbacks"),
}
LENGTHENED = {"imdb-classification": "text", "listops-classification": "listops", "aan-classification": "retrieval"}
"""Data sets of the S5 code whose sequences are padded, and the tasks that they are here."""
FULL = {
    "lra-cifar-classification": "image",
    "pathfinder-classification": "pathfinder",
    "pathx-classification": "pathx",
    "mnist-classification": "smnist",
    "pmnist-classification": "psmnist",
    "cifar-classification": "scifar",
    "speech35-classification": "speech35",
}
"""And those whose sequences all have one length."""
AMBIGUOUS = ("mode", "activation", "dropout", "pooling", "padded")
"""Names that configurations of other things have too."""


@dataclass(frozen=True)
class Said:
    """What is said of a model besides its arrays.

    Attributes:
        values: entries of ModelConfig.
        origins: for each, "checkpoint", or the file that says it.
        guessed: entries that the stamp has only because an earlier pruning assumed them.
        task: of the task that it was trained on, as in a stamp.
        warnings: values that mean nothing that is known, files that are of another model, and disagreements.
        contradictions: what is said of the network around the layers and cannot be, given the tree.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    guessed: Mapping[str, Any] = field(default_factory=dict)
    task: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()


def said_of(index: Index, layers: Sequence[Layer]) -> Said:
    """What the stamp and the configurations in and beside a checkpoint say.

    The stamp is heard first, then what lies inside the checkpoint, then files: those in its own folders, and where none
    of them says anything those in the nearest folder above. A file whose sizes are not those of the tree is of another
    model, and only named.
    """
    stamp = index.stamp or {}
    model = known(stamp.get("model") or {})
    guessed = {name: model[name] for name in stamp.get("assumed") or [] if name in model}
    found = _Heard(index, layers, {name: value for name, value in model.items() if name not in guessed})
    found.unknown("last.json", stamp.get("model") or {})
    level: str | None = None
    for name in sorted(index.config, key=lambda name: name.startswith(FILE)):
        folder = name.removeprefix(FILE).removesuffix(Path(name).name)
        folder = folder.removesuffix(f"{HYDRA}/").removesuffix(f"{WANDB}/")
        if level not in (None, folder) and _is_above(index, folder):
            break
        if found.hear(name, index.config[name], above=_is_above(index, folder)) and name.startswith(FILE):
            level = folder
    left = {name: value for name, value in guessed.items() if name not in found.values}
    task = dict(stamp.get("task") or {}) or found.task
    return Said(found.values, found.origins, left, task, tuple(found.warnings), tuple(found.contradictions))


def said_in_file(file: Path, index: Index, layers: Sequence[Layer]) -> Said:
    """What a configuration file says of a checkpoint's model.

    Raises:
        CheckpointError: it cannot be read.
        UsageError: it says nothing, or is of another model.
    """
    found = _Heard(index, layers, {})
    if not found.hear(f"{FILE}{file}", read_config(file)):
        said = "; ".join(found.warnings) or f"{file}: says nothing of a model that is known"
        raise UsageError(said, "⟦config_from⟧ takes a checkpoint, or a configuration with the S5 code's names")
    return Said(found.values, found.origins, {}, found.task, tuple(found.warnings), tuple(found.contradictions))


def trained_states(stamp: Mapping[str, Any], layers: Sequence[Layer]) -> set[int]:
    """States stored in each layer when the model was trained: before the first pruning, where there was one."""
    for step in (stamp.get("pruned") or [])[:1]:
        return {int(layer["before"]) for layer in step["layers"] if "before" in layer}
    return {layer.sizes.states for layer in layers}


def entries(content: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every entry of nested groups with its path, those that stand alone before the groups.

    Groups that are about something else are left out, and `model.activation` is the entry of a group.
    """
    groups = []
    for key, value in content.items():
        here = (*path, *str(key).replace("/", ".").split("."))
        if isinstance(value, Mapping):
            if len(here) < DEEPEST and here[-1].lower() not in OTHER_GROUPS:
                groups.append((here, value))
        elif not OTHER_GROUPS & {part.lower() for part in here[:-1]}:
            yield here, value
    for here, group in groups:
        yield from entries(group, here)


class _Heard:
    """One source after the other; the first that says something decides."""

    def __init__(self, index: Index, layers: Sequence[Layer], values: Mapping[str, Any]) -> None:
        self.index, self.layers = index, layers
        self.values, self.origins = dict(values), dict.fromkeys(values, "checkpoint")
        self.task: dict[str, Any] = {}
        self.warnings: list[str] = []
        self.contradictions: list[str] = []

    def hear(self, name: str, content: Mapping[str, Any], above: bool = False) -> bool:
        """Take in a configuration; returns whether it says anything that is of use here.

        In a folder above the checkpoint's own, a file that says nothing known may be about anything.
        """
        inside, label = not name.startswith(FILE), _title(name)
        every = _by_name(content)
        flat = {key: values[0] for key, values in every.items()}
        meant = known(flat) | _from_data(flat)
        if not meant and above and not unknown({key: value for key, value in flat.items() if key not in AMBIGUOUS}):
            return False
        stamp = self.index.stamp or {}
        if not inside and (other := _other_sizes(every, stamp, self.layers)):
            self.warnings.append(f"{label} is of another network and not used: {other}")
            return False
        self.unknown(label, flat)
        self.warnings += _ambiguous(label, every)
        for key, value in (meant | _from_sizes(flat, meant, stamp, self.layers)).items():
            if key not in self.values:
                self.values[key], self.origins[key] = value, "checkpoint" if inside else label
            elif self.values[key] != value:
                taken = f"{self.origins[key]} has {_word(self.values[key])}"
                self.warnings.append(f"{key}: {label} says {_word(value)}, but {taken}, which is taken")
        self.contradictions += _contradictions(label, flat, self.index, self.layers)
        if not self.task and (task := _task_of(flat)):
            self.task = {"name": task}
        return bool(meant)

    def unknown(self, label: str, content: Mapping[str, Any]) -> None:
        """Name what means nothing that is known."""
        self.warnings += [f"{label} says {problem}; it is not used" for problem in unknown(content).values()]


def _by_name(content: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The values of all entries by their last name."""
    found: dict[str, list[Any]] = {}
    for path, value in islice(entries(content), MOST):
        found.setdefault(path[-1], []).append(value)
    return found


def _ambiguous(label: str, every: Mapping[str, Sequence[Any]]) -> list[str]:
    """What a configuration says twice, and differently."""
    return [
        f"{label} says {key} {_word(values[0])} and {_word(value)}; the first is taken"
        for key, values in every.items()
        for value in values[1:]
        if value != values[0] and known({key: value})
    ]


def _title(name: str) -> str:
    """How a source is named to a user."""
    if name.startswith(FILE):
        return name.removeprefix(FILE)
    return {"leaves": "the configuration in the tree"}.get(name, f"the {name.replace('_', ' ')}")


def _is_above(index: Index, folder: str) -> bool:
    """Whether a folder lies above the checkpoint's own: its step's, and its run's."""
    own = 1 if index.location.step is not None and not index.location.directory.is_file() else 0
    return folder.count("../") > own


def _from_data(flat: Mapping[str, Any]) -> dict[str, Any]:
    """What the S5 code derives from the name of its data set."""
    name = flat.get("dataset")
    return {"padded": name in LENGTHENED} if name in (*LENGTHENED, *FULL) else {}


def _task_of(flat: Mapping[str, Any]) -> str | None:
    name = flat.get("dataset")
    return (LENGTHENED | FULL).get(name) if isinstance(name, str) else None


def _from_sizes(
    flat: Mapping[str, Any], meant: Mapping[str, Any], stamp: Mapping[str, Any], layers: Sequence[Layer]
) -> dict[str, Any]:
    """Where pairs are stored, `ssm_size_base` counts both of each."""
    base, states = flat.get("ssm_size_base"), trained_states(stamp, layers)
    if "conj_sym" in meant or len(states) != 1 or not isinstance(base, int):
        return {}
    return {"conj_sym": next(iter(states)) != base}


def _other_sizes(every: Mapping[str, Sequence[Any]], stamp: Mapping[str, Any], layers: Sequence[Layer]) -> str:
    """What sizes of a configuration are not those of the tree; empty where all are, as one of several may be."""
    groups: dict[str, int] = {}
    for layer in layers:
        group = re.sub(r"\d+", "*", layer.name)
        groups[group] = groups.get(group, 0) + 1
    features = {size for layer in layers for size in (layer.sizes.features, layer.sizes.outputs) if size}
    states = trained_states(stamp, layers)
    sizes = {
        "n_layers": {len(layers), *groups.values()},
        "num_layers": {len(layers), *groups.values()},
        "d_model": features,
        "ssm_size_base": states | {2 * size for size in states},
        "ssm_size": states | {2 * size for size in states},
    }
    wrong = [
        f"{name} is {counts[0]}, the tree has {' or '.join(map(str, sorted(allowed)))}"
        for name, allowed in sizes.items()
        if (counts := [value for value in every.get(name, ()) if type(value) is int]) and not allowed & {*counts}
    ]
    two = {layer.sizes.directions == 2 for layer in layers}
    said = [value for value in every.get("bidirectional", ()) if isinstance(value, bool)]
    if said and two == {not said[0]}:
        wrong.append(f"bidirectional is {_word(said[0])}, the tree has {'two' if True in two else 'one'}")
    return "; ".join(wrong)


def _contradictions(label: str, flat: Mapping[str, Any], index: Index, layers: Sequence[Layer]) -> list[str]:
    """A norm of another kind than the blocks have."""
    batch = next((flat[name] for name in ("batchnorm", "batch_norm", "use_batchnorm") if name in flat), None)
    if not isinstance(batch, bool):
        return []
    variables = Collections.of(layers).variables(index.leaves)
    block = tuple(layers[0].name.split("/")[:-1])
    here = [key for key in variables if key[1 : 1 + len(block)] == block]
    has = any(key[0] == "batch_stats" for key in here)
    if has == batch or not any(key[-1] in ("scale", "mean") for key in here):
        return []
    found = "has batch_stats" if has else "has no batch_stats"
    return [f"{label} says batchnorm {_word(batch)}, but the tree {found} of {'/'.join(block)}"]


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
