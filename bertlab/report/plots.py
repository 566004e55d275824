"""plots/*.png: the plots of a run.

Every function takes a `RunFolder` and returns a figure, or None where the run has no such data. Figures are made
without pyplot, so that nothing is kept between runs and no display is needed.
"""

import io
import math
import textwrap
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter, StrMethodFormatter

from bertlab.console import warning
from bertlab.evaluation.metrics import GREATER_IS_BETTER
from bertlab.report.run_folder import RunFolder
from bertlab.report.scores import is_number, metric_name

# Okabe and Ito's colours, distinct with every kind of colour blindness (jfly.uni-koeln.de/color, 2008).
BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
CYCLE = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY)
GREY, INK = "#8A8A8A", "#222222"
DPI = 150
STYLE: dict[Any, Any] = {
    "axes.prop_cycle": cycler(color=CYCLE),
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.axisbelow": True,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": "#E4E4E4",
    "legend.frameon": False,
    # A class called "$5" is no formula.
    "text.parse_math": False,
}
# To the right of the axes a legend covers no line.
OUTSIDE: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
# Longer names are shortened in tick labels.
NAME_LENGTH = 22
# From this fraction on a cell of the matrix is so dark that white has more contrast than ink.
DARK_FRACTION = 0.67
# A matrix of more classes has colours without numbers; beyond the second bound it is left out.
NUMBERED_CLASSES, PLOTTED_CLASSES = 20, 100
# Bars for this many classes; the rest are named in the title.
BALANCE_CLASSES = 30
# More points are shown as a density.
SCATTER_POINTS = 4000
LOSS_NAMES = {
    "single_label_classification": "cross-entropy (nats)",
    "multi_label_classification": "binary cross-entropy (nats)",
    "regression": "mean squared error",
}


def render_plots(folder: RunFolder) -> dict[str, bytes]:
    """Return every plot of a run as PNG by file name, in the order in which they are shown."""
    images = {}
    fonts, missing = fonts_for("".join([*folder.class_names, *folder.scored, *folder.data]))
    if missing:
        shown = " ".join(missing[:12])
        warning(f"plots show boxes for {shown}: no installed font has them (Noto fonts do); tables have the names.")
    with mpl.rc_context({**STYLE, "font.family": [STYLE["font.family"], *fonts]}), warnings.catch_warnings():
        # What no font has was said above.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        for name, figure in figures(folder):
            if figure is not None:
                images[f"{name}.png"] = png(figure)
    return images


def fonts_for(text: str) -> tuple[list[str], list[str]]:
    """Return the fonts, beyond the usual one, that show a text, and its characters that no installed font has."""
    usual = font_manager.findfont(STYLE["font.family"])
    left = {char for char in text if char.isprintable() and not char.isspace()} - _characters(usual)
    fonts: list[str] = []
    for font in sorted(font_manager.fontManager.ttflist, key=lambda font: (font.style != "normal", font.name)):
        if "last resort" in font.name.casefold():  # boxes for every character, which matplotlib itself brings
            continue
        if left and font.name not in fonts and (shown := left & _characters(font.fname)):
            fonts.append(font.name)
            left -= shown
    return fonts, sorted(left)


def _characters(path: str) -> set[str]:
    try:
        return set(map(chr, font_manager.get_font(path).get_charmap()))
    except (OSError, RuntimeError):  # removed since matplotlib listed it, or not a font
        return set()


def figures(folder: RunFolder) -> Iterator[tuple[str, Figure | None]]:
    """Yield (name, figure) of every possible plot."""
    yield "loss", loss(folder)
    yield "metrics", metrics(folder)
    for split in folder.scored:
        yield f"confusion_{split}", confusion(folder, split)
        yield f"reliability_{split}", reliability(folder, split)
        yield f"predicted_{split}", predicted(folder, split)
        yield f"per_batch_{split}", per_batch(folder, split)
    yield "label_balance", label_balance(folder)
    yield "token_lengths", token_lengths(folder)


def png(figure: Figure) -> bytes:
    """Return a figure as PNG, the same bytes each time."""
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(
        stream, dpi=DPI, format="png", bbox_inches="tight", pad_inches=0.12, metadata={"Software": None}
    )
    return stream.getvalue()


def loss(folder: RunFolder) -> Figure | None:
    """Training loss by step: each logged value, a running mean, and the loss on the evaluation split."""
    steps, values = _series(folder.log, "step", "loss")
    if not steps:
        return None
    figure, axes = _figure(7.2, 4.0, "Training loss", "optimizer step", LOSS_NAMES.get(folder.kind, "loss"))
    smooth, window = running_mean(values)
    if window > 1:
        axes.plot(steps, values, color=SKY, alpha=0.55, linewidth=1, label="training, as logged")
        axes.plot(steps, smooth, color=BLUE, linewidth=2, label=f"training, mean of {window} logged values")
    else:
        axes.plot(steps, values, color=BLUE, marker="o", linewidth=1.5, label="training, as logged")
    at, measured = _series(folder.evaluations, "step", "eval_loss")
    if at:
        axes.plot(at, measured, color=VERMILION, marker="o", linewidth=1.5, label=folder.eval_split)
    _mark_epochs(axes, folder)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    return figure


def metrics(folder: RunFolder) -> Figure | None:
    """Scores on the evaluation split by epoch."""
    entries = folder.evaluations
    series = {n: _series(entries, "epoch", f"eval_{n}") for n in folder.metrics if GREATER_IS_BETTER.get(n, True)}
    if not any(epochs for epochs, _ in series.values()):
        return None
    figure, axes = _figure(7.2, 4.0, f"Scores on {folder.eval_split}", "epoch", "score")
    for name, (epochs, values) in series.items():
        if epochs:
            axes.plot(epochs, values, marker="o", label=metric_name(folder.results, name))
    _whole_epochs(axes.xaxis, entries)
    axes.legend(**OUTSIDE)
    return figure


def confusion(folder: RunFolder, split: str) -> Figure | None:
    """Counts and fractions of each true class by predicted class; the colour is the fraction."""
    counts = np.asarray(folder.scored[split].get("confusion") or [])
    size = len(counts)
    if not 2 <= size <= PLOTTED_CLASSES:
        return None
    totals = counts.sum(axis=1, keepdims=True)
    fractions = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    side = min(14.0, max(3.2, 0.62 * size))
    figure, axes = _figure(side + 2.6, side + 1.5, f"Confusion matrix, {split}", "predicted class", "true class")
    image = axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03, format=PercentFormatter(1.0))
    bar.set_label("fraction of the true class")
    bar.outline.set_visible(False)
    names = [shorten(name) for name in folder.class_names]
    turned = size > 4 or max(map(len, names)) > 12
    axes.set_xticks(range(size), names, rotation=45 if turned else 0, ha="right" if turned else "center")
    axes.set_yticks(range(size), names)
    if size > NUMBERED_CLASSES:
        axes.tick_params(labelsize=max(3.5, 190 / size))
    else:
        _number_cells(axes, counts, fractions)
    axes.grid(False)
    return figure


def reliability(folder: RunFolder, split: str) -> Figure | None:
    """Accuracy by confidence, before and after calibration, above the number of examples in each bin."""
    calibration = folder.scored[split].get("calibration") or {}
    curves = [(name, calibration[name]) for name in ("raw", "calibrated") if name in calibration]
    if not curves:
        return None
    figure = Figure(figsize=(5.4, 5.8), layout="constrained")
    upper, lower = figure.subplots(2, height_ratios=(3, 1), sharex=True)
    upper.set(title=f"Reliability, {split}", ylabel="accuracy", ylim=(0, 1.02), xlim=(0, 1))
    decisions = "examples × classes" if folder.is_multi_label else "examples"
    lower.set(xlabel="confidence of the predicted class", ylabel=decisions)
    upper.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="perfectly calibrated")
    widest = 0.45 / len(curves[0][1]["reliability"])
    for place, (name, curve) in enumerate(curves):
        colour, marker = ((ORANGE, "s"), (BLUE, "o"))[place]
        filled = [row for row in curve["reliability"] if row["count"]]
        confidence, accuracy, counts = ([row[key] for row in filled] for key in ("confidence", "accuracy", "count"))
        # The area shows how many examples a point stands for: one of three examples may be anywhere.
        upper.scatter(confidence, accuracy, [4 + 46 * count / max(counts) for count in counts], colour, marker)
        upper.plot(confidence, accuracy, color=colour, linewidth=1)
        label = f"{name}, expected calibration error {curve['ece']:.3f}"
        upper.plot([], [], color=colour, marker=marker, markersize=5, linewidth=1, label=label)
        shift = widest * (place - (len(curves) - 1) / 2)
        lower.bar([(row["low"] + row["high"]) / 2 + shift for row in filled], counts, width=widest, color=colour)
    upper.legend(loc="upper left", fontsize=8)
    return figure


def token_lengths(folder: RunFolder) -> Figure | None:
    """Lengths in tokens before truncation, split by split, with the chosen maximum."""
    data = {name: split for name, split in folder.data.items() if "histogram" in (split.get("token_length") or {})}
    if not data:
        return None
    title, longest = "Input length before truncation", folder.configuration.get("max_seq_length")
    if longest:
        name, split = next(iter(data.items()))
        title = f"Input length: {split.get('truncated_share', 0):.1%} of {name} truncated (> {longest} tokens)"
    figure, axes = _figure(7.2, 3.8, title, "tokens", "fraction of the examples\nper token of length")
    for place, (name, split) in enumerate(data.items()):
        histogram = split["token_length"]["histogram"]
        edges, counts = (np.asarray(histogram[key], dtype=float) for key in ("edges", "counts"))
        density, label = counts / counts.sum() / np.diff(edges), f"{name} ({int(counts.sum()):,})"
        filled, colour = place == 0, CYCLE[place % len(CYCLE)]
        alpha = 0.35 if filled else 1
        axes.stairs(density, edges, fill=filled, color=colour, alpha=alpha, linewidth=1.5, label=label)
    if longest:
        axes.axvline(longest, color=INK, linestyle="--", label=f"maximum length, {longest} tokens")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlim(left=0)
    axes.legend()
    return figure


def label_balance(folder: RunFolder) -> Figure | None:
    """Fraction of each class in each split, as groups of bars."""
    data = {name: split for name, split in folder.data.items() if split.get("balance")}
    totals: Counter[str] = Counter()
    for split in data.values():
        totals.update(split["balance"])
    if not totals:
        return None
    title, names = "Examples with each label" if folder.is_multi_label else "Label balance", list(totals)
    if len(totals) > BALANCE_CLASSES:
        names = [name for name, _ in totals.most_common(BALANCE_CLASSES)]
        title += f" (the {BALANCE_CLASSES} most frequent of {len(totals)} classes)"
    height, thick = 1.4 + len(names) * max(0.34, 0.17 * len(data)), 0.8 / len(data)
    figure, axes = _figure(7.2, height, title, "fraction of the labelled examples (number: examples)")
    for place, (split_name, split) in enumerate(data.items()):
        counts = [split["balance"].get(name, 0) for name in names]
        fractions = [count / max(1, split["labelled"]) for count in counts]
        heights = [row + (place - (len(data) - 1) / 2) * thick for row in range(len(names))]
        label = f"{split_name} ({split['labelled']:,})"
        bars = axes.barh(heights, fractions, thick * 0.92, color=CYCLE[place % len(CYCLE)], label=label)
        axes.bar_label(bars, [f" {count:,}" for count in counts], fontsize=min(8, 60 * thick), color=INK)
    axes.set_yticks(range(len(names)), [shorten(name) for name in names])
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.margins(x=0.12, y=0.01)
    axes.grid(False, axis="y")
    axes.legend(**OUTSIDE)
    return figure


def predicted(folder: RunFolder, split: str) -> Figure | None:
    """Predicted against true values of a regression, with the line on which they are equal."""
    if not folder.is_regression:
        return None
    rows = folder.predictions(split)
    pairs = zip(rows.labels, rows.predictions, strict=True)
    points = np.asarray([(float(label), float(value)) for label, value in pairs if label and value])
    title = f"Predicted and true values, {split} ({len(points):,} examples)"
    figure, axes = _figure(5.4, 5.2, title, "true value", "predicted value")
    ends = [float(points.min()), float(points.max())]
    axes.plot(ends, ends, color=VERMILION, linestyle="--", linewidth=1.2, label="predicted = true", zorder=3)
    if len(points) > SCATTER_POINTS:
        cells = axes.hexbin(points[:, 0], points[:, 1], gridsize=45, cmap="Blues", bins="log", mincnt=1)
        whole = StrMethodFormatter("{x:,.0f}")
        figure.colorbar(cells, ax=axes, fraction=0.046, label="examples", format=whole).ax.minorticks_off()
    else:
        axes.scatter(points[:, 0], points[:, 1], s=12, color=BLUE, alpha=0.35, linewidths=0)
    axes.set_aspect("equal")
    axes.legend(loc="upper left")
    return figure


def per_batch(folder: RunFolder, split: str) -> Figure | None:
    """Matthews correlation of each consecutive batch, and the mean over batches."""
    results = folder.scored[split].get("per_batch") or {}
    values = [value if value is not None else math.nan for value in results.get("matthews_correlation", [])]
    if not values:
        return None
    title = f"Each batch of {results['size']} examples, {split}"
    figure, axes = _figure(7.2, 3.6, title, "batch, in the order of the examples", "Matthews correlation")
    batches = range(1, len(values) + 1)
    axes.bar(batches, values, color=SKY, width=0.8)
    # A bar of height 0 is invisible, and 0 is the score of a batch in which one class only is predicted.
    axes.plot(batches, values, "o", color=BLUE, markersize=4)
    axes.set_xlim(0.4, len(values) + 0.6)
    axes.axhline(0, color=INK, linewidth=0.8)
    if results.get("mean") is not None:
        deviation = f", sd {results['sd']:.3f}" if results.get("sd") is not None else ""
        axes.axhline(results["mean"], color=VERMILION, linestyle="--", label=f"mean {results['mean']:.3f}{deviation}")
        axes.legend(**OUTSIDE)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def running_mean(values: Sequence[float]) -> tuple[Sequence[float], int]:
    """Return centred means of `values` and the odd number of values in each; 1 where they are too few."""
    import pandas as pd

    window = 2 * (len(values) // 40) + 3 if len(values) >= 12 else 1
    return pd.Series(values).rolling(window, center=True, min_periods=1).mean().tolist(), window


def shorten(name: str) -> str:
    """Return a class name that fits next to an axis, on one line."""
    if " " in name:
        return textwrap.shorten(name, NAME_LENGTH, placeholder="…")
    return name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 1]}…"


def _figure(width: float, height: float, title: str, xlabel: str, ylabel: str = "") -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    return figure, axes


def _series(entries: Sequence[dict[str, Any]], x: str, y: str) -> tuple[list[float], list[float]]:
    points = [(entry[x], entry[y]) for entry in entries if is_number(entry.get(x)) and is_number(entry.get(y))]
    return [point[0] for point in points], [point[1] for point in points]


def _mark_epochs(axes: Axes, folder: RunFolder) -> None:
    """Put the epochs on a second axis above: epoch = step / steps per epoch."""
    ratios = [e["step"] / e["epoch"] for e in folder.log if is_number(e.get("step")) and e.get("epoch")]
    if not ratios:
        return
    each = float(np.median(ratios))
    above = axes.secondary_xaxis(
        "top", functions=(lambda steps: np.divide(steps, each), lambda epochs: np.multiply(epochs, each))
    )
    above.set_xlabel("epoch")
    _whole_epochs(above.xaxis, folder.log)
    above.spines["top"].set_visible(False)


def _whole_epochs(axis: Axis, entries: Sequence[dict[str, Any]]) -> None:
    """Put ticks at whole epochs only, once there are two of them."""
    if max((entry["epoch"] for entry in entries if is_number(entry.get("epoch"))), default=0) >= 2:
        axis.set_major_locator(MaxNLocator(integer=True))


def _number_cells(axes: Axes, counts: np.ndarray, fractions: np.ndarray) -> None:
    size = 9 if len(counts) <= 8 else 7 if len(counts) <= 14 else 6
    for (row, column), count in np.ndenumerate(counts):
        percentage = f"{fractions[row, column]:.0%}" if counts[row].sum() else "–"
        colour = "white" if fractions[row, column] > DARK_FRACTION else INK
        axes.text(column, row, f"{count:,}\n{percentage}", ha="center", va="center", color=colour, fontsize=size)
