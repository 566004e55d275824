"""The picture of measured scores beside published ones: docs/images/scores.png, made with the tables."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bertlab import ROOT

FIGURE = ROOT / "docs" / "images" / "scores.png"
OURS, PUBLISHED = "#1f6feb", "#d1570a"
# The part of the picture's metadata that holds the scores, so that a test can compare them with the records.
DESCRIPTION = "Description"


class Score(NamedTuple):
    """A mean over seeds with its 95% CI, and the published value."""

    name: str
    mean: float
    low: float
    high: float
    published: float


def draw_scores(model: str, scores: Sequence[Score], path: Path) -> None:
    """Draw each score of a model with its 95% CI as a line, and the published value as a mark on the same scale."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 0.9 + 0.45 * len(scores)), layout="constrained")
    for height, score in enumerate(reversed(scores)):
        axes.plot((score.low, score.high), (height, height), color=OURS, linewidth=5, alpha=0.35, solid_capstyle="butt")
        ours = axes.plot(score.mean, height, "o", color=OURS, markersize=8)
        published = axes.plot(score.published, height, "D", color=PUBLISHED, markersize=7)
    axes.set_yticks(range(len(scores)), [score.name for score in reversed(scores)])
    axes.set_ylim(-0.6, len(scores) - 0.4)
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right", "left"]].set_visible(False)
    labels = (f"bertlab, {model}: mean and 95% CI", "published, BERT-base")
    figure.legend([*ours, *published], labels, loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path, dpi=120, metadata={"Software": None, DESCRIPTION: description(scores)})
    pyplot.close(figure)


def description(scores: Sequence[Score]) -> str:
    """Return the scores as JSON, to three digits."""
    return json.dumps([[score.name, *(round(value, 3) for value in score[1:])] for score in scores])
