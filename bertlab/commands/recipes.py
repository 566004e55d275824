"""`python -m bertlab recipes`: list the recipes, or print one."""

from collections.abc import Sequence

from bertlab.cli.recipes import CONFIGS, find_recipe, header, recipe_names
from bertlab.errors import UserError


def main(argv: Sequence[str]) -> int:
    """`python -m bertlab recipes`: list the recipes, or print one with `show NAME`.

    Raises:
        UserError: there is no such recipe or sub-command.
    """
    if argv in (["--help"], ["-h"]):
        print("python -m bertlab recipes            list the recipes\npython -m bertlab recipes show NAME  print one")
        return 0
    if not argv:
        for name in recipe_names():
            print(f"{name:<32} {header(CONFIGS / f'{name}.yaml')}")
        return 0
    if argv[0] != "show" or len(argv) != 2:
        raise UserError(f"recipes {' '.join(argv)}: not understood.", "Write `recipes` or `recipes show NAME`.")
    path = find_recipe(argv[1])
    print(f"# {path}\n{path.read_text(encoding='utf-8')}", end="")
    return 0
