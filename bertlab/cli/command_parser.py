"""How the subcommands read their words: argparse, whose errors are one line that names the nearest choice."""

import argparse
import re
from typing import Any, NoReturn

from bertlab.errors import UserError, did_you_mean


class Parser(argparse.ArgumentParser):
    """A parser that raises UserError, and takes no abbreviation."""

    def __init__(self, *names: Any, **options: Any) -> None:
        super().__init__(*names, **{"allow_abbrev": False, **options})

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Return the options.

        Raises:
            UserError: an option is unknown, misspelt or abbreviated, or argparse refuses a value.
        """
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            known = [name for action in self._actions for name in action.option_strings if name.startswith("--")]
            raise UserError(f"{self.prog}: {unknown[0]}: no such option.", _nearest_option(unknown[0], known))
        return options

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print after its usage.

        Raises:
            UserError: always.
        """
        wrong = re.fullmatch(r"argument (\S+): invalid choice: '(.*)' \(choose from (.*)\)", message)
        if wrong:
            choices = [choice.strip(" '") for choice in wrong[3].split(",")]
            raise UserError(f"{self.prog}: {wrong[1]}: there is no {wrong[2]!r}.", did_you_mean(wrong[2], choices))
        raise UserError(f"{self.prog}: {message.removeprefix('argument ')}.", f"`{self.prog} --help` says more.")


def _nearest_option(word: str, known: list[str]) -> str:
    name = word.partition("=")[0]
    longer = [option for option in known if option.startswith(name)] if name.startswith("--") else []
    return f"Did you mean {longer[0]!r}? Options are not abbreviated." if longer else did_you_mean(name, known)
