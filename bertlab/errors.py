"""The one way a user is told that something they can mend is wrong: one line, one way out, exit status 2."""

import difflib
import sys
from collections.abc import Iterable, Iterator


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
