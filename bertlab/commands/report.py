"""bertlab report: render the page and card of finished runs again.

bertlab report runs/cola runs/mrpc
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bertlab.cli.arguments import setting
from bertlab.cli.entry_point import entry_point
from bertlab.cli.parser import parse_command
from bertlab.console import say
from bertlab.report.run_folder import RunFolder


@dataclass
class ReportArguments:
    """Which runs are drawn."""

    runs: list[Path] = setting(None, "the --output_dir of each finished run", positional=True)


@entry_point
def main(argv: Sequence[str]) -> int:
    """Render the report of every named run and return the exit status.

    Raises:
        UserError: a folder is not a finished run; none is rendered then.
    """
    runs = [RunFolder.read(folder) for folder in parse_command(argv, ReportArguments, __doc__).runs]
    # matplotlib and jinja2 are loaded only once there is something to render.
    from bertlab.report.render import render

    for run in runs:
        render(run)
        say(f"wrote {run.path / 'report.html'} and {run.path / 'README.md'}")
    return 0
