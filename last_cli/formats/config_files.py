"""Configurations that people keep beside their runs: JSON and YAML of argparse, hydra and wandb, as plain dictionaries.

No file is trusted: nothing that a tag of YAML names is made, and large files are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from last_cli.base.errors import CheckpointError
from last_cli.base.files import resolved
from last_cli.formats.json_file import read_json_object
from last_cli.formats.types import STAMP_FILE

HYDRA, WANDB = ".hydra", "wandb/latest-run/files"
"""Where hydra and wandb keep what a run was started with, below the folder that it was started in."""
WANDB_METADATA = "wandb-metadata.json"
_DASHES = 2 * "-"
ABOVE = 3
LARGEST = 2**18
"""Bytes of a file that may be a configuration."""
SUFFIXES = (".json", ".yaml", ".yml")

# In folders above a run anything may lie: only files that are called like a configuration are opened there.
_CALLED = re.compile(
    r"(.*[-_.])?(conf|config|cfg|args|arguments|hparams|hyperparams|hyperparameters|params|flags|opts|options|settings)"
    r"([-_.].*)?",
    re.IGNORECASE,
)


def configurations(folders: Sequence[Path], passed: Sequence[str] = ()) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """What the configuration files beside a checkpoint hold, the nearest first, and a warning for each broken one.

    Args:
        folders: the checkpoint's own, the innermost first; ABOVE folders above the last one are searched too.
        passed: names of files in the first folder that are no configuration.

    Returns:
        Content by the file's path from the first folder, `../.hydra/config.yaml`.
    """
    found: dict[str, dict[str, Any]] = {}
    warnings: list[str] = []
    for name, file in _files(folders, passed):
        try:
            content = read_config(file)
        except CheckpointError as error:
            warnings.append(f"{error.args[0]}; passed over")
            continue
        if content and not _is_report(content):
            found[name] = content
    return found, warnings


def read_config(file: Path) -> dict[str, Any]:
    """The configuration in a file; {} where YAML holds something else.

    Raises:
        CheckpointError: it cannot be read, or is not valid.
    """
    content = _json(file) if file.suffix == ".json" else _yaml(file)
    if file.name == WANDB_METADATA:
        return arguments(content.get("args"))
    return _unwrapped(content) if isinstance(content, dict) else {}


def arguments(args: Any) -> dict[str, Any]:
    """The options of a command line as a configuration has them; {} where it is none."""
    words = [word for word in args if isinstance(word, str)] if isinstance(args, list) else []
    found: dict[str, Any] = {}
    for word, after in pairwise([*words, _DASHES]):
        if word.startswith(_DASHES) and word != _DASHES:
            name, has_value, value = word.removeprefix(_DASHES).partition("=")
            said = value if has_value else "true" if after.startswith(_DASHES) else after
            found[name.replace("-", "_")] = _value(said)
    return found


def _value(text: str) -> Any:
    """A word as argparse types read it: true and false, whole and other numbers, else the word."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def _files(folders: Sequence[Path], passed: Sequence[str]) -> Iterator[tuple[str, Path]]:
    own = list(dict.fromkeys(resolved(folder) for folder in folders))
    for folder in (*own, *list(own[-1].parents)[:ABOVE]):
        up = "../" * len(own[0].relative_to(folder).parts)
        for file in _in(folder):
            if file.name not in passed and not _is_stamp(file) and (folder in own or _CALLED.fullmatch(file.stem)):
                yield f"{up}{file.name}", file
        of_programs = [*(f"{HYDRA}/config{suffix}" for suffix in SUFFIXES)]
        of_programs += [f"{WANDB}/config.yaml", f"{WANDB}/{WANDB_METADATA}"]
        yield from ((f"{up}{name}", folder / name) for name in of_programs if _is_small(folder / name, folder))


def _is_stamp(file: Path) -> bool:
    """Whether it is a checkpoint's stamp: of the directory, or of another file in it."""
    return file.name == STAMP_FILE or file.name.endswith(f".{STAMP_FILE}")


def _is_report(content: dict[str, Any]) -> bool:
    """Whether it is what a command of `last` has written: it tells of a configuration, and may have guessed it."""
    return str(content.get("schema", "")).startswith("last.")


def _in(folder: Path) -> list[Path]:
    """Its small files of JSON and YAML; none where it may not be looked into."""
    try:
        files = sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES and file.is_file())
        return [file for file in files if file.stat().st_size <= LARGEST]
    except OSError:
        return []


def _is_small(file: Path, folder: Path) -> bool:
    """Whether there is such a file, small and within the folder: the latest run is a link to another one there."""
    try:
        return file.is_file() and file.stat().st_size <= LARGEST and resolved(file).is_relative_to(folder)
    except OSError:
        return False


def _json(file: Path) -> Any:
    try:
        return read_json_object(file)
    except CheckpointError as error:
        raise CheckpointError(error.args[0], "mend it, or move it away") from error


def _yaml(file: Path) -> Any:
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Plain(loader):
        """Makes dictionaries, lists and texts of whatever is tagged, such as an argparse.Namespace."""

    def plain(loader: Any, tag: str, node: Any) -> Any:
        if isinstance(node, yaml.MappingNode):
            return loader.construct_mapping(node, deep=True)
        return loader.construct_sequence(node, deep=True) if isinstance(node, yaml.SequenceNode) else node.value

    Plain.add_multi_constructor("", plain)
    try:
        return yaml.load(file.read_bytes(), Plain)
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read ({error.strerror})", "check its permissions") from error
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{file}: not valid YAML ({said})", "mend it, or move it away") from error


def _unwrapped(content: dict[Any, Any]) -> dict[str, Any]:
    """As it was before wandb wrote each value as {desc, value}."""
    return {
        str(key): value["value"] if isinstance(value, dict) and "value" in value and value.keys() <= _WANDB else value
        for key, value in content.items()
    }


_WANDB = {"desc", "value"}
