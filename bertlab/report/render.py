"""Render a finished run: page and model card."""

from bertlab.console import warning
from bertlab.io import write_text
from bertlab.report import html, misclassified, model_card
from bertlab.report.run_folder import RunFolder


def render(run: RunFolder) -> None:
    """Write report.html and README.md into a run's folder; its results are not touched.

    Raises:
        UserError: one of the run's files cannot be read, or one of these not be written.
    """
    missing = [name for name in run.scored if not misclassified.path_of(run.path, name).is_file()]
    if missing:
        warning(f"{run.path / 'misclassified'} lacks {', '.join(missing)}, so the page shows none of these examples.")
    write_text(run.path / "report.html", html.render(run))
    write_text(run.path / "README.md", model_card.render(run))
    if result := model_card.benchmark_result(run):
        write_text(run.path / ".eval_results" / "bertlab.yaml", result)
