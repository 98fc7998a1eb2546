"""The house: rooms on floors, whose arrows point down only, and files and functions of a size that can be read.

All of it is read from the source, imports within functions and under TYPE_CHECKING too. `DESIGN` of the rooms is the
table FLOORS; CONTRIBUTING.md shows it as a picture.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "last_cli"

# From the ground up. The package's own `__init__` is the room "": the Python API, below the command line that calls it.
FLOORS = (
    ("base",),
    ("formats", "tasks"),
    ("families", "results"),
    ("checkpoint",),
    ("evaluation", "display"),
    ("pruning",),
    ("",),
    ("cli",),
)
# Where these may be imported at all; that jax and flax are not imported at module level is for ruff (TID253).
LIBRARIES = {
    "typer": ("cli",),
    "rich": ("cli", "display"),
    "orbax": ("formats.orbax",),
    "matplotlib": ("display.figures",),
}
MOST_ENTRIES, MOST_PARAMETERS, LONGEST_BODY, LONGEST_FILE = 14, 7, 50, 400
ACROSS = ("benchmarks", "commands", "contracts", "data", "support")  # folders of tests that mirror no room
FLAG = re.compile(r"(?<![\w:-])--(?=[a-z]|$)")

Rule = Callable[[Path], list[str]]
Graph = dict[str, set[str]]


def no_import_climbs(root: Path) -> list[str]:
    """A file imports from its own room or from a lower one."""
    floor = {room: i for i, rooms in enumerate(FLOORS) for room in rooms}
    homeless = sorted({room for module in modules(root) if (room := room_of(module)) not in floor})
    return [f"the room {room} has no floor" for room in homeless] + [
        f"{module} imports {other}"
        for module, others in imports(root).items()
        for other in sorted(others)
        if (here := room_of(module)) != (there := room_of(other))
        and here in floor
        and (there not in floor or floor[there] >= floor[here])
    ]


def no_circle_of_rooms(root: Path) -> list[str]:
    """Rooms need each other in one direction."""
    graph: Graph = {}
    for module, others in imports(root).items():
        here = room_of(module) or PACKAGE
        graph.setdefault(here, set()).update(room for other in others if (room := room_of(other) or PACKAGE) != here)
    return circles(graph)


def no_circle_of_files(root: Path) -> list[str]:
    """Nor do files of one room import each other in a circle, at whatever time."""
    return circles(imports(root))


def libraries_stay_in_their_rooms(root: Path) -> list[str]:
    """A library that few rooms need is known to no other."""
    return [
        f"{module} imports {name}"
        for module, path in modules(root).items()
        for name in sorted(named(module, path))
        if (rooms := LIBRARIES.get(name.split(".")[0]))
        and not any(f"{module}.".startswith(f"{PACKAGE}.{room}.") for room in rooms)
    ]


def few_entries_at_the_top(root: Path) -> list[str]:
    """Whoever opens the package sees all rooms at once."""
    entries = [p.name for p in (root / PACKAGE).iterdir() if p.name != "__pycache__" and not p.name.startswith(".")]
    return [f"{len(entries)} entries: {', '.join(sorted(entries))}"] if len(entries) > MOST_ENTRIES else []


def few_parameters(root: Path) -> list[str]:
    """More are an object; only commands and the Python API's public functions spell out every option."""
    return [
        f"{module}.{function.name} has {count} parameters"
        for module, function in functions(root)
        if room_of(module) != "cli" and (module != PACKAGE or function.name.startswith("_"))
        if (count := parameters(function)) > MOST_PARAMETERS
    ]


def short_functions(root: Path) -> list[str]:
    """A function is seen at once."""
    return [
        f"{module}.{function.name} has {count} lines"
        for module, function in functions(root)
        if (count := body_lines(function)) > LONGEST_BODY
    ]


def short_files(root: Path) -> list[str]:
    """A file is read in one go, tests too."""
    files = [path for folder in (PACKAGE, "tests") for path in sorted((root / folder).rglob("*.py"))]
    counts = {path.relative_to(root): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    return [f"{path} has {count} lines" for path, count in counts.items() if count > LONGEST_FILE]


def no_flags_below_the_command_line(root: Path) -> list[str]:
    """Only cli (and pages of documentation) spell options as flags; texts of other rooms name them, see errors."""
    return [
        f"{module}, line {node.lineno}: {node.value.strip()[:60]!r}"
        for module, path in modules(root).items()
        if room_of(module) not in ("cli", "explain")
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and FLAG.search(node.value)
    ]


def results_are_data(root: Path) -> list[str]:
    """results/ holds frozen dataclasses, names of types, and what spells them as JSON."""
    return [
        f"{module}, line {node.lineno}: {ast.unparse(node).splitlines()[0]}"
        for module, path in modules(root).items()
        if room_of(module) == "results"
        for node in parse(path).body
        if not _is_data(node)
    ]


def _is_data(node: ast.stmt) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Assign() | ast.AnnAssign() | ast.Expr(value=ast.Constant()):
            return True
        case ast.ClassDef(decorator_list=[decorator]):
            return ast.unparse(decorator).startswith("dataclass(frozen=True")
        case ast.ClassDef(decorator_list=[], bases=[ast.Name(id="Record")]):  # what several of them share
            return True
        case ast.FunctionDef(returns=ast.Name(id="Json")):
            return True
    return False


def mirrored_tests(root: Path) -> list[str]:
    """tests/ROOM/test_NAME.py is of a file or folder NAME in that room."""
    wrong = []
    for path in sorted((root / "tests").glob("*/test_*.py")):
        if path.parent.name not in ACROSS:
            inside = (root / PACKAGE / path.parent.name).rglob("*")
            known = {p.stem.rstrip("_") for p in inside if p.is_dir() or p.suffix == ".py"}
            if path.stem.removeprefix("test_") not in known:
                wrong.append(str(path.relative_to(root)))
    return wrong


def every_module_says_what_it_is(root: Path) -> list[str]:
    """A module begins with a docstring; an empty `__init__` needs none."""
    return [m for m, path in modules(root).items() if (tree := parse(path)).body and ast.get_docstring(tree) is None]


RULES: list[Rule] = [
    no_import_climbs,
    no_circle_of_rooms,
    no_circle_of_files,
    libraries_stay_in_their_rooms,
    few_entries_at_the_top,
    few_parameters,
    short_functions,
    short_files,
    no_flags_below_the_command_line,
    results_are_data,
    mirrored_tests,
    every_module_says_what_it_is,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_its_rules(rule: Rule) -> None:
    assert rule(ROOT) == []


# A house in order, to which the table below adds one file a time.
ORDERLY = {
    "__init__.py": '"""A."""\nfrom last_cli.pruning.cut import cut\ndef f(a, b, c, d, e, g, h, i): ...\n',
    "base/__init__.py": "",
    "base/import_.py": '"""No -- flag, no a--b, no :-- and no ---."""\nimport last_cli.base.words\n',
    "base/words.py": '"""W."""\ndef f():\n    """Long.' + 60 * "\n" + '"""\n    return 1\n',
    "tasks/task.py": '"""T."""\nfrom last_cli.base import import_\n',
    "pruning/__init__.py": "",
    "pruning/cut.py": '"""C."""\nimport orbaxes\nfrom last_cli.tasks.task import import_\n',
    "results/found.py": '"""F."""\nimport numpy\nJson = dict\n"""J."""\n@dataclass(frozen=True)\nclass A: ...\n'
    "def head(a) -> Json: ...\n",
    "cli/main.py": '"""M."""\nimport typer\nimport last_cli\nFLAG = "--max-drop"\ndef f(a, b, c, d, e, g, h, i): ...\n',
    **{f"notes-{i}.txt": "" for i in range(8)},
    "../tests/base/test_import.py": "",
    "../tests/pruning/test_cut.py": "",
    "../tests/contracts/test_anything.py": "",
}
BROKEN: list[tuple[Rule, str, str, str]] = [
    (no_import_climbs, "base/a.py", "def f():\n    import last_cli.pruning.cut", "base.a imports last_cli.pruning.cut"),
    (
        no_import_climbs,
        "base/a.py",
        "if TYPE_CHECKING:\n    from last_cli.tasks.task import T",
        "imports last_cli.tasks.task",
    ),
    (no_import_climbs, "base/a.py", "from last_cli.tasks import task", "last_cli.base.a imports last_cli.tasks.task"),
    (no_import_climbs, "base/a.py", "from last_cli import pruning", "last_cli.base.a imports last_cli.pruning"),
    (no_import_climbs, "base/a.py", "import last_cli as last", "last_cli.base.a imports last_cli"),
    (no_import_climbs, "base/a.py", 'import_module("last_cli.tasks.task")', "imports last_cli.tasks.task"),
    (no_import_climbs, "base/a.py", 'importlib.import_module("last_cli.tasks.task")', "imports last_cli.tasks.task"),
    (no_import_climbs, "base/a.py", 'import_module(name="last_cli.tasks.task")', "imports last_cli.tasks.task"),
    (no_import_climbs, "base/a.py", 'import_module("..tasks.task", "last_cli.base")', "imports last_cli.tasks.task"),
    (
        no_import_climbs,
        "base/a.py",
        'from importlib import import_module as load\nload("last_cli.tasks.task")',
        "imports last_cli.tasks.task",
    ),
    (
        no_import_climbs,
        "base/a.py",
        'import importlib\nload = importlib.import_module\nload("last_cli.tasks.task")',
        "imports last_cli.tasks.task",
    ),
    (no_import_climbs, "base/a.py", '__import__("last_cli.tasks.task")', "imports last_cli.tasks.task"),
    (no_import_climbs, "base/a.py", "from ..tasks import task", "last_cli.base.a imports last_cli.tasks.task"),
    (no_import_climbs, "base/a.py", "from .. import pruning", "last_cli.base.a imports last_cli.pruning"),
    (no_import_climbs, "tasks/__init__.py", "from ..pruning.cut import cut", "last_cli.tasks imports last_cli.pruning"),
    (no_circle_of_files, "base/words.py", "from . import import_", "last_cli.base.words -> "),
    (no_import_climbs, "formats/a.py", "import last_cli.tasks.task", "last_cli.formats.a imports last_cli.tasks.task"),
    (no_import_climbs, "attic/a.py", "", "the room attic has no floor"),
    (no_circle_of_rooms, "base/a.py", "def f():\n    import last_cli.tasks.task", "tasks -> base"),
    (no_circle_of_files, "base/words.py", "def f():\n    from last_cli.base import import_", "last_cli.base.words -> "),
    (libraries_stay_in_their_rooms, "base/a.py", "def f():\n    import rich.text", "last_cli.base.a imports rich.text"),
    (libraries_stay_in_their_rooms, "formats/a.py", "from orbax import x", "last_cli.formats.a imports orbax"),
    (few_entries_at_the_top, "py.typed", "", "15 entries"),
    (few_parameters, "base/a.py", "def f(a, b, c, /, d, e, *, g, h, i): ...", "last_cli.base.a.f has 8 parameters"),
    (few_parameters, "base/a.py", "class A:\n    def f(self, b, c, d, e, *x, g, h, i): ...", "f has 9 parameters"),
    (few_parameters, "base/a.py", "def f(a, b, c, d, e, *args, g, **options): ...", "f has 8 parameters"),
    (few_parameters, "__init__.py", '"""A."""\ndef _f(a, b, c, d, e, g, h, i): ...', "last_cli._f has 8 parameters"),
    (
        results_are_data,
        "results/a.py",
        "def mean(a) -> float: ...",
        "last_cli.results.a, line 1: def mean(a) -> float:",
    ),
    (results_are_data, "results/a.py", "class A:\n    a = 1", "last_cli.results.a, line 1: class A:"),
    (results_are_data, "results/a.py", "@dataclass\nclass A:\n    a: int", "last_cli.results.a, line 2: @dataclass"),
    (results_are_data, "results/a.py", "for a in b: ...", "last_cli.results.a, line 1: for a in b:"),
    (short_functions, "base/a.py", "def f():\n" + 51 * "    print()\n", "last_cli.base.a.f has 51 lines"),
    (short_functions, "cli/a.py", 'def f():\n    """F."""\n' + 51 * "    print()\n", "last_cli.cli.a.f has 51 lines"),
    (short_files, "base/a.py", 401 * "#\n", "last_cli/base/a.py has 401 lines"),
    (no_flags_below_the_command_line, "base/a.py", 'A = "add --max-drop 3"', "last_cli.base.a, line 1: 'add --max"),
    (no_flags_below_the_command_line, "base/a.py", 'A = f"leave out --{b}"', "last_cli.base.a, line 1: 'leave out"),
    (no_flags_below_the_command_line, "base/a.py", 'def f():\n    """See `--o`."""', "last_cli.base.a, line 2"),
    (mirrored_tests, "../tests/base/test_gone.py", "", "tests/base/test_gone.py"),
    (every_module_says_what_it_is, "base/a.py", "A = 1", "last_cli.base.a"),
]


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """The house in order."""
    for name, text in ORDERLY.items():
        add(tmp_path, name, text)
    return tmp_path


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_house_in_order_breaks_no_rule(house: Path, rule: Rule) -> None:
    assert rule(house) == []


@pytest.mark.parametrize(("rule", "name", "text", "said"), BROKEN, ids=[rule.__name__ for rule, *_ in BROKEN])
def test_what_breaks_a_rule_is_seen(house: Path, rule: Rule, name: str, text: str, said: str) -> None:
    add(house, name, text)
    assert any(said in found for found in rule(house)), rule(house)


def add(root: Path, name: str, text: str) -> None:
    """Write a file of a house."""
    path = root / PACKAGE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def modules(root: Path) -> dict[str, Path]:
    """The package's modules by name."""
    files = sorted((root / PACKAGE).rglob("*.py"))
    return {".".join(f.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): f for f in files}


def room_of(module: str) -> str:
    """The room of a module: the folder below the package. `__main__` belongs to the command line."""
    _, *parts = module.split(".")
    return "cli" if parts == ["__main__"] else parts[0] if parts else ""


def imports(root: Path) -> Graph:
    """For each module those of the package that it names in an import; `from package import module` names both."""
    found = modules(root)
    return {m: {name for name in named(m, path) if name in found and name != m} for m, path in found.items()}


def named(module: str, path: Path) -> set[str]:
    """All that a module's imports name, wherever they stand, and what functions that import are given as a text."""
    tree, names = parse(path), set[str]()
    package = module if path.stem == "__init__" else module.rpartition(".")[0]
    importers = {"import_module", "__import__", *_aliases(tree)}
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                names |= {alias.name for alias in node.names}
            case ast.ImportFrom():
                origin = resolved("." * node.level + (node.module or ""), package)
                names |= {origin, *(f"{origin}.{alias.name}" for alias in node.names)}
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in importers:
                given = [*node.args, *(keyword.value for keyword in node.keywords)]
                texts = [arg.value for arg in given if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
                names |= {resolved(text, texts[-1]) for text in texts[:1]}
    return names


def _aliases(tree: ast.Module) -> Iterator[str]:
    """Other names by which a module calls `import_module`."""
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module="importlib"):
                yield from (alias.asname for alias in node.names if alias.name == "import_module" and alias.asname)
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Name(id=of) | ast.Attribute(attr=of)):
                if of in ("import_module", "__import__"):
                    yield name


def resolved(name: str, package: str) -> str:
    """A name with leading dots, as seen from a package, in full."""
    rest = name.lstrip(".")
    above = package.split(".")[: len(package.split(".")) + 1 - (len(name) - len(rest))]
    return ".".join([*above, *([rest] if rest else [])]) if rest != name else name


def circles(graph: Graph) -> list[str]:
    """Circles in a graph that have no node in common."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found = error.args[1]
        rest = {node: others - {*found} for node, others in graph.items() if node not in found}
        return [" -> ".join(reversed(found)), *circles(rest)]
    return []


def functions(root: Path) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for module, path in modules(root).items():
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield module, node


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many a caller may give; `*args` and `**options` are one each."""
    of = function.args
    return len([*of.posonlyargs, *of.args, *of.kwonlyargs, *filter(None, (of.vararg, of.kwarg))])


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from the first statement after the docstring to the end."""
    first, *rest = function.body
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    if documented and not rest:
        return 0
    start = rest[0] if documented else first
    return (function.end_lineno or 0) - start.lineno + 1
