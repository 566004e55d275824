"""Render a finished run: plots, page and model card."""

from pathlib import Path
from typing import Any

from bertlab.console import warning
from bertlab.io import write_bytes, write_text
from bertlab.report import html, misclassified, model_card, plots
from bertlab.report.run_folder import RunFolder


def render(folder: Path, run_json: dict[str, Any] | None = None) -> None:
    """Write plots/*.png, report.html and README.md into a run's folder; its results are not touched.

    `run_json` is the content of run.json, for a run that is about to end.

    Raises:
        UserError: the folder is not a finished run.
    """
    run = RunFolder.read(folder, run_json)
    missing = [name for name in run.scored if not misclassified.path_of(run.path, name).is_file()]
    if missing:
        warning(f"{run.path / 'misclassified'} lacks {', '.join(missing)}, so the page shows none of these examples.")
    images = plots.render_plots(run)
    for name, image in images.items():
        write_bytes(run.path / "plots" / name, image)
    write_text(run.path / "report.html", html.render(run, images))
    write_text(run.path / "README.md", model_card.render(run))
