"""What `last inspect` and `last list` show."""

from __future__ import annotations

from last_cli.base import registry
from last_cli.base.version import __version__
from last_cli.base.words import some
from last_cli.display.sheet import Format, Sheet, show_sheet
from last_cli.display.words import byte_size
from last_cli.families.lti.presets import PRESETS
from last_cli.results.inspect import Inspection


def show_inspect(found: Inspection, form: Format, tree: bool) -> None:
    """The checkpoint's facts, or every leaf of its tree."""
    show_sheet(_leaves(found) if tree or form == "csv" else _facts(found), found.as_json(), form)


def show_list(kind: str, form: Format) -> None:
    """Names and what they mean."""
    if kind == "presets":
        items = {
            p.name: f"{p.model['activation']}, {p.size['n_layers']} x {p.size['d_model']}" for p in PRESETS.values()
        }
    else:
        items = registry.summaries(kind)  # pyright: ignore[reportArgumentType]
        if kind == "criteria":  # what `last prune` also takes there
            items |= {name: said for name, said in registry.summaries("methods").items() if name != "criterion"}
    data = [{"name": name, "summary": summary} for name, summary in items.items()]
    sheet = Sheet([kind, "what it is"], [list(d.values()) for d in data], left=2)
    show_sheet(sheet, {"schema": "last.list/1", "last": __version__, "kind": kind, "items": data}, form)


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
        rows.append([some(places), f"no SSM, left as it is: {parts} ({count})"])
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
        what = f"{zeros:,} weights 0" if zeros else f"{kept:,} {step.get('target', 'states')} kept"
        rows.append(["pruned", f"{step['criterion']} {step['ratio']:g}, {what}, from {step['source']['path']}"])
    return rows


def _count(kept: list) -> int:
    return sum(_count(k) if isinstance(k, list) else 1 for k in kept)
