"""`bertlab COMMAND` or `python -m bertlab COMMAND`: the two scripts, and what is done before and after a run."""

import importlib
import shlex
import sys

from bertlab import __version__
from bertlab.cli.entry_point import entry_point
from bertlab.errors import UserError, did_you_mean

# Each command's module has a `main(argv) -> int`; it is imported only when called.
COMMANDS = {
    "train": ("run_classification", "fine-tune a classifier, as run_classification.py does"),
    "nsp": ("run_nsp", "train next-sentence prediction, as run_nsp.py does"),
    "recipes": ("bertlab.commands.recipes", "list the recipes; `recipes show NAME` prints one"),
    "predict": ("bertlab.commands.predict", "label texts with a trained model"),
    "check": ("bertlab.commands.check", "look at the data before training on it"),
    "report": ("bertlab.commands.report", "draw plots, page and card of finished runs again"),
    "suite": ("bertlab.commands.suite", "run many recipes with many seeds, and make one table of them"),
    "sweep": ("bertlab.commands.sweep", "search values on a selection split, and score the best once"),
    "submission": ("bertlab.commands.submission", "pack predictions of GLUE runs as the GLUE server wants them"),
    "export": ("bertlab.commands.export", "write a trained model as ONNX, and check it against PyTorch"),
    "compare": ("bertlab.commands.compare", "say whether one run is better than another"),
}


@entry_point
def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help", "help"):
        print("bertlab COMMAND …      (the same as: python -m bertlab COMMAND …)\n")
        print(*(f"  {name:<10}  {about}" for name, (_, about) in COMMANDS.items()), sep="\n")
        print("\n`bertlab COMMAND -h` shows the flags and examples of a command.")
        return 0
    if argv[0] in ("-V", "--version"):
        print(f"bertlab {__version__}")
        return 0
    if argv[0].startswith("-"):
        raise UserError(f"{argv[0]} stands where a command is expected.", f"Write `bertlab train {shlex.join(argv)}`.")
    if argv[0] not in COMMANDS:
        raise UserError(f"there is no command {argv[0]!r}.", did_you_mean(argv[0], COMMANDS))
    return int(importlib.import_module(COMMANDS[argv[0]][0]).main(argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
