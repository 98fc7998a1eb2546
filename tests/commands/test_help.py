"""Help pages."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from commands import S5, Run

import last_cli as last
from last_cli.base.registry import names
from last_cli.cli import main
from last_cli.cli.app import COMMANDS as REGISTERED
from last_cli.cli.app import built
from last_cli.cli.options import GROUPS, PROCESSES, Model
from last_cli.evaluation import measure as measuring

COMMANDS = "score prune tune eval sweep compare bench inspect config verify diff "
COMMANDS += "list explain schema doctor cache demo import export"


@pytest.mark.parametrize(
    "command",
    [[], *([name] for name in COMMANDS.split())],
)
def test_every_help_page_ends_with_examples(run: Run, command: list[str]) -> None:
    code, out, _ = run(*command, "--help")
    assert code == 0
    assert "…" not in out
    last_line = out.strip().splitlines()[-1].strip()
    assert last_line.startswith("Example:  ") and f" last {' '.join(command)}".rstrip() in last_line


def test_help_lists_the_commands_by_value(run: Run) -> None:
    shown = re.findall(r"^│ +([a-z]+) {2,}", run("--help")[1], re.MULTILINE)
    assert " ".join(name for name in shown if name in COMMANDS.split()) == COMMANDS


@pytest.mark.parametrize("command", ["eval", "sweep"])
def test_the_help_says_which_batch_size_is_taken(run: Run, command: str) -> None:
    shown = " ".join(run(command, "--help")[1].replace("│", " ").split())
    assert f"[default: ({measuring.CPU_MICRO_BATCH} on a CPU, otherwise {measuring.ACCELERATOR_BATCH})]" in shown


WORDS = ("list", "criteria", "reconstruct", "test")  # begin with a name of what may be typed
PROGRAM = {name: built(name) for name in COMMANDS.split()}


def options(name: str) -> dict[str, Any]:
    """A command's options by the name of the parameter, or of the field."""
    return {param.name: param for param in PROGRAM[name].params if param.param_type_name == "option"}


def page(run: Run, name: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A help page wide enough for an option a line."""
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 250)
    return run(name, "--help")[1].splitlines()


@pytest.mark.parametrize("name", PROGRAM)
def test_every_parameter_is_reachable_by_a_flag(name: str) -> None:
    """Also every field of a dataclass of options: a value on the command line comes out under its name."""
    taken = get_type_hints(REGISTERED[name][0]).items() - {("return", type(None))}
    names = {f for n, kind in taken for f in ([f.name for f in fields(kind)] if is_dataclass(kind) else [n])}
    assert names == {param.name for param in PROGRAM[name].params}
    asked = {option.name: _asked(option) for option in options(name).values()}
    arguments = [_value(param) for param in PROGRAM[name].params if param.name not in asked]
    line = [*arguments, *(word for words, _ in asked.values() for word in words)]
    found = PROGRAM[name].make_context(name, line).params
    for option in options(name).values():
        assert found[option.name] == asked[option.name][1] != option.default, option.name


def _asked(option: Any) -> tuple[list[str], Any]:
    """A flag with a value that is not the default, and what that value is for the command."""
    if option.is_flag:
        return [option.opts[0]], True
    word = _value(option)
    kind = option.type_descriptor.annotation
    if option.multiple:
        return [option.opts[0], word], [word]
    if option.name == "report":
        return [option.opts[0], word], Path(word)
    return [option.opts[0], word], word if get_origin(kind) is Literal else kind(word)


def _value(param: Any) -> str:
    kind = param.type_descriptor.annotation
    if get_origin(kind) is Literal:
        return next(choice for choice in reversed(get_args(kind)) if choice != param.default)
    return "other.html" if param.name == "report" else {int: "7", float: "0.25"}.get(kind, "other")


@pytest.mark.parametrize("name", PROGRAM)
def test_every_option_shows_its_flags_and_its_default(run: Run, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = page(run, name, monkeypatch)
    for option in options(name).values():
        (line,) = (line for line in lines if re.match(rf"│[ *]+{option.opts[0]}\b(?!-)", line))
        assert all(flag in line for flag in [*option.opts, *option.secondary_opts])
        assert option.help in line
        shown = option.show_default
        default = f"({shown})" if isinstance(shown, str) else option.default
        if option.required:
            assert "[required]" in line
        elif default is None or default is False:
            assert "[default" not in line
        else:
            assert f"[default: {default}]" in line


@pytest.mark.parametrize("name", ["", *PROGRAM])
def test_help_says_nothing_that_tells_nothing(run: Run, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = "\n".join(page(run, name, monkeypatch) if name else run("--help")[1].splitlines())
    assert not [word for word in ("<bool>", "(no)", "(none)", "(nothing)", "Instead", " a row ") if word in shown]


@pytest.mark.parametrize("name", PROGRAM)
def test_a_usage_line_is_as_manuals_write_it(run: Run, name: str) -> None:
    shown = run(name, "--help")[1]
    usage = next(line for line in shown.splitlines() if "Usage:" in line)
    assert not set("{}") & set(usage) and "list[" not in shown
    assert "CKPT..." in usage if name in ("bench", "compare") else "..." not in usage


@pytest.mark.parametrize("name", PROGRAM)
def test_every_help_text_is_a_sentence_that_stands_alone(name: str) -> None:
    command = PROGRAM[name]
    for said in [command.help, *(param.help for param in command.params)]:
        assert said[0].isupper() or said.split()[0].strip(",") in (*WORDS, *GROUPS), said
        assert said.endswith("."), said


@pytest.mark.parametrize("name", PROGRAM)
def test_help_groups_have_one_order(run: Run, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    titles = [match[1] for line in page(run, name, monkeypatch) if (match := re.match(r"╭─ ([\w ]+) ─", line))]
    titles = [title for title in titles if title != "Arguments"]
    assert titles == [title for title in GROUPS if title in titles]
    assert titles[-1] == "General"
    if name == "prune":
        assert titles == ["What to remove", "How", "Calibration data", "Output", "Model settings", "General"]


FUNCTIONS = {
    "score": last.score,
    "prune": last.prune,
    "eval": last.evaluate,
    "sweep": last.sweep,
    "bench": last.bench,
    "inspect": last.inspect,
    "import": last.import_weights,
    "export": last.export_weights,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_flags_and_keywords_have_the_same_names_and_defaults(name: str) -> None:
    parameters = inspect.signature(FUNCTIONS[name]).parameters
    keywords = {n: p.default for n, p in parameters.items() if p.default is not inspect.Parameter.empty}
    found = {n: option.default for n, option in options(name).items()}
    for by_python_alone in ("progress", "tell"):
        keywords.pop(by_python_alone, None)
    assert keywords.items() <= found.items()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_flags_reach_the_public_functions(run: Run, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function, load, got = FUNCTIONS[name], last.load, {}

    def opened(path: str, **keywords: Any) -> last.Checkpoint:
        got.update(keywords)
        return load(S5)

    def called(*arguments: Any, **keywords: Any) -> None:
        got.update(inspect.signature(function).bind(*arguments, **keywords).arguments)
        raise last.LastError("that is enough")

    monkeypatch.setattr(last, "load", opened)
    monkeypatch.setattr(last, function.__name__, called)
    # A figure's path is checked first, and other processes are joined.
    asked = {o.name: _asked(o) for o in options(name).values() if o.name != "plot" and o.rich_help_panel != PROCESSES}
    assert run(name, S5, *(word for words, _ in asked.values() for word in words))[2].endswith("that is enough\n")
    expected = {option: value for option, (_, value) in asked.items() if option in got}
    if name == "sweep":
        expected |= {name: [expected[name]] for name in ("criteria", "target")}
    assert expected.pop("baseline", None) is None or isinstance(got["baseline"], last.Checkpoint)
    assert {option: got[option] for option in expected} == expected
    here = {"output", "dry_run", "force", "per_state", "per_unit", "tree", "form", "quiet", "verbose", "report"}
    assert asked.keys() - got.keys() <= here


def test_every_command_that_runs_or_scores_a_network_has_the_same_settings_of_the_model() -> None:
    model = {field.name for field in fields(Model)}
    for name in ("score", "prune", "eval", "sweep", "bench", "config"):
        assert model <= options(name).keys()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("prune --method b", ["balanced"]),
        ("prune --method ", names("methods")),
        ("prune --target ", ["states", "heads", "channels", "weights", "blocks", "groups"]),
        ("prune --modules in_proj,", ["in_proj,out_proj", "in_proj,mlp"]),
        ("prune --preset s5-lra-l", ["s5-lra-listops"]),
        ("score --criterion la", ["last", "last-reference"]),
        ("score --format ", ["table", "json", "csv", "md", "latex", "html"]),
        ("verify --format j", ["json", "junit"]),
        ("eval --task dig", ["digits"]),
        ("eval --split ", ["test", "val", "train"]),
        ("sweep --target heads,st", ["heads,states"]),
        ("sweep --criteria last,aire+", ["last,aire+refit"]),
        ("list ", ["criteria", "families", "tasks", "presets", "methods"]),
        ("explain me", ["methods"]),
        ("cache c", ["clear"]),
        ("schema sw", ["sweep"]),
        (f"score {S5} --layer encoder/layers_1", ["encoder/layers_1/seq"]),
        ("score nowhere --layer ", []),
        ("score --layer ", []),
    ],
)
@pytest.mark.parametrize("program", ["last", "last-cli"])
def test_a_shell_offers_values(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, program: str, line: str, offered: list[str]
) -> None:
    words = f"{program} {line}"
    monkeypatch.setattr("sys.argv", [f"/somewhere/bin/{program}"])
    monkeypatch.setenv(f"_{program.upper().replace('-', '_')}_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
    with pytest.raises(SystemExit):
        main([])
    assert capfd.readouterr().out.split() == offered
