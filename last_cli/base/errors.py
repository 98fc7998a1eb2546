"""The errors that `last` shows to a user: what is wrong and where, then what to do next."""

from collections.abc import Iterator
from contextlib import contextmanager


class LastError(Exception):
    """A problem that the user can act on. Ends the program with exit code `code`.

    `message` names what, where (path, layer, leaf), expected and found; `hint` says what to do next.
    """

    code = 2

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@contextmanager
def inside(path: object) -> Iterator[None]:
    """Errors of the block say in which checkpoint they are."""
    try:
        yield
    except LastError as error:
        raise type(error)(f"{path}: {error.message}", error.hint) from error


class AnswerIsNo(LastError):
    """Nothing is wrong, but what was asked for cannot be had. Ends the program with exit code 1."""

    code = 1


class UsageError(LastError):
    """The arguments do not make sense together, or name something unknown."""


class CheckpointError(LastError):
    """A checkpoint cannot be read, or what is in it cannot be used."""


class UnknownLayoutError(CheckpointError):
    """A checkpoint is in a form that the direct reader does not know; Orbax may."""


class UnstableStateError(CheckpointError):
    """A state has a pole at or beyond the unit circle, so its norms are infinite."""


class OutputError(LastError):
    """The output cannot be written. Nothing is left behind."""


class DataError(LastError):
    """A data set is missing, or its files are not what they should be."""
