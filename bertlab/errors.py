"""The one way a user is told that something they can mend is wrong: one line, one way out, exit status 2."""

import difflib
import functools
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import ParamSpec

from bertlab import secret
from bertlab.console import is_first_process

P = ParamSpec("P")
# What shells give a process that SIGPIPE ended; Windows has no such signal.
READER_HAS_GONE = 128 + 13


class UserError(Exception):
    """Something the user can mend: what is wrong and where, then the way out.

    `problem` names the file, row, column or flag; `hint` names the nearest valid choice or the flag that helps.
    Both are single sentences, shown together on one line.
    """

    def __init__(self, problem: str, hint: str = "") -> None:
        self.problem = problem
        self.hint = hint
        super().__init__(" ".join(_one_line(part) for part in (problem, hint) if part))


class Interrupted(BaseException):
    """A signal ended a run; no `except Exception` on the way out takes it for a failure."""

    def __init__(self, number: int, told: str = "") -> None:
        self.number = number
        super().__init__(told)

    @property
    def status(self) -> int:
        """The exit status that shells give to a process that the signal ended."""
        return 128 + self.number


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice that looks most like `name`, or None when nothing does."""
    known = list(choices)
    folded = {choice.casefold(): choice for choice in known}
    matches = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return folded[matches[0]] if matches else None


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return a hint that names the nearest choice, or lists the first choices when nothing is near."""
    known = [str(choice) for choice in choices]
    near = nearest(name, known)
    if near is not None:
        return f"Did you mean {near!r}?"
    shown = ", ".join(known[:12]) + (f", … ({len(known)} in all)" if len(known) > 12 else "")
    return f"Choose from: {shown}." if known else ""


def exits_with_status_2(main: Callable[P, int]) -> Callable[P, int]:
    """Wrap a `main` so that a UserError is printed as one line on stderr and becomes exit status 2.

    So does a requirement that is not installed; and the end by a signal, or of a pipe that is read no more, with the
    exit status that shells give it.
    """

    @functools.wraps(main)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            try:
                return main(*args, **kwargs)
            finally:
                sys.stdout.flush()  # at the interpreter's end a reader that has gone would be one more error
        except UserError as error:
            print(f"error: {secret.hide(str(error))}", file=sys.stderr)
            return 2
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] == __package__:
                raise
            print(f"error: {not_installed(error.name.partition('.')[0])}", file=sys.stderr)
            return 2
        except Interrupted as signalled:
            if is_first_process():
                print(signalled, file=sys.stderr)
            return signalled.status
        except KeyboardInterrupt:
            print("stopped by Ctrl-C.", file=sys.stderr)
            return 128 + signal.SIGINT
        except BrokenPipeError:
            if not _reader_has_gone():  # some other pipe, of a worker process say
                raise
            return READER_HAS_GONE

    return wrapper


def _reader_has_gone() -> bool:
    """Return True where nobody reads standard output, and lead nowhere what the interpreter still flushes."""
    try:
        os.write(sys.stdout.fileno(), b"\n")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def not_installed(package: str) -> UserError:
    """Return what is said of a requirement that this Python does not have."""
    return UserError(
        f"the package {package!r} is not installed for {sys.executable}.",
        "Install the requirements (pip install -r requirements.txt), or activate the environment that has them "
        "(. .venv/bin/activate).",
    )


def _one_line(text: str) -> str:
    # Spaces stay as they are: a label may differ from another by one of them.
    return " ".join(line.strip() for line in text.splitlines()).replace("\t", " ")


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that led to it, each once: cause and context together may lead in a circle."""
    link: BaseException | None = error
    seen: list[BaseException] = []
    while link is not None and not any(link is one for one in seen):
        yield link
        seen.append(link)
        link = link.__cause__ or link.__context__
