"""What `last inspect` and `last list` show."""

from __future__ import annotations

from last_cli.base import registry
from last_cli.base.words import some
from last_cli.display.sheet import Sheet
from last_cli.display.view import View
from last_cli.display.words import base_name, byte_size
from last_cli.families.lti.presets import PRESETS
from last_cli.results.inspect import Inspection
from last_cli.results.listing import Item, Listing

KINDS = ("criteria", "families", "tasks", "presets", "methods")


def inspect_view(found: Inspection, tree: bool = False) -> View:
    """The checkpoint's facts, or every leaf of its tree."""
    data = found.as_json()
    sheet = _leaves(found) if tree else _facts(found)
    return View(f"last inspect {base_name(found.path)}", data, [sheet], lambda: data["leaves"])


def list_view(kind: str | None) -> View:
    """Names and what they mean, of one kind or of all."""
    kinds = KINDS if kind is None else (kind,)
    named = [(one, *item) for one in kinds for item in _named(one).items()]
    items = [Item(name, said, None if kind else one) for one, name, said in named]
    sheets = [Sheet([one, "description"], [[*pair] for pair in _named(one).items()], left=2) for one in kinds]
    data = Listing(kind, items).as_json()
    return View(f"last list {kind or ''}".rstrip(), data, sheets, lambda: data["items"])


def _named(kind: str) -> dict[str, str]:
    if kind == "presets":
        return {
            p.name: f"{p.size['n_layers']} layers of width {p.size['d_model']}, {p.model['activation']}"
            for p in PRESETS.values()
        }
    items = registry.summaries(kind)  # pyright: ignore[reportArgumentType]
    if kind == "criteria":  # what `last prune` also takes there
        items |= {name: said for name, said in registry.summaries("methods").items() if name != "criterion"}
    return items


def _leaves(found: Inspection) -> Sheet:
    rows = [[leaf.path, "x".join(map(str, leaf.shape)), leaf.dtype or leaf.kind] for leaf in found.leaves]
    return Sheet(["leaf", "shape", "type"], rows, left=1)


def _facts(found: Inspection) -> Sheet:
    rows = [["path", found.path], ["layout", found.layout]]
    rows += [["step", str(found.step)]] if found.step is not None else []
    rows += [["item", found.item]] if found.item else []
    rows += [["leaves", f"{len(found.leaves):,}, {found.numbers:,} numbers, {byte_size(found.bytes)}"]]
    rows += [["parameters", f"{found.parameters:,}"]] if found.layers else []
    for layer in found.layers:
        way = "two directions" if layer.directions == 2 else "one direction"
        group = registry.get("families", layer.parameterisation).group
        each = f" in each of {layer.groups} {group}s" if layer.groups > 1 else ""
        rows.append(
            [
                layer.name,
                f"{layer.parameterisation}, {layer.states} states{each}, width {layer.features}, {way}",
            ]
        )
    for entry in found.untouched:
        places, parts = entry.layers, ", ".join(entry.parts)
        count = f"{len(places)} layer{'s' if len(places) > 1 else ''}"
        rows.append([some(places), f"no SSM, not touched: {parts} ({count})"])
    rows += [[name, f"{str(value).lower()} ({found.sources[name]})"] for name, value in found.config.items()]
    rows += _stamp_rows(found)
    return Sheet(["", ""], rows, left=2)


def _stamp_rows(found: Inspection) -> list[list[str]]:
    stamp, rows = found.stamp, []
    if task := stamp.get("task"):
        said = ", ".join(f"{k} {v}" for k, v in task.items() if k not in ("name", "vocabulary"))
        rows.append(["task", f"{task.get('name')} ({said})" if said else str(task.get("name"))])
    if training := stamp.get("training"):
        scores = ", ".join(f"{k} {v:.1%}" for k, v in (training.get("accuracy") or {}).items())
        rows.append(["trained", f"{training.get('recipe')}, {training.get('steps'):,} steps, {scores}"])
    for step in stamp.get("pruned", []):
        kept = sum(_count(layer["kept"]) for layer in step["layers"])
        zeros = sum(array["zeros"] for array in step.get("weights", ()))
        if step.get("method") == "trained":
            rows.append(
                ["trained", f"{len(step.get('trained', ())):,} arrays elsewhere, from {step['source']['path']}"]
            )
            continue
        if step.get("method") == "tune":
            rows.append(["tuned", f"{step.get('steps', 0):,} steps, towards {step.get('teacher', {}).get('path')}"])
            continue
        what = f"{zeros:,} weights 0" if zeros else f"{kept:,} {step.get('target', 'states')} kept"
        rows.append(["pruned", f"{step['criterion']} {step['ratio']:g}, {what}, from {step['source']['path']}"])
    return rows


def _count(kept: list) -> int:
    return sum(_count(k) if isinstance(k, list) else 1 for k in kept)
