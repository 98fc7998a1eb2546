"""Steps that no signal breaks off: it takes effect once they are done."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType

from last_cli.base.signals import ENDS

Heard = Callable[[], AbstractContextManager[None]]


@contextmanager
def unbroken() -> Iterator[Heard]:
    """Signals that come within the block are heard at its end, or in what it marks as a block to be broken off.

    It is short but for such blocks: what is opened before one and closed after it, is closed whenever a signal comes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield nullcontext  # Signals go to the main thread.
        return
    waiting: list[int] = []
    kept = True
    found = {number: signal.getsignal(number) for number in ENDS}
    handlers = {number: handler for number, handler in found.items() if callable(handler)}

    def hear(number: int, frame: FrameType | None) -> None:
        """After the block too, where a signal broke off what puts the handlers back."""
        if kept:
            waiting.append(number)
        else:
            handlers[number](number, frame)

    @contextmanager
    def heard() -> Iterator[None]:
        nonlocal kept
        try:
            kept = False
            if waiting:
                hear(waiting.pop(), None)
            yield
        finally:
            kept = True

    try:
        for number in handlers:
            signal.signal(number, hear)
        yield heard
    finally:
        kept = False
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if waiting:
            hear(waiting[0], None)
