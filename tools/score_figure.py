"""The picture of measured scores beside published ones: docs/images/scores.png, made with the tables."""

from pathlib import Path

from bertlab import ROOT
from tools import ledger

FIGURE = ROOT / "docs" / "images" / "scores.png"
OURS, PUBLISHED = "#1f6feb", "#d1570a"


def draw_scores(model: str, path: Path = FIGURE) -> None:
    """Draw each score of a model with its 95% CI as a line, and the published value as a mark on the same scale."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    scores = ledger.published_scores(model)[::-1]
    figure, axes = pyplot.subplots(figsize=(8, 0.8 + 0.45 * len(scores)), layout="constrained")
    for height, (entries, row) in enumerate(scores):
        low, high = ledger.interval_of(entries, row) or (row.mean, row.mean)
        label = f"bertlab, {model}: mean and 95% CI" if height == 0 else None
        axes.plot([low, high], [height, height], color=OURS, linewidth=5, alpha=0.35, solid_capstyle="butt")
        axes.plot(row.mean, height, "o", color=OURS, markersize=8, label=label)
        label = "published, BERT-base: one run" if height == 0 else None
        axes.plot(row.published, height, "D", color=PUBLISHED, markersize=7, label=label)
    axes.set_yticks(range(len(scores)), [f"{entries[0]['recipe']}: {_name(row.metric)}" for entries, row in scores])
    axes.set_ylim(-0.6, len(scores) - 0.4)
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path, dpi=120, metadata={"Software": None})
    pyplot.close(figure)


def _name(metric: str) -> str:
    return metric.replace("_", " ")
