"""All that is drawn from a finished run's facts: plots, the page and the model card."""

from pathlib import Path
from typing import Any

from bertlab.console import warning
from bertlab.io import write_bytes, write_text
from bertlab.report import html, model_card, plots
from bertlab.report.run_folder import RunFolder


def draw(folder: Path, facts: dict[str, Any] | None = None) -> None:
    """Write plots/*.png, report.html and README.md into a run's folder; its facts are not touched.

    `facts` is what run.json will say, for a run that is about to end.

    Raises:
        UserError: the folder is not a finished run.
    """
    run = RunFolder.read(folder, facts)
    lost = [name for name in run.scored if not (run.path / "errors" / f"{name}.tsv").is_file()]
    if lost:
        warning(f"{run.path / 'errors'}: no mistakes of {', '.join(lost)} are there, so the page shows none of them.")
    images = plots.draw_all(run)
    for name, image in images.items():
        write_bytes(run.path / "plots" / name, image)
    write_text(run.path / "report.html", html.render(run, images))
    write_text(run.path / "README.md", model_card.render(run))
