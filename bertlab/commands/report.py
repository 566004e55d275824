"""`python -m bertlab report RUN…`: draw the plots, page and card of finished runs again."""

from collections.abc import Sequence
from pathlib import Path

from bertlab.cli.command_parser import Parser
from bertlab.cli.entry_point import entry_point
from bertlab.console import say
from bertlab.report.run_folder import RunFolder


@entry_point
def main(argv: Sequence[str]) -> int:
    """Draw every named run and return the exit status.

    Raises:
        UserError: a folder is not a finished run; none is drawn then.
    """
    parser = Parser("python -m bertlab report", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="the --output_dir of a finished run")
    folders = parser.parse_args(argv).runs
    for folder in folders:
        RunFolder.read(folder)
    # matplotlib and jinja2 are loaded only once there is something to draw.
    from bertlab.report.render import draw

    for folder in folders:
        draw(folder)
        say(f"{folder / 'report.html'}, {folder / 'README.md'} and {folder / 'plots'}/*.png are drawn.")
    return 0
