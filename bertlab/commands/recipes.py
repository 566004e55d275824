"""bertlab recipes: list the recipes, or print one.

bertlab recipes
bertlab recipes show cola
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bertlab.cli.arguments import setting
from bertlab.cli.parser import parse_command
from bertlab.cli.recipes import CONFIGS, find_recipe, header, recipe_names
from bertlab.console import table
from bertlab.errors import UserError


@dataclass
class RecipesArguments:
    """Which recipe is printed."""

    show: list[str] = setting([], "`show NAME` prints a recipe; without it all are listed", positional=True)


def main(argv: Sequence[str]) -> int:
    """List the recipes, or print one, and return the exit status.

    Raises:
        UserError: there is no such recipe or sub-command.
    """
    arguments = parse_command(argv, RecipesArguments, __doc__ or "").show
    if not arguments:
        print(table([(name, header(CONFIGS / f"{name}.yaml")) for name in recipe_names()], ("recipe", "what it is")))
        return 0
    if arguments[0] != "show" or len(arguments) != 2:
        raise UserError(
            f"recipes {' '.join(arguments)}: not understood.",
            "`bertlab recipes` lists them, `bertlab recipes show NAME` prints one.",
        )
    path = find_recipe(arguments[1])
    print(f"# {path}\n{path.read_text(encoding='utf-8')}", end="")
    return 0
