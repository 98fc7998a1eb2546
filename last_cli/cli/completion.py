"""What a shell offers as the value of an option or an argument."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from last_cli.base.registry import Kind

Offer = Callable[[str], list[str]]


def named(kind: Kind) -> Offer:
    """The names of a kind of the registry."""

    def offer(incomplete: str) -> list[str]:
        from last_cli.base.registry import names

        return _begun(names(kind), incomplete)

    return offer


def one_of(values: Sequence[str]) -> Offer:
    """One of these."""
    return lambda incomplete: _begun(values, incomplete)


def several_of(values: Sequence[str]) -> Offer:
    """Some of these, separated by commas."""
    return lambda incomplete: _next(values, incomplete)


criteria = named("criteria")
methods = named("methods")
tasks = named("tasks")
splits = one_of(("test", "val", "train"))


def recipes(incomplete: str) -> list[str]:
    """Criteria and methods, separated by commas, a criterion also with its refit."""
    from last_cli.base.registry import names

    ways = [name for name in names("methods") if name != "criterion"]
    return _next([*names("criteria"), *ways, *(f"{name}+refit" for name in names("criteria"))], incomplete)


def presets(incomplete: str) -> list[str]:
    """Published configurations."""
    from last_cli.families.lti.presets import PRESETS

    return _begun([preset.name for preset in PRESETS.values()], incomplete)


def targets(incomplete: str) -> list[str]:
    """A kind of units."""
    return _begun(_units(), incomplete)


def several_targets(incomplete: str) -> list[str]:
    """Kinds of units, separated by commas."""
    return _next(_units(), incomplete)


def layers(ctx: Any, incomplete: str) -> list[str]:
    """Layers of the checkpoint that the line names, if it names one."""
    import last_cli as last

    path = next(iter(ctx.args), None)  # an option without its value keeps the parser from taking it
    try:
        return _begun([layer.name for layer in last.load(path).layers], incomplete) if path else []
    except last.LastError:
        return []


def topics(incomplete: str) -> list[str]:
    """Pages of documentation."""
    from last_cli.display.explain import topics as pages

    return _begun(list(pages()), incomplete)


def _units() -> list[str]:
    """Those of all families, and those of methods, such as weights."""
    from last_cli.base.registry import get, names

    units = [target.name for name in names("families") for target in get("families", name).targets]
    ways = [target for name in names("methods") for target in getattr(get("methods", name), "targets", ())]
    return list(dict.fromkeys([*units, *ways]))


def _begun(values: Sequence[str], incomplete: str) -> list[str]:
    return [value for value in values if value.startswith(incomplete)]


def _next(values: Sequence[str], incomplete: str) -> list[str]:
    """What may follow the last comma, with what stands before it."""
    before, comma, last = incomplete.rpartition(",")
    taken = before.split(",")
    return [f"{before}{comma}{value}" for value in values if value.startswith(last) and value not in taken]
