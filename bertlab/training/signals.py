"""Ctrl-C and SIGTERM: the first ends a run at once, the second after the step it is in is saved."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from bertlab.errors import Interrupted


class _Watch:
    """What was received, and whether training will see to it at the end of its step."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.received: int | None = None
        self.waits_for_step = False


_watch = _Watch()


@contextlib.contextmanager
def eval_split() -> Iterator[None]:
    """Take SIGINT and SIGTERM as the end of a run while the block lasts, then as before.

    Raises:
        Interrupted: a signal came; after SIGTERM in training only once the step was saved.
    """
    _watch.__init__()  # type: ignore[misc]
    # Python lets only the main thread set handlers; in any other the program that called us has its own way.
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, _on_signal) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def received() -> int | None:
    """Return the number of the signal that came, or None."""
    return _watch.received


def wait_for_step(waits: bool) -> None:
    """Say whether training goes on, so that SIGTERM is to wait for the end of a step."""
    _watch.waits_for_step = waits


def _on_signal(number: int, _frame: FrameType | None) -> None:
    if os.getpid() != _watch.process:  # a worker of ours, forked with our handlers: it just ends
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        return
    again, _watch.received = _watch.received is not None, number
    if number == signal.SIGTERM and _watch.waits_for_step and not again:
        return
    raise Interrupted(number)
