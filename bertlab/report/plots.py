"""The plots of a run, as SVG for its page.

A function returns None where the run has no such data. Figures are made without pyplot, so that nothing is kept between
runs and no display is needed. Colours are variables of the page's style, so that plots are dark on a dark page, and the
browser finds a font for every script.
"""

import html
import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from bertlab.evaluation.metrics import GREATER_IS_BETTER
from bertlab.evaluation.statistics import proportion_interval
from bertlab.report import curves
from bertlab.report.curves import Decisions
from bertlab.report.run_folder import RunFolder
from bertlab.report.scores import display_name, is_number, metric_name

# Okabe and Ito's colours, distinct with every kind of colour blindness (jfly.uni-koeln.de/color, 2008). On the page
# each is the variable of page.css that has this value in light mode.
BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9"
CYCLE = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY)
GREY, INK, GRID = "#8a8a8a", "#222222", "#e4e4e4"
VARIABLES = {colour: f"var(--plot-{place})" for place, colour in enumerate(CYCLE, 1)}
VARIABLES |= {GREY: "var(--soft)", INK: "currentColor", GRID: "var(--line)"}
STYLE: dict[Any, Any] = {
    "axes.prop_cycle": cycler(color=CYCLE),
    "axes.edgecolor": GREY,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.axisbelow": True,
    "figure.facecolor": "none",
    "font.size": 9,
    "grid.color": GRID,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text
    "text.color": INK,
    # A class called "$5" is no formula.
    "text.parse_math": False,
    **{f"{axis}tick.{key}": value for axis in "xy" for key, value in (("color", INK), ("major.size", 0))},
}
# Below the axes a legend covers no line.
BELOW: dict[str, Any] = {"loc": "outside lower center"}
# Longer names are shortened.
NAME_LENGTH = 22
SMALL, WIDE = (3.1, 3.0), (4.4, 3.2)
# A point of more examples than this is drawn as part of an image.
SCATTER_POINTS = 400
# Of fewer examples than this an accuracy says nothing.
FEWEST_IN_BIN, FEWEST_COVERED = 3, 10
# What computes a curve, and the names of its area and axes.
CURVES = {
    "roc": (curves.roc, "AUC", "false positive rate", "true positive rate"),
    "precision_recall": (curves.precision_recall, "AP", "recall", "precision"),
}
LOSS_NAMES = {
    "single_label_classification": "cross-entropy (nats)",
    "multi_label_classification": "binary cross-entropy (nats)",
    "regression": "mean squared error",
}
# What of an element of an SVG is not needed: ids of groups, positions finer than a hundredth of a point.
NEEDLESS = (
    (r'(<g) id="[^"]*"', r"\1"),
    (r"(\d+\.\d{2})\d+", r"\1"),
    (r' transform="rotate\(-0[^"]*"', ""),
    (r" ?font-family: [^;]*;", ""),
    (r"\s+", " "),
)


def render_plots(folder: RunFolder, decisions: Mapping[str, Mapping[str, Decisions]]) -> dict[str, str]:
    """Return every plot of a run as SVG by name; `decisions` are those of each scored split by class."""
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # The browser has a font for what matplotlib, which measures the text, has none for.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        return {name: svg(figure, name) for name, figure in figures(folder, decisions) if figure is not None}


def figures(folder: RunFolder, decisions: Mapping[str, Mapping[str, Decisions]]) -> Iterator[tuple[str, Figure | None]]:
    """Yield (name, figure) of every possible plot."""
    yield "loss", loss(folder)
    yield "metrics", metrics(folder)
    for split in folder.scored:
        drawn = curves.drawn(folder, decisions[split])
        for kind in CURVES:
            yield f"{kind}_{split}", curve(kind, drawn)
        yield f"coverage_{split}", coverage(folder, decisions[split])
        yield f"reliability_{split}", reliability(folder, split)
        yield f"predicted_{split}", predicted(folder, split)
        yield f"per_batch_{split}", per_batch(folder, split)
    yield "token_lengths", token_lengths(folder)


def svg(figure: Figure, name: str) -> str:
    """Return a figure as an SVG element, the same each time; no other figure of the page has its ids."""
    stream, (width, height) = io.StringIO(), figure.get_size_inches() * 72
    with mpl.rc_context({"svg.hashsalt": name}):
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(stream, format="svg", metadata=nothing)
    drawing = stream.getvalue()
    drawing = drawing[drawing.index("<g ") : drawing.rindex("</svg>")]
    drawing = re.sub(r"<[^>]+>", lambda tag: _page_style(tag[0]), re.sub(r">\s+<", "><", drawing))
    label = html.escape(name.replace("_", " "))
    return f'<svg role="img" aria-label="Plot: {label}" viewBox="0 0 {width:.0f} {height:.0f}">{drawing}</svg>'


def _page_style(tag: str) -> str:
    """Return a tag of an SVG without what the page has no use for, and with the page's colours."""
    for pattern, replacement in NEEDLESS:
        tag = re.sub(pattern, replacement, tag)
    return re.sub("#[0-9a-f]{6}", lambda colour: VARIABLES.get(colour[0], colour[0]), tag)


def loss(folder: RunFolder) -> Figure | None:
    """Training loss by epoch: each logged value, a running mean, and the loss on the evaluation split."""
    epochs, values = _series(folder.log, "loss")
    if not epochs:
        return None
    figure, axes = _figure(WIDE, "epoch", LOSS_NAMES.get(folder.kind, "loss"))
    smooth, window = running_mean(values)
    if window > 1:
        axes.plot(epochs, values, color=SKY, alpha=0.55, linewidth=1, label="training, as logged")
        axes.plot(epochs, smooth, color=BLUE, linewidth=2, label=f"training, mean of {window} logged values")
    else:
        axes.plot(epochs, values, color=BLUE, marker="o", linewidth=1.5, label="training, as logged")
    at, measured = _series(folder.evaluations, "eval_loss")
    if at:
        axes.plot(at, measured, color=VERMILION, marker="o", linewidth=1.5, label=f"{folder.eval_split} split")
    _mark_epochs(axes, folder)
    figure.legend(**BELOW, ncols=2)
    return figure


def metrics(folder: RunFolder) -> Figure | None:
    """Scores on the evaluation split by epoch."""
    series = {n: _series(folder.evaluations, f"eval_{n}") for n in folder.metrics if GREATER_IS_BETTER.get(n, True)}
    if not any(epochs for epochs, _ in series.values()):
        return None
    figure, axes = _figure(WIDE, "epoch", f"score on {folder.eval_split}")
    for name, (epochs, values) in series.items():
        if epochs:
            axes.plot(epochs, values, marker="o", label=metric_name(folder.results, name))
    _mark_epochs(axes, folder)
    figure.legend(**BELOW, ncols=2)
    return figure


def curve(kind: str, drawn: Mapping[str, Decisions]) -> Figure | None:
    """ROC or precision-recall curves, each with its area and the point of the predictions that were made."""
    points, area, xlabel, ylabel = CURVES[kind]
    drawn = {name: one for name, one in drawn.items() if curves.is_ranked(one)}
    if not drawn:
        return None
    figure, axes = _figure(SMALL, xlabel, ylabel)
    if kind == "roc":
        axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="chance")
    for name, one in drawn.items():
        found, style = points(one), "default" if kind == "roc" else "steps-post"
        (line,) = axes.plot(found.x, found.y, drawstyle=style, label=f"{shorten(name)}, {area} {found.area:.3f}")
        axes.plot(*found.operating_point, "o", color=line.get_color(), markersize=6)
    if kind != "roc" and len(drawn) == 1:
        axes.axhline(one.truth.mean(), color=GREY, linestyle="--", linewidth=1, label="chance")
    axes.plot([], [], "o", color=GREY, markersize=6, label="operating point")
    axes.set(xlim=(-0.02, 1.02), ylim=(0, 1.03))
    figure.legend(**BELOW)
    return figure


def coverage(folder: RunFolder, by_class: Mapping[str, Decisions]) -> Figure | None:
    """Accuracy of the most confident predictions, by the fraction of the predictions that they are."""
    if not by_class:
        return None
    kept, correct = curves.coverage(by_class, folder.is_multi_label)
    total, accuracy = kept[-1], correct / kept
    figure, axes = _figure(SMALL, "coverage (predictions kept)", "accuracy")
    shown = kept >= min(FEWEST_COVERED, total)
    low, high = proportion_interval(correct, kept)
    axes.fill_between(kept[shown] / total, low[shown], high[shown], color=BLUE, alpha=0.15, linewidth=0, label="95% CI")
    axes.plot(kept[shown] / total, accuracy[shown], color=BLUE, linewidth=1.5, label="most confident predictions")
    label = f"all predictions, {accuracy[-1]:.3f}"
    axes.axhline(accuracy[-1], color=GREY, linestyle="--", linewidth=1, label=label)
    axes.set(xlim=(-0.02, 1.02), ylim=(min(0.5, low[shown].min()), 1.02))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    figure.legend(**BELOW)
    return figure


def reliability(folder: RunFolder, split: str) -> Figure | None:
    """Accuracy by confidence, before and after calibration, above the number of examples in each bin."""
    calibration = folder.scored[split].get("calibration") or {}
    fitted = [(name, calibration[name]) for name in ("raw", "calibrated") if name in calibration]
    if not fitted:
        return None
    figure = Figure(figsize=SMALL, layout="constrained")
    upper, lower = figure.subplots(2, height_ratios=(3, 1), sharex=True)
    upper.set(ylabel="accuracy", ylim=(0, 1.03), xlim=(0, 1.02))
    decisions = "examples ×\nclasses" if folder.is_multi_label else "examples"
    lower.set(xlabel="confidence", ylabel=decisions)
    upper.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="perfectly calibrated")
    width = 0.45 / len(fitted[0][1]["reliability"])
    for place, (name, curve) in enumerate(fitted):
        colour, marker = ((ORANGE, "s"), (BLUE, "o"))[place]
        filled = [row for row in curve["reliability"] if row["count"]]
        middles = [(row["low"] + row["high"]) / 2 + width * (place - (len(fitted) - 1) / 2) for row in filled]
        lower.bar(middles, [row["count"] for row in filled], width=width, color=colour)
        rows = [row for row in filled if row["count"] >= FEWEST_IN_BIN]
        confidence, accuracy, counts = (np.array([r[k] for r in rows]) for k in ("confidence", "accuracy", "count"))
        low, high = proportion_interval(accuracy * counts, counts)
        bars, label = np.clip([accuracy - low, high - accuracy], 0, 1), f"{name}, ECE {curve['ece']:.3f}"
        upper.errorbar(confidence, accuracy, bars, color=colour, marker=marker, markersize=4, linewidth=1, label=label)
    figure.legend(**BELOW)
    return figure


def token_lengths(folder: RunFolder) -> Figure | None:
    """Lengths in tokens before truncation, split by split, with the chosen maximum."""
    data = {name: split for name, split in folder.data.items() if "histogram" in (split.get("token_length") or {})}
    if not data:
        return None
    figure, axes = _figure(WIDE, "tokens", "examples per token of length")
    for place, (name, split) in enumerate(data.items()):
        histogram = split["token_length"]["histogram"]
        edges, counts = (np.asarray(histogram[key], dtype=float) for key in ("edges", "counts"))
        density, label = counts / counts.sum() / np.diff(edges), f"{name} ({int(counts.sum()):,})"
        filled, colour = place == 0, CYCLE[place % len(CYCLE)]
        axes.stairs(density, edges, fill=filled, color=colour, alpha=0.35 if filled else 1, linewidth=1.5, label=label)
    if longest := folder.configuration.get("max_seq_length"):
        axes.axvline(longest, color=INK, linestyle="--", label=f"maximum length, {longest} tokens")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlim(left=0)
    figure.legend(**BELOW, ncols=2)
    return figure


def predicted(folder: RunFolder, split: str) -> Figure | None:
    """Predicted against true values of a regression, with the line on which they are equal."""
    if not folder.is_regression:
        return None
    rows = folder.predictions(split)
    pairs = zip(rows.labels, rows.predictions, strict=True)
    points = np.asarray([(float(label), float(value)) for label, value in pairs if label and value])
    if not points.size:  # the model diverged
        return None
    figure, axes = _figure((3.6, 3.7), "true value", "predicted value")
    ends, many = [float(points.min()), float(points.max())], len(points) > SCATTER_POINTS
    axes.plot(ends, ends, color=VERMILION, linestyle="--", linewidth=1.2, label="predicted = true", zorder=3)
    alpha = max(0.03, 0.5 / max(1.0, len(points) / 1000))
    axes.scatter(points[:, 0], points[:, 1], s=12, color=BLUE, alpha=alpha, linewidths=0, rasterized=many)
    axes.set_aspect("equal")
    figure.legend(**BELOW)
    return figure


def per_batch(folder: RunFolder, split: str) -> Figure | None:
    """Matthews correlation of each consecutive batch, and the mean over batches."""
    results = folder.scored[split].get("per_batch") or {}
    values = [value if value is not None else math.nan for value in results.get("matthews_correlation", [])]
    if not values:
        return None
    xlabel = f"batch of {results['size']} examples, in their order"
    figure, axes = _figure(SMALL, xlabel, "Matthews correlation")
    batches = range(1, len(values) + 1)
    axes.plot(batches, values, "o", color=BLUE, markersize=4)
    axes.axhline(0, color=INK, linewidth=0.8)
    if results.get("mean") is not None:
        deviation = f", sd {results['sd']:.3f}" if results.get("sd") is not None else ""
        axes.axhline(results["mean"], color=VERMILION, linestyle="--", label=f"mean {results['mean']:.3f}{deviation}")
        figure.legend(**BELOW)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def learning_curve(
    curves: Mapping[str, Sequence[tuple[int, float, float, float]]], metrics: Mapping[str, str]
) -> bytes:
    """Return a PNG of scores by training rows, with a band for the 95% CI: (rows, mean, low, high) of each recipe.

    `metrics` has the metric of each recipe.
    """
    names = dict.fromkeys(map(display_name, metrics.values()))
    with mpl.rc_context(STYLE):
        figure, axes = _figure((7.2, 4.0), "training rows", " or ".join(names))
        for name, points in curves.items():
            rows, means, lows, highs = zip(*points, strict=True)
            score = f", {display_name(metrics[name])}" if len(names) > 1 else ""
            (line,) = axes.plot(rows, means, marker="o", label=f"{name}{score}, 95% CI over seeds and examples")
            axes.fill_between(rows, lows, highs, color=line.get_color(), alpha=0.2, linewidth=0)
        axes.set_xscale("log")
        ticks = sorted({point[0] for points in curves.values() for point in points})
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.minorticks_off()
        axes.legend()
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=150, metadata={"Software": None})
    return stream.getvalue()


def running_mean(values: Sequence[float]) -> tuple[Sequence[float], int]:
    """Return centred means of `values` and the odd number of values in each; 1 where they are too few."""
    import pandas as pd

    window = 2 * (len(values) // 40) + 3 if len(values) >= 12 else 1
    return pd.Series(values).rolling(window, center=True, min_periods=1).mean().tolist(), window


def shorten(name: str) -> str:
    """Return a class name that fits into a legend."""
    return name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 1]}…"


def _figure(size: tuple[float, float], xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=xlabel, ylabel=ylabel)
    return figure, axes


def _series(entries: Sequence[dict[str, Any]], key: str) -> tuple[list[float], list[float]]:
    points = [(entry["epoch"], entry[key]) for entry in entries if is_number(entry.get(key))]
    return [point[0] for point in points], [point[1] for point in points]


def _mark_epochs(axes: Axes, folder: RunFolder) -> None:
    """Draw a line at the selected epoch; put ticks at whole epochs only, once there are two of them."""
    axes.set_xlim(left=0)  # a single evaluation has no range
    axes.ticklabel_format(axis="y", useOffset=False)
    if folder.selected:
        epoch = folder.selected["epoch"]
        axes.axvline(epoch, color=GREEN, linestyle=":", linewidth=1.8, label=f"selected: epoch {epoch:.4g}")
    if folder.log[-1]["epoch"] >= 2:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
