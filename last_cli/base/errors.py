"""The errors that `last` shows to a user: what is wrong and where, then what to do next.

Texts name options in brackets, because no room below the command line knows how they are spelled: `⟦max_drop⟧` or with
a value `⟦max_drop 0.5⟧` is `max_drop=0.5` in Python and a flag on the command line, and `⟨max_drop⟩` is the name as a
word of the sentence. `⟨this|that⟩` is `this` on the command line and `that` in Python, options within.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from last_cli.base import signals

Spelling = Callable[[str], str]
OPTION = re.compile(r"⟦(\w+)(?: ([^⟧]*))?⟧")
WORD = re.compile(r"⟨(\w+)⟩")
EITHER = re.compile(r"⟨([^⟨⟩|]*)\|([^⟨⟩|]*)⟩")


def in_python(text: str) -> str:
    """The text with its options as Python spells them: `max_drop`, `max_drop=0.5`."""
    text = WORD.sub(r"\1", EITHER.sub(r"\2", text))
    return OPTION.sub(lambda match: match[1] if match[2] is None else f"{match[1]}={_literal(match[2])}", text)


_spelling: list[Spelling] = [in_python]


@contextmanager
def spelling(how: Spelling) -> Iterator[None]:
    """Within the block `spelled` spells options like this."""
    _spelling.append(how)
    try:
        yield
    finally:
        _spelling.pop()


def spelled(text: str) -> str:
    """The text with its options spelled for whoever reads it now: in Python's way, or as flags in a command."""
    return _spelling[-1](text)


class LastError(Exception):
    """A problem that the user can act on. Ends the program with exit code `code`.

    `message` names what, where (path, layer, leaf), expected and found; `hint` says what to do next; `options` are the
    names of the options that both speak of.
    """

    code = 2
    usual = ""
    """The hint where none is given."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)

    @property
    def message(self) -> str:
        """What is wrong, its options spelled for the reader."""
        return spelled(self.args[0])

    @property
    def hint(self) -> str:
        """What to do next, its options spelled for the reader."""
        return spelled(self.args[1] or self.usual)

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the options concerned, each once."""
        named = re.compile(f"{OPTION.pattern}|{WORD.pattern}")
        return tuple(dict.fromkeys(match[1] or match[3] for text in self.args for match in named.finditer(text)))

    def __str__(self) -> str:
        return self.message


@contextmanager
def inside(path: object) -> Iterator[None]:
    """Errors of the block say in which checkpoint they are."""
    try:
        yield
    except LastError as error:
        message, hint = error.args
        raise type(error)(f"{path}: {message}", hint) from error


@contextmanager
def resumable(how: Callable[[], str | None]) -> Iterator[None]:
    """Where a signal ends the block, the last line says how to go on, if there is anything to go on from."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        if line := how():
            stop.add_note(line)
        raise


def _literal(value: str) -> str:
    """A value as Python writes it: numbers and True as they are, words in quotes, placeholders in capitals bare."""
    bare = re.fullmatch(r"-?[\d.]+(e-?\d+)?|True|False|None|[A-Z][A-Z_.a-z]*", value)
    return value if bare else f'"{value}"'


class AnswerIsNo(LastError):
    """Nothing is wrong, but what was asked for cannot be had. Ends the program with exit code 1."""

    code = 1


class Interrupted(LastError):
    """A signal ended the program; nothing is left half-written."""

    def __init__(self, stop: BaseException) -> None:
        number = signals.came() or signals.INTERRUPT
        super().__init__(signals.ENDS[number], getattr(stop, "__notes__", [signals.AGAIN])[-1])
        self.code = 128 + number


class UsageError(LastError):
    """The arguments do not make sense together, or name something unknown."""


class CheckpointError(LastError):
    """A checkpoint cannot be read, or what is in it cannot be used."""

    usual = "are its files whole, and those of this model? `last inspect` shows what is there"


class UnknownLayoutError(CheckpointError):
    """A checkpoint is in a form that the direct reader does not know; Orbax may."""


class UnstableStateError(CheckpointError):
    """A state has a pole at or beyond the unit circle, so its norms are infinite."""


class OutputError(LastError):
    """The output cannot be written. Nothing is left behind."""


class DataError(LastError):
    """A data set is missing, or its files are not what they should be."""
