"""The decorator of every `main`: an error the user can mend is one line on stderr and exit status 2."""

import contextvars
import functools
import gc
import io
import os
import signal
import sys
from collections.abc import Callable
from typing import ParamSpec

from bertlab import console
from bertlab.console import is_first_process
from bertlab.errors import Interrupted, UserError, not_installed

P = ParamSpec("P")

# Imports make a million objects, and none is garbage: to look for some every 700, as Python does, takes 0.5 s of 7.
OBJECTS_BEFORE_COLLECTION = 10_000
# What shells give a process that SIGPIPE ended; Windows has no such signal.
SIGPIPE_STATUS = 128 + 13


def entry_point(main: Callable[P, int]) -> Callable[P, int]:
    """Wrap a `main` so that a UserError is printed as one line on stderr and becomes exit status 2.

    So does a requirement that is not installed; and the end by a signal, or of a pipe that is read no more, with the
    exit status that shells give it.
    """

    def status(*args: P.args, **kwargs: P.kwargs) -> int:
        """Run `main`, and return its exit status."""
        _write_any_text()
        if not sys.stderr.isatty():  # datasets reads it when it is imported
            os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
        thresholds = gc.get_threshold()
        gc.set_threshold(OBJECTS_BEFORE_COLLECTION, *thresholds[1:])
        try:
            try:
                return main(*args, **kwargs)
            finally:
                gc.set_threshold(*thresholds)
                sys.stdout.flush()  # at the interpreter's end a reader that has gone would be one more error
        except UserError as error:
            console.error(str(error))
            return 2
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] == "bertlab":
                raise
            console.error(str(not_installed(error.name.partition(".")[0])))
            return 2
        except Interrupted as signalled:
            if is_first_process():
                print(signalled, file=sys.stderr)
            return signalled.status
        except KeyboardInterrupt:
            print("stopped by Ctrl-C.", file=sys.stderr)
            return 128 + signal.SIGINT
        except BrokenPipeError:
            if not _is_stdout_closed():  # some other pipe, of a worker process say
                raise
            return SIGPIPE_STATUS

    @functools.wraps(main)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> int:
        # In a context of its own, so that the tokens it was given end with it.
        return contextvars.copy_context().run(status, *args, **kwargs)

    return wrapper


def _write_any_text() -> None:
    """Let a file or pipe get UTF-8 whatever the locale, and a terminal `\\u65b0` for what its encoding has not."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")


def _is_stdout_closed() -> bool:
    """Return True where nobody reads standard output, and lead nowhere what the interpreter still flushes."""
    try:
        os.write(sys.stdout.fileno(), b"\n")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False
