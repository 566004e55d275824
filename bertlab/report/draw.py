"""All that is drawn from a finished run's facts: plots, the page and the model card."""

import os
import tempfile
from pathlib import Path

from bertlab.report import card, page, plots
from bertlab.report.files import write_text
from bertlab.report.folder import RunFolder


def draw(folder: Path) -> None:
    """Write plots/*.png, report.html and README.md into a finished run's folder; the facts are not touched.

    Raises:
        UserError: the folder is not a finished run.
    """
    run = RunFolder.read(folder)
    images = plots.draw_all(run)
    for name, image in images.items():
        write_bytes(run.path / "plots" / name, image)
    write_text(run.path / "report.html", page.render(run, images))
    write_text(run.path / "README.md", card.render(run))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
