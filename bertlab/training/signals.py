"""Ctrl-C and SIGTERM: the first ends a run at once, the second in training once the step is saved."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from bertlab.errors import Interrupted


class Signals:
    """The signal that this process received, if any; while `wait_for_step`, training ends the run after SIGTERM."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.received: int | None = None
        self.wait_for_step = False

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """Note a signal, and end the run unless training does."""
        if os.getpid() != self.process:  # a worker process, forked with these handlers: it just ends
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        again, self.received = self.received is not None, number
        if number == signal.SIGTERM and self.wait_for_step and not again:
            return
        raise Interrupted(number)


@contextlib.contextmanager
def install_signal_handlers() -> Iterator[Signals]:
    """Take SIGINT and SIGTERM as the end of a run while the block lasts, then as before.

    Raises:
        Interrupted: a signal came; after SIGTERM in training only once the step was saved.
    """
    signals = Signals()
    # Python lets only the main thread set handlers; in any other the program that called us has its own.
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, signals.handle) for number in numbers}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
