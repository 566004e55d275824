"""Errors that the user can fix: one line with what is wrong and what to do, exit status 2."""

import difflib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path


class UserError(Exception):
    """An error that the user can fix, shown on one line.

    `problem` names the file, row, column or flag; `hint` the nearest valid choice or the flag that helps.
    """

    def __init__(self, problem: str, hint: str = "") -> None:
        self.problem = problem
        self.hint = hint
        super().__init__(" ".join(_one_line(part) for part in (problem, hint) if part))


class Interrupted(BaseException):
    """A signal ended a run; `except Exception` does not catch it."""

    def __init__(self, number: int, message: str = "") -> None:
        self.number = number
        super().__init__(message)

    @property
    def status(self) -> int:
        """The exit status that shells give to a process that the signal ended."""
        return 128 + self.number


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Return the first choice that begins with `name`, or else the most similar one, or None."""
    folded, typed = {choice.casefold(): choice for choice in choices}, name.casefold()
    begun = [choice for choice in folded if len(typed) > 2 and choice.startswith(typed)]
    matches = begun or difflib.get_close_matches(typed, folded, n=1, cutoff=0.6)
    return folded[matches[0]] if matches else None


def did_you_mean(name: str, choices: Iterable[str], folder: Path = Path()) -> str:
    """Return a hint with the nearest choice, or with the first choices if none is near; they are of a `folder`."""
    names = [str(choice) for choice in choices if str(choice) != name]
    parts = name.split(",")
    if len(parts) > 1 and set(parts) <= set(names):
        return f"Write {' '.join(parts)}, with spaces."
    near = nearest(name, names)
    if near is not None:
        return f"Did you mean {str(folder / near)!r}?"
    shown = ", ".join(str(folder / each) for each in names[:12])
    shown += f", … ({len(names)} in all)" if len(names) > 12 else ""
    return f"Choose from: {shown}." if names else ""


def not_installed(package: str) -> UserError:
    """Return the error for a requirement that this Python does not have."""
    return UserError(
        f"the package {package!r} is not installed for {sys.executable}.",
        "Install the requirements (pip install -r requirements.txt), or activate the environment that has them "
        "(. .venv/bin/activate).",
    )


def _one_line(text: str) -> str:
    # Spaces stay: two labels may differ by one of them.
    return " ".join(line.strip() for line in text.splitlines()).replace("\t", " ")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, without full stop, or the name of its type if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")[:300]


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that led to it, each once: cause and context together can form a circle."""
    link: BaseException | None = error
    seen: list[BaseException] = []
    while link is not None and not any(link is other for other in seen):
        yield link
        seen.append(link)
        link = link.__cause__ or link.__context__
